"""Whole runs of prompt-batch through the engine, the ledger and HTTP."""

import asyncio
import base64
import hashlib
import hmac
import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from stagebook.door.retry import RetryPolicy
from stagebook.engine.drive import Ended, Stop
from stagebook.engine.session import Site, Start, begin, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger
from stagebook.model.records import Run
from stagebook.testing.provider import FakeProvider
from stagebook.testing.provider_faults import ErrorStatus, Refusal
from stagebook.testing.provider_script import Rule, Script
from stagebook_pipelines.prompt_batch import extract_prompts
from stagebook_pipelines.prompt_batch.models import Batch
from stagebook_pipelines.prompt_batch.pipeline import pipeline
from stagebook_pipelines.prompt_batch.storing.address import open_store
from stagebook_pipelines.prompt_batch.storing.record import Heading
from stagebook_pipelines.prompt_batch.storing.store import StoreError

GRAPH = pipeline.check()
MODEL = "openai:gpt-4.1-mini"
HOOK_SECRET = "env:HOOK_SECRET"  # noqa: S105  a reference
CONVERSATIONS = Path(__file__).parents[2].parent / "shared" / "data" / "conversations"


class Desk:
    """A ledger, a provider, a folder of archives, and what runs of the pipeline leave."""

    def __init__(self, folder: Path, ledger: Ledger, provider: FakeProvider) -> None:
        self.folder, self.ledger, self.provider = folder, ledger, provider
        self.results = folder / "results.db"
        environment = {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "sk-fake-key-of-the-tests"}
        self.site = Site(ledger, environment)

    def archive(self, name: str, *prompts: str) -> None:
        """Write a file in which people ask."""
        path = self.folder / "archives" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps({"messages": [{"role": "user", "content": one}]}) + "\n" for one in prompts))

    async def begin(self, **given: Any) -> Run:
        source = {} if "prompts" in given else {"source": str(self.folder / "archives")}
        settings = Settings(model=MODEL, retry=RetryPolicy(tries=2, base=0.01, cap=0.02))
        return await begin(Start(GRAPH, "test", Batch.model_validate({**source, **given}), settings), self.site)

    async def run(self, **given: Any) -> tuple[Run, Ended]:
        run = await self.begin(**given)
        return run, await self.carry_on(run)

    async def carry_on(self, run: Run, stop: Stop | None = None) -> Ended:
        return await carry_on(run, GRAPH, self.site, stop=stop)

    async def output(self, run: Run, stage: str) -> Any:
        found = [one for one in await self.ledger.outputs(run.id) if one.stage == stage]
        return [json.loads(await self.ledger.output_data(one.id)) for one in found]

    async def summary(self, run: Run) -> Any:
        (found,) = await self.output(run, "summary")
        return found

    async def reasons(self, run: Run) -> dict[str, str]:
        return {step.stage: step.reason or "" for step in await self.ledger.steps(run.id) if step.status == "failed"}

    def asked(self) -> int:
        return len(self.provider.bill.entries)

    def rows(self, columns: str) -> list[tuple[Any, ...]]:
        with sqlite3.connect(self.results) as database:
            rows = database.execute(f"SELECT {columns} FROM prompt_evaluations ORDER BY id").fetchall()  # noqa: S608  ours
        database.close()
        return rows


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with FakeProvider() as provider, await Ledger.open(tmp_path / "ledger.db") as ledger:
        yield Desk(tmp_path, ledger, provider)


def echo(*more: Rule) -> Script:
    return Script(rules=(*more, Rule(template="Answer to: {{ text }}")))


async def test_a_folder_of_archives_is_asked_stored_scored_and_summed_up(desk: Desk) -> None:
    desk.archive("a.jsonl", "What is a ledger?", "What is a door?")
    desk.archive("sums.jsonl", "unused")
    sums = [{"question": f"What is {n}+{n}?", "answer": str(2 * n)} for n in range(1, 5)]
    (desk.folder / "archives" / "sums.jsonl").write_text("".join(json.dumps(one) + "\n" for one in sums))
    (desk.folder / "archives" / "torn.json").write_text('{"messages": [{"role"')
    desk.provider.use(echo(Rule(contains="What is 1+1?", answer="2"), Rule(contains="What is 2+2?", answer="5")))
    run, ended = await desk.run(store=str(desk.results), experiment_name="first", tags="a, b")
    assert ended.stopped is None
    told = await desk.summary(run)
    assert (told["total"], told["successful"], told["failed"], told["stored"]) == (6, 6, 0, 6)
    assert told["files_processed"] == 2  # of the torn one nothing could be read
    assert told["evaluation"]["metrics"]["exact_match"] | {"interval": None} == {
        "mean": 0.25,
        "interval": None,
        "count": 4,
        "unscored": 2,
        "worst": 0.0,
        "best": 1.0,
        "corpus": None,
    }
    assert len(told["errors"]) == 1
    assert told["errors"][0].startswith("torn.json")
    rows = desk.rows(
        "prompt, response, model, success, error, experiment_name, tags, tokens_used > 0, duration_ms >= 0"
    )
    assert rows[1] == (
        "What is a door?",
        "Answer to: What is a door?",
        MODEL,
        1,
        None,
        "first",
        '["a","b"]',
        1,
        1,
    )
    metadata = json.loads(desk.rows("metadata")[1][0])
    assert (metadata["file"], metadata["index"], metadata["finish_reason"]) == ("a.jsonl", 1, "stop")
    (cost,) = (await desk.ledger.query("SELECT sum(cost) FROM exchanges")).rows[0]
    assert float(told["cost_usd"]) == pytest.approx(int(str(cost)) / 1e12)


async def test_a_question_with_another_answer_in_another_file_is_scored_against_its_own(desk: Desk) -> None:
    (desk.folder / "archives").mkdir()
    for name, answer in (("a", "4"), ("b", "5")):
        line = json.dumps({"question": "What is it?", "answer": answer})
        (desk.folder / "archives" / f"{name}.jsonl").write_text(line)
    desk.provider.use(Script(rules=(Rule(answer="5"),)))
    run, _ = await desk.run()
    scores = (await desk.summary(run))["evaluation"]["metrics"]["exact_match"]
    assert (scores["mean"], scores["count"]) == (0.5, 2)


async def test_what_fails_is_stored_as_failed_and_once_it_is_answered_is_one_row_still(desk: Desk) -> None:
    desk.archive("a.jsonl", "too large", "refused", "with a \0 in it", "fine")
    desk.provider.use(
        echo(
            Rule(contains="too large", faults=(ErrorStatus(status=413),)),
            Rule(contains="refused", faults=(Refusal(),)),
        )
    )
    run, _ = await desk.run(store=str(desk.results))
    assert [(one[0], one[1]) for one in desk.rows("success, response IS NULL")] == [(0, 1), (0, 1), (1, 0), (1, 0)]
    told = await desk.summary(run)
    assert (told["successful"], told["failed"]) == (2, 2)
    assert "NUL characters" in told["errors"][0]
    assert [error.partition(":")[0] for error in told["errors"][1:3]] == [
        "a.jsonl, prompt index 0",
        "a.jsonl, prompt index 1",
    ]
    assert "413" in desk.rows("error")[0][0]
    assert {model for (model,) in desk.rows("model")} == {MODEL}
    before = desk.asked()
    desk.provider.use(echo())
    await desk.carry_on(run)
    assert desk.asked() - before == 1  # a refusal is an answer, paid for and kept: it is not asked again
    assert [row[0] for row in desk.rows("success")] == [1, 0, 1, 1]
    assert (await desk.summary(run))["failed"] == 1


async def test_another_run_of_the_same_work_stores_none_twice_and_another_experiment_is_other_work(desk: Desk) -> None:
    desk.archive("a.jsonl", "one", "two", "one")
    await desk.run(store=str(desk.results))
    await desk.run(store=str(desk.results))
    assert [row[0] for row in desk.rows("prompt")] == ["one", "two", "one"]
    await desk.run(store=str(desk.results), experiment_name="second")
    assert len(desk.rows("id")) == 6


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({"max_prompts": 4}, ["a0", "same", "b0", "same"]),
        ({"unique": True}, ["a0", "same", "b0", "c0"]),
        ({"unique": True, "max_prompts": 3}, ["a0", "same", "b0"]),
        ({"max_prompts": 2, "pattern": "[bc]*"}, ["b0", "same"]),
    ],
    ids=["most", "unique", "both", "pattern"],
)
async def test_no_more_prompts_are_asked_than_are_wanted_and_none_twice_that_is_to_be_unique(
    desk: Desk, given: dict[str, Any], asked: list[str]
) -> None:
    desk.archive("a.jsonl", "a0", "same")
    desk.archive("b.jsonl", "b0", "same", "same")
    desk.archive("c.jsonl", "c0")
    await desk.run(store=str(desk.results), export="txt", export_path=str(desk.folder / "out.txt"), **given)
    assert [row[0] for row in desk.rows("prompt")] == asked
    assert (desk.folder / "out.txt").read_text().splitlines() == asked
    assert desk.asked() == len(asked)


async def test_a_file_of_which_nothing_can_be_read_is_told_and_is_no_file_that_was_read(desk: Desk) -> None:
    desk.archive("a.jsonl", "a0")
    for name, text in {"empty.json": "", "unknown.json": '{"foo": 1}'}.items():
        (desk.folder / "archives" / name).write_text(text)
    run, ended = await desk.run()
    told = await desk.summary(run)
    apart = extract_prompts(source=desk.folder / "archives")
    assert ended.stopped is None
    assert (told["total"], told["files_processed"], apart.files_processed) == (1, 1, 1)
    assert [error.partition(".json")[0] for error in told["errors"]] == ["empty", "unknown"]


async def test_halves_of_characters_in_prompts_are_replaced(desk: Desk) -> None:
    run, _ = await desk.run(prompts=["half \ud800 of one"])
    assert [one["text"] for one in await desk.output(run, "extract-prompts")] == ["half \ufffd of one"]


async def test_a_system_text_goes_before_every_prompt(desk: Desk) -> None:
    desk.provider.use(Script(rules=(Rule(contains=("Be brief.", "hello"), answer="brief"), Rule(answer="long"))))
    run, _ = await desk.run(prompts=["hello"], system="Be brief.")
    assert [one["text"] for one in await desk.output(run, "respond")] == ["brief"]
    run, _ = await desk.run(prompts=["hello"])
    assert [one["text"] for one in await desk.output(run, "respond")] == ["long"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"store": "env:NOT_SET_ANYWHERE"}, "the environment variable NOT_SET_ANYWHERE is not set"),
        ({"store": "results.txt"}, "results cannot be stored in"),
        ({"references": "none.jsonl"}, "cannot be read"),
        (
            {"webhook": "https://example.com/", "webhook_secret": "env:NOT_SET_ANYWHERE"},
            "env:NOT_SET_ANYWHERE is to hold the secret that signs the webhook, and is not set",
        ),
        ({"answer_schema": {"type": "nope"}}, "the JSON schema of the metric json_schema is none"),
        ({"export_path": "nodir/prompts.jsonl"}, "its folder is not there"),
        ({"export_path": "prompts.csv"}, "Prompts are exported as jsonl or txt, not as 'csv'"),
        ({"metrics": "exact_match"}, "the metric exact_match compares answers with right ones, and none are named"),
    ],
    ids=["variable", "place", "references", "webhook", "schema", "folder", "form", "metric"],
)
async def test_what_cannot_be_used_is_told_before_anything_is_paid_for(
    desk: Desk, given: dict[str, Any], told: str
) -> None:
    run, _ = await desk.run(prompts=["one"], **given)
    assert told in (await desk.reasons(run))["preparation"]
    assert desk.asked() == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"prompts": ["x"], "store": "postgresql://ann:hunter22@host/db"}, "holds a password"),
        ({"prompts": ["x"], "store": "postgresql://host/db?password=hunter22"}, "holds a password"),
        ({"prompts": ["x"], "webhook": "https://example.com", "webhook_secret": "hunter22"}, "is no reference"),
        ({"prompts": ["x"], "webhook": "https://example.com"}, "a webhook is signed"),
        ({"prompts": ["x"], "source": "archives"}, "one of the two"),
        ({}, "one of the two"),
        ({"prompts": ["x"], "metrics": "guessing"}, "no metric is called 'guessing'"),
    ],
    ids=["password", "parameter", "secret", "unsigned", "both", "neither", "metric"],
)
def test_an_input_that_cannot_be_used_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Batch.model_validate(given)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("webhook", "http://[::1", "is no address"),
        ("webhook", "ftp://example.com/", "is no address"),
        ("webhook", "https://example.com:port/", "is no address"),
        ("webhook", "https://me:hunter2@example.com/", "holds a user name or password"),
        ("webhook", "https://example.com/done?access_token=hunter2", "holds a secret in 'access_token'.*env:NAME"),
        ("store", "host=localhost password=hunter2 dbname=x", "holds a password.*env:NAME"),
        ("store", "host=localhost Password = hunter2", "holds a password.*env:NAME"),
    ],
    ids=["brackets", "scheme", "port", "user", "query", "words", "spaced"],
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused_before_anything_is_asked(
    field: str, value: str, told: str
) -> None:
    with pytest.raises(ValidationError, match=told) as refused:
        Batch.model_validate({"prompts": ["x"], "webhook_secret": "env:ANY", field: value})
    assert "hunter2" not in str(refused.value)


def test_a_password_in_an_address_is_not_repeated_by_the_library() -> None:
    with pytest.raises(StoreError, match="an address in the words of libpq") as refused:
        open_store("host=localhost password=hunter2 dbname=x", "t", Heading(), {})
    assert "hunter2" not in str(refused.value)


class Receiver:
    """Somebody who is told by a webhook."""

    def __init__(self) -> None:
        self.messages: list[tuple[dict[str, str], bytes]] = []
        self.stop: Stop | None = None

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.messages.append(({name.lower(): value for name, value in request.headers.items()}, body))
        if self.stop is not None:
            self.stop.now("the test")
            await asyncio.sleep(5)
        return web.Response(text="thanks")


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    made = Receiver()
    application = web.Application()
    application.router.add_post("/done", made.take)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield made, f"http://127.0.0.1:{runner.addresses[0][1]}/done"
    await runner.cleanup()


async def test_a_webhook_is_told_once_and_its_signature_holds(
    desk: Desk, receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told, url = receiver
    secret = base64.b64encode(b"twenty-four bytes of key").decode()
    monkeypatch.setenv("HOOK_SECRET", f"whsec_{secret}")
    run, _ = await desk.run(prompts=["one", "two"], webhook=url, webhook_secret=HOOK_SECRET)
    await desk.carry_on(run)
    ((headers, body),) = told.messages
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.digest(b"twenty-four bytes of key", signed, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert json.loads(body)["type"] == "prompt-batch.completed"
    assert json.loads(body)["data"]["successful"] == 2
    kept = b"".join(path.read_bytes() for path in desk.folder.rglob("*") if path.is_file())
    assert secret.encode() not in kept


async def test_a_receiver_who_was_told_when_the_run_was_stopped_sees_the_same_message_again(
    desk: Desk, receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told, url = receiver
    monkeypatch.setenv("HOOK_SECRET", "any text")
    run = await desk.begin(prompts=["one"], webhook=url, webhook_secret=HOOK_SECRET)
    told.stop = Stop()
    assert (await desk.carry_on(run, told.stop)).stopped is not None
    told.stop = None
    await desk.carry_on(run)
    first, second = told.messages
    assert (first[0]["webhook-id"], first[1]) == (second[0]["webhook-id"], second[1])


@pytest.mark.real_data
@pytest.mark.skipif(not CONVERSATIONS.is_dir(), reason=f"the shared data is absent: no {CONVERSATIONS}")
async def test_real_archives_of_many_shapes_go_through_to_the_last_row(desk: Desk) -> None:
    run, ended = await desk.run(source=str(CONVERSATIONS), max_prompts=400, store=str(desk.results))
    told = await desk.summary(run)
    assert ended.stopped is None
    assert (told["total"], told["successful"], told["stored"]) == (400, 400, 400)
    assert desk.rows("count(*), count(DISTINCT record_key), sum(success)") == [(400, 400, 400)]
