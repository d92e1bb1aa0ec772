"""Patterns of the strings of a JSON answer, of bounded length."""

import re
from collections.abc import Mapping

FORMATS: Mapping[str, str] = {
    "date": r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])",
    "time": r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z",
    "date-time": r"(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z",
    "duration": r"PT[1-9][0-9]?[HM]",
    "email": r"[a-z][a-z0-9.]{0,20}[a-z0-9]@[a-z][a-z0-9]{1,20}\.(com|org|net|io)",
    "uri": r"https:\/\/(www\.)?[a-z][a-z0-9-]{1,24}[a-z0-9]\.(com|org|net|io)(\/[a-z0-9-]{1,20}){0,2}",
    "uuid": r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}",
    "ipv4": r"((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])\.){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])",
}
"""Formats that are held, each as a part of what its specification allows."""

PROSE = 100
"""A string that may be longer than this is prose: it may hold line breaks, and ends with a sentence."""

KEY = r"[A-Za-z][A-Za-z0-9 _-]{0,24}"
"""A key of a map."""

UNHELD = re.compile(r"\(\?(?!:)|\\[bBAzZGpP1-9]")
"""In a schema's pattern: lookaround, flags, boundaries and references, which the engine does not know."""


def json_text(least: int, most: int) -> str:
    """Write the pattern of a JSON string's inside.

    It begins with a letter, a figure or an opening mark, and near its most length ends with a word or, if it is prose,
    with a sentence, instead of in the middle of one.

    Args:
        least: Fewest characters, 1 or more.
        most: Most characters; an escape counts as the one character that it stands for.
    """
    first = r"[^\s\"\\\x00-\x1f\x7f.,:;!?)\]}\/|_-]"
    if most == 1:
        return first
    if most <= PROSE:
        tail, any_one = min(24, most // 3), r"([^\"\\\x00-\x1f\x7f]|\\[\"\\])"
        soft = max(most - tail, least)
        last_word = rf"([\p{{L}}\p{{N}}'\u2019-]{{0,{most - soft - 1}}}[.!?]?)" if most > soft else ""
        return f"{first}{any_one}{{{least - 1},{soft - 1}}}{last_word}"
    any_one, kept = r"([^\"\\\x00-\x1f\x7f]|\\[\"\\n])", r"[^.!?\"\\\x00-\x1f\x7f]"
    soft = max(most - min(120, most // 3), least)
    if most - soft < 2:  # noqa: PLR2004  no room for a tail and its mark
        return f"{first}{any_one}{{{least - 1},{most - 1}}}"
    return f"{first}{any_one}{{{least - 1},{soft - 1}}}({kept}{{0,{most - soft - 1}}}[.!?])?"
