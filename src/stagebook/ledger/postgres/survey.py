"""What a server and its ledger are like, for whoever sets one up; nothing is changed."""

# ruff: noqa: S608  the schema's name is letters, digits and underscores
import time
from statistics import median
from typing import Any, Final

import psycopg

from stagebook.ledger.postgres.address import Address
from stagebook.ledger.postgres.connection import connect_explained
from stagebook.ledger.postgres.errors import explain
from stagebook.ledger.postgres.migrations import version_of

TRIES: Final = 7
_STATE: Final = """
SELECT current_setting('server_version'), current_setting('synchronous_commit') <> 'off',
    pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on',
    CASE WHEN EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)
        THEN has_schema_privilege($1, 'USAGE') ELSE has_database_privilege(current_database(), 'CREATE') END
"""
_SIZE: Final = """
SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relkind = 'r'
"""


def survey(address: Address) -> dict[str, Any]:  # Any: one type per fact
    """Look at a server and at the ledger that is there.

    Raises:
        LedgerError: It cannot be reached, or what is there is no ledger.
    """
    raw = connect_explained(address, 0.0)
    try:
        version = version_of(raw, address)
        [(server, durable, standby, may)] = raw.execute(_STATE, (address.schema,)).fetchall()
        facts = {
            "server": server,
            "exists": version is not None,
            "version": version,
            "synchronous_commit": bool(durable),
            "writable": bool(may) and not standby,
            "journey_ms": round(_journey(raw) * 1000, 3),
        }
        if version is not None:
            [(runs,)] = raw.execute(f"SELECT count(*) FROM {address.schema}.runs").fetchall()
            [(size,)] = raw.execute(_SIZE, (address.schema,)).fetchall()
            [(writes,)] = raw.execute(
                "SELECT has_table_privilege($1, 'INSERT')", (f"{address.schema}.runs",)
            ).fetchall()
            facts |= {"runs": runs, "bytes": int(size), "writable": facts["writable"] and bool(writes)}
    except psycopg.Error as error:
        raise explain(error, address) from error
    finally:
        raw.close()
    return facts


def _journey(raw: psycopg.Connection[Any]) -> float:
    """Measure how long a question and its answer take, in seconds: the median of seven."""
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        raw.execute("SELECT 1").fetchall()
        times.append(time.perf_counter() - began)
    return median(times)
