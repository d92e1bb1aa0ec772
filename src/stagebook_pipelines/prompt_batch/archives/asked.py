"""What a record asks, in the words of all shapes; and how text is found in a message."""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from stagebook_pipelines.prompt_batch.archives.decoding import whole


class Asked(NamedTuple):
    """One prompt of a record."""

    text: str
    """What was asked."""
    references: tuple[str, ...] = ()
    """The right answers that stand beside it."""
    choices: tuple[str, ...] | None = None
    """The answers to choose from."""


class Remark(NamedTuple):
    """Something in a record that was left out or read in spite of a fault; the record is the sentence's subject."""

    message: str
    """What is told of it."""
    lost: bool = False
    """Whether a prompt may be missing for it."""


Found: TypeAlias = Iterator[Asked | Remark]
"""What a shape's reader gives of one record."""

USERS = frozenset({"user", "human", "prompter"})
"""Who asks, in small letters."""
_TEXT_PARTS = frozenset({"text", "input_text", "audio_transcription", None})
"""Types of a message's parts that hold the person's words; null where a part says no type."""


def text_of(content: Any) -> str:
    """Find the words in a message's content.

    Args:
        content: A string, a list of strings and typed parts (`{"type": "text", "text": ...}`), or one such part.

    Returns:
        The words, parts on lines of their own; pictures and files have none.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        return _part(content)
    if isinstance(content, list):
        parts = [part if isinstance(part, str) else _part(part) for part in content]
        return "\n".join(part for part in parts if part)
    return ""


def _part(part: Any) -> str:
    if not isinstance(part, dict) or part.get("type", part.get("content_type")) not in _TEXT_PARTS:
        return ""
    words = part.get("text", part.get("value"))
    return words if isinstance(words, str) else ""


def asked(
    text: str, place: str, number: int = 0, references: tuple[str, ...] = (), choices: tuple[str, ...] | None = None
) -> Asked | Remark:
    """Give a prompt, if it has words.

    Args:
        text: What was asked.
        place: Where in the record it stands, such as `messages[{}]`.
        number: What is put in there.
        references: Right answers to it.
        choices: Answers to choose from.

    Returns:
        The prompt, or the remark that it is blank.
    """
    if not text or text.isspace():
        return Remark("holds no text in " + place.replace("{}", str(number)))
    return Asked(whole(text), references, choices)


def is_user(role: Any) -> bool:
    """Whether a role is that of the person who asks."""
    return isinstance(role, str) and (role in USERS or role.strip().lower() in USERS)
