"""Provider batches over real HTTP: half the bill, every answer its own row, and nothing paid twice whatever breaks."""

import asyncio
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

from stagebook import Complaint, Key, Llm, Pipeline, Text
from stagebook.door.batch_member import Member
from stagebook.door.retry import RetryPolicy
from stagebook.engine.drive import PAUSED, Stop
from stagebook.engine.progress import Progress
from stagebook.engine.session import Site, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger
from stagebook.llm.batch_policy import BatchPolicy
from stagebook.llm.batches import FORMATS
from stagebook.llm.codec import Unreadable
from stagebook.model.status import StepStatus
from stagebook.testing.provider_faults import BatchFaults, Cut, ErrorStatus
from stagebook.testing.provider_script import Rule, Script

CHAT, RESPONSES, ANTHROPIC = "openai:gpt-4.1-mini", "openai-responses:gpt-4.1-mini", "anthropic:claude-haiku-4-5"
every = pytest.mark.parametrize("model", [CHAT, RESPONSES, ANTHROPIC])
SWIFT = BatchPolicy(
    tick=0.005,
    calm=0.02,
    quiet=30.0,
    first_wait=0.01,
    growth=1.2,
    longest_wait=0.05,
    alone=0,
    arrival=0.3,
    settling=2.0,
)
HALF_PRICE = "genai-prices/batch"


class Given(BaseModel):
    count: int


class Question(BaseModel):
    number: Annotated[int, Key]


class Answer(BaseModel):
    word: str


class Note(BaseModel):
    text: Text


def asking(model: str = CHAT, **options: Any) -> Pipeline:
    """Ask about so many numbers, and sum up with a live call."""
    pipeline = Pipeline("asking", input=Given, model=model)

    @pipeline.stage()
    def questions(given: Given) -> Iterator[Question]:
        for number in range(1, given.count + 1):
            yield Question(number=number)

    @pipeline.prompt(each=Question, text="Question {{ question.number }}.", returns=Answer, **options)
    def answer(question: Question) -> None: ...

    @answer.check
    def is_good(answer: Answer) -> None:
        if answer.word == "bad":
            raise Complaint("not that word")

    @pipeline.prompt(text="Sum up {{ answers | length }} answers.", returns=Note)
    def note(answers: list[Answer]) -> None: ...

    return pipeline


async def asked(bench: Any, pipeline: Pipeline, count: int, **settings: Any) -> Any:
    chosen = {"provider_batch": True, "batching": SWIFT, **settings}
    return await bench.begin(pipeline, Given(count=count), **chosen)


async def rows(bench: Any, run: Any, columns: str, where: str = "1 = 1") -> list[tuple[Any, ...]]:
    sql = f"SELECT {columns} FROM exchanges WHERE run = {run.id} AND {where} ORDER BY id"  # noqa: S608  of a test
    return list((await bench.ledger.query(sql)).rows)


async def is_paid_once(bench: Any, run: Any) -> None:
    """The ledger's total is the bill's, no body was charged twice, and nobody is in doubt."""
    assert await bench.cost(run) == bench.provider.bill.total()
    assert bench.provider.bill.charged_again() == {}
    assert await rows(bench, run, "id", "state IN ('sent', 'lost')") == []


def batches(bench: Any) -> list[str]:
    return sorted({entry.batch for entry in bench.provider.bill.charged if entry.batch})


@every
async def test_a_map_is_answered_by_one_batch_at_half_price_and_the_rest_live(bench: Any, model: str) -> None:
    run = await asked(bench, asking(model), 12)
    ended = await bench.carry_on(run, asking(model))
    assert ended.finished
    assert not ended.failed
    assert len(await bench.outputs(run, "answer")) == 12
    charged = bench.provider.bill.charged
    assert [sum(bool(entry.batch) for entry in charged), len(batches(bench)), len(charged)] == [12, 1, 13]
    await is_paid_once(bench, run)
    sources = await rows(bench, run, "price_source, count(*)", "kind = 'model' GROUP BY price_source")
    assert dict(sources) == {"genai-prices": 1, HALF_PRICE: 12}
    assert {kind for (kind,) in await rows(bench, run, "kind")} == {"model", "batch", "poll"}
    assert await rows(bench, run, "id", "kind IN ('batch', 'poll') AND cost IS NOT NULL") == []


@every
async def test_what_an_answer_says_of_its_request_is_the_same_as_of_a_live_one(bench: Any, model: str) -> None:
    """The recorded exchange has the very body that was asked, and the answer as the provider writes it."""
    run = await asked(bench, asking(model), 3)
    await bench.carry_on(run, asking(model))
    bodies = {
        await bench.ledger.request_body(int(number))
        for (number,) in await rows(bench, run, "id", f"price_source = '{HALF_PRICE}'")
    }
    assert bodies == {request.body for request in bench.provider.requests if "Question" in request.text}


async def test_a_complaint_goes_into_the_next_batch(bench: Any) -> None:
    bench.provider.use(
        Script(
            rules=(
                Rule(contains=("Question 2", "cannot be used"), fields={"word": "better"}),
                Rule(contains="Question 2", fields={"word": "bad"}),
            )
        )
    )
    run = await asked(bench, asking(), 4)
    ended = await bench.carry_on(run, asking())
    assert ended.finished
    assert b"better" in (await bench.outputs(run, "answer"))["2"]
    assert len(batches(bench)) == 2
    await is_paid_once(bench, run)


async def test_batches_are_split_by_the_number_that_a_provider_takes(bench: Any) -> None:
    policy = BatchPolicy(**{**_fields(SWIFT), "most_requests": 4})
    run = await asked(bench, asking(), 10, batching=policy)
    assert (await bench.carry_on(run, asking())).finished
    counts = [sum(entry.batch == name for entry in bench.provider.bill.charged) for name in batches(bench)]
    assert sorted(counts) == [2, 4, 4]
    await is_paid_once(bench, run)


@every
async def test_an_expired_batch_is_submitted_again_for_what_is_missing(bench: Any, model: str) -> None:
    bench.provider.use(Script(batches=BatchFaults(expire=(1,), share=0.5)))
    run = await asked(bench, asking(model), 8)
    assert (await bench.carry_on(run, asking(model))).finished
    counts = [sum(entry.batch == name for entry in bench.provider.bill.charged) for name in batches(bench)]
    assert counts == [4, 4]
    await is_paid_once(bench, run)
    assert len(await rows(bench, run, "id", "state = 'unsent' AND kind = 'model'")) == 4


async def test_a_few_that_are_left_are_asked_alone_at_full_price(bench: Any) -> None:
    bench.provider.use(Script(batches=BatchFaults(expire=(1,), share=0.75)))
    policy = BatchPolicy(**{**_fields(SWIFT), "alone": 2})
    run = await asked(bench, asking(), 8, batching=policy)
    assert (await bench.carry_on(run, asking())).finished
    assert len(batches(bench)) == 1
    assert len([entry for entry in bench.provider.bill.charged if not entry.batch]) == 3
    await is_paid_once(bench, run)


@every
async def test_a_line_that_is_an_error_fails_its_own_step_or_is_tried_again(bench: Any, model: str) -> None:
    bench.provider.use(
        Script(
            rules=(
                Rule(contains="Question 2.", faults=(ErrorStatus(status=400),)),
                Rule(contains="Question 3.", faults=(ErrorStatus(status=500, times=1),)),
            )
        )
    )
    pipeline = asking(model, on_error="collect")
    run = await asked(bench, pipeline, 4)
    await bench.carry_on(run, pipeline)
    steps = await bench.steps(run)
    assert [steps["answer", key] for key in "1234"] == ["completed", "failed", "completed", "completed"]
    assert "400" in next(step.reason for step in await bench.ledger.steps(run.id) if step.status is StepStatus.FAILED)
    await is_paid_once(bench, run)


async def test_a_line_that_is_missing_is_possibly_paid_and_asked_again(bench: Any) -> None:
    bench.provider.use(Script(rules=(Rule(contains="Question 2.", faults=(Cut(charged=True, times=1),)),)))
    run = await asked(bench, asking(), 3)
    assert (await bench.carry_on(run, asking())).finished
    [(state,)] = await rows(bench, run, "state", "kind = 'model' AND state NOT IN ('received', 'parsed')")
    assert state == "lost"
    lost = next(entry for entry in bench.provider.bill.charged if entry.ended == "cut")
    assert await bench.cost(run) + lost.cost == bench.provider.bill.total()


@every
async def test_a_creation_that_was_cut_off_is_looked_up_and_not_paid_again(bench: Any, model: str) -> None:
    bench.provider.use(Script(batches=BatchFaults(cut_creations=(1,))))
    run = await asked(bench, asking(model), 5)
    assert (await bench.carry_on(run, asking(model))).finished
    assert len(batches(bench)) == 1
    await is_paid_once(bench, run)


@pytest.mark.parametrize("model", [CHAT, ANTHROPIC])
async def test_a_creation_that_arrives_after_it_was_looked_up_is_not_made_twice(bench: Any, model: str) -> None:
    bench.provider.use(Script(batches=BatchFaults(cut_creations=(1,), late_by=0.15)))
    run = await asked(bench, asking(model), 5)
    assert (await bench.carry_on(run, asking(model))).finished
    assert len(batches(bench)) == 1
    await is_paid_once(bench, run)


@pytest.mark.parametrize("model", [CHAT, ANTHROPIC])
async def test_a_provider_that_is_busy_is_asked_again(bench: Any, model: str) -> None:
    bench.provider.use(Script(batches=BatchFaults(busy_uploads=(1,), busy_creations=(1, 2))))
    run = await asked(bench, asking(model), 5)
    assert (await bench.carry_on(run, asking(model))).finished
    assert len(batches(bench)) == 1
    await is_paid_once(bench, run)


async def test_a_batch_that_is_too_much_at_once_is_halved(bench: Any) -> None:
    bench.provider.use(Script(batches=BatchFaults(full=(1,))))
    run = await asked(bench, asking(), 6)
    assert (await bench.carry_on(run, asking())).finished
    counts = [sum(entry.batch == name for entry in bench.provider.bill.charged) for name in batches(bench)]
    assert counts == [3, 3]
    await is_paid_once(bench, run)


async def test_another_batch_of_the_same_size_is_not_taken_for_ours(bench: Any) -> None:
    """Anthropic's list has no name for a batch: one that only looks alike is found out by its answers."""
    other = await asked(bench, asking(ANTHROPIC), 5)
    await bench.carry_on(other, asking(ANTHROPIC))
    before = bench.provider.bill.total()
    bench.provider.use(Script(batches=BatchFaults(busy_creations=(1,))))
    run = await asked(bench, asking(ANTHROPIC), 5)
    assert (await bench.carry_on(run, asking(ANTHROPIC))).finished
    assert await bench.cost(run) == bench.provider.bill.total() - before
    assert len(batches(bench)) == 2


async def stopped_while_waiting(bench: Any, run: Any, pipeline: Pipeline, reason: str = "interrupted") -> Progress:
    """Stop a drive as soon as its batch was polled once."""
    stop, progress = Stop(), Progress()
    drive = asyncio.create_task(bench.carry_on(run, pipeline, stop, progress))
    while "polled" not in (progress.batches() or ""):
        await asyncio.sleep(0.005)
    stop.finish(reason)
    ended = await drive
    assert (ended.finished, ended.stopped) == (False, reason)
    return progress


@every
async def test_a_run_that_is_stopped_leaves_its_batch_and_goes_on_with_it(bench: Any, model: str) -> None:
    bench.provider.use(Script(batches=BatchFaults(seconds=0.8)))
    run = await asked(bench, asking(model), 6)
    progress = await stopped_while_waiting(bench, run, asking(model))
    assert "batch of 6 at" in (progress.batches() or "")
    assert await rows(bench, run, "id", "state IN ('sent', 'lost')") == []
    run = await bench.ledger.run(run.run_id)
    ended = await bench.carry_on(run, asking(model))
    assert ended.finished
    assert len(batches(bench)) == 1
    await is_paid_once(bench, run)


@pytest.mark.parametrize("model", [CHAT, ANTHROPIC])
async def test_a_batch_is_found_again_in_a_ledger_in_postgresql(bench: Any, postgres: str, model: str) -> None:
    bench.provider.use(Script(batches=BatchFaults(seconds=0.8, expire=(1,), cut_creations=(1, 2))))
    async with await Ledger.open(postgres) as ledger:
        bench.ledger, bench.site = ledger, Site(ledger, bench.site.environment, public_only=False)
        run = await asked(bench, asking(model), 6)
        await stopped_while_waiting(bench, run, asking(model))
        run = await bench.ledger.run(run.run_id)
        assert (await bench.carry_on(run, asking(model))).finished
        assert len(batches(bench)) == 2
        await is_paid_once(bench, run)


async def test_a_cancelled_run_has_its_batch_cancelled(bench: Any) -> None:
    bench.provider.use(Script(batches=BatchFaults(seconds=5.0)))
    run = await asked(bench, asking(), 6)
    await stopped_while_waiting(bench, run, asking(), "cancelled")
    cancelled = [entry for entry in await rows(bench, run, "url") if entry[0].endswith("/cancel")]
    assert len(cancelled) == 1


async def test_answers_of_steps_that_no_longer_ask_are_recorded_and_paid_all_the_same(bench: Any) -> None:
    """The template was changed while the batch was at work: what it brings is on the bill, so it is in the ledger."""
    bench.provider.use(Script(batches=BatchFaults(seconds=0.3)))
    run = await asked(bench, asking(), 4)
    await stopped_while_waiting(bench, run, asking())
    other = Pipeline("asking", input=Given, model=CHAT)

    @other.stage()
    def questions(given: Given) -> Iterator[Question]:
        for number in range(1, given.count + 1):
            yield Question(number=number)

    @other.prompt(each=Question, text="Quite another question {{ question.number }}.", returns=Answer)
    def answer(question: Question) -> None: ...

    run = await bench.ledger.run(run.run_id)
    assert (await bench.carry_on(run, other)).finished
    assert len(batches(bench)) == 2
    await is_paid_once(bench, run)


async def test_what_was_uploaded_and_is_not_asked_any_more_is_not_paid_for(bench: Any) -> None:
    """No batch was made before the template was changed: nothing of the old words is handed in."""
    bench.provider.use(Script(batches=BatchFaults(busy_creations=(1, 2, 3, 4))))
    run = await asked(bench, asking(), 3, retry=RetryPolicy(tries=1))
    assert (await bench.carry_on(run, asking())).failed
    changed = Pipeline("asking", input=Given, model=CHAT)

    @changed.stage()
    def questions(given: Given) -> Iterator[Question]:
        for number in range(1, given.count + 1):
            yield Question(number=number)

    @changed.prompt(each=Question, text="Other words {{ question.number }}.", returns=Answer)
    def answer(question: Question) -> None: ...

    bench.provider.use(Script())
    run = await bench.ledger.run(run.run_id)
    assert (await bench.carry_on(run, changed)).finished
    assert len(bench.provider.bill.charged) == 3
    assert all("Other words" in request.text for request in bench.provider.requests)
    await is_paid_once(bench, run)


async def test_a_run_whose_bodies_were_purged_asks_again(bench: Any) -> None:
    bench.provider.use(Script(rules=(Rule(contains="Question 2.", faults=(ErrorStatus(status=400, times=1),)),)))
    pipeline = asking(on_error="collect")
    run = await asked(bench, pipeline, 3)
    await bench.carry_on(run, pipeline)
    await bench.ledger.upkeep.purge_bodies([(run.id, run.run_id)])
    run = await bench.ledger.run(run.run_id)
    assert (await bench.carry_on(run, pipeline)).finished
    assert set((await bench.steps(run)).values()) == {"completed"}


async def test_a_budget_pauses_before_a_batch_could_pass_it(bench: Any) -> None:
    """The worst case of each request, at half price, is reserved before the batch leaves."""
    run = await asked(bench, asking(max_tokens=100), 40, budget=450_000_000)
    ended = await bench.carry_on(run, asking(max_tokens=100))
    assert ended.stopped == PAUSED
    assert ended.reached is not None
    assert 0 < bench.provider.bill.total() <= 450_000_000
    done = len(await bench.outputs(run, "answer"))
    assert 0 < done < 40
    again = await bench.ledger.run(run.run_id)
    await bench.ledger.write()
    more = Settings.load(again.settings).with_budget("none")

    assert (await carry_on(again, asking(max_tokens=100).check(), bench.site, settings=more)).finished
    await is_paid_once(bench, run)


async def test_a_budget_counts_a_batch_that_an_earlier_drive_submitted(bench: Any) -> None:
    bench.provider.use(Script(batches=BatchFaults(seconds=0.5)))
    run = await asked(bench, asking(max_tokens=100), 6, budget=1_000_000_000_000)
    await stopped_while_waiting(bench, run, asking(max_tokens=100))
    run = await bench.ledger.run(run.run_id)
    assert (await bench.carry_on(run, asking(max_tokens=100))).finished
    await is_paid_once(bench, run)


async def test_stages_that_ask_by_themselves_and_providers_without_batches_go_live(bench: Any) -> None:
    pipeline = Pipeline("mixed", input=Given, model=CHAT)

    @pipeline.stage()
    def questions(given: Given) -> Iterator[Question]:
        for number in range(1, given.count + 1):
            yield Question(number=number)

    @pipeline.prompt(each=Question, text="Question {{ question.number }}.", returns=Answer)
    def answer(question: Question) -> None: ...

    @pipeline.stage(each=Question)
    async def aside(question: Question, llm: Llm) -> Note:
        return Note(text=await llm.ask(f"An aside about {question.number}."))

    run = await asked(bench, pipeline, 5)
    progress = Progress()
    assert (await bench.carry_on(run, pipeline, None, progress)).finished
    assert progress.by_batch == "by batch, at half price: answer; live: aside"
    by_batch = [bool(entry.batch) for entry in bench.provider.bill.charged]
    assert (by_batch.count(True), by_batch.count(False)) == (5, 5)
    await is_paid_once(bench, run)


async def test_thousands_of_steps_wait_at_once_whatever_the_concurrency(bench: Any) -> None:
    run = await asked(bench, asking(), 2000, concurrency=2)
    assert (await bench.carry_on(run, asking())).finished
    assert len(batches(bench)) == 1
    await is_paid_once(bench, run)


async def test_a_server_without_batches_is_named_and_nothing_is_charged(bench: Any) -> None:
    environment = {**bench.site.environment, "OPENAI_BASE_URL": f"{bench.provider.url}/without"}
    bench.site = Site(bench.ledger, environment, public_only=False)
    run = await asked(bench, asking(), 3)
    ended = await bench.carry_on(run, asking())
    assert ended.failed
    reason = (await bench.reasons(run))["answer"]
    assert reason.startswith(f"openai takes no batches at {bench.provider.url}/without/chat/completions (openai (")
    assert reason.endswith("); begin a run without --provider-batch")
    assert bench.provider.bill.charged == []


HOSTILE = [
    b"not json",
    b"[]",
    b'{"custom_id": 7}',
    b'{"custom_id": ["x"], "response": "text", "error": 3, "result": 4}',
    b'{"custom_id": "x", "response": {"status_code": "200"}, "error": null, "result": {"type": 5}}',
    b'{"custom_id": "x", "response": {"status_code": 200}, "result": {"type": "succeeded"}}',
    b"\xff\xfe",
]


@pytest.mark.parametrize("provider", FORMATS)
def test_hostile_lines_of_results_are_passed_over_or_read_as_they_are(provider: str) -> None:
    form = FORMATS[provider]
    for line in form.lines(b"\n".join(HOSTILE)):
        assert Member.read(line.custom_id) is None


@pytest.mark.parametrize("provider", FORMATS)
@pytest.mark.parametrize("body", [b"", b"[1]", b"{}", b'{"id": "../../x"}', b'{"id": 3, "request_counts": "many"}'])
def test_what_says_nothing_of_a_batch_is_unreadable(provider: str, body: bytes) -> None:
    with pytest.raises(Unreadable):
        FORMATS[provider].state(body)


def test_a_members_name_holds_all_of_it_and_fits_every_provider() -> None:
    member = Member((1 << 53) - 1, 12_345, 3, bytes(range(16)), 2, b"the-mark")
    assert Member.read(member.custom_id()) == member
    assert len(member.custom_id()) <= 64
    assert Member.read("somebody-else") is None
    assert Member.read("ä") is None


def _fields(policy: BatchPolicy) -> dict[str, Any]:
    return {name: getattr(policy, name) for name in policy.__slots__}
