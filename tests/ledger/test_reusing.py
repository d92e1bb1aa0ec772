"""Steps of other runs are found by their fingerprint, each answer once."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stagebook.ledger.fingerprints import Fingerprints
from stagebook.ledger.store import Ledger
from stagebook.model.records import Made
from stagebook.model.status import StepStatus

F = b"f" * 16
digests = st.sampled_from([bytes(16), b"\1" * 16, b"\1" * 15 + b"\0", b"\0" + b"\1" * 15, b"ab" * 8, b"ba" * 8])


@given(st.lists(st.tuples(digests, st.integers(0, 2**53)), max_size=12), digests)
def test_fingerprints_find_what_they_were_given_and_nothing_else(steps: list[tuple[bytes, int]], other: bytes) -> None:
    found = Fingerprints(steps)
    for fingerprint in {other, *(one for one, _ in steps)}:
        assert found.steps(fingerprint) == [step for one, step in steps if one == fingerprint]


async def test_completed_steps_of_other_runs_of_the_pipeline_are_found(ledger: Ledger, begin: Any) -> None:
    first, second, mine = await begin(ledger), await begin(ledger), await begin(ledger)
    for drive in (first, second, mine):
        await drive.step("label", "1", data={"n": 1})
    await first.step("other", "1", data=1)
    await first.ledger.write(first.started("label", "2"), first.ended("label", "2", StepStatus.FAILED))
    found = await ledger.fingerprints(mine.run.pipeline, "label", mine.run.id)
    assert found.steps(F) == [first.steps["label", "1"], second.steps["label", "1"]]
    assert found.steps(b"g" * 16) == []
    assert (await ledger.fingerprints("another", "label", mine.run.id)).steps(F) == []


async def test_what_was_taken_over_is_found_once_and_again_when_its_origin_is_gone(ledger: Ledger, begin: Any) -> None:
    first, second, mine = await begin(ledger), await begin(ledger), await begin(ledger)
    await first.step("label", data=1)
    origin = first.steps["label", ""]
    await second.step("label", data=1, reused_from=origin)
    found = await ledger.fingerprints(mine.run.pipeline, "label", mine.run.id)
    assert found.steps(F) == [origin]
    again = first.started("label", attempt=2)._replace(fingerprint=b"g" * 16)
    await ledger.write(again, first.made("label", data=2), first.ended("label", attempt=2))
    found = await ledger.fingerprints(mine.run.pipeline, "label", mine.run.id)
    assert found.steps(F) == [second.steps["label", ""]]
    await first.claim.release()
    await ledger.upkeep.delete(first.run.id, first.run.run_id)
    found = await ledger.fingerprints(mine.run.pipeline, "label", mine.run.id)
    assert found.steps(F) == [second.steps["label", ""]]


async def test_what_a_step_made_is_read_as_it_stands_now(ledger: Ledger, begin: Any) -> None:
    drive = await begin(ledger)
    await drive.step("label", "1", data={"n": 1}, warnings=("w",))
    step = drive.steps["label", "1"]
    assert await ledger.made(step, F) == Made(b'{"n":1}', "stage", ("w",), step)
    assert await ledger.made(step, b"g" * 16) is None
    assert await ledger.made(step + 1, F) is None
    await ledger.write(drive.made("label", "1", {"n": 2}, by="hand"))
    assert await ledger.made(step, F) == Made(b'{"n":2}', "hand", ("w",), step)
    await ledger.write(drive.removed("label", "1"))
    assert await ledger.made(step, F) is None
