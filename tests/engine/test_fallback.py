"""Models that stand in for each other."""

from typing import Any

import pytest
from pydantic import BaseModel

from stagebook import Complaint, Llm, Pipeline
from stagebook.engine.drive import Stop
from stagebook.engine.session import Site, Start, begin
from stagebook.engine.settings import Settings
from stagebook.model.errors import MissingKey, NotFound
from stagebook.testing.provider_faults import Cut, ErrorStatus, Refusal
from stagebook.testing.provider_script import Rule, Script

FIRST, SECOND, THIRD = "gpt-4.1-nano", "claude-haiku-4-5", "gpt-4.1-mini"
MODELS = f"openai:{FIRST}|anthropic:{SECOND}|openai-responses:{THIRD}"


class Question(BaseModel):
    text: str = "why?"


class Answer(BaseModel):
    word: str


def pipeline_asking(model: str = MODELS) -> Pipeline:
    pipeline = Pipeline("asking", input=Question, model=model)

    @pipeline.prompt(text="Answer {{ question.text }}", returns=Answer)
    def answer(question: Question) -> None: ...

    @answer.check
    def is_good(answer: Answer) -> None:
        if answer.word == "bad":
            raise Complaint("not that word")

    return pipeline


def failing(model: str, *faults: Any) -> Rule:
    return Rule(model=model, faults=faults or (ErrorStatus(status=503),))


async def models(bench: Any) -> list[str]:
    return [entry.model for entry in bench.provider.bill.entries]


@pytest.mark.parametrize("fault", [ErrorStatus(status=503), ErrorStatus(status=429), ErrorStatus(status=529), Cut()])
async def test_the_next_model_is_asked_once_the_first_one_s_provider_has_failed_every_try(
    bench: Any, fault: Any
) -> None:
    bench.provider.use(Script(rules=(failing(FIRST, fault), Rule(fields={"word": "good"}))))
    run, ended = await bench.run(pipeline_asking(), Question())
    assert ended.finished, await bench.reasons(run)
    assert await models(bench) == [FIRST] * 4 + [SECOND]
    (step,) = await bench.ledger.steps(run.id)
    assert step.warnings == (f"answered by anthropic:{SECOND}: openai:{FIRST} could not be asked",)
    assert await bench.cost(run) == bench.provider.bill.total()


async def test_the_model_that_answered_is_kept_for_the_complaint(bench: Any) -> None:
    said = Rule(model=SECOND, answer=['{"word":"bad"}', '{"word":"good"}'])
    bench.provider.use(Script(rules=(failing(FIRST), said)))
    run, ended = await bench.run(pipeline_asking(), Question())
    assert ended.finished, await bench.reasons(run)
    assert await models(bench) == [FIRST] * 4 + [SECOND] * 2


@pytest.mark.parametrize("fault", [ErrorStatus(status=400), ErrorStatus(status=401), Refusal()])
async def test_a_refused_request_and_a_refusal_are_not_taken_to_the_next_model(bench: Any, fault: Any) -> None:
    bench.provider.use(Script(rules=(failing(FIRST, fault),)))
    _, ended = await bench.run(pipeline_asking(), Question())
    assert ended.failed
    assert await models(bench) == [FIRST]


async def test_when_all_have_failed_the_error_names_all(bench: Any) -> None:
    bench.provider.use(Script(faults=(ErrorStatus(status=503),)))
    run, ended = await bench.run(pipeline_asking(), Question())
    assert ended.failed
    assert await models(bench) == [FIRST] * 4 + [SECOND] * 4 + [THIRD] * 4
    reason = (await bench.reasons(run))["answer"]
    assert f"before it openai:{FIRST}, anthropic:{SECOND} could not be asked" in reason
    bench.provider.use(Script())
    assert (await bench.carry_on(run, pipeline_asking())).finished
    assert (await models(bench))[-1] == FIRST


async def test_a_resumed_step_finds_the_stand_in_s_answer_without_asking_the_first_again(bench: Any) -> None:
    bench.provider.use(Script(rules=(failing(FIRST),)))
    pipeline = Pipeline("asking", input=Question, model=MODELS)
    stop = Stop()
    cut_off = True

    @pipeline.stage()
    async def answer(question: Question, llm: Llm) -> Answer:
        word = await llm.ask(question.text)
        if cut_off:
            stop.now("cancelled")
        return Answer(word=word + await llm.ask("and then?"))

    run = await bench.begin(pipeline, Question())
    await bench.carry_on(run, pipeline, stop=stop)
    before = await models(bench)
    assert before[:5] == [FIRST] * 4 + [SECOND]
    cut_off = False
    bench.provider.use(Script())
    ended = await bench.carry_on(run, pipeline)
    assert ended.finished, await bench.reasons(run)
    # the first question is answered from the ledger; the second is a question of its own, whose first model is well
    assert (await models(bench))[len(before) :] == [FIRST]
    assert bench.provider.bill.charged_again() == {}


async def test_a_finished_run_is_not_asked_again_by_its_first_model(bench: Any) -> None:
    bench.provider.use(Script(rules=(failing(FIRST),)))
    run, _ = await bench.run(pipeline_asking(), Question())
    before = len(await models(bench))
    bench.provider.use(Script())
    assert (await bench.carry_on(run, pipeline_asking())).finished
    assert len(await models(bench)) == before


async def test_stand_ins_may_be_named_for_a_run(bench: Any) -> None:
    bench.provider.use(Script(rules=(failing(FIRST),)))
    one = pipeline_asking(f"openai:{THIRD}")
    run, ended = await bench.run(one, Question(), model=f"openai:{FIRST}|openai:{THIRD}")
    assert ended.finished, await bench.reasons(run)
    assert (await models(bench))[-1] == THIRD


async def test_every_stand_in_must_be_one_that_can_be_asked(bench: Any) -> None:
    graph = pipeline_asking().check()
    keyless = Site(bench.ledger, {"OPENAI_API_KEY": "k"})
    with pytest.raises(MissingKey, match="ANTHROPIC_API_KEY"):
        await begin(Start(graph, "test", Question(), Settings()), keyless)
    with pytest.raises(NotFound, match="anthropic"):
        await begin(Start(graph, "test", Question(), Settings(model="openai:x|antropic:y")), keyless)
    assert await bench.ledger.runs() == []
