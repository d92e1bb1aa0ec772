"""What one step asked and was answered, in words."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger
from stagebook.ledger.table import Cell
from stagebook.llm.codec import Codec, Unreadable
from stagebook.llm.plain_endpoint import ENDPOINT
from stagebook.llm.providers import PROVIDERS, own_codec
from stagebook.model.errors import LedgerError, NotFound
from stagebook.model.usage import dollars

MOST: Final = 10_000
_EXCHANGES: Final = """
SELECT id, kind, state, attempt, try_number, method, url, provider, model, http_status, complaint, error,
    input_tokens, output_tokens, cost, received_at - sent_at AS taken, response,
    (skeleton IS NULL AND request_size > 0) OR (response IS NULL AND state IN ('received', 'parsed')) AS purged
FROM exchanges WHERE run = ? AND step = ? ORDER BY id
"""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One message of a rendered prompt."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class ExchangeDocument:
    """One request and its answer."""

    kind: str
    """`model`, `poll`, `http` or `tool`."""
    state: str
    """How far it came: an ExchangeState."""
    attempt: int
    """Of the step, from 1."""
    try_number: int
    """Of the sending, from 1."""
    target: str
    """The model asked, or method and address."""
    http_status: int | None
    complaint: str | None
    """Why its answer was sent back to the model."""
    error: str | None
    """Why no whole answer came."""
    input_tokens: int
    output_tokens: int
    cost: int | None
    """Picodollars; None where no price is known."""
    seconds: float | None
    messages: tuple[Spoken, ...]
    """The prompt as it was rendered, with the turns before; empty for what is no model call."""
    answer: str | None
    """The answer's text; of what is no model call, its body."""
    purged: bool
    """Whether its bodies were removed: what was asked and answered can no longer be read."""

    def to_json(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return {
            "kind": self.kind,
            "state": self.state,
            "attempt": self.attempt,
            "try": self.try_number,
            "target": self.target,
            "http_status": self.http_status,
            "complaint": self.complaint,
            "error": self.error,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost_usd": None if self.cost is None else dollars(self.cost),
            "seconds": self.seconds,
            "messages": [{"role": one.role, "text": one.text} for one in self.messages],
            "answer": self.answer,
            "purged": self.purged,
        }


async def exchanges_of(ledger: Ledger, run: int, step: int) -> list[ExchangeDocument]:
    """List a step's exchanges, oldest first.

    Args:
        ledger: Where they are.
        run: Id of the run.
        step: Id of the step.
    """
    table = await ledger.query(_EXCHANGES, (run, step), limit=MOST)
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    asks_own = any(row["provider"] == ENDPOINT for row in rows)
    codecs = _Codecs(await _settings(ledger, run) if asks_own else Settings())
    return [await _document(ledger, row, codecs) for row in rows]


class _Codecs:
    """Finds the format of an exchange.

    Args:
        settings: Of its run, where endpoints of one's own are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def of(self, row: dict[str, Cell]) -> Codec | None:
        """Give the format; None for what is no model call, or not known any more."""
        if row["kind"] not in {"model", "poll"}:
            return None
        if row["provider"] == ENDPOINT:
            name = str(row["model"])
            return own_codec(name, self._settings.endpoints) if name in self._settings.endpoints else None
        provider = PROVIDERS.get(str(row["provider"]))
        return None if provider is None else provider.codec


async def _settings(ledger: Ledger, run: int) -> Settings:
    table = await ledger.query("SELECT settings FROM runs WHERE id = ?", (run,))
    return Settings.load(str(table.rows[0][0]).encode()) if table.rows else Settings()


async def _document(ledger: Ledger, row: dict[str, Cell], codecs: _Codecs) -> ExchangeDocument:
    is_model = row["kind"] == "model"
    codec = codecs.of(row)
    taken = row["taken"]
    response = row["response"]
    answer = await _answer(ledger, response, codec) if isinstance(response, bytes) else None
    asked = is_model and not row["purged"]
    return ExchangeDocument(
        kind=str(row["kind"]),
        state=str(row["state"]),
        attempt=_number(row["attempt"]),
        try_number=_number(row["try_number"]),
        target=str(row["model"]) if is_model else f"{_text(row['method'])} {_text(row['url'])}",
        http_status=None if row["http_status"] is None else _number(row["http_status"]),
        complaint=_text(row["complaint"]),
        error=_text(row["error"]),
        input_tokens=_number(row["input_tokens"]),
        output_tokens=_number(row["output_tokens"]),
        cost=None if row["cost"] is None else _number(row["cost"]),
        seconds=None if taken is None else round(_number(taken) / 1e6, 3),
        messages=await _messages(ledger, _number(row["id"]), codec) if asked and codec is not None else (),
        answer=answer,
        purged=bool(row["purged"]),
    )


async def _messages(ledger: Ledger, exchange: int, codec: Codec) -> tuple[Spoken, ...]:
    """Read the prompt out of the request as it was sent; where it was purged or is damaged, that is said instead."""
    try:
        body = await ledger.request_body(exchange)
        document = orjson.loads(body)
    except (NotFound, LedgerError) as error:
        return (Spoken("unreadable", str(error)),)
    except orjson.JSONDecodeError:
        return (Spoken("request", body.decode("utf-8", "replace")),) if body else ()
    return tuple(Spoken(role, text) for role, text in codec.spoken(document)) if isinstance(document, dict) else ()


async def _answer(ledger: Ledger, digest: bytes, codec: Codec | None) -> str:
    """An answer's text; the body itself where it is no completion, such as an error."""
    try:
        body = await ledger.payload(digest)
    except (NotFound, LedgerError) as error:
        return f"unreadable: {error}"
    if codec is not None:
        try:
            reply = codec.decode(body)
            return reply.text or "".join(f"[calls {call.name} {call.arguments}]" for call in reply.calls)
        except Unreadable:
            pass
    return body.decode("utf-8", "replace")


def _number(cell: Cell) -> int:
    return cell if isinstance(cell, int) else 0


def _text(cell: Cell) -> str | None:
    return None if cell is None else str(cell)
