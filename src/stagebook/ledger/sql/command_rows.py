"""Commands in SQL: what is decided inside the transaction that writes it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Concatenate

import orjson

from stagebook.ledger.commands import BeginDrive, Command, CreateRun, EndDrive, LoseUnanswered, ReserveWriter
from stagebook.ledger.entry import Body
from stagebook.ledger.payload_codec import DICTIONARY_LEAST
from stagebook.ledger.sql.connection import Connection
from stagebook.ledger.sql.definition_rows import write_definition
from stagebook.ledger.sql.statements import EVENT, Statement
from stagebook.model.errors import WriteRefused
from stagebook.model.exchange import content_hash
from stagebook.model.status import Wish

Tell = Callable[Concatenate[Statement, ...], None]
"""Takes a row to be written with the others of the transaction."""


def input_bodies(command: Command) -> tuple[Body, ...]:
    """The payloads that a command stores: a new run's input."""
    if isinstance(command, CreateRun):
        data = command.run.input
        return (Body(content_hash(data), data, plain=len(data) < DICTIONARY_LEAST),)
    return ()


def execute_command(connection: Connection, command: Command, tell: Tell) -> object:
    """Execute a command and give its answer.

    Args:
        connection: In a transaction.
        command: What is asked.
        tell: Takes the events that it brings about.

    Raises:
        WriteRefused: The run that it names is not there.
    """
    match command:
        case ReserveWriter():
            return reserve_writer(connection, command)
        case CreateRun():
            return _create_run(connection, command, tell)
        case BeginDrive():
            return _begin_drive(connection, command, tell)
        case EndDrive():
            connection.execute(
                "UPDATE drives SET ended_at = ? WHERE run = ? AND fence = ?",
                (command.at, command.run, command.fence),
            )
            _event(tell, command.at, command.run, "drive_ended", {"fence": command.fence})
            return None
        case LoseUnanswered():
            return _lose_unanswered(connection, command, tell)


def reserve_writer(connection: Connection, command: ReserveWriter) -> int:
    """Take the number of a writer."""
    taken = connection.execute(
        "INSERT INTO writers (pid, host, at) VALUES (?, ?, ?) RETURNING id", (command.pid, command.host, command.at)
    ).fetchall()
    return int(taken[0][0])


def _create_run(connection: Connection, command: CreateRun, tell: Tell) -> str:
    new = command.run
    definition = write_definition(connection, new.pipeline, new.definition, command.at)
    run_id = _free_run_id(connection, command.at)
    connection.execute(
        """
        INSERT INTO runs (id, run_id, pipeline, definition, source, input, settings, tags, wish, fence, parent,
        forked_at,
            created_at, created_via)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?)
        """,
        (
            command.id,
            run_id,
            new.pipeline,
            definition,
            new.source,
            content_hash(new.input),
            new.settings.decode(),
            orjson.dumps(new.tags).decode(),
            Wish.RUN,
            new.parent,
            new.forked_at,
            command.at,
            new.created_via,
        ),
    )
    _event(tell, command.at, command.id, "run_created", {"run_id": run_id, "pipeline": new.pipeline})
    if command.driver is not None:
        _begin_drive(connection, BeginDrive(command.id, *command.driver, command.at), tell)
    return run_id


def _free_run_id(connection: Connection, at: int) -> str:
    base = f"RUN_{datetime.fromtimestamp(at // 1_000_000, UTC):%Y%m%d_%H%M%S}"
    if connection.execute("SELECT 1 FROM runs WHERE run_id = ?", (base,)).fetchone() is None:
        return base
    others = connection.execute(
        "SELECT run_id FROM runs WHERE run_id > ? AND run_id < ? ORDER BY length(run_id) DESC, run_id DESC",
        (f"{base}_", f"{base}`"),  # the backtick is the character after the underscore: an index range
    )
    numbers = (run_id[len(base) + 1 :] for (run_id,) in others)
    last = next((int(number) for number in numbers if number.isdecimal()), 1)  # one that was imported may have none
    return f"{base}_{max(last, 1) + 1}"


def _begin_drive(connection: Connection, command: BeginDrive, tell: Tell) -> int:
    connection.execute("UPDATE runs SET fence = fence + 1 WHERE id = ?", (command.run,))
    row = connection.execute("SELECT fence FROM runs WHERE id = ?", (command.run,)).fetchone()
    if row is None:
        raise WriteRefused(f"run {command.run} is not in this ledger; it may have been deleted")
    fence = int(row[0])
    connection.execute(
        "INSERT INTO drives (run, fence, pid, host, started_at) VALUES (?, ?, ?, ?, ?)",
        (command.run, fence, command.pid, command.host, command.at),
    )
    _event(tell, command.at, command.run, "drive_started", {"fence": fence})
    return fence


def _lose_unanswered(connection: Connection, command: LoseUnanswered, tell: Tell) -> int:
    earlier = (command.at, command.run, command.fence)
    connection.execute(
        """
        UPDATE attempts SET status = 'interrupted', reason = 'its driver ended before it did', ended_at = ?1
        WHERE status = 'running' AND fence < ?3 AND step IN (
            SELECT id FROM steps WHERE run = ?2 AND status = 'running')
        """,
        earlier,
    )
    kinds = connection.execute(
        """
        UPDATE exchanges SET state = 'lost', error = 'its driver ended before the answer came', received_at = ?
        WHERE run = ? AND state = 'sent' AND fence < ? RETURNING kind
        """,
        earlier,
    ).fetchall()
    lost = len([kind for (kind,) in kinds if kind != "tool"])  # nobody is paid for a function of one's own
    if lost:
        _event(tell, command.at, command.run, "possibly_paid", {"count": lost})
    return lost


def _event(tell: Tell, at: int, run: int, kind: str, data: dict[str, object]) -> None:
    tell(EVENT, at, run, kind, None, orjson.dumps(data).decode())
