"""Turns of people and models as data sets, APIs and logs write them."""

from collections.abc import Iterator
from typing import Any

from stagebook_pipelines.prompt_batch.archives.answers import answers_of
from stagebook_pipelines.prompt_batch.archives.asked import Asked, Found, Remark, asked, is_user, text_of


def _role(turn: dict[str, Any]) -> Any:
    return next((turn[name] for name in ("from", "role", "sender") if name in turn), None)


def _words(turn: dict[str, Any]) -> str:
    return text_of(next((turn[name] for name in ("value", "content", "text") if name in turn), None))


def is_turn(value: Any) -> bool:
    """Whether a value is one turn: somebody's role, and what was said."""
    return isinstance(value, dict) and _role(value) is not None


def turns(record: dict[str, Any], field: str) -> Found:
    """Read turns one after the other: ShareGPT's `conversations` (from, value), or `messages` (role, content).

    Args:
        record: The record. A right answer in it belongs to the last turn.
        field: Where in it the turns stand.

    Yields:
        The person's prompts: turns of `human` or `user`, however they are capitalised.
    """
    given = record[field]
    users = [number for number, turn in enumerate(given) if isinstance(turn, dict) and is_user(_role(turn))]
    references = answers_of(record)
    for number, turn in enumerate(given):
        if not isinstance(turn, dict) or _role(turn) is None:
            yield Remark(f"holds no role in {field}[{number}], which was left out", lost=True)
        elif is_user(_role(turn)):
            yield asked(_words(turn), field + "[{}]", number, references if number == users[-1] else ())


def joined(record: dict[str, Any], field: str) -> Found:
    """Read messages that are one question with one right answer: OpenAI Evals' `input` and `ideal`.

    Instructions and examples belong to the question, so all messages are one prompt, a blank line between two of them;
    where a model's turn is among them, each says whose it is.

    Args:
        record: The record.
        field: Where in it the messages stand.

    Yields:
        The prompt.
    """
    said = [(str(_role(turn)), _words(turn)) for turn in record[field] if isinstance(turn, dict)]
    named = any(role == "assistant" for role, _ in said)
    parts = [f"{role.capitalize()}: {words}" if named else words for role, words in said if words.strip()]
    yield asked("\n\n".join(parts), field, 0, answers_of(record))


def tree(record: dict[str, Any]) -> Found:
    """Read an OpenAssistant tree: a prompt, its replies, their replies.

    Args:
        record: The record.

    Yields:
        Every prompt of a person, each before what follows upon it; those that were deleted are none.
    """
    waiting = [record["prompt"]]
    number = 0
    while waiting:
        node = waiting.pop()
        if not isinstance(node, dict):
            continue
        if is_user(_role(node)) and node.get("deleted") is not True:
            yield asked(_words(node), "message {} of its tree", number)
        number += 1
        replies = node.get("replies")
        if isinstance(replies, list):
            waiting.extend(reversed(replies))


def one_turn(record: dict[str, Any]) -> Found:
    """Read a record that is a single turn.

    Args:
        record: The record.

    Yields:
        The prompt, if a person said it.
    """
    if is_user(_role(record)) and record.get("deleted") is not True:
        yield asked(_words(record), "the turn")


def several(record: dict[str, Any]) -> Iterator[Asked | Remark]:
    """Read a question of several turns, with a right answer for each: MT-bench's `turns` and `reference`.

    Args:
        record: The record.

    Yields:
        A prompt for every turn.
    """
    answers: list[Any] = next(
        (record[name] for name in ("references", "reference") if isinstance(record.get(name), list)), []
    )
    for number, turn in enumerate(record["turns"]):
        answer = answers[number] if number < len(answers) else None
        references = (answer,) if isinstance(answer, str) and answer.strip() else ()
        yield asked(text_of(turn), "turns[{}]", number, references)
