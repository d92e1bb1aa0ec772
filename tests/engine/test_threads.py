"""Where stages' own functions run."""

import asyncio
import sys
import threading
import time

import pytest
from pydantic import BaseModel

from stagebook import Pipeline
from stagebook.engine.handover import Handover
from stagebook.engine.session import Site, Start, begin_driven, carry_on
from stagebook.engine.settings import Settings
from stagebook.engine.threads import StageThreads
from stagebook.ledger.facts import StepSkipped
from stagebook.ledger.store import Ledger
from stagebook.model.records import NewRun
from stagebook.model.status import StepStatus


class Word(BaseModel):
    """An input and an output."""

    text: str


async def test_calls_one_after_the_other_use_one_thread() -> None:
    threads = StageThreads()
    used = {await threads.start(threading.get_ident) for _ in range(20)}
    threads.close()
    assert len(used) == 1


async def test_calls_at_once_wait_for_none_of_each_other() -> None:
    threads, together = StageThreads(), threading.Barrier(8, timeout=20)
    await asyncio.gather(*(threads.start(together.wait) for _ in range(8)))
    threads.close()


async def test_a_call_that_is_cancelled_before_its_thread_comes_to_it_is_not_made() -> None:
    threads, made = StageThreads(), list[str]()
    await threads.start(lambda: None)
    patience = sys.getswitchinterval()
    sys.setswitchinterval(30)  # the thread gets no turn before this one waits
    try:
        threads.start(lambda: made.append("called")).cancel()
    finally:
        sys.setswitchinterval(patience)
    await threads.start(lambda: None)
    await threads.start(lambda: None)
    threads.close()
    assert made == []


async def test_threads_end_when_they_are_closed() -> None:
    threads, release = StageThreads(), threading.Event()
    busy = threads.start(lambda: release.wait(20))
    idle = await threads.start(threading.current_thread)
    threads.close()
    release.set()
    await busy
    await asyncio.to_thread(idle.join, 20)
    assert not idle.is_alive()


@pytest.mark.parametrize("raised", [StopIteration("enough"), SystemExit(3)])
async def test_a_function_can_end_neither_an_iteration_nor_the_process_of_its_caller(raised: BaseException) -> None:
    threads = StageThreads()

    def function() -> None:
        raise raised

    with pytest.raises(RuntimeError, match=type(raised).__name__):
        await threads.start(function)
    threads.close()


async def test_what_a_cancelled_waiter_was_to_get_is_not_written() -> None:
    handover = Handover(asyncio.get_running_loop().create_future())
    waiting = asyncio.create_task(handover.taken())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with await Ledger.open(":memory:") as ledger:
        run, claim = await ledger.begin_run(NewRun("x", b'{"name":"x","stages":[]}', "here", b"{}", b"{}"))
        fact = StepSkipped(ledger.new_id(), run.id, "one", "", claim.fence, "no need", 1)
        handover.write(ledger, (fact,))()
        await ledger.write()
        assert await ledger.steps(run.id) == []


async def test_a_step_that_timed_out_stays_failed_when_its_function_ends_after_all() -> None:
    slow, ended = Pipeline("slow", input=Word), threading.Event()

    @slow.stage(timeout=0.05)
    def late(word: Word) -> Word:
        time.sleep(0.3)
        ended.set()
        return word

    graph = slow.check()
    async with await Ledger.open(":memory:") as ledger:
        site = Site(ledger, {})
        run, claim = await begin_driven(Start(graph, "here", Word(text="x"), Settings()), site)
        await carry_on(run, graph, site, claim=claim)
        assert await asyncio.to_thread(ended.wait, 20)
        await asyncio.sleep(0.1)
        await ledger.write()
        (step,) = await ledger.steps(run.id)
        assert step.status is StepStatus.FAILED
        assert await ledger.outputs(run.id) == []


async def test_a_timeout_that_a_stage_raises_itself_is_its_failure() -> None:
    waiting = Pipeline("waiting", input=Word)

    @waiting.stage()
    async def asks(word: Word) -> Word:
        raise TimeoutError(f"nobody answered {word.text}")

    graph = waiting.check()
    async with await Ledger.open(":memory:") as ledger:
        site = Site(ledger, {})
        run, claim = await begin_driven(Start(graph, "here", Word(text="x"), Settings()), site)
        await carry_on(run, graph, site, claim=claim)
        (step,) = await ledger.steps(run.id)
        assert step.status is StepStatus.FAILED
        assert "TimeoutError: nobody answered x" in (step.reason or "")
