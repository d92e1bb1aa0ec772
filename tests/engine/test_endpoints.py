"""Runs that ask endpoints of their own, of every shape, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import pytest
from aiohttp import web
from pydantic import BaseModel
from tests.engine.conftest import QUICK

from stagebook import Complaint, Endpoint, Key, Pipeline, Text
from stagebook.engine.session import Site, Start, begin, carry_on
from stagebook.engine.settings import Settings
from stagebook.insight.exchanges import exchanges_of
from stagebook.ledger.store import Ledger
from stagebook.model.errors import MissingKey, NotFound
from stagebook.model.records import Run

ENVIRONMENT = {"MY_KEY": "the-key-of-the-tests"}


class Given(BaseModel):
    words: list[str]


class Word(BaseModel):
    word: Annotated[str, Key]


class Note(BaseModel):
    text: Text


class Mark(BaseModel):
    mark: int


def asking(returns: type[BaseModel] = Note, **options: Any) -> Pipeline:
    pipeline = Pipeline("words", input=Given, model="endpoint:mine")

    @pipeline.stage()
    def words(given: Given) -> Iterator[Word]:
        yield from (Word(word=word) for word in given.words)

    @pipeline.prompt(each=Word, text="What is {{ word.word }}?", returns=returns, on_error="collect", **options)
    def answer(word: Word) -> None: ...

    if returns is Mark:

        @answer.check
        def is_small(mark: Mark) -> None:
            if mark.mark > 6:
                raise Complaint("a mark is at most 6")

    return pipeline


class Server:
    """An API of one's own: a function answers, and what came is kept."""

    def __init__(self) -> None:
        self.url = ""
        self.seconds = 0.0
        self.came: list[tuple[web.Request, str]] = []
        self.answer: Callable[[str], Any] = lambda body: {"response": body}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = (await request.read()).decode()
        self.came.append((request, body))
        await asyncio.sleep(self.seconds)
        made = self.answer(body or request.query.get("q", ""))
        return made if isinstance(made, web.StreamResponse) else web.json_response(made)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application(client_max_size=1 << 24)
    app.router.add_route("*", "/ask", server.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/ask"
    yield server
    await runner.cleanup()


class Desk:
    """Runs pipelines on one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.site = Site(ledger, ENVIRONMENT)

    async def run(self, pipeline: Pipeline, *words: str, **settings: Any) -> Run:
        start = Start(pipeline.check(), "test", Given(words=list(words)), Settings(retry=QUICK, **settings))
        run = await begin(start, self.site)
        await self.go_on(run, pipeline)
        return run

    async def go_on(self, run: Run, pipeline: Pipeline) -> None:
        await carry_on(await self.ledger.run(run.run_id), pipeline.check(), self.site)

    async def made(self, run: Run) -> dict[str, Any]:
        return {item: orjson.loads(data) async for item, data in self.ledger.stage_outputs(run.id, "answer")}

    async def reasons(self, run: Run) -> dict[str, str]:
        return {step.item: step.reason or "" for step in await self.ledger.steps(run.id) if step.reason}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        yield Desk(ledger)


def holding(folder: Path, secret: bytes) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file() and secret in one.read_bytes()]


async def test_an_endpoint_is_asked_as_it_is_declared_and_its_key_is_kept_nowhere(
    desk: Desk, server: Server, tmp_path: Path
) -> None:
    server.answer = lambda body: {"data": {"said": orjson.loads(body)["q"].upper()}, "stats": {"tokens_used": 0}}
    mine = Endpoint(
        url=server.url + "?v=2",
        method="PUT",
        headers={"Authorization": "Bearer env:MY_KEY", "X-Team": "tides"},
        body={"q": "{{ prompt }}", "model": "{{ model }}", "n": 1},
        answer="data.said",
        tokens="stats",
        model="llama",
    )
    run = await desk.run(asking(), "sea", endpoints={"mine": mine})
    assert await desk.made(run) == {"sea": {"text": "WHAT IS SEA?"}}
    ((request, body),) = server.came
    assert (request.method, request.path_qs, request.headers["X-Team"]) == ("PUT", "/ask?v=2", "tides")
    assert request.headers["Authorization"] == "Bearer the-key-of-the-tests"
    assert orjson.loads(body) == {"q": "What is sea?", "model": "llama", "n": 1}
    table = await desk.ledger.query("SELECT provider, model, input_tokens, output_tokens, cost, usage FROM exchanges")
    assert table.rows == [("endpoint", "mine", 0, 0, None, '{"tokens_used":0}')]
    (step,) = [step for step in await desk.ledger.steps(run.id) if step.stage == "answer"]
    (told,) = await exchanges_of(desk.ledger, run.id, step.id)
    assert (told.answer, told.messages[0].text) == ("WHAT IS SEA?", "What is sea?")
    await desk.ledger.close()
    assert holding(tmp_path, b"the-key-of-the-tests") == []
    assert holding(tmp_path, b"Bearer env:MY_KEY")


async def test_a_complaint_goes_back_in_the_same_body(desk: Desk, server: Server) -> None:
    answers = iter(["Sure: {'mark': 9}", '```json\n{"mark": 4}\n```'])
    server.answer = lambda _: {"content": [{"type": "text", "text": next(answers)}], "usage": {"input_tokens": 7}}
    run = await desk.run(asking(Mark), "sea", endpoints={"mine": Endpoint(url=server.url)})
    assert await desk.made(run) == {"sea": {"mark": 4}}
    first, second = (orjson.loads(body)["prompt"] for _, body in server.came)
    assert "valid under this JSON schema" in first
    assert first.endswith("What is sea?")
    assert "a mark is at most 6" in second
    assert "Assistant:\nSure: {'mark': 9}" in second


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (lambda: web.Response(text="<html><p>Log in", content_type="text/html"), "a page of HTML: '<html><p>Log in'"),
        (web.Response, "answered with an empty body"),
        (lambda: web.json_response({"error": "no"}), 'without a text in any known place: \'{"error": "no"}\''),
        (lambda: web.Response(status=413, text="too large"), "answered 413: 'too large'; send it a shorter prompt"),
        (lambda: web.Response(status=302, headers={"location": "/new"}), "answered 302 and leads to /new; give that"),
        (lambda: web.Response(status=503, text="busy"), "answered 503: 'busy' (after 4 tries)"),
    ],
    ids=["html", "empty", "other", "413", "302", "503"],
)
async def test_an_answer_that_is_none_fails_its_step_and_the_others_go_on(
    desk: Desk, server: Server, answer: Callable[[], web.Response], told: str
) -> None:
    server.answer = lambda body: answer() if "sea" in body else {"text": "fine"}
    run = await desk.run(asking(tries=1), "sea", "sky", endpoints={"mine": Endpoint(url=server.url)})
    assert await desk.made(run) == {"sky": {"text": "fine"}}
    reasons = await desk.reasons(run)
    assert list(reasons) == ["sea"]
    assert told in reasons["sea"]
    assert "endpoint:mine" in reasons["sea"]


async def test_a_get_is_asked_by_its_address_alone(desk: Desk, server: Server) -> None:
    server.answer = lambda asked: web.Response(text=f"it was {asked}")
    mine = Endpoint(url=server.url + "?q={{ prompt }}", method="GET")
    run = await desk.run(asking(), "a&b+c%20", "d", endpoints={"mine": mine})
    made = await desk.made(run)
    assert made["a&b+c%20"] == {"text": "it was What is a&b+c%20?"}
    assert made["d"] == {"text": "it was What is d?"}


async def test_an_endpoint_that_is_slower_than_its_timeout_is_given_up(desk: Desk, server: Server) -> None:
    server.seconds = 5.0
    run = await desk.run(asking(), "sea", endpoints={"mine": Endpoint(url=server.url, timeout=0.1)})
    assert "gave no answer within 0.1 s (after 4 tries)" in (await desk.reasons(run))["sea"]


async def test_a_resume_finds_its_endpoint_and_pays_nothing_twice(desk: Desk, server: Server) -> None:
    server.answer = lambda body: web.Response(status=400, text="no") if "sky" in body else {"text": "fine"}
    mine = Endpoint(url=server.url, headers={"x-api-key": "env:MY_KEY"})
    run = await desk.run(asking(), "sea", "sky", endpoints={"mine": mine}, limits={"endpoint:mine": "600/1M"})
    assert len(server.came) == 2
    server.answer = lambda _: {"text": "fine"}
    await desk.go_on(run, asking())
    assert await desk.made(run) == {"sea": {"text": "fine"}, "sky": {"text": "fine"}}
    assert [request.headers["x-api-key"] for request, _ in server.came] == ["the-key-of-the-tests"] * 3


async def test_a_price_that_is_given_is_charged(desk: Desk, server: Server) -> None:
    server.answer = lambda _: {"text": "fine", "usage": {"prompt_tokens": 10, "completion_tokens": 5}}
    mine = Endpoint(url=server.url, body={"p": "{{ prompt }}", "max_tokens": 50})
    prices = {"endpoint:mine": "1/2"}
    await desk.run(asking(), "sea", endpoints={"mine": mine}, prices=prices, budget=10**12)
    table = await desk.ledger.query("SELECT cost, price_source FROM exchanges")
    assert table.rows == [(20 * 10**6, "given")]


async def test_what_cannot_be_asked_is_told_before_anything_is_written(desk: Desk, server: Server) -> None:
    with pytest.raises(NotFound, match=r"no endpoint is called 'mine' \(the run has: other\); declare it with"):
        await desk.run(asking(), "sea", endpoints={"other": Endpoint(url=server.url)})
    missing = Endpoint(url=server.url, headers={"x-api-key": "env:NOT_SET"})
    with pytest.raises(MissingKey, match="NOT_SET is not set"):
        await desk.run(asking(), "sea", endpoints={"mine": missing})
    assert await desk.ledger.runs() == []


async def test_an_endpoint_may_stand_in_for_another_model(desk: Desk, server: Server) -> None:
    server.answer = lambda body: web.Response(status=503) if "down" in body else {"text": "fine"}
    both = {
        "one": Endpoint(url=server.url, body={"p": "{{ prompt }}", "which": "down"}),
        "two": Endpoint(url=server.url),
    }
    run = await desk.run(asking(), "sea", endpoints=both, model="endpoint:one|endpoint:two")
    assert await desk.made(run) == {"sea": {"text": "fine"}}
