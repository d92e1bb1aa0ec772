"""Tools that a model calls from inside a stage, over real HTTP in every format."""

import asyncio
from typing import Annotated, Any

import orjson
import pytest
from pydantic import BaseModel, Field

from stagebook import Complaint, Llm, Pipeline
from stagebook.engine.drive import Stop
from stagebook.model.errors import InputError
from stagebook.testing.provider_faults import ErrorStatus, WrongSchema
from stagebook.testing.provider_script import Rule, Script, ScriptedCall

PROVIDERS = ["openai:gpt-4.1-mini", "openai-responses:gpt-4.1-mini", "anthropic:claude-haiku-4-5"]


class Question(BaseModel):
    text: str = "Which of Bern and Basel is warmer?"


class Verdict(BaseModel):
    text: str


class Reading(BaseModel):
    city: str
    degrees: float


def calling(*turns: list[tuple[str, Any]], **more: Any) -> Script:
    calls = tuple(tuple(ScriptedCall(name=name, arguments=given) for name, given in turn) for turn in turns)
    return Script(rules=(Rule(calls=calls, answer="Basel.", **more),))


def weather_pipeline(model: str, asked: list[str], **limits: Any) -> Pipeline:
    pipeline = Pipeline("weather", input=Question, model=model)

    def thermometer(city: Annotated[str, Field(description="Name of the city")], days: int = 1) -> Reading:
        """Tell how warm it is in a city."""
        asked.append(city)
        if city == "Atlantis":
            raise Complaint("there is no such city")
        if city == "Pompeii":
            raise RuntimeError("the thermometer melted")
        return Reading(city=city, degrees=20.5 + days)

    async def almanac(year: int) -> str:
        """Tell what a year was like."""
        await asyncio.sleep(0)
        asked.append(str(year))
        return f"{year} was mild"

    @pipeline.stage()
    async def judge(question: Question, llm: Llm) -> Verdict:
        return Verdict(text=await llm.ask(question.text, tools=[thermometer, almanac], **limits))

    return pipeline


async def kinds(bench: Any, run: Any) -> list[tuple[Any, ...]]:
    table = await bench.ledger.query(
        "select kind, method, url, http_status from exchanges where run = ? order by id", (run.id,)
    )
    return [tuple(row) for row in table.rows]


@pytest.mark.parametrize("model", PROVIDERS)
async def test_a_model_calls_tools_until_it_answers_and_every_turn_and_call_is_an_exchange(
    bench: Any, model: str
) -> None:
    both = [("thermometer", {"city": "Bern"}), ("thermometer", {"city": "Basel", "days": 2})]
    bench.provider.use(calling(both, [("almanac", {"year": 1816})], reasoning_tokens=9))
    asked: list[str] = []
    run, ended = await bench.run(weather_pipeline(model, asked), Question())
    assert ended.finished, await bench.reasons(run)
    assert await bench.outputs(run, "judge") == {"": b'{"text":"Basel."}'}
    assert asked == ["Bern", "Basel", "1816"]
    assert [row[0] for row in await kinds(bench, run)] == ["model", "tool", "tool", "model", "tool", "model"]
    assert (await kinds(bench, run))[1] == ("tool", "CALL", "tool:thermometer", 200)
    assert await bench.cost(run) == bench.provider.bill.total() > 0
    told = bench.provider.requests[1].text + bench.provider.requests[2].text
    assert '{"city":"Bern","degrees":21.5}' in told
    assert "1816 was mild" in told
    assert bench.provider.requests[0].tools == ("thermometer", "almanac")
    recorded = await bench.ledger.query("select id, response from exchanges where kind = 'tool' order by id")
    assert orjson.loads(await bench.ledger.request_body(recorded.rows[0][0])) == {"city": "Bern"}
    assert await bench.ledger.payload(recorded.rows[0][1]) == b'{"city":"Bern","degrees":21.5}'


@pytest.mark.parametrize("model", PROVIDERS)
async def test_a_resumed_stage_is_given_its_tools_results_and_runs_none_again(bench: Any, model: str) -> None:
    script = calling([("thermometer", {"city": "Bern"})], [("thermometer", {"city": "Bern"})])
    failing = script.rules[0].model_copy(update={"faults": (ErrorStatus(status=400, nth=(3,)),)})
    bench.provider.use(Script(rules=(failing,)))
    asked: list[str] = []
    pipeline = weather_pipeline(model, asked)
    run, ended = await bench.run(pipeline, Question())
    assert ended.failed
    assert asked == ["Bern", "Bern"]
    paid = len(bench.provider.bill.charged)
    ended = await bench.carry_on(run, pipeline)
    assert ended.finished, await bench.reasons(run)
    assert asked == ["Bern", "Bern"]
    assert len(bench.provider.bill.charged) == paid + 1
    assert bench.provider.bill.charged_again() == {}


@pytest.mark.parametrize("model", PROVIDERS)
async def test_what_is_wrong_with_a_call_is_told_to_the_model(bench: Any, model: str) -> None:
    wrong = [("thermometer", {"town": "Bern"}), ("barometer", {}), ("thermometer", {"city": "Atlantis"})]
    bench.provider.use(calling(wrong))
    asked: list[str] = []
    run, ended = await bench.run(weather_pipeline(model, asked), Question())
    assert ended.finished, await bench.reasons(run)
    told = bench.provider.requests[1].text
    assert "city: Missing required argument" in told
    assert "there is no tool 'barometer'; there are: thermometer, almanac" in told
    assert "error: there is no such city" in told
    assert asked == ["Atlantis"]


async def test_an_error_of_a_tool_fails_its_stage_and_the_tool_runs_again_on_resume(bench: Any) -> None:
    bench.provider.use(calling([("thermometer", {"city": "Pompeii"})]))
    asked: list[str] = []
    pipeline = weather_pipeline(PROVIDERS[0], asked)
    run, ended = await bench.run(pipeline, Question())
    assert ended.failed
    assert "RuntimeError: the thermometer melted" in (await bench.reasons(run))["judge"]
    assert (await kinds(bench, run))[1] == ("tool", "CALL", "tool:thermometer", 500)
    await bench.carry_on(run, pipeline)
    assert asked == ["Pompeii", "Pompeii"]
    assert len(bench.provider.bill.entries) == 1


@pytest.mark.parametrize("model", PROVIDERS)
async def test_a_model_that_does_not_stop_calling_is_stopped(bench: Any, model: str) -> None:
    bench.provider.use(calling(*[[("almanac", {"year": 1800 + turn})] for turn in range(9)]))
    asked: list[str] = []
    run, ended = await bench.run(weather_pipeline(model, asked, most_turns=3), Question())
    assert ended.failed
    assert "still calls tools after 3 turns" in (await bench.reasons(run))["judge"]
    assert asked == ["1800", "1801", "1802"]
    assert len(bench.provider.bill.charged) == 4


@pytest.mark.parametrize("model", PROVIDERS)
async def test_an_answer_by_schema_may_come_after_calls_and_complaints(bench: Any, model: str) -> None:
    rule = Rule(
        calls=((ScriptedCall(name="almanac", arguments={"year": 1816}),),),
        fields={"city": "Basel", "degrees": 22.5},
        faults=(WrongSchema(nth=(2,)),),
    )
    bench.provider.use(Script(rules=(rule,)))
    pipeline = Pipeline("weather", input=Question, model=model)

    async def almanac(year: int) -> str:
        """Tell what a year was like."""
        return f"{year} was mild"

    @pipeline.stage()
    async def judge(question: Question, llm: Llm) -> Reading:
        return await llm.ask_for(Reading, question.text, tools=[almanac])

    run, ended = await bench.run(pipeline, Question())
    assert ended.finished, await bench.reasons(run)
    assert await bench.outputs(run, "judge") == {"": b'{"city":"Basel","degrees":22.5}'}
    assert len(bench.provider.bill.charged) == 3


async def test_a_stage_that_is_cut_off_between_calls_goes_on_where_it_was(bench: Any) -> None:
    bench.provider.use(calling([("almanac", {"year": 1816})], [("almanac", {"year": 1817})]))
    pipeline = Pipeline("weather", input=Question, model=PROVIDERS[2])
    asked: list[int] = []
    stop = Stop()

    async def almanac(year: int) -> str:
        """Tell what a year was like."""
        asked.append(year)
        if asked == [1816, 1817]:
            stop.now("cancelled")
            await asyncio.sleep(60)
        return f"{year} was mild"

    @pipeline.stage()
    async def judge(question: Question, llm: Llm) -> Verdict:
        return Verdict(text=await llm.ask(question.text, tools=[almanac]))

    run = await bench.begin(pipeline, Question())
    await bench.carry_on(run, pipeline, stop=stop)
    assert len(bench.provider.bill.charged) == 2
    await bench.carry_on(run, pipeline)
    assert await bench.outputs(run, "judge") == {"": b'{"text":"Basel."}'}
    assert asked == [1816, 1817, 1817]
    assert len(bench.provider.bill.charged) == 3


async def test_a_function_that_cannot_be_described_is_refused_before_anything_is_asked(bench: Any) -> None:
    pipeline = Pipeline("weather", input=Question, model=PROVIDERS[0])

    def untyped(city) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001  what is wrong with it is the fact under test
        return str(city)

    @pipeline.stage()
    async def judge(question: Question, llm: Llm) -> Verdict:
        with pytest.raises(InputError, match="no annotation on 'city'"):
            await llm.ask("?", tools=[untyped])
        return Verdict(text="refused")

    _, ended = await bench.run(pipeline, Question())
    assert ended.finished
    assert bench.provider.bill.entries == []
