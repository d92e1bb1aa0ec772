"""The comparison itself, on bills and ledgers written by hand: what it must notice, it notices."""

from dataclasses import replace

import pytest

from stagebook.model.status import ExchangeState
from stagebook.testing.crash_audit import audit, flight
from stagebook.testing.crash_look import Call, Look
from stagebook.testing.provider_bill import BillEntry, Ending

ANSWERED = Call(
    id=1,
    stage="stage",
    item="",
    occurrence=0,
    kind="model",
    state=ExchangeState.PARSED,
    status=200,
    cost=100,
    response=b"a",
    sha256="body",
)
LOST = replace(ANSWERED, state=ExchangeState.LOST, status=None, cost=None, response=None)
SENT = replace(LOST, state=ExchangeState.SENT)
OUTPUTS = {("stage", ""): '{"x":1}'}


def charged(number: int, sha256: str = "body", cost: int = 100) -> BillEntry:
    return BillEntry(number, 0.0, sha256, cost=cost, charged=True, status=200, ended=Ending.ANSWERED)


def held(*calls: Call) -> Look:
    return Look("RUN", calls, OUTPUTS, {("stage", ""): "completed"})


EXPECTED = held(ANSWERED)


def test_one_answer_for_one_charge_is_no_flaw() -> None:
    found = audit([charged(1)], [held(ANSWERED)], EXPECTED)
    assert (found.paid_twice, found.sent_again, found.forgotten, found.items_lost, found.difference) == (0, 0, 0, 0, 0)
    assert found.unfinished == ()


def test_a_second_charge_for_an_answered_request_is_paid_twice() -> None:
    found = audit([charged(1), charged(2)], [held(ANSWERED)], EXPECTED)
    assert found.paid_twice == 1
    assert found.difference == 100


def test_a_call_held_as_lost_explains_its_charge() -> None:
    again = replace(ANSWERED, id=2)
    found = audit([charged(1), charged(2)], [held(LOST, again)], EXPECTED)
    assert (found.paid_twice, found.sent_again, found.lost, found.difference) == (0, 0, 100, 0)


def test_a_lost_call_that_never_arrived_explains_no_charge_of_another_request() -> None:
    found = audit([charged(1), charged(2, "other")], [held(LOST, replace(ANSWERED, id=2))], EXPECTED)
    assert found.paid_twice == 1


def test_an_exchange_after_a_durable_answer_to_the_same_occurrence_is_sent_again() -> None:
    calls = (ANSWERED, replace(ANSWERED, id=2))
    found = audit([charged(1), charged(2)], [held(*calls)], EXPECTED)
    assert (found.sent_again, found.paid_twice) == (1, 1)


def test_three_samples_of_one_request_are_three_calls_and_not_one_sent_again() -> None:
    calls = [replace(ANSWERED, id=number, occurrence=number) for number in range(3)]
    found = audit([charged(number) for number in range(3)], [held(*calls)], EXPECTED)
    assert (found.calls, found.paid_twice, found.sent_again) == (3, 0, 0)


def test_a_sample_that_was_never_asked_for_is_missing() -> None:
    expected = held(ANSWERED, replace(ANSWERED, id=2, occurrence=1))
    assert audit([charged(1)], [held(ANSWERED)], expected).answers_missing == 1


@pytest.mark.parametrize(
    "outputs",
    [{}, {("stage", ""): '{"x":2}'}, {**OUTPUTS, ("stage", "extra"): "{}"}],
    ids=["missing", "different", "too many"],
)
def test_an_output_that_is_not_that_of_the_undisturbed_run_is_lost(outputs: dict[tuple[str, str], str]) -> None:
    look = replace(held(ANSWERED), outputs=outputs)
    assert audit([charged(1)], [look], EXPECTED).items_lost == 1


def test_a_cost_that_is_not_the_providers_makes_the_totals_differ() -> None:
    assert audit([charged(1)], [held(replace(ANSWERED, cost=99))], EXPECTED).difference == 1


def test_an_answer_whose_body_does_not_say_its_cost_is_told_apart_from_a_lost_one() -> None:
    found = audit([charged(1)], [held(replace(ANSWERED, cost=None))], EXPECTED)
    assert (found.unreadable, found.lost, found.difference) == (100, 0, 0)


def test_an_answer_that_was_durable_at_a_kill_and_is_gone_at_the_end_is_forgotten() -> None:
    later = replace(ANSWERED, id=2)
    assert audit([charged(1), charged(2)], [held(ANSWERED), held(LOST, later)], EXPECTED).forgotten == 1


def test_a_step_that_was_completed_at_a_kill_and_has_another_attempt_was_begun_again() -> None:
    before, after = (replace(EXPECTED, attempts={("stage", ""): attempts}) for attempts in (1, 2))
    assert audit([charged(1)], [before, after], EXPECTED).begun_again == 1
    assert audit([charged(1)], [after, after], EXPECTED).begun_again == 0


def test_a_step_still_running_and_an_exchange_still_sent_are_unfinished() -> None:
    look = Look("RUN", (SENT,), OUTPUTS, {("stage", ""): "running"}, untidy=("integrity_check: page 3 is damaged",))
    assert len(audit([], [look], EXPECTED).unfinished) == 3


def test_an_open_call_that_the_provider_saw_was_in_flight_and_one_that_it_did_not_never_left() -> None:
    seen, unseen = SENT, replace(SENT, id=2, sha256="other")
    found = flight(Look(), held(ANSWERED, replace(seen, id=3), unseen), [charged(1), charged(2)])
    assert (found.open, found.in_flight, found.never_left, found.stowaways) == (2, 1, 1, 0)


def test_a_request_that_the_provider_saw_and_the_ledger_did_not_is_a_stowaway() -> None:
    assert flight(Look(), held(ANSWERED), [charged(1), charged(2)]).stowaways == 1


def test_calls_of_earlier_drives_do_not_count_as_open_again() -> None:
    found = flight(held(SENT), held(replace(SENT, state=ExchangeState.LOST), replace(ANSWERED, id=2)), [charged(2)])
    assert (found.open, found.stowaways) == (0, 0)
