"""Whole runs of episode-content through the engine, the ledger and HTTP, with an author who answers as a model does."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from stagebook.engine.drive import Ended, Stop
from stagebook.engine.session import Site, Start, begin, carry_on
from stagebook.engine.settings import Settings
from stagebook.insight.overview import describe
from stagebook.ledger.store import Ledger
from stagebook.model.records import Run
from stagebook.model.usage import dollars
from stagebook.testing.provider import FakeProvider
from stagebook.testing.provider_bill import BillEntry
from stagebook.testing.provider_faults import Delay, ErrorStatus
from stagebook.testing.provider_request import ChatRequest
from stagebook.testing.provider_script import Rule, Script
from stagebook_pipelines.episode_content.models import Episode
from stagebook_pipelines.episode_content.pipeline import pipeline

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
INTERVIEW = EXAMPLES / "interview.txt"
PODCASTS = ROOT.parent / "shared" / "data" / "podcast" / "dev"
GRAPH = pipeline.check()
NUMBERED = sorted(
    (spec for spec in GRAPH.stages.values() if spec.number is not None), key=lambda spec: spec.number or 0
)
KEY = "sk-fake-key-of-the-tests"


def real(name: str, case: str) -> Any:
    path = PODCASTS / name
    why = f"the shared data is absent: no {path.name} in {PODCASTS}"
    return pytest.param(
        path, marks=[pytest.mark.real_data, pytest.mark.skipif(not path.is_file(), reason=why)], id=case
    )


BELOW = real("brainscience__brain-science-2.md", "5600-tokens")
ABOVE = real("friends__changelog--friends-28.md", "21000-tokens")
EXAMPLE = pytest.param(INTERVIEW, id="interview")


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did."""

    code: int
    out: bytes
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Studio:
    """A ledger's file and a provider, and the ways to bring the pipeline to them."""

    def __init__(self, folder: Path, provider: FakeProvider) -> None:
        self.folder = folder
        self.file = folder / "ledger.db"
        self.provider = provider
        self.environment = {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": KEY}

    @contextlib.asynccontextmanager
    async def site(self) -> AsyncIterator[Site]:
        """Open the ledger anew, as a new process does."""
        async with await Ledger.open(self.file) as ledger:
            yield Site(ledger, self.environment)

    async def run(
        self, script: Script, transcript: str, evergreen: Any = None, *, stop: Stop | None = None
    ) -> tuple[Run, Ended]:
        self.provider.use(script)
        episode = Episode.model_validate({"transcript": transcript, "evergreen": evergreen or {}})
        async with self.site() as site:
            run = await begin(Start(GRAPH, "test", episode, Settings()), site)
            return run, await carry_on(run, GRAPH, site, stop=stop)

    async def resume(self, run: Run) -> Ended:
        async with self.site() as site:
            return await carry_on(run, GRAPH, site)

    async def document(self, run: Run) -> dict[str, Any]:
        async with self.site() as site:
            return (await describe(site.ledger, run.run_id)).to_json()

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        async with await Ledger.open(self.file) as ledger:
            return [tuple(row) for row in (await ledger.query(query)).rows]

    async def written(self) -> dict[str, tuple[Any, str | None]]:
        """The view stage_outputs: of each numbered stage its output_data, read, and its output_text."""
        rows = await self.rows("select stage, output_data, output_text from stage_outputs where number is not null")
        return {stage: (data and json.loads(data), text) for stage, data, text in rows}

    async def begin(self, *words: str) -> asyncio.subprocess.Process:
        """Begin a command in the studio's folder."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return await asyncio.create_subprocess_exec(
            str(Path(sys.executable).with_name("stagebook")),
            *words,
            cwd=self.folder,
            env={**kept, **self.environment, "STAGEBOOK_LEDGER": str(self.file)},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def type(self, *words: str) -> Done:
        """Run a command to its end."""
        process = await self.begin(*words)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Done(process.returncode, out, err.decode())

    def asked(self, part: str) -> list[ChatRequest]:
        """The requests whose messages or schema's name hold this."""
        return [one for one in self.provider.requests if part in one.text or part == one.schema_name]

    def entry(self, part: str) -> BillEntry:
        """The bill's one entry for such a request."""
        (request,) = self.asked(part)
        return next(entry for entry in self.provider.bill.entries if entry.number == request.number)

    async def until_asked(self, part: str) -> None:
        """Wait until such a request has arrived."""
        while not self.asked(part):
            await asyncio.sleep(0.01)


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    async with FakeProvider() as provider:
        yield Studio(tmp_path, provider)


def words_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# --- whole transcripts, strictly


@pytest.mark.parametrize("transcript", [EXAMPLE, BELOW, ABOVE])
async def test_a_transcript_passes_all_ten_stages_and_costs_what_the_bill_says(
    studio: Studio, author: Any, evergreen: Any, transcript: Path
) -> None:
    run, ended = await studio.run(author.script(), words_of(transcript), evergreen)
    assert ended.finished
    document = await studio.document(run)
    assert (document["status"], document["errors"], document["possibly_paid"]) == ("completed", [], 0)
    assert document["cost_usd"] == dollars(studio.provider.bill.total())
    assert studio.provider.bill.charged_again() == {}
    async with studio.site() as site:
        for spec in NUMBERED:
            kept = await site.ledger.output_of(run.id, spec.name, "")
            if kept is not None:
                spec.output.model_validate_json(kept)
            assert (kept is None) == (spec.number == 0 and transcript.name != "friends__changelog--friends-28.md")
    assert not [warning for warning in document["warnings"] if "not in the transcript" in warning]


@pytest.mark.parametrize("transcript", [EXAMPLE, BELOW])
async def test_stage_0_and_its_helper_are_skipped_below_8000_tokens_and_cost_nothing(
    studio: Studio, author: Any, transcript: Path
) -> None:
    run, _ = await studio.run(author.script(), words_of(transcript))
    stages = {stage["name"]: stage for stage in (await studio.document(run))["stages"]}
    for name in ("transcript-preprocessing", "window-summary"):
        stage = stages.pop(name)
        assert (stage["status"], stage["cost_usd"], stage["input_tokens"]) == ("skipped", dollars(0), 0)
    assert {stage["status"] for stage in stages.values()} == {"completed"}
    steps = "select distinct status, tokens_used from v2_pipeline_steps where step_name like '0@_%' escape '@'"
    assert await studio.rows(steps) == [("completed", 0)]
    assert not studio.asked("Write what is said in it")
    assert not studio.asked("TranscriptPreprocessing")


@pytest.mark.parametrize("transcript", [ABOVE])
async def test_a_transcript_above_8000_tokens_is_summarised_and_the_summary_is_what_stage_1_reads(
    studio: Studio, author: Any, transcript: Path
) -> None:
    await studio.run(author.script(), words_of(transcript))
    assert len(studio.asked("Write what is said in it")) > 1
    data, _ = (await studio.written())["transcript-preprocessing"]
    (analysis,) = studio.asked("TranscriptAnalysis")
    assert data["comprehensive_summary"] in analysis.text
    assert "<transcript>" not in analysis.text


@pytest.mark.parametrize("transcript", [EXAMPLE, BELOW, ABOVE])
async def test_every_quote_stands_in_the_transcript_verbatim_at_its_offsets(
    studio: Studio, author: Any, transcript: Path
) -> None:
    whole = words_of(transcript)
    await studio.run(author.script(), whole)
    data, _ = (await studio.written())["quote-extraction"]
    assert 5 <= len(data["quotes"]) <= 15
    assert [whole[quote["start"] : quote["end"]] for quote in data["quotes"]] == [
        quote["text"] for quote in data["quotes"]
    ]
    assert "chosen by rule" not in (data["extraction_notes"] or "")


@pytest.mark.parametrize("transcript", [EXAMPLE, BELOW, ABOVE])
async def test_a_run_that_stopped_after_the_draft_goes_on_in_a_new_ledger_with_both_outputs_of_stage_6(
    studio: Studio, author: Any, answers: ModuleType, transcript: Path
) -> None:
    stop = Stop()

    def write_and_stop(request: ChatRequest) -> str:
        stop.finish("paused")
        written: str = author.draft(request)
        return written

    first = Rule(contains=answers.DRAFT, answer=write_and_stop)
    run, ended = await studio.run(author.script(first), words_of(transcript), stop=stop)
    assert (ended.finished, ended.stopped) == (False, "paused")
    assert not studio.asked(answers.REFINEMENT)
    data, text = (await studio.written())["blog-draft"]
    assert set(data) == {"word_count", "char_count", "structure", "ai_patterns_detected"}
    assert data["word_count"] >= 600
    assert text is not None

    assert (await studio.resume(run)).finished
    assert (await studio.written())["blog-draft"] == (data, text)
    (refinement,) = studio.asked(answers.REFINEMENT)
    assert text in refinement.text
    assert (await studio.written())["refinement"][1] is not None
    assert len(studio.asked(answers.DRAFT)) == 1
    assert studio.provider.bill.charged_again() == {}
    assert (await studio.document(run))["cost_usd"] == dollars(studio.provider.bill.total())


# --- what comes back is checked


async def test_a_draft_of_80_words_is_sent_back_once_and_both_tries_are_paid_and_kept(
    studio: Studio, author: Any, answers: ModuleType
) -> None:
    short = "# The Organ\n\n" + "word " * 80
    tries = Rule(contains=answers.DRAFT, answer=[short, author.draft], counted="conversation")
    run, ended = await studio.run(author.script(tries), words_of(INTERVIEW))
    assert ended.finished
    first, second = studio.asked(answers.DRAFT)
    assert second.messages[:2] == first.messages
    assert second.messages[2] == {"role": "assistant", "content": short}
    assert "needs at least 600" in second.messages[3]["content"]
    kept = await studio.rows(
        "select e.cost, e.complaint from exchanges e join steps s on s.id = e.step"
        " where s.stage = 'blog-draft' order by e.id"
    )
    charged = {entry.number: entry.cost for entry in studio.provider.bill.charged}
    assert [cost for cost, _ in kept] == [charged[first.number], charged[second.number]]
    assert "needs at least 600" in kept[0][1]
    assert kept[1][1] is None
    assert (await studio.document(run))["cost_usd"] == dollars(studio.provider.bill.total())
    assert "word word" not in ((await studio.written())["blog-draft"][1] or "")


async def test_quotes_of_sentences_that_are_not_there_are_refused_back_to_the_model(
    studio: Studio, author: Any
) -> None:
    invented = {"quotes": [{"sentences": [90000 + number], "usage": "social"} for number in range(9)]}
    tries = Rule(schema_name="WindowQuotes", answer=[invented, author.choose], counted="conversation")
    _, ended = await studio.run(author.script(tries), words_of(INTERVIEW))
    assert ended.finished
    _, second = studio.asked("WindowQuotes")
    assert "quote [90000]: choose numbers from 1 to" in second.last_text
    data, _ = (await studio.written())["quote-extraction"]
    whole = words_of(INTERVIEW)
    assert all(whole[quote["start"] : quote["end"]] == quote["text"] for quote in data["quotes"])


async def test_a_quotation_in_the_draft_that_nobody_said_is_told_as_a_warning(
    studio: Studio, author: Any, answers: ModuleType
) -> None:
    said = "I have never in my life been near an organ."

    def misquote(request: ChatRequest) -> str:
        return f"{author.draft(request)}\n\n> {said}\n> \u2014 Ruth Okafor"

    run, ended = await studio.run(author.script(Rule(contains=answers.DRAFT, answer=misquote)), words_of(INTERVIEW))
    assert ended.finished
    assert f"blog-draft: not in the transcript word for word: {said!r}" in (await studio.document(run))["warnings"]


# --- order


async def test_stages_that_do_not_read_each_other_are_in_flight_at_the_same_time(studio: Studio, author: Any) -> None:
    slow = tuple(
        Rule(schema_name=name, answer=answer, faults=(Delay(seconds=0.5),))
        for name, answer in {
            "ParagraphOutlines": author.paragraphs,
            "Headlines": author.headlines,
            "SocialContent": author.social,
            "EmailCampaign": author.email,
        }.items()
    )
    await studio.run(author.script(*slow), words_of(INTERVIEW))
    for one, other in (("ParagraphOutlines", "Headlines"), ("SocialContent", "EmailCampaign")):
        first, second = studio.entry(one), studio.entry(other)
        assert first.ended_at is not None
        assert second.ended_at is not None
        assert max(first.arrived_at, second.arrived_at) < min(first.ended_at, second.ended_at)


# --- the command


async def test_the_example_runs_through_the_command_and_prints_one_document(studio: Studio, author: Any) -> None:
    studio.provider.use(author.script())
    voice = EXAMPLES / "evergreen.json"
    done = await studio.type("run", "episode-content", str(INTERVIEW), "--set", f"evergreen={voice}", "--json")
    assert done.code == 0, done.err
    document = done.json()
    assert document["status"] == "completed"
    assert document["cost_usd"] == dollars(studio.provider.bill.total())
    assert [stage["number"] for stage in document["stages"] if stage["number"] is not None] == list(range(10))
    costs = await studio.type("sql", "select sum(cost_picodollars) from costs", "--json")
    assert costs.json()["rows"] == [[studio.provider.bill.total()]]


async def test_evergreen_texts_from_a_file_reach_the_prompts_that_speak_in_the_owners_voice(
    studio: Studio, author: Any, answers: ModuleType
) -> None:
    studio.provider.use(author.script())
    standing = studio.folder / "standing.json"
    standing.write_text(json.dumps({"voice_guidelines": {"tone": "Dry as a biscuit."}, "seo_defaults": "biscuits"}))
    done = await studio.type("run", "episode-content", str(INTERVIEW), "--set", f"evergreen=@{standing}", "--json")
    assert done.code == 0, done.err
    for part in (answers.DRAFT, answers.REFINEMENT, "SocialContent", "EmailCampaign", "ParagraphOutlines"):
        (request,) = studio.asked(part)
        assert "tone: Dry as a biscuit." in request.text
    (outline,) = studio.asked("BlogOutline")
    assert "biscuits" in outline.text


async def test_until_headlines_asks_only_what_headlines_need(studio: Studio, author: Any, answers: ModuleType) -> None:
    studio.provider.use(author.script())
    done = await studio.type("run", "episode-content", str(INTERVIEW), "--until", "headlines", "--json")
    assert done.code == 0, done.err
    asked = [request.schema_name for request in studio.provider.requests]
    assert sorted(name or "" for name in asked) == ["BlogOutline", "Headlines", "TranscriptAnalysis", "WindowQuotes"]
    assert not studio.asked(answers.DRAFT)
    assert done.json()["status"] == "completed"
    assert "paragraph-outlines" not in {stage["name"] for stage in done.json()["stages"]}


async def test_a_run_killed_while_nothing_was_in_flight_is_resumed_without_a_second_payment(
    studio: Studio, author: Any, answers: ModuleType
) -> None:
    down = ErrorStatus(status=503, retry_after=600)
    refused = Rule(contains=answers.REFINEMENT, answer=author.refine, faults=(down,))
    studio.provider.use(author.script(refused))
    process = await studio.begin("run", "episode-content", str(INTERVIEW), "--json")
    await studio.until_asked(answers.REFINEMENT)
    while studio.provider.bill.in_flight():
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    paid = len(studio.provider.bill.charged)

    studio.provider.use(author.script())
    done = await studio.type("resume", "last", "--json")
    assert done.code == 0, done.err
    document = done.json()
    assert document["status"] == "completed"
    assert studio.provider.bill.charged_again() == {}
    assert len(studio.provider.bill.charged) == paid + 3
    assert document["cost_usd"] == dollars(studio.provider.bill.total())
    assert (await studio.written())["email-campaign"][0]["email_body"]


async def test_a_run_killed_in_flight_pays_again_at_most_for_what_was_in_flight_and_says_so(
    studio: Studio, author: Any
) -> None:
    held = {"ParagraphOutlines": author.paragraphs, "Headlines": author.headlines}
    slow = [Rule(schema_name=name, answer=answer, faults=(Delay(seconds=60),)) for name, answer in held.items()]
    studio.provider.use(author.script(*slow))
    process = await studio.begin("run", "episode-content", str(INTERVIEW), "--json")
    for name in held:
        await studio.until_asked(name)
    process.send_signal(signal.SIGKILL)
    await process.communicate()

    studio.provider.use(author.script())
    done = await studio.type("resume", "last", "--json")
    assert done.code == 0, done.err
    assert done.json()["status"] == "completed"
    assert done.json()["possibly_paid"] == len(held)
    again = {entry.number for entries in studio.provider.bill.charged_again().values() for entry in entries[:1]}
    assert again == {min(one.number for one in studio.asked(name)) for name in held}
