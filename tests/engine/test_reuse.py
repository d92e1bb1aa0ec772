"""What a run with `reuse` takes over from others, and what it asks anew."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import orjson
import pytest
from pydantic import BaseModel, Field, computed_field
from tests.engine.conftest import QUICK

from stagebook import Call, Complaint, Key, Pipeline
from stagebook.engine.drive import Stop
from stagebook.engine.session import carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.clock import now
from stagebook.ledger.facts import OutputMade, OutputRemoved
from stagebook.model.exchange import content_hash
from stagebook.model.records import Run, Step
from stagebook.testing.provider_faults import ErrorStatus
from stagebook.testing.provider_script import Rule, Script

MINI, STAND_IN = "openai:gpt-4.1-mini", "anthropic:claude-haiku-4-5"


class Given(BaseModel):
    words: list[str]
    longest: int = 9


class Word(BaseModel):
    number: Annotated[int, Key]
    text: str
    longest: int
    """Not in the prompt: only the check reads it."""


class Label(BaseModel):
    word: str
    length: int


def is_short(made: Label, word: Word) -> None:
    if made.length > word.longest:
        raise Complaint("too long")


def is_not_long(made: Label, word: Word) -> None:
    if made.length > word.longest + 1:
        raise Complaint("too long")


async def slowly(made: Label) -> None:
    await asyncio.sleep(60 if made.length else 0)


def labelling(
    *,
    text: str = "Label {{ word.text }}",
    returns: type[BaseModel] = Label,
    check: Callable[..., None] | None = is_short,
    name: str = "labels",
    **options: Any,
) -> Pipeline:
    pipeline = Pipeline(name, input=Given, model=MINI)

    @pipeline.stage()
    def words(given: Given) -> Iterator[Word]:
        yield from (Word(number=at, text=one, longest=given.longest) for at, one in enumerate(given.words))

    @pipeline.prompt(each=Word, text=text, returns=returns, **options)
    def label(word: Word) -> None: ...

    if check is not None:
        label.check(check)
    return pipeline


def asked(bench: Any) -> int:
    return len(bench.provider.bill.charged)


async def taken_over(bench: Any, run: Run) -> list[Step]:
    return [step for step in await bench.ledger.steps(run.id) if step.reused_from is not None]


@pytest.fixture(autouse=True)
def _answers(bench: Any) -> None:
    bench.provider.use(Script(rules=(Rule(answer={"word": "w", "length": 3}),)))


async def test_the_same_request_is_not_sent_again(bench: Any) -> None:
    first, _ = await bench.run(labelling(), Given(words=["a", "b"]))
    second, ended = await bench.run(labelling(), Given(words=["b", "new", "a"]), reuse=True)
    assert ended.finished
    assert asked(bench) == 3
    origins = {step.id: step for step in await bench.ledger.steps(first.id)}
    steps = await taken_over(bench, second)
    assert {(step.item, origins[step.reused_from].item) for step in steps} == {("0", "1"), ("2", "0")}
    made = await bench.ledger.query("SELECT item, made_by FROM outputs WHERE run = ? AND stage = 'label'", (second.id,))
    assert sorted(made.rows) == [("0", "reuse"), ("1", "stage"), ("2", "reuse")]
    summary = (await bench.ledger.summaries([second.id]))[second.id].stages["label"]
    assert (summary.reused, summary.avoided) == (2, await bench.cost(first))


async def test_without_it_everything_is_asked(bench: Any) -> None:
    for _ in range(2):
        run, _ = await bench.run(labelling(), Given(words=["a"]))
    assert (asked(bench), await taken_over(bench, run)) == (2, [])


class Kind(BaseModel):
    word: str
    length: int
    kind: str = ""


@pytest.mark.parametrize(
    ("changed", "settings"),
    [
        ({"text": "Label {{ word.text }}!"}, {}),
        ({"check": is_not_long}, {}),
        ({"returns": Kind, "check": None}, {}),
        ({"temperature": 0.5}, {}),
        ({}, {"model": "openai:gpt-4.1"}),
    ],
    ids=["template", "check", "schema", "parameter", "model"],
)
async def test_what_was_changed_is_asked_anew(bench: Any, changed: dict[str, Any], settings: dict[str, str]) -> None:
    await bench.run(labelling(), Given(words=["a"]))
    run, ended = await bench.run(labelling(**changed), Given(words=["a"]), reuse=True, **settings)
    assert ended.finished
    assert (asked(bench), await taken_over(bench, run)) == (2, [])


async def test_what_a_check_would_no_longer_let_pass_is_asked_anew(bench: Any) -> None:
    await bench.run(labelling(), Given(words=["a"]))
    bench.provider.use(Script(rules=(Rule(answer={"word": "w", "length": 1}),)))
    run, _ = await bench.run(labelling(), Given(words=["a"], longest=2), reuse=True)
    assert await bench.outputs(run, "label") == {"0": b'{"word":"w","length":1}'}
    again, _ = await bench.run(labelling(), Given(words=["a"], longest=2), reuse=True)
    assert (asked(bench), len(await taken_over(bench, again))) == (2, 1)


class Loose(BaseModel):
    word: str = Field(min_length=1)


class Strict(BaseModel):
    word: str = Field(min_length=2)


async def test_what_the_model_of_the_answer_refuses_now_is_asked_anew(bench: Any) -> None:
    Strict.__name__ = Loose.__name__  # what is sent is the same: strict mode has no minLength
    await bench.run(labelling(returns=Loose, check=None), Given(words=["a"]))
    bench.provider.use(Script(rules=(Rule(answer={"word": "ww"}),)))
    run, _ = await bench.run(labelling(returns=Strict, check=None), Given(words=["a"]), reuse=True)
    assert {entry.sha256 for entry in bench.provider.bill.charged} == {bench.provider.bill.charged[0].sha256}
    assert await bench.outputs(run, "label") == {"0": b'{"word":"ww"}'}


async def test_three_samples_of_one_prompt_stay_three(bench: Any) -> None:
    same = Given(words=["a", "a", "a"])
    first, _ = await bench.run(labelling(), Given(words=["a", "a"]))
    second, _ = await bench.run(labelling(), same, reuse=True)
    assert asked(bench) == 3
    steps = await taken_over(bench, second)
    assert len({step.reused_from for step in steps}) == 2
    third, _ = await bench.run(labelling(), same, reuse=True)
    assert asked(bench) == 3
    assert len({step.reused_from for step in await taken_over(bench, third)}) == 3
    assert {step.reused_from for step in steps} <= {step.id for step in await bench.ledger.steps(first.id)}


async def test_copies_of_one_answer_stay_one_when_their_origin_is_deleted(bench: Any) -> None:
    first, _ = await bench.run(labelling(), Given(words=["a"]))
    for _ in range(2):
        await bench.run(labelling(), Given(words=["a"]), reuse=True)
    assert asked(bench) == 1
    await bench.ledger.upkeep.delete(first.id, first.run_id)
    run, _ = await bench.run(labelling(), Given(words=["a"] * 3), reuse=True)
    assert (len(await taken_over(bench, run)), asked(bench)) == (1, 3)
    again, _ = await bench.run(labelling(), Given(words=["a"] * 4), reuse=True)
    origins = {step.reused_from for step in await taken_over(bench, again)}
    assert (len(origins), asked(bench)) == (3, 4)


async def test_what_a_person_changed_or_removed_stays_where_it_is(bench: Any) -> None:
    run, _ = await bench.run(labelling(), Given(words=["a", "b"]))
    steps = {step.item: step.id for step in await bench.ledger.steps(run.id) if step.stage == "label"}
    data = b'{"word":"by hand","length":1}'
    await bench.ledger.write(
        OutputMade(bench.ledger.new_id(), run.id, steps["0"], "label", "0", data, content_hash(data), "hand", now()),
        OutputRemoved(bench.ledger.new_id(), run.id, steps["1"], "label", "1", "hand", now()),
    )
    again, _ = await bench.run(labelling(), Given(words=["a", "b"]), reuse=True)
    assert (asked(bench), await taken_over(bench, again)) == (4, [])


async def test_what_was_accepted_leniently_is_taken_over_by_a_lenient_run_alone(bench: Any) -> None:
    long = Given(words=["a"], longest=1)
    await bench.run(labelling(tries=1), long, lenient=True)
    run, _ = await bench.run(labelling(tries=1), long, lenient=True, reuse=True)
    (step,) = await taken_over(bench, run)
    assert asked(bench) == 1
    assert step.warnings == ("accepted leniently: too long",)
    _, ended = await bench.run(labelling(tries=1), long, reuse=True)
    assert (asked(bench), ended.finished) == (2, False)


async def test_an_answer_of_a_stand_in_is_for_those_who_would_ask_it(bench: Any) -> None:
    down = Rule(model="gpt-4.1-mini", faults=(ErrorStatus(status=503),) * 4)
    bench.provider.use(Script(rules=(down, Rule(answer={"word": "w", "length": 3}))))
    both = f"{MINI}|{STAND_IN}"
    await bench.run(labelling(), Given(words=["a"]), model=both)
    run, _ = await bench.run(labelling(), Given(words=["a"]), model=both, reuse=True)
    (step,) = await taken_over(bench, run)
    assert step.warnings[0].startswith(f"answered by {STAND_IN}: ")
    assert asked(bench) == 1
    bench.provider.use(Script(rules=(Rule(answer={"word": "w", "length": 3}),)))
    alone, _ = await bench.run(labelling(), Given(words=["a"]), reuse=True)
    assert (asked(bench), await taken_over(bench, alone)) == (2, [])


async def test_a_step_that_failed_takes_over_what_another_run_was_answered_since(bench: Any) -> None:
    bench.provider.use(Script(rules=(Rule(answer={"word": "w", "length": 5}),)))
    mine, ended = await bench.run(labelling(tries=1), Given(words=["a"], longest=4), reuse=True)
    assert not ended.finished
    bench.provider.use(Script(rules=(Rule(answer={"word": "w", "length": 3}),)))
    await bench.run(labelling(tries=1), Given(words=["a"]))
    ended = await bench.carry_on(await bench.ledger.run(mine.run_id), labelling(tries=1))
    assert ended.finished
    assert (asked(bench), len(await taken_over(bench, mine))) == (2, 1)


async def test_a_step_that_was_answered_before_it_was_cut_off_keeps_its_own_answer(bench: Any) -> None:
    await bench.run(labelling(), Given(words=["a"]))
    mine = await bench.begin(labelling(check=slowly), Given(words=["a"]))
    stop = Stop()
    cut = asyncio.create_task(bench.carry_on(mine, labelling(check=slowly), stop))
    answered = "SELECT count(*) FROM exchanges WHERE run = ? AND state = 'received'"
    while (await bench.ledger.query(answered, (mine.id,))).rows != [(1,)]:
        await asyncio.sleep(0.02)
    stop.now("cut")
    await cut
    settings = Settings(retry=QUICK, reuse=True)
    again = await bench.ledger.run(mine.run_id)
    ended = await carry_on(again, labelling(check=is_short).check(), bench.site, settings=settings)
    assert ended.finished
    assert (asked(bench), await taken_over(bench, mine)) == (2, [])


async def test_other_pipelines_and_stages_have_answers_of_their_own(bench: Any) -> None:
    await bench.run(labelling(), Given(words=["a"]))
    other = labelling(name="others")
    run, _ = await bench.run(other, Given(words=["a"]), reuse=True)
    assert (asked(bench), await taken_over(bench, run)) == (2, [])


class Forbidding(BaseModel, extra="forbid"):
    word: str
    length: int

    @computed_field
    @property
    def loud(self) -> str:
        return self.word.upper()


class Told(Label):
    call: Call = Call()


async def test_an_answer_with_computed_fields_is_taken_over_where_its_model_forbids_more(bench: Any) -> None:
    pipeline = labelling(returns=Forbidding, check=None)
    await bench.run(pipeline, Given(words=["a"]))
    run, _ = await bench.run(pipeline, Given(words=["a"]), reuse=True)
    assert (asked(bench), len(await taken_over(bench, run))) == (1, 1)


async def test_a_complaint_that_asking_would_have_mended_is_not_let_go(bench: Any) -> None:
    def softly(made: Label, word: Word) -> None:
        if made.length > word.longest:
            raise Complaint("too long", insist=False)

    pipeline = labelling(check=softly)
    await bench.run(pipeline, Given(words=["a"]))
    bench.provider.use(Script(rules=(Rule(answer={"word": "w", "length": 1}),)))
    run, _ = await bench.run(pipeline, Given(words=["a"], longest=2), reuse=True)
    assert asked(bench) == 2
    assert await taken_over(bench, run) == []


async def test_what_was_let_go_before_is_let_go_again(bench: Any) -> None:
    def softly(made: Label, word: Word) -> None:
        if made.length > word.longest:
            raise Complaint("too long", insist=False)

    pipeline = labelling(check=softly, tries=1)
    await bench.run(pipeline, Given(words=["a"], longest=2))
    run, _ = await bench.run(pipeline, Given(words=["a"], longest=2), reuse=True)
    assert (asked(bench), len(await taken_over(bench, run))) == (1, 1)


async def test_an_answer_taken_over_tells_whom_this_run_asks(bench: Any) -> None:
    pipeline = labelling(returns=Told, check=None)
    await bench.run(pipeline, Given(words=["a"]), model=f"{MINI}|{STAND_IN}")
    run, _ = await bench.run(pipeline, Given(words=["a", "b"]), reuse=True)
    calls = [orjson.loads(data)["call"] for data in (await bench.outputs(run, "label")).values()]
    assert {one["asked"] for one in calls} == {MINI}
    assert len({one["model"] for one in calls}) == 1
    assert all(one["input_tokens"] and one["cost_usd"] for one in calls)


async def test_an_answer_from_before_its_model_told_of_calls_tells_of_its_call(bench: Any) -> None:
    class Before(Label): ...

    class After(Label):
        call: Call = Call()

    Before.__name__ = After.__name__ = "Label"  # what is sent is the same: nobody asks for the call
    await bench.run(labelling(returns=Before, check=None), Given(words=["a"]))
    run, _ = await bench.run(labelling(returns=After, check=None), Given(words=["a"]), reuse=True)
    assert (asked(bench), len(await taken_over(bench, run))) == (1, 1)
    (data,) = (await bench.outputs(run, "label")).values()
    call = orjson.loads(data)["call"]
    assert (call["asked"], call["input_tokens"]) == (MINI, bench.provider.bill.charged[0].input_tokens)
