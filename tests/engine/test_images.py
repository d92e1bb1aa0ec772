"""Pictures, from a template to the provider and into the ledger."""

import base64
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import pytest
from pydantic import BaseModel, ValidationError

from stagebook import DefinitionError, Image, Key, Llm, Pipeline
from stagebook.definition.template import Template
from stagebook.model.errors import InputError, TemplateFailed
from stagebook.testing.provider_faults import ErrorStatus
from stagebook.testing.provider_script import Rule, Script

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
JPEG = b"\xff\xd8\xff\xe0" + bytes(range(255, -1, -1)) * 40
PROVIDERS = ["openai:gpt-4.1-mini", "openai-responses:gpt-4.1-mini", "anthropic:claude-haiku-4-5"]


class Scan(BaseModel):
    pictures: list[Image]


class Page(BaseModel):
    number: Annotated[int, Key]
    picture: Image


class Label(BaseModel):
    word: str


def scan_pipeline(model: str) -> Pipeline:
    pipeline = Pipeline("scan", input=Scan, model=model)

    @pipeline.stage()
    def pages(scan: Scan) -> Iterator[Page]:
        for number, picture in enumerate(scan.pictures):
            yield Page(number=number, picture=picture)

    text = "Page {{ page.number }}: {{ page.picture }} All pages: {{ scan.pictures }} What is it?"

    @pipeline.prompt(each=Page, text=text, returns=Label)
    def label(page: Page, scan: Scan) -> None: ...

    return pipeline


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    (tmp_path / "one.png").write_bytes(PNG)
    return Scan(pictures=[Image.from_file(tmp_path / "one.png"), Image.from_bytes(JPEG)])


@pytest.mark.parametrize("model", PROVIDERS)
async def test_a_picture_is_shown_where_its_template_writes_it_and_stored_once(
    bench: Any, scan: Scan, model: str
) -> None:
    run, ended = await bench.run(scan_pipeline(model), scan, concurrency=1)
    assert ended.finished, await bench.reasons(run)
    assert [request.images for request in bench.provider.requests] == [3, 3]
    first = orjson.dumps(orjson.loads(bench.provider.requests[0].body)).decode()
    png, jpeg = base64.b64encode(PNG).decode(), base64.b64encode(JPEG).decode()
    places = [first.index("Page 0:"), first.index(png), first.index("All pages:"), first.rindex(png), first.index(jpeg)]
    assert places == sorted(places)
    assert first.index("What is it?") > first.index(jpeg)
    assert "image/jpeg" in first
    table = await bench.ledger.query(
        "select count(*), count(distinct payload) from segments join payloads on payload = hash where size = ?",
        (len(png),),
    )
    assert table.rows == [(3, 1)]  # shown three times, kept once
    exchanges = await bench.ledger.query("select id, request_size from exchanges")
    for exchange, size in exchanges.rows:
        assert len(await bench.ledger.request_body(exchange)) == size


@pytest.mark.parametrize("model", PROVIDERS)
async def test_a_stage_may_ask_about_a_picture_of_megabytes(bench: Any, model: str) -> None:
    large = Image.from_bytes(PNG + random.Random(7).randbytes(1_500_000))
    pipeline = Pipeline("scan", input=Scan, model=model)

    @pipeline.stage()
    async def label(scan: Scan, llm: Llm) -> Label:
        return Label(word=await llm.ask(["What is this?", scan.pictures[0], "One word."], system="Be brief."))

    run, ended = await bench.run(pipeline, Scan(pictures=[large]))
    assert ended.finished, await bench.reasons(run)
    (request,) = bench.provider.requests
    assert request.images == 1
    assert "What is this?" in request.text
    assert large.base64().encode() in request.body
    exchange = (await bench.ledger.query("select id from exchanges")).rows[0][0]
    assert await bench.ledger.request_body(exchange) == request.body


async def test_a_changed_picture_is_noticed_before_anything_is_asked(bench: Any, scan: Scan, tmp_path: Path) -> None:
    bench.provider.use(Script(faults=(ErrorStatus(status=503),)))
    pipeline = scan_pipeline(PROVIDERS[0])
    run, _ = await bench.run(pipeline, scan)
    asked = len(bench.provider.bill.entries)
    bench.provider.use(Script())
    (tmp_path / "one.png").write_bytes(PNG + b"more")
    again = await bench.ledger.run(run.run_id)
    given = Scan.model_validate_json(again.input)
    with pytest.raises(InputError, match="has changed"):
        given.pictures[0].base64()
    ended = await bench.carry_on(again, pipeline)
    assert ended.failed
    assert "has changed" in (await bench.reasons(run))["label"]
    assert len(bench.provider.bill.entries) == asked


async def test_an_input_may_name_a_picture_by_its_path_alone(bench: Any, scan: Scan, tmp_path: Path) -> None:
    named = Scan.model_validate_json(orjson.dumps({"pictures": [str(tmp_path / "one.png")]}))
    assert named.pictures[0] == scan.pictures[0]
    assert named.pictures[0].media_type == "image/png"
    (tmp_path / "text.png").write_text("no picture at all")
    with pytest.raises(ValidationError, match="no picture that models can be shown"):
        Scan.model_validate({"pictures": [{"path": str(tmp_path / "text.png")}]})


def test_a_picture_inside_a_printed_model_is_named_and_not_printed() -> None:
    page = Page(number=1, picture=Image.from_bytes(PNG))
    (message,) = Template.parse("t", "{{ page }}").render({"page": page})
    assert message.text == '{"number":1,"picture":"[image/png]"}'
    assert Page.model_validate_json(page.model_dump_json()) == page


@pytest.mark.parametrize(
    "text",
    [
        "{% set kept %}{{ picture }}{% endset %}{{ kept }}",
        "{% macro show(one) %}{{ one }}{% endmacro %}{{ show(picture) }}",
    ],
)
def test_a_picture_that_jinja_would_lose_is_an_error(text: str) -> None:
    with pytest.raises(TemplateFailed, match="written as"):
        Template.parse("t", text).render({"picture": Image.from_bytes(PNG)})


def test_a_picture_in_a_loop_stands_between_its_texts() -> None:
    template = Template.parse(
        "t", "## system\nbe brief\n## user\n{% for one in all %}No {{ loop.index }} {{ one }}{% endfor %}"
    )
    pictures = [Image.from_bytes(PNG), Image.from_bytes(JPEG)]
    system, user = template.render({"all": pictures})
    assert system.pieces == ("be brief",)
    assert user.pieces == ("No 1", pictures[0], "No 2", pictures[1])


def test_a_model_is_not_asked_to_write_a_picture() -> None:
    pipeline = Pipeline("scan", input=Scan, model=PROVIDERS[0])

    @pipeline.prompt(text="Draw {{ scan.pictures }}", returns=Page)
    def page(scan: Scan) -> None: ...

    with pytest.raises(
        DefinitionError, match="Page cannot be asked for by schema: a language model writes no pictures"
    ):
        pipeline.check()


async def test_the_local_model_says_that_it_cannot_see(bench: Any, scan: Scan) -> None:
    run, ended = await bench.run(scan_pipeline("local:smollm2"), scan, concurrency=1)
    assert ended.failed
    assert "reads text only" in (await bench.reasons(run))["label"]
    assert bench.provider.bill.entries == []


async def test_rules_of_the_script_see_the_words_around_a_picture(bench: Any, scan: Scan) -> None:
    bench.provider.use(Script(rules=(Rule(contains=("Page 1:", "What is it?"), fields={"word": "found"}),)))
    run, _ = await bench.run(scan_pipeline(PROVIDERS[2]), scan)
    assert await bench.outputs(run, "label") != {}
    assert (await bench.outputs(run, "label"))["1"] == b'{"word":"found"}'
