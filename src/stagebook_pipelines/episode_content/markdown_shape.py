"""How a post in markdown is built: its headings, how long its sections are, and what is wrong with that."""

import re
from dataclasses import dataclass

from stagebook_pipelines.episode_content.words import count_words

MIN_WORDS = 600
MIN_CHARACTERS = 3000
MIN_SECTIONS = 2

_FENCE = re.compile(r"^[ ]{0,3}(`{3,}|~{3,})")
_ATX = re.compile(r"^[ ]{0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_UNDERLINE = re.compile(r"^[ ]{0,3}(=+|-+)[ \t]*$")
_NO_PARAGRAPH = re.compile(r"^(?:[ \t]*$|[ ]{0,3}(?:>|```|~~~|[-*+][ \t]|\d{1,9}[.)][ \t]|#{1,6}(?:[ \t]|$)|\|))")
_LINK_TARGET = re.compile(r"(?<=\])\([^()\s]*(?:\s+\"[^\"]*\")?\)|^[ ]{0,3}\[[^\]]+\]:.*$", re.MULTILINE)
_COMMENT = re.compile(r"<!--.*?-->|</?[A-Za-z][^>\n]*>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under one second-level heading."""

    title: str
    """The heading's text."""
    words: int
    """Words under it, up to the next heading of level one or two."""


@dataclass(frozen=True, slots=True)
class PostShape:
    """The build of a post."""

    titles: tuple[str, ...]
    """Headings of level one; a post has one."""
    sections: tuple[Section, ...]
    """Headings of level two with the length of what stands under them."""
    introduction_words: int
    """Words before the first heading of level two, headings not counted."""
    paragraphs: int
    """Blocks of text, quotations and lists included, headings left out."""


def shape_of(markdown: str) -> PostShape:
    """The build of a post; headings may be `# ...` or underlined, and what looks like one in a code block is none."""
    titles: list[str] = []
    sections: list[tuple[str, list[str]]] = []
    introduction: list[str] = []
    body: list[str] = []
    for level, line in _lines(markdown):
        if level == 1:
            titles.append(line)
        elif level == 2:  # noqa: PLR2004 the level of a heading is its number of marks
            sections.append((line, []))
        else:
            (sections[-1][1] if sections else introduction).append(line if level == 0 else "")
        body.append(line if level == 0 else "")
    return PostShape(
        titles=tuple(titles),
        sections=tuple(Section(title, words_in("\n".join(under))) for title, under in sections),
        introduction_words=words_in("\n".join(introduction)),
        paragraphs=sum(1 for block in re.split(r"\n[ \t]*\n", "\n".join(body)) if block.strip()),
    )


def words_in(markdown: str) -> int:
    """Words that a reader sees: addresses of links, comments and tags are not counted."""
    return count_words(_COMMENT.sub(" ", _LINK_TARGET.sub(" ", markdown)))


def shortcomings(markdown: str) -> list[str]:
    """What keeps a text from being a blog post, each a sentence that a writer can act on; empty where nothing does."""
    shape, words, characters = shape_of(markdown), words_in(markdown), len(markdown.strip())
    found: list[str] = []
    if words < MIN_WORDS:
        found.append(f"The post has {words} words; it needs at least {MIN_WORDS}.")
    if characters < MIN_CHARACTERS:
        found.append(f"The post has {characters} characters; it needs at least {MIN_CHARACTERS}.")
    if len(shape.titles) != 1:
        found.append(f"The post has {len(shape.titles)} lines that begin with '# '; it needs exactly one, the title.")
    if len(shape.sections) < MIN_SECTIONS:
        found.append(
            f"The post has {len(shape.sections)} lines that begin with '## '; it needs {MIN_SECTIONS} or more."
        )
    return found


def _lines(markdown: str) -> list[tuple[int, str]]:
    """Every line with its heading level; 0 is text. An underline makes the paragraph line above it a heading."""
    lines: list[tuple[int, str]] = []
    fence = ""
    for line in markdown.splitlines():
        mark = _FENCE.match(line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) else fence
        elif mark:
            fence = mark[1]
        elif heading := _ATX.match(line):
            lines.append((len(heading[1]), (heading[2] or "").strip()))
            continue
        elif (
            (under := _UNDERLINE.match(line)) and lines and lines[-1][0] == 0 and not _NO_PARAGRAPH.match(lines[-1][1])
        ):
            lines[-1] = (1 if under[1][0] == "=" else 2, lines[-1][1].strip())
            continue
        lines.append((0, line))
    return lines
