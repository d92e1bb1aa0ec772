"""What returns in later requests of a run is kept as a reference to where it stood."""

import random
from typing import Any

from stagebook.ledger.sql.recent import GENERATIONS, PATIENCE, PAUSE, Recent
from stagebook.ledger.store import Ledger
from stagebook.model.exchange import Request, content_hash

WORDS = [bytes(random.Random(n).choices(b"abcdefghijklmnoprstuvw", k=2 + n % 9)) for n in range(3000)]


def prose(seed: int, words: int) -> bytes:
    """Text that nothing else resembles."""
    return b" ".join(random.Random(seed).choices(WORDS, k=words)).capitalize() + b"."


def asked(*parts: bytes) -> Request:
    return Request("POST", "https://a.test", (b'{"messages":"', *parts, b'"}'), kind="model")


async def kept(ledger: Ledger, part: bytes) -> tuple[int, set[bytes]]:
    """The packed bytes of a payload, and the hashes that it leans on."""
    found = await ledger.query("SELECT length(body), hex(base) FROM payloads WHERE hex(hash) = ?", [_hex(part)])
    base = bytes.fromhex(str(found.rows[0][1] or ""))
    return int(str(found.rows[0][0])), {base[at : at + 16] for at in range(0, len(base), 16)}


def _hex(part: bytes) -> str:
    return content_hash(part).hex().upper()


async def test_an_answer_that_is_sent_on_costs_next_to_nothing(drive: Any) -> None:
    draft = prose(1, 400)
    answer = b'{"content":"%s","id":"c1"}' % draft
    await drive.exchange(asked(b"Write."), None, answer)
    exchange = await drive.exchange(asked(b"Refine: ", draft), None, b"{}")
    size, base = await kept(drive.ledger, draft)
    assert size < 60
    assert base == {content_hash(answer)}
    assert draft in await drive.ledger.request_body(exchange)


async def test_a_part_that_is_made_of_several_answers_leans_on_all_of_them(drive: Any) -> None:
    answers = [b'{"n":%d,"content":"%s"}' % (n, prose(n, 200)) for n in range(3)]
    for answer in answers:
        await drive.exchange(asked(b"Plan %d." % len(answer)), None, answer)
    plan = b"\\n- ".join(answer.split(b'"')[5] for answer in answers)
    exchange = await drive.exchange(asked(plan), None, b"{}")
    size, base = await kept(drive.ledger, plan)
    assert size < len(plan) / 20
    assert base == set(map(content_hash, answers))
    assert plan in await drive.ledger.request_body(exchange)


async def test_payloads_lean_on_one_another_only_so_far(drive: Any) -> None:
    parts = [prose(0, 300)]
    for n in range(1, 9):
        parts.append(parts[-1][:-200] + prose(n, 40))
    for part in parts:
        exchange = await drive.exchange(asked(part), None, b"{}")
        assert part in await drive.ledger.request_body(exchange)
    leans = {content_hash(part): (await kept(drive.ledger, part))[1] for part in parts}

    def depth(digest: bytes) -> int:
        return max((1 + depth(one) for one in leans[digest]), default=0)

    assert max(map(depth, leans)) == GENERATIONS


def test_a_run_that_repeats_nothing_is_looked_at_more_rarely_and_found_again_once_it_does() -> None:
    recent = Recent()
    for n in range(2 * PATIENCE):
        part = prose(n, 60)
        assert recent.like(content_hash(part), part, b"label") is None
        recent.add(content_hash(part), part, None)
    part = prose(2 * PATIENCE - 1, 60) + b"!"
    assert recent.like(content_hash(part), part, b"label") is None
    assert recent.like(content_hash(part), part, b"report") is not None, "another kind of request is looked at"
    tries = [recent.like(content_hash(part), part, b"label") is not None for _ in range(PAUSE + 1)]
    assert any(tries)
    assert tries[tries.index(True) :] == [True] * (PAUSE + 1 - tries.index(True))


async def test_what_another_run_said_is_not_leant_on(ledger: Ledger, begin: Any) -> None:
    said = prose(5, 300)
    first, second = await begin(ledger), await begin(ledger)
    await first.exchange(asked(b"Write."), None, b'{"content":"%s"}' % said)
    await second.exchange(asked(said), None, b"{}")
    assert (await kept(ledger, said))[1] == set()
