"""What PostgreSQL's errors mean for whoever wrote or read."""

from typing import Final

import psycopg

from stagebook.ledger.postgres.address import Address
from stagebook.model.errors import LedgerError, StagebookError, WriteRefused

_ROW_REFUSED: Final = frozenset({"21", "22", "23", "54"})
"""Classes of SQLSTATE that speak of one row: https://www.postgresql.org/docs/current/errcodes-appendix.html."""
_PASSES: Final = frozenset({"40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300", "25P02", "25P03", "57P05"})
"""What passes when it is tried again: a deadlock, a server that stops or starts, too many connections."""
_SENTENCES: Final = {
    "28P01": "the password is wrong: check it, and write @ as %40 and / as %2F in the address",
    "28000": "this user may not log in: check the user's name and how the server lets it in (pg_hba.conf)",
    "3D000": "there is no such database: make it (createdb), or name another with --ledger",
    "42501": "this user lacks a right: let it use and create in the ledger's schema, or name another user",
    "25006": "the server is read-only (a replica?): name the one that can be written with --ledger",
    "53100": "the server's disk is full: free some space and resume; what was acknowledged is kept",
    "53300": "the server has no connection left: end others, raise max_connections, or go through a pooler",
    "55P03": "the server still holds a transaction of a connection that was lost: wait a minute and resume",
    "57P03": "the server is starting or stopping: wait for it and try again",
    "3F000": "the schema of the ledger is not there any more: was it dropped?",
    "42P01": "a table of the ledger is not there any more: was it dropped?",
}
UNREACHED: Final = (
    "the server cannot be reached: check host and port, that it runs, and that the network lets you through"
)


def state_of(error: BaseException) -> str:
    """The SQLSTATE of an error; empty where the connection itself failed."""
    return (getattr(error, "sqlstate", None) or "") if isinstance(error, psycopg.Error) else ""


def speaks_of_one_row(error: Exception) -> bool:
    """Whether an error concerns a row, not the database as a whole."""
    if isinstance(error, psycopg.Error):
        state = state_of(error)
        return state[:2] in _ROW_REFUSED or (not state and isinstance(error, psycopg.DataError))
    return isinstance(error, WriteRefused | TypeError | ValueError | OverflowError)


def passes(error: Exception) -> bool:
    """Whether the same may go well when it is tried again, with a new connection where this one is lost."""
    if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError):
        return False
    state = state_of(error)
    return state in _PASSES or state.startswith("08") or not state


def explain(error: Exception, address: Address) -> StagebookError:
    """Turn a failure of the whole database into one clear sentence, without the password.

    Args:
        error: What psycopg raised.
        address: The ledger's.
    """
    if isinstance(error, StagebookError):
        return error
    said = address.hidden(" ".join(str(error).split()))
    if isinstance(error, psycopg.Error):
        sentence = _SENTENCES.get(state_of(error)) or _of_words(said)
        if sentence is None and passes(error):
            sentence = UNREACHED
        if sentence is not None:
            return LedgerError(f"the ledger {address.shown}: {sentence} ({said})")
        return LedgerError(f"the ledger {address.shown} failed: {said}")
    return LedgerError(f"the ledger {address.shown} failed: {said or type(error).__name__}")


def refuse(error: Exception) -> WriteRefused:
    """Turn the refusal of one row into what its writer is told."""
    if isinstance(error, WriteRefused):
        return error
    said = str(error).splitlines()
    return WriteRefused(f"the ledger refused a row: {said[0] if said else error!r}; nothing of its unit was written")


def _of_words(said: str) -> str | None:
    """Find what libpq says without a SQLSTATE, because it never got past the login."""
    words = {
        "password authentication failed": "28P01",
        "no password supplied": "28P01",
        "no pg_hba.conf entry": "28000",
        "does not exist": "3D000" if 'database "' in said else "28000",
        "the database system is": "57P03",
        "too many clients": "53300",
        "too many connections": "53300",
    }
    return next((_SENTENCES[state] for text, state in words.items() if text in said), None)
