"""Finds the templates of a pipeline: files in one folder, and nothing outside of it."""

import re
from collections.abc import Iterator
from pathlib import Path

from stagebook.definition.place import nearest, shown
from stagebook.definition.template import Template, TemplateLine
from stagebook.model.errors import DefinitionError

ENDINGS = (".md", ".jinja", ".txt")
INCLUDE = re.compile(r"""^[ \t]*\{%[-+]?\s*include\s+(?P<quote>["'])(?P<name>[^"']+)(?P=quote)\s*[-+]?%\}[ \t]*$""")
MOST_DEEP = 8
"""Most files that may include each other in a row."""


class TemplateFolder:
    """The folder that a pipeline's templates lie in.

    Args:
        folder: Its path; it need not be there where no template is asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parsed: dict[str, Template] = {}

    def load(self, name: str) -> Template:
        """Read and parse a template.

        A line `{% include "other" %}` is replaced by the lines of that file, in the same folder: the text is then
        complete, so that its hash is the prompt's version and rendering reads no file.

        Args:
            name: File name without its ending.

        Raises:
            DefinitionError: It is not there, lies outside of the folder, or its syntax is wrong.
        """
        if name not in self._parsed:
            path = self.find(name)
            told = list(self._read(path, ()))
            text = "\n".join(line for line, _ in told)
            self._parsed[name] = Template.parse(name, text, path=path, lines=[origin for _, origin in told])
        return self._parsed[name]

    def names(self) -> list[str]:
        """Name the templates that are there."""
        if not self.folder.is_dir():
            return []
        files = (path for path in self.folder.rglob("*") if path.suffix in ENDINGS and path.is_file())
        return sorted(path.relative_to(self.folder).with_suffix("").as_posix() for path in files)

    def find(self, name: str) -> Path:
        """Find a template's file.

        Raises:
            DefinitionError: There is none, or several; the text says where it was looked for.
        """
        wanted = [name] if name.endswith(ENDINGS) else [name + ending for ending in ENDINGS]
        root = self.folder.resolve()
        found = []
        for one in wanted:
            path = (self.folder / one).resolve()
            if not path.is_relative_to(root):
                raise DefinitionError(
                    f"template {name!r} lies outside of {shown(self.folder)}. Mend: put the file into that folder"
                )
            if path.is_file():
                found.append(self.folder / one)
        if len(found) > 1:
            both = " and ".join(shown(path) for path in found)
            raise DefinitionError(f"template {name!r} is there twice: {both}. Mend: keep one of them")
        if not found:
            wanted_at = shown(self.folder / f"{name}{'' if name.endswith(ENDINGS) else ENDINGS[0]}")
            raise DefinitionError(
                f"template {name!r} is not there; it was looked for at {wanted_at} (.jinja and .txt too). "
                f"Mend: write that file, or name another: {nearest(name, self.names())}"
            )
        return found[0]

    def _read(self, path: Path, above: tuple[Path, ...]) -> Iterator[tuple[str, TemplateLine]]:
        """Read a file's lines, and those of the files that it includes."""
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise DefinitionError(f"{shown(path)} cannot be read: {error}. Mend: save it as UTF-8 text") from error
        file = shown(path)
        for number, line in enumerate(text.rstrip("\n").split("\n"), start=1):
            include = INCLUDE.match(line)
            origin = TemplateLine(file, number)
            if include is None:
                yield line, origin
                continue
            try:
                other = self.find(include["name"])
            except DefinitionError as error:
                raise DefinitionError(f"{origin}: {error}") from error
            if other in (*above, path) or len(above) >= MOST_DEEP:
                raise DefinitionError(
                    f"{origin}: {include['name']!r} includes itself in the end. Mend: take one of the includes away"
                )
            yield from self._read(other, (*above, path))
