"""Where a ledger is: what a user may write, and what follows from it."""

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from stagebook.ledger.postgres.address import SCHEMES, Address, read_address
from stagebook.model.errors import LedgerError

DEFAULT: Final = Path(".stagebook/ledger.db")
MEMORY: Final = ":memory:"
_SCHEME: Final = "sqlite:///"
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Location:
    """A ledger's place."""

    path: Path | None
    """The database file, absolute; None for one in memory or on a server."""
    address: str
    """SQLite's `file:` address; empty for one on a server."""
    server: Address | None = None
    """Where in PostgreSQL it is."""

    def __str__(self) -> str:
        if self.server is not None:
            return self.server.shown
        return MEMORY if self.path is None else str(self.path)

    @property
    def lasts(self) -> bool:
        """Whether it outlives its process."""
        return self.path is not None or self.server is not None

    @property
    def may_exist(self) -> bool:
        """Whether a ledger may be there already; of one on a server, only opening it tells."""
        return self.server is not None or (self.path is not None and self.path.exists())

    @property
    def folder(self) -> Path | None:
        """Where lock files and blobs stand."""
        return None if self.path is None else self.path.parent


def locate(url: str | Path | None) -> Location:
    """Read what a user wrote.

    Args:
        url: None for `.stagebook/ledger.db` in the current folder, a path, `sqlite:///path` (relative; four slashes:
            absolute), `:memory:`, or `postgresql://user:password@host:port/database`.

    Raises:
        LedgerError: It is of a kind that is not known.
    """
    if url is None:
        url = DEFAULT
    text = str(url)
    if text in {MEMORY, f"{_SCHEME}{MEMORY}", _SCHEME.rstrip("/") + "//"}:
        # SQLite's "memdb" (3.36): shared by the connections of this process that name it, gone with the last
        return Location(None, f"file:/stagebook-{next(_numbers)}?vfs=memdb")
    if text.startswith(_SCHEME):
        text = unquote(text.removeprefix(_SCHEME))
    elif text.startswith(SCHEMES):
        return Location(None, "", read_address(text))
    elif "://" in text:
        raise LedgerError(
            f"a ledger at {text.split('://', 1)[0]}:// is not known; write a path, sqlite:///PATH, "
            f"postgresql://USER@HOST/DATABASE or {MEMORY}"
        )
    path = Path(text).expanduser().absolute()
    return Location(path, f"file:{quote(str(path))}")
