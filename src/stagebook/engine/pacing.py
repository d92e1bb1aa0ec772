"""Keeps to what providers let through, also right after another process has asked them."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from stagebook.door.rate import FIRST_GUESS, SLACK_SECONDS, WINDOW_SECONDS, Lanes, Limit
from stagebook.ledger.clock import now
from stagebook.ledger.store import Ledger

EVERY: Final = 1_000_000
"""More requests than any provider takes in a minute."""
SECONDS: Final = 600.0
"""Exchanges are not in order of time: all of a ledger are looked at, some millions a second."""
_MICROSECONDS: Final = 1_000_000

_LATEST: Final = """
SELECT provider, model, sent_at, coalesce(input_tokens, request_size * ?2) + coalesce(output_tokens, 0) FROM exchanges
WHERE sent_at > ?1 AND kind = 'model' AND state <> 'unsent'
    AND coalesce(price_source, '') NOT LIKE '%/batch' ORDER BY sent_at
"""


async def keep_to(limits: Mapping[str, Limit], lanes: Lanes, ledger: Ledger) -> None:
    """Say what is let through, and count what was sent in the last minute: the provider counts it, too.

    Args:
        limits: By `provider:model`, or by `provider`.
        lanes: The ways that are limited.
        ledger: Where what was sent is.
    """
    lanes.limit(limits)
    at = now()
    since = at - int((WINDOW_SECONDS + SLACK_SECONDS) * _MICROSECONDS)
    sent: defaultdict[tuple[str, str], list[tuple[float, int]]] = defaultdict(list)
    for provider, model, left, tokens in (
        await ledger.query(_LATEST, (since, FIRST_GUESS), limit=EVERY, timeout=SECONDS)
    ).rows:
        sent[str(provider), str(model)].append(((at - int(str(left))) / _MICROSECONDS, int(float(str(tokens)))))
    by_lane: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for (provider, model), found in sent.items():
        by_lane[lanes.of(provider, model).name] += found
    for name, found in by_lane.items():
        if name in limits:
            lanes.of(*name.partition(":")[::2]).remember(sorted(found, reverse=True))
