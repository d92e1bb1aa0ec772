"""Exchanges: every byte that went out and came back, kept small."""

import asyncio
import random
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stagebook.ledger.facts import ExchangeLost, ExchangeParsed, PromptSeen
from stagebook.ledger.segments import cut, join
from stagebook.ledger.store import Ledger
from stagebook.model.errors import LedgerError, NotFound, WriteRefused
from stagebook.model.exchange import Request, content_hash
from stagebook.model.status import ExchangeState

BODY = Request("POST", "https://api.test/v1/chat", (b'{"prompt": "', b"t" * 2000, b'", "n": 1}'), kind="model")


async def test_an_exchange_goes_from_sent_to_received_to_parsed(drive: Any) -> None:
    ledger = drive.ledger
    await ledger.write(drive.started("label"))
    step = drive.steps["label", ""]
    sent = drive.sent(BODY, step, occurrence=2, attempt=1)
    await ledger.write(sent)
    (record,) = await ledger.recorded(step)
    assert (record.id, record.state, record.occurrence, record.attempt) == (sent.id, ExchangeState.SENT, 2, 1)
    assert (record.request_hash, record.http_status, record.response_hash) == (BODY.digest(), None, None)
    answer = b'{"choices": []}'
    await ledger.write(drive.received(sent.id, answer, cost=1234))
    (record,) = await ledger.recorded(step)
    assert (record.state, record.http_status, record.response_hash) == ("received", 200, content_hash(answer))
    assert record.response_headers == b'{"x-request-id": "r"}'
    assert await ledger.payload(content_hash(answer)) == answer
    ledger.follow(ExchangeParsed(sent.id, "too short", drive.now()))
    await ledger.write()
    assert [one.state for one in await ledger.recorded(step)] == [ExchangeState.PARSED]
    table = await ledger.query(
        "SELECT cost, input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens, "
        "reasoning_output_tokens, usage, price_version, price_source, model_returned, finish_reason, complaint "
        "FROM exchanges"
    )
    assert table.rows == [
        (1234, 100, 20, 40, 10, 5, '{"prompt_tokens": 100}', "2026-11", "genai-prices", "m-2026", "stop", "too short")
    ]


async def test_a_steps_exchanges_come_oldest_first_and_no_others(drive: Any) -> None:
    await drive.ledger.write(drive.started("label", "1"), drive.started("label", "2"))
    one, two = drive.steps["label", "1"], drive.steps["label", "2"]
    sent = [await drive.exchange(BODY, step, b"{}") for step in (one, two, one, None, one)]
    assert [record.id for record in await drive.ledger.recorded(one)] == [sent[0], sent[2], sent[4]]
    assert [record.id for record in await drive.ledger.recorded(two)] == [sent[1]]
    assert await drive.ledger.recorded(4711) == []


async def test_a_lost_and_an_unsent_exchange_are_told_apart(drive: Any) -> None:
    await drive.ledger.write(drive.started("label"))
    step = drive.steps["label", ""]
    lost, unsent = drive.sent(BODY, step), drive.sent(BODY, step, occurrence=1)
    await drive.ledger.write(lost, unsent)
    await drive.ledger.write(
        ExchangeLost(lost.id, "timeout", True, drive.now()), ExchangeLost(unsent.id, "refused", False, drive.now())
    )
    assert [record.state for record in await drive.ledger.recorded(step)] == ["lost", "unsent"]


async def test_only_what_an_earlier_driver_left_unanswered_becomes_lost(ledger: Ledger, begin: Any) -> None:
    drive, other = await begin(ledger), await begin(ledger)
    await ledger.write(drive.started("label"))
    step = drive.steps["label", ""]
    hanging = drive.sent(BODY, step)
    await ledger.write(hanging, other.sent(BODY))
    await drive.exchange(BODY, step, b"{}")
    await drive.claim.release()
    claim = await ledger.claim(drive.run.run_id)
    mine = drive.sent(BODY, step)
    await ledger.write(mine)
    assert await ledger.lose_unanswered(drive.run.id, claim.fence, drive.now()) == 1
    assert await ledger.lose_unanswered(drive.run.id, claim.fence, drive.now()) == 0
    states = {record.id: record.state for record in await ledger.recorded(step)}
    assert states[hanging.id] == ExchangeState.LOST
    assert states[mine.id] == ExchangeState.SENT
    assert (await ledger.query("SELECT count(*) FROM exchanges WHERE state = 'sent'")).rows == [(2,)]


async def _open_and_lost(ledger: Ledger, run: int) -> tuple[int, int]:
    """Tell how many calls that cost something are open, and how many are possibly paid."""
    total = (await ledger.summaries([run]))[run].total()
    return total.unanswered, total.possibly_paid


async def test_a_tool_that_was_cut_off_is_lost_but_paid_by_nobody(ledger: Ledger, begin: Any) -> None:
    drive = await begin(ledger)
    await ledger.write(drive.started("label"))
    step = drive.steps["label", ""]
    tool = Request("CALL", "tool:almanac", (b"{}",), kind="tool")
    await ledger.write(drive.sent(BODY, step), drive.sent(tool, step), drive.sent(tool, step, occurrence=1))
    await drive.claim.release()
    claim = await ledger.claim(drive.run.run_id)
    assert await _open_and_lost(ledger, drive.run.id) == (1, 0)
    assert await ledger.lose_unanswered(drive.run.id, claim.fence, drive.now()) == 1
    assert [record.state for record in await ledger.recorded(step)] == ["lost"] * 3
    assert await _open_and_lost(ledger, drive.run.id) == (0, 1)
    assert (await ledger.query("SELECT kind, possibly_paid FROM costs ORDER BY kind")).rows == [
        ("model", 1),
        ("tool", 0),
        ("tool", 0),
    ]


@given(st.lists(st.one_of(st.binary(max_size=40), st.binary(min_size=500, max_size=530)), max_size=12))
def test_a_cut_body_joins_to_the_same_bytes(segments: list[bytes]) -> None:
    body = cut(segments)
    parts = [(splice.at, part) for splice, part in zip(body.splices, body.large, strict=True)]
    assert join(body.skeleton, parts) == b"".join(segments)
    assert body.size == len(b"".join(segments))
    assert all(content_hash(part) == splice.payload for splice, part in zip(body.splices, body.large, strict=True))


SENTENCES = orjson.dumps({"transcript": " ".join(f"Sentence {n} says {n * n} things." for n in range(600))})


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=700),
            st.tuples(st.integers(0, 20_000), st.integers(0, 6_000)).map(lambda p: SENTENCES[p[0] : p[0] + p[1]]),
            st.sampled_from([b"a" * 600, SENTENCES]),
        ),
        max_size=8,
    )
)
async def test_every_request_is_read_back_byte_for_byte(tmp_path: Path, begin: Any, segments: list[bytes]) -> None:
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        drive = await begin(ledger, SENTENCES)
        request = Request("POST", "https://api.test/v1", tuple(segments))
        exchange = await drive.exchange(request, None, b"".join(segments)[:5000])
        assert await ledger.request_body(exchange) == request.body


async def test_a_request_without_a_body_is_empty(drive: Any) -> None:
    request = Request("GET", "https://page.test/", ())
    assert await drive.ledger.request_body(await drive.exchange(request, None, b"<html>")) == b""


async def test_a_large_part_is_stored_once_for_all_requests(file_drive: Any, tmp_path: Path) -> None:
    for n in range(5):
        await file_drive.exchange(Request("POST", "https://a.test", (b"%d" % n, b"x" * 5000, b"!")), None, b"{}")
    other = sqlite3.connect(tmp_path / "ledger.db")
    assert other.execute("SELECT count(*) FROM payloads WHERE size = 5000").fetchall() == [(1,)]
    assert other.execute("SELECT count(*) FROM segments").fetchall() == [(5,)]
    other.close()


async def test_windows_of_the_input_cost_a_tenth(ledger: Ledger, begin: Any) -> None:
    drive = await begin(ledger, SENTENCES)
    raw = 0
    for start in range(0, 15_000, 3_000):
        window = SENTENCES[start : start + 3_000]
        raw += len(window)
        exchange = await drive.exchange(Request("POST", "https://a.test", (b'{"w":"', window, b'"}')), None, b"{}")
        assert window in await ledger.request_body(exchange)
    kept = await ledger.query("SELECT sum(length(body)) FROM payloads WHERE base IS NOT NULL")
    assert kept.rows[0][0] < raw / 10


async def test_requests_of_one_kind_cost_what_differs(drive: Any) -> None:
    head = b'{"model":"m","response_format":{"name":"Label"},"messages":[{"role":"user","content":"'
    text = b" ".join(b"word%d" % (n * 7919 % 1000) for n in range(50))
    for n in range(20):
        request = Request("POST", "https://a.test", (head, b"Label page %d. " % n, text, b'"}]}'))
        exchange = await drive.exchange(request, None, b'{"id":"c%d","answer":"%s"}' % (n, text))
        assert await drive.ledger.request_body(exchange) == request.body
    sizes = await drive.ledger.query(
        "SELECT length(body) < size / 8, count(*) FROM payloads JOIN exchanges ON hash IN (skeleton, response) "
        "GROUP BY 1"
    )
    assert sizes.rows == [(0, 2), (1, 38)], "only the first request and the first answer are kept whole"


async def test_whatever_a_payload_leans_on_is_there_even_after_a_failed_commit(file_drive: Any) -> None:
    ledger = file_drive.ledger
    database = ledger._database.session._connection
    body = b'{"model":"m","messages":[' + b" ".join(b"%d" % (n * 7919) for n in range(70))
    pages = database.execute("PRAGMA page_count").fetchone()[0]
    database.execute(f"PRAGMA max_page_count = {pages + 3}")
    noise = random.Random(2).randbytes(100_000)
    with pytest.raises(LedgerError, match="disk is full"):
        await ledger.write(file_drive.sent(Request("POST", "https://a.test", (body, noise))))
    database.execute("PRAGMA max_page_count = 1000000")
    sent = [file_drive.sent(Request("POST", "https://a.test", (body, b"%d" % n))) for n in range(3)]
    refused = ExchangeParsed(4711, None, 1)
    units = [ledger.write(sent[0], refused), ledger.write(sent[1]), ledger.write(sent[2])]
    results = await asyncio.gather(*units, return_exceptions=True)
    assert [type(result) for result in results] == [WriteRefused, type(None), type(None)]
    for one in sent[1:]:
        assert await ledger.request_body(one.id) == b"".join(one.segments)
    leaning = "SELECT count(*) FROM payloads p WHERE base IS NOT NULL AND base {} IN (SELECT hash FROM payloads)"
    assert (await ledger.query(leaning.format("NOT"))).rows == [(0,)]
    assert (await ledger.query(leaning.format(""))).rows[0][0] > 0


async def test_a_run_resumed_elsewhere_still_packs_against_its_input(tmp_path: Path, begin: Any) -> None:
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        drive = await begin(ledger, SENTENCES)
        sent = drive.sent(Request("POST", "https://a.test", (b"{}",)))
        await ledger.write(sent)
    async with await Ledger.open(tmp_path / "ledger.db") as ledger:
        answer = SENTENCES[2_000:8_000]
        await ledger.write(drive.received(sent.id, answer))
        assert await ledger.payload(content_hash(answer)) == answer
        base = await ledger.query("SELECT base FROM payloads WHERE hash = ?", (content_hash(answer),))
        assert base.rows == [(content_hash(SENTENCES),)]


async def test_a_blob_is_a_file_that_is_there_before_its_row(file_drive: Any, tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(400_000)
    exchange = await file_drive.exchange(Request("POST", "https://a.test", (noise,)), None, b"{}")
    other = sqlite3.connect(tmp_path / "ledger.db")
    ((location, body),) = other.execute("SELECT location, body FROM payloads WHERE size = 400000").fetchall()
    other.close()
    assert body is None
    path = tmp_path / "blobs" / location
    assert path.name == content_hash(noise).hex()
    assert path.stat().st_size > 256 * 1024
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert await file_drive.ledger.request_body(exchange) == noise
    path.unlink()
    with pytest.raises(LedgerError, match="belongs beside the database"):
        await file_drive.ledger.request_body(exchange)


async def test_a_blob_is_kept_in_a_ledger_in_memory(begin: Any) -> None:
    async with await Ledger.open(":memory:") as ledger:
        drive = await begin(ledger)
        noise = random.Random(1).randbytes(400_000)
        assert await ledger.request_body(await drive.exchange(Request("POST", "x", (noise,)), None, b"")) == noise


async def test_a_request_that_was_tampered_with_is_told(file_drive: Any, tmp_path: Path) -> None:
    exchange = await file_drive.exchange(BODY, None, b"{}")
    other = sqlite3.connect(tmp_path / "ledger.db")
    other.execute("UPDATE segments SET at = 0")
    other.commit()
    other.close()
    with pytest.raises(LedgerError, match="does not have the hash of what was sent"):
        await file_drive.ledger.request_body(exchange)


async def test_a_damaged_payload_is_told(file_drive: Any, tmp_path: Path) -> None:
    await file_drive.exchange(BODY, None, b"{}")
    other = sqlite3.connect(tmp_path / "ledger.db")
    other.execute("UPDATE payloads SET body = x'28b52ffd00' WHERE encoding > 0")
    other.commit()
    other.close()
    with pytest.raises(LedgerError, match="damaged"):
        await file_drive.ledger.payload(content_hash(b"t" * 2000))


async def test_payloads_that_somebody_took_away_are_stored_again(file_drive: Any, tmp_path: Path) -> None:
    await file_drive.exchange(BODY, None, b"{}")
    other = sqlite3.connect(tmp_path / "ledger.db")
    other.execute("DELETE FROM payloads WHERE size = 2000")
    other.execute("UPDATE purges SET count = count + 1")
    other.commit()
    other.close()
    exchange = await file_drive.exchange(BODY, None, b"{}")
    assert await file_drive.ledger.request_body(exchange) == BODY.body


async def test_what_is_not_there_is_said_to_be_missing(drive: Any) -> None:
    with pytest.raises(NotFound, match="no payload"):
        await drive.ledger.payload(b"\0" * 16)
    with pytest.raises(NotFound, match="exchange 5"):
        await drive.ledger.request_body(5)


async def test_a_prompt_is_kept_once_by_its_content(drive: Any) -> None:
    seen = PromptSeen(b"h" * 16, "label-page", "Label {{ page }}", drive.now())
    await drive.ledger.write(seen)
    await drive.ledger.write(seen, PromptSeen(b"i" * 16, "label-page", "Label it: {{ page }}", drive.now()))
    assert (await drive.ledger.query("SELECT name, text FROM prompts ORDER BY hash")).rows == [
        ("label-page", "Label {{ page }}"),
        ("label-page", "Label it: {{ page }}"),
    ]
