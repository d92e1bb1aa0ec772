"""A budget where calls are not one to a step: conversations, parallel questions, jobs, models that stand in."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any

import orjson
from pydantic import BaseModel

from stagebook import Key, Llm, Pipeline
from stagebook.engine.drive import Ended
from stagebook.engine.session import carry_on
from stagebook.engine.settings import Settings
from stagebook.model.records import Run
from stagebook.model.status import Wish
from stagebook.testing.provider_faults import Delay, ErrorStatus, JobFails
from stagebook.testing.provider_script import Rule, Script

ONE = 54_000_000_000
"""Picodollars: a little more than one question may cost, of a model that answers with 32,768 tokens at most."""


class Question(BaseModel):
    text: str = "why?"


class Part(BaseModel):
    number: Annotated[int, Key]


class Answer(BaseModel):
    text: str


async def more(bench: Any, run: Run, pipeline: Pipeline, budget: int | None) -> Ended:
    """Go on with another budget."""
    again = await bench.ledger.run(run.run_id)
    settings = replace(Settings.load(again.settings), budget=budget)
    ended: Ended = await carry_on(again, pipeline.check(), bench.site, settings=settings)
    return ended


def conversation(turns: int) -> Pipeline:
    pipeline = Pipeline("conversation", input=Question, model="openai:gpt-4.1-mini")

    @pipeline.stage()
    async def talk(question: Question, llm: Llm) -> Answer:
        said = [question.text]
        for _ in range(turns):
            said.append(await llm.ask("\n".join(said)))
        return Answer(text=said[-1])

    return pipeline


async def test_a_conversation_stops_between_two_turns_and_goes_on_where_it_was(bench: Any) -> None:
    bench.provider.use(Script(rules=(Rule(answer="x" * 4000),)))
    pipeline = conversation(4)
    run, ended = await bench.run(pipeline, Question(), budget=ONE)
    assert (ended.finished, ended.stopped, ended.failed) == (False, "paused", ())
    assert ended.reached is not None
    assert (await bench.ledger.run(run.run_id)).wish is Wish.PAUSE
    sent = len(bench.provider.bill.charged)
    assert 0 < sent < 4
    assert ended.reached.spent == bench.provider.bill.total() <= ONE
    assert (await bench.steps(run))["talk", ""] == "running", "neither failed nor done: it was left in the middle"
    assert (await more(bench, run, pipeline, None)).finished
    assert len(bench.provider.bill.charged) == 4
    assert bench.provider.bill.charged_again() == {}


async def test_a_stage_that_catches_every_error_makes_nothing_of_a_budgets_end(bench: Any) -> None:
    bench.provider.use(Script(rules=(Rule(answer="x" * 4000, faults=(Delay(seconds=0.02),)),)))
    pipeline = Pipeline("careless", input=Question, model="openai:gpt-4.1-mini")

    @pipeline.stage()
    async def talk(question: Question, llm: Llm) -> Answer:
        asked = (llm.ask(f"{question.text} {number}") for number in range(40))
        said = await asyncio.gather(*asked, return_exceptions=True)
        return Answer(text=f"{sum(isinstance(one, str) for one in said)} answers")

    run, ended = await bench.run(pipeline, Question(), budget=ONE + 10_000_000_000)
    assert (ended.finished, ended.stopped) == (False, "paused")
    assert await bench.outputs(run, "talk") == {}
    assert bench.provider.bill.total() <= ONE + 10_000_000_000
    assert len(bench.provider.bill.charged) == len(bench.provider.bill.entries) > 2, "what was in flight was awaited"
    assert (await more(bench, run, pipeline, None)).finished
    assert orjson.loads((await bench.outputs(run, "talk"))[""]) == {"text": "40 answers"}
    assert bench.provider.bill.charged_again() == {}


async def test_steps_that_ask_nobody_end_while_others_wait_at_the_budget(bench: Any) -> None:
    begun = asyncio.Event()
    pipeline = Pipeline("both", input=Question, model="openai:gpt-4.1-mini")

    class Counted(BaseModel):
        count: int

    @pipeline.stage()
    async def count(question: Question) -> Counted:
        begun.set()
        await asyncio.sleep(0.3)
        return Counted(count=len(question.text))

    @pipeline.stage()
    async def talk(question: Question, llm: Llm) -> Answer:
        await begun.wait()
        return Answer(text=await llm.ask(question.text))

    run, ended = await bench.run(pipeline, Question(), budget=0)
    assert (ended.stopped, bench.provider.bill.entries) == ("paused", [])
    assert await bench.steps(run) == {("count", ""): "completed", ("talk", ""): "running"}


def mapped(model: str) -> Pipeline:
    pipeline = Pipeline("mapped", input=Question, model=model)

    @pipeline.stage()
    def parts(question: Question) -> Iterator[Part]:
        for number in range(len(question.text)):
            yield Part(number=number)

    @pipeline.prompt(each=Part, returns=Answer, max_tokens=2000, text="Number {{ part.number }}?")
    def answer(part: Part) -> None: ...

    return pipeline


async def test_jobs_never_pass_the_budget_together(bench: Any) -> None:
    long = orjson.dumps({"text": "x" * 4000}).decode()
    bench.provider.use(Script(rules=(Rule(answer=long, faults=(Delay(seconds=0.1),)),)))
    pipeline, limit = mapped("openai-background:gpt-4.1-mini"), 9_000_000_000
    run, ended = await bench.run(pipeline, Question(text="abcdefghij"), budget=limit)
    drives = 1
    while not ended.finished and drives < 6:  # a job counts at its worst while it is at work, and less from then on
        assert ended.stopped == "paused"
        assert bench.provider.bill.total() <= limit
        before = bench.provider.bill.total()
        ended = await more(bench, run, pipeline, limit)
        drives += 1
        if bench.provider.bill.total() == before:
            break
    assert 0.5 * limit < bench.provider.bill.total() <= limit
    assert (await more(bench, run, pipeline, None)).finished
    assert bench.provider.bill.charged_again() == {}


async def test_a_job_that_failed_counts_at_its_worst(bench: Any) -> None:
    bench.provider.use(Script(rules=(Rule(faults=(JobFails(),)),)))
    run, ended = await bench.run(mapped("openai-background:gpt-4.1-mini"), Question(text="a"), budget=4_000_000_000)
    assert (ended.reached is not None, len(bench.provider.bill.charged)) == (True, 0)
    assert ended.reached.spent > 3_000_000_000
    assert (await bench.cost(run)) == 0


async def test_a_model_that_stands_in_is_held_to_the_budget_too(bench: Any) -> None:
    refusing = Rule(model="gpt-4.1-mini", faults=(ErrorStatus(status=503),))
    bench.provider.use(Script(rules=(refusing, Rule(answer='{"text": "yes"}'))))
    pipeline = mapped("openai:gpt-4.1-mini|openai:gpt-4.1")
    run, ended = await bench.run(pipeline, Question(text="a"), budget=10_000_000_000)
    assert (ended.stopped, ended.reached is not None and ended.reached.model) == ("paused", "openai:gpt-4.1")
    assert ended.reached is not None
    assert ended.reached.spent == 0, "a refused call costs nothing"
    assert (await more(bench, run, pipeline, 40_000_000_000)).finished
    assert [entry.model for entry in bench.provider.bill.charged] == ["gpt-4.1"]


async def test_a_model_without_a_price_that_a_stage_names_by_itself_is_not_asked(bench: Any) -> None:
    pipeline = Pipeline("named", input=Question, model="openai:gpt-4.1-mini")

    @pipeline.stage()
    async def talk(question: Question, llm: Llm) -> Answer:
        return Answer(text=await llm.ask(question.text, model="openai:gpt-99"))

    run, ended = await bench.run(pipeline, Question(), budget=10**12)
    assert (len(ended.failed), bench.provider.bill.entries) == (1, [])
    assert "no price is known for openai:gpt-99" in (await bench.reasons(run))["talk"]


async def test_the_ledger_tells_what_the_budget_came_to(bench: Any) -> None:
    run, _ = await bench.run(conversation(1), Question(), budget=1)
    [event] = [one for one in await bench.ledger.events(run=run.id) if one.kind == "budget_reached"]
    told = orjson.loads(event.data)
    assert (told["limit"], told["spent"], told["model"]) == (1, 0, "openai:gpt-4.1-mini")
    assert told["next"] > 50_000_000_000
