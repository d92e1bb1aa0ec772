"""Cuts a body that an SDK wrote into parts that come again in the next one, wherever they stand there."""

import contextlib
import sys
from typing import Final

from stagebook.ledger.segments import LARGE

with contextlib.redirect_stdout(sys.stderr):  # where its compiled part is missing it says so, and stdout may be JSON
    from fastcdc import fastcdc

SHORTEST: Final = LARGE
"""Bytes that a part has at least, the last one aside: smaller ones would not be payloads of their own."""
USUAL: Final = 2048
"""Bytes that a part has on average: smaller ones repeat more, and cost more rows (docs/decisions/0041)."""
LONGEST: Final = 16 * 1024
"""Bytes that a part has at most."""


def chunks(body: bytes) -> tuple[bytes, ...]:
    """Cut a body where its content says so.

    A place depends on the bytes before it alone, so that a conversation that has grown by a message is cut into the
    parts of the one before and a few new ones (FastCDC: W. Xia et al., USENIX ATC 2016).
    """
    if not body:
        return ()
    return tuple(body[one.offset : one.offset + one.length] for one in fastcdc(body, SHORTEST, USUAL, LONGEST))
