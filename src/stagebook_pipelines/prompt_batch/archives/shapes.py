"""Which shape a record has, told from what it holds."""

from collections.abc import Callable
from functools import partial
from typing import Any

from stagebook_pipelines.prompt_batch.archives.asked import Found, Remark, asked, text_of
from stagebook_pipelines.prompt_batch.archives.dialogues import is_turn, joined, one_turn, several, tree, turns
from stagebook_pipelines.prompt_batch.archives.exports import chatgpt, claude
from stagebook_pipelines.prompt_batch.archives.rows import COLUMNS, column_of, plain

_ENVELOPES = ("request", "body", "params", "row")
"""Fields that hold the record itself: logs of requests, batch files, pages of a data set's viewer."""
LISTS = ("conversations", "data", "rows", "items", "prompts", "questions", "examples", "records", "entries", "results")
"""Fields that hold all records of a file that is one object."""
ANSWERING = "results"
"""The one of these that beside another one is not read: it may hold what models answered."""
_NAMES = ("id", "conversation_id", "uuid", "message_tree_id", "custom_id", "question_id", "title", "name")
"""Fields that name a conversation or row."""
KNOWN_FIELDS = frozenset(
    {*_ENVELOPES, *LISTS, *_NAMES, *COLUMNS, "mapping", "current_node", "chat_messages", "conversation", "messages"}
    | {"turns", "role", "content", "from", "value", "sender", "deleted"}
)
"""Every field that tells a shape, or is read of one."""
_DEEPEST = 4
_SHOWN = 10

Reader = Callable[[], Found]


def reader_of(record: Any, column: str | None = None, depth: int = 0) -> Reader | None:
    """Recognise a record.

    Args:
        record: What was read: a dict or a list; a string is for the caller to judge.
        column: The field that asks, where it has been said.
        depth: How many envelopes have been opened.

    Returns:
        What reads it, or None where it has no known shape.
    """
    if isinstance(record, list):
        turned = bool(record) and all(map(is_turn, record))
        return partial(turns, {"messages": record}, "messages") if turned else None
    if not isinstance(record, dict):
        return None
    if column is not None:
        return partial(_said, record, column) if column in record else None
    return _conversation(record) or _questions(record) or _wrapped(record, depth)


def _conversation(record: dict[str, Any]) -> Reader | None:
    if isinstance(record.get("mapping"), dict):
        return partial(chatgpt, record)
    if isinstance(record.get("chat_messages"), list):
        return partial(claude, record)
    prompt = record.get("prompt")
    if isinstance(prompt, dict) and ("replies" in prompt or "role" in prompt):
        return partial(tree, record)
    for field in ("conversations", "conversation", "messages"):
        given = record.get(field)
        if isinstance(given, list) and (not given or any(map(is_turn, given))):
            return partial(turns, record, field)
    return None


def _questions(record: dict[str, Any]) -> Reader | None:
    if isinstance(record.get("turns"), list):
        return partial(several, record)
    for field in ("input", "prompt"):
        given = record.get(field)
        if isinstance(given, list) and given and all(map(is_turn, given)):
            return partial(joined if "ideal" in record else turns, record, field)
    if "role" in record and ("content" in record or "text" in record):
        return partial(one_turn, record)
    column = column_of(record)
    return partial(plain, record, column) if column is not None else None


def _wrapped(record: dict[str, Any], depth: int) -> Reader | None:
    if depth >= _DEEPEST:
        return None
    for field in _ENVELOPES:
        found = reader_of(record[field], None, depth + 1) if isinstance(record.get(field), dict) else None
        if found is not None:
            return found
    lists = [field for field in record if field in LISTS and isinstance(record[field], list)]
    found_lists = {field: [_element(one, depth + 1) for one in record[field]] for field in lists}
    asking = {field: readers for field, readers in found_lists.items() if any(readers)}
    left_out = len(asking) > 1 and asking.pop(ANSWERING, None) is not None
    return partial(_all, asking, left_out=left_out) if asking else None


def _element(record: Any, depth: int) -> Reader | None:
    return partial(_string, record) if isinstance(record, str) else reader_of(record, None, depth)


def _string(text: str) -> Found:
    yield asked(text, "a list")


def _all(lists: dict[str, list[Reader | None]], *, left_out: bool) -> Found:
    for field, readers in lists.items():
        for number, read in enumerate(readers):
            if read is None:
                yield Remark(f"holds something of unknown shape in {field}[{number}], which was left out", lost=True)
            else:
                yield from read()
    if left_out:
        yield Remark(f"holds a second list, {ANSWERING}, which was left out: it may hold answers", lost=True)


def _said(record: dict[str, Any], column: str) -> Found:
    given = record[column]
    if isinstance(given, list) and given and all(map(is_turn, given)):
        yield from turns(record, column)
    elif isinstance(given, str):
        yield from plain(record, column)
    else:
        yield asked(text_of(given), column)


def name_of(record: Any) -> str | None:
    """Find the id of a conversation or row, or else its title."""
    if not isinstance(record, dict):
        return None
    for field in _NAMES:
        given = record.get(field)
        if isinstance(given, (str, int)) and not isinstance(given, bool) and str(given).strip():
            return str(given)
    return None


def seen_in(record: Any) -> str:
    """Say what a record without a known shape is."""
    if isinstance(record, dict):
        names = ", ".join(repr(name)[:42] for name in list(record)[:_SHOWN])
        more = f" and {len(record) - _SHOWN} more" if len(record) > _SHOWN else ""
        return f"an object with {names}{more}" if names else "an empty object"
    if isinstance(record, list):
        return f"a list of {len(record)} that are no turns of a conversation"
    if isinstance(record, str):
        return "a string"
    return "null" if record is None else "a number" if not isinstance(record, bool) else "true or false"
