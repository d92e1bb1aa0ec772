"""Every format over real HTTP: answers by schema, complaints, refusals, limits, errors, money, jobs that outlive us."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest
from pydantic import BaseModel, Field

from stagebook import Complaint, Llm, Pipeline, Text
from stagebook.engine.drive import Stop
from stagebook.insight.exchanges import exchanges_of
from stagebook.ledger.store import Ledger
from stagebook.testing.provider import FakeProvider
from stagebook.testing.provider_bill import BillEntry
from stagebook.testing.provider_faults import Delay, ErrorStatus, JobFails, MalformedJson, Refusal, Truncated
from stagebook.testing.provider_script import Rule, Script

STAGEBOOK = str(Path(sys.executable).with_name("stagebook"))
ANTHROPIC, RESPONSES, JOB = (
    "anthropic:claude-haiku-4-5",
    "openai-responses:gpt-4.1-mini",
    "openai-background:gpt-4.1-mini",
)
PROVIDERS = ["openai:gpt-4.1-mini", RESPONSES, JOB, ANTHROPIC]
every = pytest.mark.parametrize("model", PROVIDERS)


class Question(BaseModel):
    text: str = "why?"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[str] = Field(default=[], max_length=5)


class Answer(BaseModel):
    word: str
    share: float
    pet: Cat | Dog = Field(discriminator="kind")


class Rated(BaseModel):
    share: float = Field(ge=0, le=1)


class Free(BaseModel):
    counts: dict[str, int]


class Note(BaseModel):
    text: Text


def pipeline_asking(model: str, returns: type[BaseModel] = Answer, **options: Any) -> Pipeline:
    pipeline = Pipeline("asking", input=Question, model=model)
    text = "## system\nBe brief.\n## user\nAnswer {{ question.text }}"

    @pipeline.prompt(text=text, returns=returns, **options)
    def answer(question: Question) -> None: ...

    if returns is Answer:

        @answer.check
        def is_good(answer: Answer) -> None:
            if answer.word == "bad":
                raise Complaint("not that word")

    return pipeline


def polls(entries: list[BillEntry]) -> list[BillEntry]:
    """What cost nothing, and was no error."""
    return [entry for entry in entries if entry.status == 200 and not entry.charged]


@every
async def test_an_answer_by_schema_is_validated_and_costs_what_the_bill_says(bench: Any, model: str) -> None:
    bench.provider.use(Script(rules=(Rule(cached_tokens=5, reasoning_tokens=7),)))
    run, ended = await bench.run(pipeline_asking(model), Question())
    assert ended.finished, await bench.reasons(run)
    Answer.model_validate_json((await bench.outputs(run, "answer"))[""])
    assert await bench.cost(run) == bench.provider.bill.total() > 0
    (entry,) = bench.provider.bill.charged
    table = await bench.ledger.query(
        "select provider, input_tokens, output_tokens, cache_read_input_tokens, reasoning_output_tokens, price_source"
        " from exchanges where cost > 0"
    )
    counted = (entry.input_tokens, entry.output_tokens, 5, 7)
    assert table.rows == [(model.partition(":")[0], *counted, "genai-prices")]


@every
async def test_an_object_with_free_keys_is_asked_for_in_words_where_it_cannot_be_held(bench: Any, model: str) -> None:
    bench.provider.use(Script(rules=(Rule(answer={"counts": {"a": 1}}),)))
    run, ended = await bench.run(pipeline_asking(model, Free), Question())
    assert ended.finished, await bench.reasons(run)
    assert await bench.outputs(run, "answer") == {"": b'{"counts":{"a":1}}'}


@every
async def test_plain_text_is_asked_for_plainly(bench: Any, model: str) -> None:
    run, ended = await bench.run(pipeline_asking(model, Note, temperature=0.5), Question())
    assert ended.finished, await bench.reasons(run)
    assert bench.provider.requests[0].format == "text"
    assert orjson.loads((await bench.outputs(run, "answer"))[""])["text"].startswith("Note ")


@every
async def test_a_complaint_is_a_new_turn(bench: Any, model: str) -> None:
    pet = {"kind": "cat", "lives": 9}
    answers: list[Any] = [{"word": word, "share": 0.5, "pet": pet} for word in ("bad", "good")]
    bench.provider.use(Script(rules=(Rule(answer=answers),)))
    run, ended = await bench.run(pipeline_asking(model), Question())
    assert ended.finished, await bench.reasons(run)
    turns = bench.provider.requests[-1].messages
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    assert "not that word" in bench.provider.requests[-1].last_text
    assert await bench.cost(run) == bench.provider.bill.total()
    (step,) = await bench.ledger.steps(run.id)
    told = [one for one in await exchanges_of(bench.ledger, run.id, step.id) if one.kind == "model"][-1]
    assert [one.role for one in told.messages] == ["system", "user", "assistant", "user"]
    assert told.messages[1].text == "Answer why?"


@every
async def test_a_range_that_no_format_holds_is_checked_here_and_told_to_the_model(bench: Any, model: str) -> None:
    bench.provider.use(Script(rules=(Rule(answer=[{"share": 3}, {"share": 0.5}]),)))
    run, ended = await bench.run(pipeline_asking(model, Rated), Question())
    assert ended.finished, await bench.reasons(run)
    assert "less than or equal to 1" in bench.provider.requests[-1].last_text
    assert b"maximum" in bench.provider.requests[0].body


@every
async def test_a_refusal_fails_the_step_and_is_not_argued_with(bench: Any, model: str) -> None:
    bench.provider.use(Script(faults=(Refusal(text="I will not."),)))
    run, ended = await bench.run(pipeline_asking(model), Question())
    assert ended.failed
    assert "declined: I will not." in (await bench.reasons(run))["answer"]
    assert len(bench.provider.bill.charged) == 1


@every
async def test_an_answer_cut_off_is_asked_for_again(bench: Any, model: str) -> None:
    bench.provider.use(Script(faults=(Truncated(times=1),)))
    run, ended = await bench.run(pipeline_asking(model), Question())
    assert ended.finished, await bench.reasons(run)
    assert len(bench.provider.bill.charged) == 2
    assert "cut off at its length limit" in bench.provider.requests[-1].last_text


@every
async def test_an_overloaded_provider_is_asked_again_after_what_it_asked(bench: Any, model: str) -> None:
    bench.provider.use(Script(faults=(ErrorStatus(status=529, retry_after=0.2, times=1), MalformedJson(nth=(2,)))))
    run, ended = await bench.run(pipeline_asking(model), Question())
    assert ended.finished, await bench.reasons(run)
    first, second = bench.provider.bill.entries[:2]
    assert first.status == 529
    assert second.arrived_at - first.arrived_at >= 0.2


@every
async def test_a_prompt_that_is_too_long_is_told_as_that(bench: Any, model: str) -> None:
    told = "prompt is too long: 215000 tokens > 200000 maximum"
    bench.provider.use(Script(faults=(ErrorStatus(status=400, message=told, code="context_length_exceeded"),)))
    run, _ = await bench.run(pipeline_asking(model), Question())
    assert "does not fit the model's context" in (await bench.reasons(run))["answer"]
    assert len(bench.provider.bill.entries) == 1


@every
async def test_the_key_is_on_the_wire_and_nowhere_else(bench: Any, model: str, tmp_path: Path) -> None:
    variable = "ANTHROPIC_API_KEY" if model == ANTHROPIC else "OPENAI_API_KEY"
    key = bench.site.environment[variable]
    bench.provider.use(Script(faults=(ErrorStatus(status=500, echo_headers=True, times=1),)))
    run, ended = await bench.run(pipeline_asking(model), Question())
    assert ended.finished, await bench.reasons(run)
    assert any(key in value for value in bench.provider.requests[0].headers.values())
    table = await bench.ledger.query("select request_headers from exchanges")
    assert f"env:{variable}" in table.rows[0][0]
    bodies = [
        await bench.ledger.payload(row[0]) for row in (await bench.ledger.query("select hash from payloads")).rows
    ]
    assert any(b"The request came with these headers" in body for body in bodies)
    assert not any(key.encode() in body for body in bodies)


@every
async def test_a_wrong_key_is_told_without_another_try(bench: Any, model: str) -> None:
    async with FakeProvider(api_key="the right one") as strict:
        bench.site.environment.update(OPENAI_BASE_URL=strict.base_url, ANTHROPIC_BASE_URL=strict.url)
        run, ended = await bench.run(pipeline_asking(model), Question())
        assert ended.failed
        assert "answered 401" in (await bench.reasons(run))["answer"]
        assert [entry.status for entry in strict.bill.entries] == [401]
        bench.site.environment.update(OPENAI_API_KEY="the right one", ANTHROPIC_API_KEY="the right one")
        assert (await bench.carry_on(run, pipeline_asking(model))).finished


async def test_a_job_is_polled_until_it_ends_and_polls_cost_nothing(bench: Any) -> None:
    bench.provider.use(Script(faults=(Delay(seconds=1.5),)))
    run, ended = await bench.run(pipeline_asking(JOB), Question())
    assert ended.finished, await bench.reasons(run)
    assert len(bench.provider.bill.charged) == 1
    asked = polls(bench.provider.bill.entries)
    assert len(asked) >= 2
    table = await bench.ledger.query("select kind, state, cost from exchanges order by id")
    kinds = [row[0] for row in table.rows]
    assert kinds == ["model"] + ["poll"] * len(asked)
    assert [row[2] for row in table.rows] == [0] * len(asked) + [bench.provider.bill.total()]
    shown = await bench.ledger.query("select status, output from v2_pipeline_steps where step_name = 'answer'")
    assert shown.rows[0][0] == "completed"
    assert '"status":"completed"' in shown.rows[0][1]


async def test_a_failed_job_is_made_anew(bench: Any) -> None:
    bench.provider.use(Script(faults=(JobFails(times=1),)))
    run, ended = await bench.run(pipeline_asking(JOB), Question())
    assert ended.finished, await bench.reasons(run)
    assert len(bench.provider.bill.charged) == 1
    assert len(bench.provider.requests) == 2


@pytest.mark.parametrize("model", [JOB, RESPONSES])
async def test_jobs_that_fail_every_try_fail_the_step_and_a_resume_asks_anew(bench: Any, model: str) -> None:
    bench.provider.use(Script(faults=(JobFails(times=3),)))
    run, ended = await bench.run(pipeline_asking(model), Question())
    assert ended.failed
    assert "failed: server_error" in (await bench.reasons(run))["answer"]
    assert (await bench.carry_on(run, pipeline_asking(model))).finished
    assert len(bench.provider.requests) == 4


async def test_a_failed_job_is_taken_to_the_stand_in(bench: Any) -> None:
    bench.provider.use(Script(rules=(Rule(model="gpt-4.1-mini", faults=(JobFails(),)),)))
    run, ended = await bench.run(pipeline_asking(f"{JOB}|{ANTHROPIC}"), Question())
    assert ended.finished, await bench.reasons(run)
    assert [request.model for request in bench.provider.requests] == ["gpt-4.1-mini", "claude-haiku-4-5"]


async def test_a_job_that_the_provider_forgot_is_made_anew(bench: Any) -> None:
    bench.provider.use(Script(faults=(Delay(seconds=30, times=1),)))
    pipeline, stop = pipeline_asking(JOB), Stop()
    run = await bench.begin(pipeline, Question())
    driving = asyncio.create_task(bench.carry_on(run, pipeline, stop=stop))
    while not polls(bench.provider.bill.entries):
        await asyncio.sleep(0.02)
    stop.now("cancelled")
    await driving
    async with FakeProvider() as forgetful:
        bench.site.environment["OPENAI_BASE_URL"] = forgetful.base_url
        first = len(forgetful.bill.entries)
        ended = await bench.carry_on(run, pipeline)
        assert ended.finished, await bench.reasons(run)
        assert first == 0
        assert len(forgetful.bill.charged) == 1


async def test_the_poll_that_brought_the_answer_is_given_again_and_counted_once(bench: Any) -> None:
    pipeline, stop = Pipeline("asking", input=Question, model=JOB), Stop()
    cut_off = True

    @pipeline.stage()
    async def note(question: Question, llm: Llm) -> Note:
        said = await llm.ask(question.text)
        if cut_off:
            stop.now("cancelled")
            await asyncio.sleep(60)
        return Note(text=said)

    run = await bench.begin(pipeline, Question())
    await bench.carry_on(run, pipeline, stop=stop)
    before = len(bench.provider.bill.entries)
    cut_off = False
    assert (await bench.carry_on(run, pipeline)).finished
    assert len(bench.provider.bill.entries) == before
    assert await bench.cost(run) == bench.provider.bill.total()


PIPELINE = """
from pydantic import BaseModel
from stagebook import Pipeline, Text

class Question(BaseModel):
    text: str = "why?"

class Note(BaseModel):
    text: Text

job = Pipeline("job", input=Question, model="openai-background:gpt-4.1-mini")

@job.prompt(text="Think long about {{ question.text }}", returns=Note)
def note(question: Question) -> None: ...
"""


async def test_a_killed_run_polls_on_with_the_handle_that_was_durable_before_the_first_poll(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(PIPELINE)
    async with FakeProvider(Script(faults=(Delay(seconds=4.0),))) as provider:
        environment = {**os.environ, "OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "any"}
        environment["STAGEBOOK_LEDGER"] = str(tmp_path / "ledger.db")

        async def stagebook(*arguments: str) -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec(
                STAGEBOOK, *arguments, env=environment, cwd=tmp_path, stdout=-1, stderr=-1
            )

        client = await stagebook("run", "job.py")
        try:
            while not polls(provider.bill.entries):
                assert client.returncode is None
                await asyncio.sleep(0.005)
            async with await Ledger.open(tmp_path / "ledger.db") as ledger:
                row = (await ledger.query("select state, response from exchanges where kind = 'model'")).rows[0]
                handle = orjson.loads(await ledger.payload(row[1]))["id"]
            assert row[0] == "received"
        finally:
            with contextlib.suppress(ProcessLookupError):
                client.send_signal(signal.SIGKILL)
            await client.communicate()
        assert client.returncode == -signal.SIGKILL
        polled = len(polls(provider.bill.entries))

        resumed = await stagebook("resume", "last", "--json")
        told, complaints = await resumed.communicate()
        assert resumed.returncode == 0, complaints.decode()
        document = orjson.loads(told)
        assert len(provider.requests) == 1
        assert len(provider.bill.charged) == 1
        assert len(polls(provider.bill.entries)) > polled
    assert document["status"] == "completed"
    assert document["possibly_paid"] == 0
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        table = await ledger.query("select sum(cost), count(distinct url) from exchanges where kind = 'poll'")
        addresses = await ledger.query("select distinct url from exchanges where kind = 'poll'")
    assert table.rows == [(provider.bill.total(), 1)]
    assert addresses.rows[0][0].endswith(f"/responses/{handle}")
