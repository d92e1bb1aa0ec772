"""The `stagebook` command: a table of commands, imported when they are called for, and the errors of all of them.

Nothing heavy is imported here, so that `stagebook --help` is there at once.
"""

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from stagebook.model.errors import StagebookError

if TYPE_CHECKING:
    from click import Command, Context, HelpFormatter, Parameter

INTERRUPTED: Final = 130
"""128 + SIGINT, as shells count."""
BROKEN_PIPE: Final = 141
"""128 + SIGPIPE: whoever read our output has enough."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a command is and what it does."""

    place: str
    """`module:attribute`."""
    help: str
    """One line."""


COMMANDS: Final[Mapping[str, Entry]] = {
    "pipelines": Entry("stagebook.cli.pipelines:pipelines", "List the pipelines that are installed."),
    "new": Entry("stagebook.cli.new:new", "Write a small pipeline that works, to be changed."),
    "run": Entry("stagebook.cli.run:run", "Run a pipeline on an input."),
    "resume": Entry("stagebook.cli.resume:resume", "Go on with a run that was stopped, or that failed."),
    "pause": Entry("stagebook.cli.wishes:pause", "Let a run finish what is in flight and begin nothing new."),
    "cancel": Entry("stagebook.cli.wishes:cancel", "As pause, and for good."),
    "runs": Entry("stagebook.cli.runs:runs", "List runs, newest first."),
    "show": Entry("stagebook.cli.show:show", "Show a run, one of its stages, or one step."),
    "costs": Entry("stagebook.cli.costs:costs", "Add up what was spent, by model, stage, day or run."),
    "sql": Entry("stagebook.cli.sql:sql", "Ask the ledger in SQL."),
    "models": Entry("stagebook.cli.models:models", "List the models that can be asked, or fetch a local one."),
    "export": Entry("stagebook.cli.export:export", "Write a run as one JSON document."),
    "import": Entry("stagebook.cli.export:import_", "Take in a run that was exported."),
    "doctor": Entry("stagebook.cli.doctor:doctor", "Say what is set up here and what is missing."),
    "check": Entry("stagebook.cli.check:check", "See whether the ledger is whole."),
    "delete": Entry("stagebook.cli.delete:delete", "Delete a run."),
    "purge": Entry("stagebook.cli.purge:purge", "Remove the bodies of old requests and answers."),
}


class CommandTable(click.Group):
    """The commands of COMMANDS, each imported when it is called."""

    def list_commands(self, ctx: "Context") -> list[str]:  # noqa: ARG002  click's signature
        """Name the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: "Context", cmd_name: str) -> "Command | None":  # noqa: ARG002  click's signature
        """Import a command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.place.partition(":")
        command: Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(self, ctx: "Context", args: list[str]) -> "tuple[str | None, Command | None, list[str]]":
        """As click does, with the nearest of our names where there is no such command."""
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchCommand as error:
            raise click.NoSuchCommand(error.command_name, possibilities=COMMANDS, ctx=ctx) from None

    def format_commands(self, ctx: "Context", formatter: "HelpFormatter") -> None:  # noqa: ARG002  click's signature
        """List the commands from the table, importing none."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def _show_version(ctx: "Context", param: "Parameter", value: bool) -> None:  # noqa: ARG001, FBT001  click's signature
    if value:
        from importlib.metadata import version  # noqa: PLC0415  20 ms that only this option needs

        click.echo(f"stagebook {version('stagebook')}")
        ctx.exit()


@click.group(
    cls=CommandTable,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 failed, 2 bad usage or input, 3 paused, 130 interrupted.",
)
@click.option(
    "--ledger",
    metavar="URL",
    help="The ledger: a path or sqlite:///PATH. Also STAGEBOOK_LEDGER. [default: .stagebook/ledger.db]",
)
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_show_version,
    help="Show the version and exit.",
)
def stagebook(ledger: str | None) -> None:
    """Run pipelines of language-model stages; every prompt, answer, token and cent is written down."""


def execute(arguments: Sequence[str]) -> int:
    """Execute a command line; errors become one sentence on stderr.

    Args:
        arguments: What was typed after `stagebook`.

    Returns:
        The exit code.
    """
    debug = bool(os.environ.get("STAGEBOOK_DEBUG"))
    try:
        # not `main`, which turns a broken pipe into exit code 1
        with stagebook.make_context("stagebook", list(arguments)) as context:
            code = stagebook.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as ended:
        return ended.exit_code
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE
    except (KeyboardInterrupt, click.Abort):
        _say("interrupted")
        return INTERRUPTED
    except click.ClickException as error:
        return _explain_usage(error)
    except StagebookError as error:
        if debug:
            raise
        _say(f"error: {' '.join(str(error).split())}")
        return error.exit_code
    except Exception as error:
        if debug:
            raise
        what = " ".join(str(error).split()) or "no further text"
        _say(f"error: {type(error).__name__}: {what} (STAGEBOOK_DEBUG=1 shows where)")
        return StagebookError.exit_code
    return code if isinstance(code, int) else 0


def _explain_usage(error: click.ClickException) -> int:
    text = error.format_message()
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        _say(text)
        return error.exit_code
    _say(f"error: {text[:1].lower()}{text[1:]}")
    context = getattr(error, "ctx", None)
    if context is not None:
        _say(f"try: {context.command_path} --help")
    return error.exit_code


def _say(line: str) -> None:
    from stagebook.cli.console import harmless  # noqa: PLC0415  rich, which only an error needs

    try:
        click.echo(harmless(line), err=True)
    except OSError:  # nobody is there to read it
        _silence(2)


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere, so that it does not complain about the pipe as well."""
    _silence(1)


def _silence(descriptor: int) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def main() -> None:
    """Run as the `stagebook` command."""
    code = execute(sys.argv[1:])
    try:
        sys.stderr.flush()
    except OSError:
        _silence(2)
    sys.exit(code)


if __name__ == "__main__":
    main()
