"""Templates of prompts: messages with variables in them.

A template is text. A line that is exactly `## system`, `## user` or `## assistant` begins a message; a template without
such a line is one message of the user. `{{ name }}` is replaced by what the stage reads under that name. The language
is Jinja's; a tag on a line of its own leaves no line.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from os import urandom
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, cast

from stagebook.definition.place import shown
from stagebook.model.errors import DefinitionError, TemplateFailed
from stagebook.model.exchange import content_hash
from stagebook.model.image import Image
from stagebook.model.prompt import Message, Piece, Role

if TYPE_CHECKING:
    import jinja2
    from jinja2 import nodes

    from stagebook.definition.template_language import TemplateEnvironment
    from stagebook.definition.template_straight import Parts

PIECE_BYTES = 512
"""A piece of at least so many UTF-8 bytes stays by itself, so that the ledger stores it once for all requests."""

ROLE_LINE = re.compile(r"^## (system|user|assistant)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TemplateLine:
    """Where a line of a template comes from."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Program:
    """A template's code, compiled when it is first rendered: listing and checking pipelines does not need it.

    Args:
        language: What it is written in.
        tree: Its syntax tree.
        name: What tracebacks call it.
    """

    __slots__ = ("_compiled", "_language", "_name", "_parts", "_tree")

    def __init__(self, language: "TemplateEnvironment", tree: "nodes.Template", name: str) -> None:
        self._language = language
        self._tree = tree
        self._name = name
        self._compiled: jinja2.Template | None = None
        self._parts: Parts | None = None
        """Of one that is straight."""

    def generate(self, values: Mapping[str, object]) -> Iterable[str]:
        """Render part by part: literal text and values apart."""
        from stagebook.definition.template_straight import put_together, straight  # noqa: PLC0415  imports jinja2

        if self._compiled is None and self._parts is None:
            self._parts = straight(self._tree)
        if self._parts is not None and (made := put_together(self._parts, values)) is not None:
            return made
        return self._by_jinja(values)

    def _by_jinja(self, values: Mapping[str, object]) -> Iterator[str]:
        if self._compiled is None:
            from jinja2 import Template as Compiled  # noqa: PLC0415  imported by `Template.parse` already

            code = self._language.compile(self._tree, self._name, self._name)
            self._compiled = Compiled.from_code(self._language, code, {})
        language, compiled = self._language, self._compiled
        # as `Template.generate` does, which looks every global up again
        context = language.context_class(language, {**language.globals, **values}, self._name, compiled.blocks)
        try:
            yield from compiled.root_render_func(context)
        except Exception:  # noqa: BLE001  Jinja raises it anew, with the template's own lines
            language.handle_exception()


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template. Made by `Template.parse`, or from a file by `template_folder`."""

    name: str
    """What the declaration calls it."""
    path: Path | None
    """Its file; None for text given in the declaration."""
    text: str
    """All of it, what it includes put in its place."""
    content_hash: bytes
    """Of the text: the prompt's version."""
    variables: frozenset[str]
    """Names that it needs values for."""
    lines: tuple[TemplateLine, ...] = field(repr=False, compare=False)
    """Where each line of the text comes from."""
    tree: "nodes.Template" = field(repr=False, compare=False)
    """Its syntax tree."""
    program: "Program" = field(repr=False, compare=False)
    marker: str = field(repr=False, compare=False)
    """Stands where messages begin in what is rendered; nobody can guess it, so no value can begin a message."""
    stage: str | None = None
    """The stage that it is the template of, for messages."""

    @classmethod
    def parse(
        cls, name: str, text: str, *, path: Path | None = None, lines: Iterable[TemplateLine] | None = None
    ) -> "Template":
        """Parse a template.

        Args:
            name: What the declaration calls it.
            text: The template, without includes left in it.
            path: Its file, for messages.
            lines: Where each line comes from; by default the file itself, line by line.

        Raises:
            DefinitionError: Its syntax is wrong; the text names file and line.
        """
        from jinja2 import TemplateSyntaxError, meta  # noqa: PLC0415  40 ms that a pipeline without prompts need not pay

        text = text.replace("\r\n", "\n")
        file = shown(path) if path is not None else f"text of {name}"
        told = (
            tuple(lines) if lines is not None else tuple(TemplateLine(file, n + 1) for n in range(text.count("\n") + 1))
        )
        language = _language()
        marker = f"<{urandom(8).hex()}:"
        marked = ROLE_LINE.sub(rf"{marker}\1>", text)
        try:
            tree = language.parse(marked)
            needed = meta.find_undeclared_variables(tree) - set(language.globals)
        except TemplateSyntaxError as error:
            at = _line(told, error.lineno)
            what = (error.message or "it cannot be read").rstrip(".")
            raise DefinitionError(f"{at}: {what}. Mend: correct the template there") from error
        _refuse_reading(tree, told)
        _refuse_text_before_messages(text, told)
        return cls(
            name=name,
            path=path,
            text=text,
            content_hash=content_hash(text.encode("utf-8", "surrogatepass")),
            variables=frozenset(needed),
            lines=told,
            tree=tree,
            program=Program(language, tree, name),
            marker=marker,
        )

    def of(self, stage: str) -> "Template":
        """Say which stage it is the template of."""
        return replace(self, stage=stage)

    def where(self, variable: str) -> TemplateLine:
        """Say where a variable stands first."""
        from jinja2 import nodes  # noqa: PLC0415  imported by `parse` already

        found = [node.lineno for node in self.tree.find_all(nodes.Name) if node.name == variable]
        return _line(self.lines, min(found, default=1))

    def compare(self, types: Mapping[str, object]) -> None:
        """Hold its dotted names against the types of its variables.

        Args:
            types: Types by variable; of others nothing is known.

        Raises:
            DefinitionError: A dotted name leads nowhere.
        """
        from stagebook.definition.template_fields import unknown_field  # noqa: PLC0415  imports jinja2: see `parse`

        unknown = unknown_field(self.tree, types)
        if unknown is not None:
            at = _line(self.lines, unknown.line)
            raise DefinitionError(f"template {self.name} ({at}): {unknown.what}. Mend: {unknown.mend}")

    def render(self, values: Mapping[str, object]) -> tuple[Message, ...]:
        """Render to messages.

        Args:
            values: By variable. Models and collections are written as JSON, None as nothing.

        Returns:
            Messages whose pieces are the literal parts and values, each of 512 bytes or more by itself, and the
            pictures among them.

        Raises:
            TemplateFailed: A value is missing, or has no such field; the text names template, line and variable.
        """
        from stagebook.definition.template_language import LOST  # noqa: PLC0415  imported by `Template.parse` already

        messages: list[tuple[Role, list[Piece]]] = [("user", [])]
        parts = messages[0][1]
        try:
            for rendered in self.program.generate(values):
                if LOST in rendered:
                    parts.extend(_pictures(rendered))
                    continue
                if self.marker not in rendered:
                    parts.append(rendered)
                    continue
                before, *begun = rendered.split(self.marker)
                parts.append(before)
                for one in begun:
                    role, _, text = one.partition(">")
                    parts = [text]
                    messages.append((cast("Role", role), parts))
        except Exception as error:
            raise TemplateFailed(f"{self._called(error)}: {_told(error)}") from error
        made = tuple(Message(role, pieces) for role, parts in messages if (pieces := _merged(parts)))
        if not made:
            raise TemplateFailed(f"{self._called(None)}: nothing is left of it when it is rendered")
        return made

    def _called(self, error: BaseException | None) -> str:
        """Name the template, its stage, and the line in an error's traceback."""
        number = 1
        if error is not None:
            for frame, line in walk_tb(error.__traceback__):
                if frame.f_code.co_filename == self.name:
                    number = line
        within = f"stage {self.stage!r}: " if self.stage else ""
        return f"{within}template {self.name} ({_line(self.lines, number)})"


@cache
def _language() -> "TemplateEnvironment":
    from stagebook.definition.template_language import TemplateEnvironment  # noqa: PLC0415  imports jinja2: see there

    return TemplateEnvironment()


def _line(lines: tuple[TemplateLine, ...], number: int) -> TemplateLine:
    return lines[min(max(number, 1), len(lines)) - 1]


def _refuse_reading(tree: "nodes.Template", lines: tuple[TemplateLine, ...]) -> None:
    from stagebook.definition.template_language import forbidden  # noqa: PLC0415  imports jinja2: see there

    node = forbidden(tree)
    if node is not None:
        verb = type(node).__name__.lower()
        raise DefinitionError(
            f"{_line(lines, node.lineno)}: a template cannot {verb} another one when it is rendered. "
            'Mend: put {% include "name" %} on a line of its own, in a file; its lines are taken in when it is loaded'
        )


def _refuse_text_before_messages(text: str, lines: tuple[TemplateLine, ...]) -> None:
    """A template with messages begins with one; tags and comments may stand before it."""
    first = ROLE_LINE.search(text)
    if first is None:
        return
    before = re.sub(
        r"\{#.*?#\}|\{%.*?%\}", lambda tag: "\n" * tag[0].count("\n"), text[: first.start()], flags=re.DOTALL
    )
    if before.strip():
        at = before[: len(before) - len(before.lstrip())].count("\n") + 1
        raise DefinitionError(
            f"{_line(lines, at)}: text stands before the first message. "
            "Mend: begin the template with a line `## system` or `## user`"
        )


def _pictures(rendered: str) -> tuple[Image, ...]:
    """Take pictures out of what was rendered.

    Raises:
        ValueError: Only their mark is left.
    """
    from stagebook.definition.template_language import Shown  # noqa: PLC0415  imported by `Template.parse` already

    if isinstance(rendered, Shown):
        return rendered.images
    raise ValueError("a picture is written as {{ name }} by itself, not in a macro, a filter or a set block")


def _merged(parts: list[Piece]) -> tuple[Piece, ...]:
    """Strip a message's ends, and join small neighbours; pictures part the text."""
    if all(isinstance(part, str) for part in parts):
        return _joined(cast("list[str]", parts))
    made: list[Piece] = []
    texts: list[str] = []
    for part in parts:
        if isinstance(part, str):
            texts.append(part)
            continue
        made += _joined(texts)
        made.append(part)
        texts = []
    return (*made, *_joined(texts))


def _joined(parts: list[str]) -> tuple[str, ...]:
    """Strip a text's ends, and join small neighbours."""
    first, last = 0, len(parts)
    while first < last and not parts[first].strip():
        first += 1
    while first < last and not parts[last - 1].strip():
        last -= 1
    if first == last:
        return ()
    parts = parts[first:last]
    parts[0] = parts[0].lstrip()
    parts[-1] = parts[-1].rstrip()
    pieces: list[str] = []
    small: list[str] = []
    for part in parts:
        if len(part) * 4 < PIECE_BYTES or not _is_large(part):
            small.append(part)
            continue
        if small and (joined := "".join(small)):
            pieces.append(joined)
        small = []
        pieces.append(part)
    if small and (joined := "".join(small)):
        pieces.append(joined)
    return tuple(pieces)


def _is_large(part: str) -> bool:
    return len(part) >= PIECE_BYTES or len(part.encode("utf-8", "surrogatepass")) >= PIECE_BYTES


def _told(error: BaseException) -> str:
    """Say what went wrong without the class path that Jinja puts into its messages."""
    text = re.sub(r"'(?:[\w<>]+[.:])*(\w+) object'", r"'\1'", str(error))
    if type(error).__name__ == "SecurityError":
        return f"{text} Do it in the function's body and return it, or make it a property of the model"
    return text if type(error).__name__ == "UndefinedError" else f"{type(error).__name__}: {text}"
