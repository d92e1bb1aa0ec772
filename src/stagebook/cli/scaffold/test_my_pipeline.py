"""The pipeline against a fake provider: real HTTP, no key, no cost, the same answers every time."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import stagebook
from stagebook.testing import ProviderProcess, Rule, Script

from my_pipeline import Opinion, Reviews, opinion, pipeline, report

REVIEWS = Reviews(text="The strap broke.\n\nLovely sound.\n")
MODEL = "openai:gpt-4.1-mini"
SOUND = Opinion(topic="sound", mood="praise").model_dump_json()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderProcess]:
    with ProviderProcess() as started:
        monkeypatch.setenv("OPENAI_BASE_URL", started.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        yield started


def test_the_declaration_holds_together() -> None:
    assert list(pipeline.check().stages) == ["review", "opinion", "report"]


def test_every_review_is_in_the_report(provider: ProviderProcess, tmp_path: Path) -> None:
    strap = Opinion(topic="strap", mood="complaint").model_dump_json()
    provider.use(Script(rules=(Rule(contains="strap broke", answer=strap), Rule(answer=SOUND))))
    run = stagebook.run(pipeline, REVIEWS, model=MODEL, ledger=tmp_path / "ledger.db")
    assert run[report].text.splitlines() == [
        "# 2 reviews, 1 of them complaints",
        "",
        "- strap (complaint): The strap broke.",
        "- sound (praise): Lovely sound.",
    ]


def test_a_topic_that_says_nothing_goes_back_to_the_model(provider: ProviderProcess, tmp_path: Path) -> None:
    empty = Opinion(topic="review", mood="praise").model_dump_json()
    provider.use(Script(rules=(Rule(answer=[empty, SOUND], counted="conversation"),)))
    run = stagebook.run(pipeline, Reviews(text="Lovely sound."), model=MODEL, ledger=tmp_path / "ledger.db")
    assert [one.topic for one in run[opinion]] == ["sound"]
    assert len(provider.bill().charged) == 2
