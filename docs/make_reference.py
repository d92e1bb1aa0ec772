"""Writes the pages of docs/reference from the code; `--check` says which are not what the code says.

python docs/make_reference.py
"""

import ast
import dataclasses
import inspect
import re
import sqlite3
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import click
from pydantic import BaseModel

import stagebook
from stagebook import testing
from stagebook.cli.entry import COMMANDS
from stagebook.cli.entry import stagebook as command
from stagebook.ledger.sql.v001 import TABLES
from stagebook.ledger.sqlite.connection import open_reader, open_writer
from stagebook.model import errors

FOLDER: Final = Path(__file__).with_name("reference")
WIDTH: Final = 100
LONGEST: Final = 60
"""Characters of a parameter with its default; of a longer one, the name alone is shown."""
MADE: Final = "<!-- made by docs/make_reference.py; do not edit -->\n"
ALIASES: Final = {
    "Children": "`Children[T]`: those outputs of a stage on a deeper axis that stand below this stage's item, in "
    "order; a sequence.",
    "Text": "The type of a field that holds running text (a post, a letter, a page). A model whose only field is "
    "`Text` is asked for plain text instead of JSON; the ledger shows the field as `output_text`.",
}
"""Names that stand for types, which keep no docstring at run time."""
VIEWS: Final = {
    "stage_outputs": "One row for each output that stands: its text, its data.",
    "costs": "One row for each request: tokens, cost, how it ended.",
    "v2_pipeline_steps": "One row for each step, with prompt, answer and output.",
}


def command_line() -> str:
    """Write what `--help` of every command prints."""
    names = command.context_settings["help_option_names"]
    with click.Context(
        command, info_name="stagebook", max_content_width=WIDTH, terminal_width=WIDTH, help_option_names=names
    ) as context:
        parts = ["# Command line\n", _block(command.get_help(context))]
        for name in COMMANDS:
            found = command.get_command(context, name)
            if found is not None:
                parts += _help(found, name, context)
    return "\n".join(parts)


def python() -> str:
    """Write every public name of `stagebook`, with what its docstring says."""
    parts = ["# Python\n", "Everything here is imported from `stagebook`.\n"]
    for name in sorted(stagebook.__all__, key=str.lower):
        parts += _name(name, getattr(stagebook, name))
    parts += ["# For tests\n", "These are imported from `stagebook.testing`.\n"]
    for name in sorted(testing.__all__):
        parts += _name(name, getattr(testing, name))
    return "\n".join(parts)


def error_tree() -> str:
    """Write the tree of errors and what each means."""
    tree = re.search(r"```\n.*?```", errors.__doc__ or "", re.DOTALL)
    parts = [
        "# Errors and exit codes\n",
        "What `stagebook` says on stderr begins with `error:` and is one sentence: what happened, where, what to do.\n",
        tree[0].replace("```\n", "```text\n", 1) if tree else "",
        "",
        "| exit code | of the command |",
        "|---|---|",
        "| 0 | done |",
        "| 1 | failed; what was finished is kept |",
        "| 2 | what was typed, declared or given cannot be used; nothing was run |",
        "| 3 | paused, by a wish or a budget |",
        "| 130 | interrupted or cancelled |",
        "",
        "| error | exit code | meaning |",
        "|---|---|---|",
    ]
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.StagebookError):
            parts.append(f"| `{name}` | {kind.exit_code} | {_line(kind)} |")
    return "\n".join([*parts, ""])


def ledger() -> str:
    """Write the tables and views, with the columns that a new ledger has."""
    parts = [
        "# The ledger's tables and views\n",
        "Ask with `stagebook sql`, which reads and never writes. Times are microseconds since 1970, money is",
        "picodollars, hashes are BLAKE2b-128; the views show times as text and money in dollars. Every stage has",
        "views of its own beside these: `PIPELINE__STAGE`, with a column for each field of its output",
        "([how](../howto/sql.md)). Types are SQLite's; [PostgreSQL](../howto/postgresql.md) has BIGINT, BYTEA and",
        "DOUBLE PRECISION instead, in the schema `stagebook`. There `input` and `output` of `v2_pipeline_steps` are",
        "JSON, the output is the stage's own and not the raw answer, and `payload_text(hash)` can only be selected.",
        "",
    ]
    notes = _notes()
    with tempfile.TemporaryDirectory() as folder:
        address = f"file:{Path(folder) / 'ledger.db'}"
        open_writer(f"{address}?mode=rwc", "here", 1).close()
        with closing(open_reader(f"{address}?mode=ro", "here", 1)) as connection:
            for view, meaning in VIEWS.items():
                columns = ", ".join(f"`{name}`" for name, _ in _columns(connection, view))
                parts += [f"## View `{view}`\n", f"{meaning}\n", f"{columns}\n"]
            for (table,) in connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY rowid"
            ).fetchall():
                parts += [f"## Table `{table}`\n", "| column | type | |", "|---|---|---|"]
                parts += [
                    f"| `{name}` | {kind} | {notes.get((table, name), '')} |"
                    for name, kind in _columns(connection, table)
                ]
                parts.append("")
    return "\n".join(parts)


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "command-line.md": command_line,
    "python.md": python,
    "errors.md": error_tree,
    "ledger.md": ledger,
}


def stale() -> list[str]:
    """Name the pages that are not what the code says."""
    return [name for name, make in PAGES.items() if _kept(name) != MADE + make()]


def _kept(name: str) -> str:
    path = FOLDER / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _help(found: click.Command, name: str, above: click.Context) -> Iterator[str]:
    """Write a command's help, and that of those below it."""
    with click.Context(found, info_name=name, parent=above, max_content_width=WIDTH, terminal_width=WIDTH) as context:
        yield f"## stagebook {name}\n" if above.parent is None else f"### {context.command_path}\n"
        yield _block(found.get_help(context))
        if isinstance(found, click.Group):
            for below in found.list_commands(context):
                one = found.get_command(context, below)
                if one is not None:
                    yield from _help(one, below, context)


def _block(text: str) -> str:
    return f"```text\n{text.strip()}\n```\n"


def _name(name: str, value: Any) -> Iterator[str]:
    """Write one public name: a class with its members, a function, or an alias."""
    yield f"## {name}\n"
    if name in ALIASES:
        yield f"{ALIASES[name]}\n"
        return
    if inspect.isfunction(value):
        yield from _function(name, value)
        return
    yield from _prose(value)
    making = vars(value).get("__init__")
    if inspect.isfunction(making) and making.__doc__ and not dataclasses.is_dataclass(value):
        yield from _function(name, making)
    for member, found in vars(value).items():
        if member.startswith("_"):
            continue
        if inspect.isfunction(found):
            yield f"### {name}.{member}\n"
            yield from _function(f"{name}.{member}", found)
        elif isinstance(found, property):
            yield f"### {name}.{member}\n"
            yield from _prose(found)
    if value.__mro__[1:2] and value.__mro__[1].__name__ == "StageGroup":
        for member in ("stage", "prompt", "add"):
            yield f"### {name}.{member}\n"
            if name == "Pipeline":
                yield from _function(f"{name}.{member}", getattr(value, member))
            else:
                yield f"As `Pipeline.{member}`, in this phase.\n"
    fields = list(_fields(value))
    if fields:
        yield "\n".join(["**Fields**", "", *fields, ""])


def _fields(value: type) -> Iterator[str]:
    """Write the fields of a dataclass or model, each with the sentence under it."""
    if not (dataclasses.is_dataclass(value) or issubclass(value, BaseModel)):
        return
    tree = ast.parse(textwrap.dedent(inspect.getsource(value))).body[0]
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    for one, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and not one.target.id.startswith("_"):
            sentence = ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                sentence = " ".join(str(after.value.value).split())
            yield f"- `{one.target.id}`: {sentence}".removesuffix(": ")


def _function(name: str, function: Callable[..., Any]) -> Iterator[str]:
    taken = [one for one in inspect.signature(function).parameters.values() if one.name != "self"]
    parameters = [_parameter(one) for one in taken]
    by_name = [place for place, one in enumerate(taken) if one.kind is inspect.Parameter.KEYWORD_ONLY]
    if by_name:
        parameters.insert(by_name[0], "*")
    yield _block(textwrap.fill(f"{name}({', '.join(parameters)})", WIDTH, subsequent_indent="    "))
    yield from _prose(function)


def _parameter(one: inspect.Parameter) -> str:
    told = str(one.replace(annotation=inspect.Parameter.empty))
    return told if len(told) <= LONGEST else f"{one.name}=..."


def _prose(documented: Any) -> Iterator[str]:
    """Write a docstring: its paragraphs as they are, its sections as lists."""
    text = inspect.getdoc(documented) or ""
    section = False
    lines: list[str] = []
    for line in text.splitlines():
        heading = re.fullmatch(r"(Args|Returns|Raises):", line)
        if heading:
            section = True
            lines += [f"**{heading[1]}**", ""]
        elif section and re.match(r"    \w[\w.*]*: ", line):
            term, _, rest = line.strip().partition(": ")
            lines.append(f"- `{term}`: {rest}")
        elif section and line.startswith("        "):
            lines.append(f"  {line.strip()}")
        elif section and line.startswith("    "):
            lines.append(line.strip())
        else:
            section = False
            lines.append(line)
    yield "\n".join(lines) + "\n"


def _line(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def _columns(connection: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    rows = connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchall()
    return [(str(name), str(kind)) for name, kind in rows]


def _notes() -> dict[tuple[str, str], str]:
    """Read the comments beside the columns."""
    notes: dict[tuple[str, str], str] = {}
    table = ""
    for line in TABLES.splitlines():
        begun = re.match(r"CREATE TABLE (\w+)", line)
        table = begun[1] if begun else table
        noted = re.match(r"    (\w+) .*?--\s*(.*)", line)
        if noted:
            notes[table, noted[1]] = noted[2]
    return notes


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(f"not what the code says: {', '.join(stale())}" if stale() else 0)
    FOLDER.mkdir(exist_ok=True)
    for page, make in PAGES.items():
        (FOLDER / page).write_text(MADE + make(), encoding="utf-8")
