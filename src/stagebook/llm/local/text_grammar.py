"""Grammars of the local model's plain answers: of a length, ended with a sentence, in paragraphs or as an article."""

import math
import re
from collections.abc import Mapping
from typing import Any

from stagebook.llm.local.json_grammar import CHARACTERS_PER_TOKEN, Form
from stagebook.llm.local.string_patterns import UNHELD

MARKDOWN = "text/markdown"
"""The `contentMediaType` that asks for an article (JSON Schema 2020-12, Validation, 8.4; RFC 7763)."""

SHORT_TOKENS = 800
"""What a text takes at most that does not ask for more by a minLength: about 400 words."""

FEWEST_FOR_PARAGRAPHS = 500
"""An answer of at least so many characters is held to paragraphs: the beginning of each brings a small model back."""

SHORTEST_PARAGRAPH = 260
LONGEST_PARAGRAPH = 420
"""Characters of a paragraph; most have 300 to 350. After the longest it ends with its sentence."""

PLAIN = (
    r"A-Za-z0-9\x{c0}-\x{24f} ,;:'\"()%$&+\x{2d}\x{2f}\x{a3}\x{b0}"
    r"\x{2013}\x{2014}\x{2018}\x{2019}\x{201c}\x{201d}\x{20ac}"
)
"""What the lines of a long text hold besides full stops, exclamation and question marks: where a small model has lost
its thread it goes on in marks, emoji, markup and the wide forms of letters, and does not come back."""

PARAGRAPH = (
    rf"[A-Z\u201c\u2018][{PLAIN}.!?]{{{SHORTEST_PARAGRAPH - 2},{LONGEST_PARAGRAPH}}}"
    rf"[{PLAIN}]{{0,80}}[.!?][\u201d\u2019]?"
)
"""Of a long text: it begins with a capital and ends with a sentence."""

HEADING = rf"[A-Z0-9][{PLAIN}?]{{8,70}}"

CHARACTER = r"[^\x00-\x08\x0b-\x1f\x7f]"


def text_form(schema: Mapping[str, Any], tokens: int) -> Form:
    """Make the grammar of a plain answer.

    Args:
        schema: Of the text: minLength, maxLength and pattern are held. A long text is written in paragraphs; with
            `contentMediaType: text/markdown` as an article: one heading of the first level, two to six of the second,
            each followed by paragraphs.
        tokens: What the answer may take; without a maxLength a short text ends with a sentence before they are used up.
    """
    least = max(int(schema.get("minLength", 1)), 1)
    room = max(int(min(tokens, SHORT_TOKENS) * CHARACTERS_PER_TOKEN), least + 100)
    most = min(int(schema.get("maxLength", room)), room)
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and not UNHELD.search(pattern):
        lines = [f"start: TEXT\nTEXT: /{_whole(pattern)}/ & /(?s:.){{{least},{most}}}/"]
    elif least >= FEWEST_FOR_PARAGRAPHS and int(schema.get("maxLength", 2 * least)) >= 2 * least:
        return _paragraphs(least, article=schema.get("contentMediaType") == MARKDOWN)
    else:
        tail = min(200, most // 3)
        soft = max(most - tail, least)
        first = r"[^\s\x00-\x1f\x7f]"
        ending = rf"[^.!?\x00-\x1f\x7f]{{0,{max(most - soft - 1, 0)}}}[.!?]?"
        lines = [f"start: /{first}{CHARACTER}{{{least - 1},{max(soft - 1, least - 1)}}}{ending}/"]
    return Form("\n".join(["%llguidance {}", *lines]) + "\n", int(most / CHARACTERS_PER_TOKEN) + 1)


def _whole(pattern: str) -> str:
    """Turn a schema's pattern, which may match anywhere, into one of the whole text, for between two slashes."""
    begun, ended = pattern.startswith("^"), pattern.endswith("$") and not pattern.endswith("\\$")
    inner = pattern.removeprefix("^")
    inner = inner.removesuffix("$") if ended else inner
    inner = re.sub(r"(?<!\\)/", r"\\/", inner)
    return ("" if begun else "(?s:.)*") + f"({inner})" + ("" if ended else "(?s:.)*")


def _paragraphs(least: int, *, article: bool) -> Form:
    count = math.ceil(least / SHORTEST_PARAGRAPH)
    terminals = [f"PARAGRAPH: /{PARAGRAPH}/"]
    if article:
        sections = min(max(round((count - 1) / 3), 2), 6)
        each = max(math.ceil((count - 1) / sections), 1)
        count = 1 + sections * each
        rules = [
            f'start: "# " HEADING "\\n\\n" PARAGRAPH section{{{sections}}}',
            f'section: "\\n\\n## " HEADING ("\\n\\n" PARAGRAPH){{{each}}}',
            f"HEADING: /{HEADING}/",
        ]
    else:
        rules = [f'start: PARAGRAPH ("\\n\\n" PARAGRAPH){{{count - 1}}}']
    longest = count * (LONGEST_PARAGRAPH + 80)
    return Form("\n".join(["%llguidance {}", *rules, *terminals]) + "\n", int(longest / CHARACTERS_PER_TOKEN))
