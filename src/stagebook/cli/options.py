"""Options and arguments that several commands take."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

F = TypeVar("F", bound=Callable[..., Any])


def _ledger(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Take the ledger typed nearest to the command: after it, before it, or in the environment."""
    if param.name and ctx.get_parameter_source(param.name) is ParameterSource.COMMANDLINE:
        return value
    return ctx.find_root().params.get("ledger") or value or None


def ledger_option(function: F) -> F:
    """Add `--ledger`."""
    return click.option(
        "--ledger",
        envvar="STAGEBOOK_LEDGER",
        metavar="URL",
        callback=_ledger,
        help="The ledger: a path or postgresql://... Also STAGEBOOK_LEDGER. [default: .stagebook/ledger.db]",
    )(function)


def json_option(function: F) -> F:
    """Add `--json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document to stdout, and nothing else there."
    )(function)


def run_argument(function: F) -> F:
    """Add `RUN`."""
    return click.argument("run_id", metavar="RUN")(function)
