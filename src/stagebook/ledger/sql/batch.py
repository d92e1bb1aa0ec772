"""From facts to rows: what one transaction writes, grouped by statement where the order of facts allows it."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import orjson

from stagebook.ledger import facts as f
from stagebook.ledger.entry import Entry
from stagebook.ledger.json_text import clean_text
from stagebook.ledger.sql import statements as s
from stagebook.ledger.sql.connection import Connection
from stagebook.model.errors import WriteRefused
from stagebook.model.status import ExchangeState, StepStatus

Row = tuple[Any, ...]  # Any: what sqlite3 binds, one type per column
NO_CHARGE: Final[Row] = (None,) * 11
_CONTENT_HASH: Final = 5


class Batch:
    """The rows of one transaction, waiting to be executed.

    Facts of one batch are executed statement by statement. That keeps their order wherever it matters, because
    statements are ranked as facts follow each other (a step starts before it ends); where a step begins again within
    the batch, what came before is executed first.

    Args:
        connection: In a transaction.
        fences: Of every run that the facts name.
    """

    def __init__(self, connection: Connection, fences: Mapping[int, int]) -> None:
        self._connection = connection
        self._fences = fences
        self._rows: dict[s.Statement, list[Row]] = {}
        self._steps: set[int] = set()
        self._started: dict[int, tuple[Row, Row]] = {}
        """By step: the rows of one that started in this batch and did not end in it so far."""

    def add(self, entry: Entry) -> None:
        """Take a unit's facts.

        Raises:
            WriteRefused: Rows taken before were refused when they had to be executed.
        """
        for fact in entry.facts:
            self._HANDLERS[type(fact)](self, fact, entry)

    def execute(self) -> None:
        """Execute what was taken.

        Raises:
            WriteRefused: A row that should have changed something changed nothing.
            sqlite3.Error: The database refused a row or failed.
        """
        for step, attempt in self._started.values():
            self.row(s.STEP_STARTED, *step)
            self.row(s.ATTEMPT_STARTED, *attempt)
        for statement in sorted(self._rows, key=_rank):
            self._run_all(statement, self._rows[statement])
        self._rows.clear()
        self._started.clear()
        self._steps.clear()

    def _run_all(self, statement: s.Statement, rows: list[Row]) -> None:
        if statement is s.OUTPUT:
            self._execute_outputs(rows)
        elif self._run(statement, rows) != len(rows) and statement.missing is not None:
            raise WriteRefused(f"the ledger refused a row: {statement.missing}")

    def _execute_outputs(self, rows: list[Row]) -> None:
        """Try the statement for first versions, and where some were not first, the one for all.

        It does nothing for those that the first one wrote: they are live, with this very content.
        """
        removals = any(row[_CONTENT_HASH] is None for row in rows)
        if removals or self._run(s.FIRST_OUTPUT, rows) != len(rows):
            self._run(s.OUTPUT, rows)

    def _run(self, statement: s.Statement, rows: list[Row]) -> int:
        if len(rows) == 1:
            return self._connection.execute(statement.sql, rows[0]).rowcount
        return self._connection.executemany(statement.sql, rows).rowcount

    def row(self, statement: s.Statement, *values: object) -> None:
        """Take one row."""
        rows = self._rows.get(statement)
        if rows is None:
            self._rows[statement] = [values]
        else:
            rows.append(values)

    def _begin(self, step: int) -> None:
        if step in self._steps:
            self.execute()
        self._steps.add(step)

    def _step_started(self, fact: f.StepStarted, _: Entry) -> None:
        self._begin(fact.step)
        reads = fact.reads.decode()
        self._started[fact.step] = (
            (fact.step, fact.run, fact.stage, fact.item, fact.attempt, fact.fingerprint, fact.at, reads),
            (fact.step, fact.attempt, fact.fence, fact.at),
        )

    def _step_ended(self, fact: f.StepEnded, _: Entry) -> None:
        self._steps.add(fact.step)
        reason = None if fact.reason is None else clean_text(fact.reason)
        warnings = _texts(fact.warnings)
        kind = fact.status if fact.final else "attempt_failed"
        self.row(s.EVENT, fact.at, fact.run, kind, fact.step, None)
        started = self._started.get(fact.step) if fact.final else None
        if started is not None and started[1][1] == fact.attempt:
            del self._started[fact.step]
            (step, run, stage, item, number, fingerprint, at, reads), (_, _, fence, _) = started
            self.row(
                s.STEP_WHOLE,
                *(step, run, stage, item, fact.status, number, fingerprint, reason, warnings, fact.reused_from),
                *(at, fact.at, reads),
            )
            self.row(s.ATTEMPT_WHOLE, step, number, fence, fact.status, at, fact.at, fact.error_type, reason)
            return
        if fact.final:
            self.row(
                s.STEP_ENDED,
                *(fact.status, fact.attempt, reason, warnings, fact.reused_from, fact.at, fact.step, fact.run),
            )
        else:
            self.row(s.STEP_RETRIED, fact.attempt, fact.at, fact.step, fact.run)
        self.row(s.ATTEMPT_ENDED, fact.status, fact.at, fact.error_type, reason, fact.step, fact.attempt)

    def _step_skipped(self, fact: f.StepSkipped, _: Entry) -> None:
        self._begin(fact.step)
        self.row(s.STEP_SKIPPED, fact.step, fact.run, fact.stage, fact.item, clean_text(fact.reason), fact.at)
        self.row(s.ATTEMPT_SKIPPED, fact.at, fact.step)
        self.row(s.EVENT, fact.at, fact.run, StepStatus.SKIPPED, fact.step, None)

    def _output_made(self, fact: f.OutputMade, entry: Entry) -> None:
        text, replaced = (entry.texts or {})[fact.id]
        self.row(
            s.OUTPUT,
            fact.id,
            fact.run,
            fact.step,
            fact.stage,
            fact.item,
            fact.content_hash,
            len(fact.data),
            int(replaced),
            fact.made_by,
            fact.at,
            text,
        )

    def _output_removed(self, fact: f.OutputRemoved, _: Entry) -> None:
        self.row(
            s.OUTPUT,
            fact.id,
            fact.run,
            fact.step,
            fact.stage,
            fact.item,
            None,
            0,
            0,
            fact.made_by,
            fact.at,
            None,
        )

    def _sent(self, fact: f.ExchangeSent, entry: Entry) -> None:
        request = (entry.cuts or {})[fact.id]
        self.row(
            s.SENT,
            fact.id,
            fact.run,
            fact.step,
            fact.attempt,
            fact.occurrence,
            fact.try_number,
            fact.kind,
            self._fences[fact.run],
            fact.provider,
            fact.model,
            fact.sent_at,
            fact.prepared_at,
            fact.method,
            fact.url,
            fact.request_hash,
            request.body.size,
            request.skeleton,
            fact.headers.decode(),
        )
        for position, splice in enumerate(request.body.splices):
            self.row(s.SEGMENT, fact.id, position, splice.at, splice.payload)

    def _received(self, fact: f.ExchangeReceived, entry: Entry) -> None:
        charge = NO_CHARGE
        if fact.charge is not None:
            usage = fact.charge.usage
            raw = fact.charge.raw_usage
            charge = (
                fact.charge.cost,
                usage.input_tokens,
                usage.output_tokens,
                usage.cache_read_input_tokens,
                usage.cache_creation_input_tokens,
                usage.reasoning_output_tokens,
                None if raw is None else raw.decode(),
                fact.charge.price_version,
                fact.charge.price_source,
                fact.charge.model_returned,
                fact.charge.finish_reason,
            )
        digest = (entry.hashes or {})[fact.id]
        self.row(s.RECEIVED, fact.http_status, fact.headers.decode(), digest, fact.at, *charge, fact.id)

    def _parsed(self, fact: f.ExchangeParsed, _: Entry) -> None:
        complaint = None if fact.complaint is None else clean_text(fact.complaint)
        self.row(s.PARSED, complaint, fact.at, fact.id)

    def _lost(self, fact: f.ExchangeLost, _: Entry) -> None:
        state = ExchangeState.LOST if fact.sent else ExchangeState.UNSENT
        self.row(s.LOST, state, clean_text(fact.error), fact.at, fact.id)

    def _prompt(self, fact: f.PromptSeen, _: Entry) -> None:
        self.row(s.PROMPT, fact.content_hash, fact.name, clean_text(fact.text), fact.at)

    def _wish(self, fact: f.WishSet, _: Entry) -> None:
        self.row(s.WISH, fact.wish, fact.run)
        self.row(s.EVENT, fact.at, fact.run, "wish", None, orjson.dumps({"wish": fact.wish}).decode())

    def _settings(self, fact: f.SettingsChanged, _: Entry) -> None:
        self.row(s.SETTINGS, fact.settings.decode(), fact.run)
        self.row(s.EVENT, fact.at, fact.run, "settings", None, fact.settings.decode())

    def _mark(self, fact: f.Marked, _: Entry) -> None:
        error = None if fact.error is None else clean_text(fact.error)
        self.row(s.MARK, fact.id, fact.run, fact.name, fact.kind, error, fact.at)
        self.row(s.EVENT, fact.at, fact.run, fact.kind, None, orjson.dumps({"name": fact.name}).decode())

    def _note(self, fact: f.Noted, _: Entry) -> None:
        self.row(s.EVENT, fact.at, fact.run, fact.kind, None, fact.data.decode())

    _HANDLERS: ClassVar[dict[type, Callable[[Any, Any, Entry], None]]] = {  # Any: this class, and the fact of the key
        f.StepStarted: _step_started,
        f.StepEnded: _step_ended,
        f.StepSkipped: _step_skipped,
        f.OutputMade: _output_made,
        f.OutputRemoved: _output_removed,
        f.ExchangeSent: _sent,
        f.ExchangeReceived: _received,
        f.ExchangeParsed: _parsed,
        f.ExchangeLost: _lost,
        f.PromptSeen: _prompt,
        f.WishSet: _wish,
        f.SettingsChanged: _settings,
        f.Marked: _mark,
        f.Noted: _note,
    }


def _rank(statement: s.Statement) -> int:
    return statement.rank


def _texts(texts: tuple[str, ...]) -> str | None:
    return orjson.dumps([clean_text(text) for text in texts]).decode() if texts else None
