"""`stagebook pipelines`: what is installed and can be run by name."""

import click
from rich.table import Table

from stagebook.cli.console import print_json, results, stdout_kept_clean
from stagebook.cli.options import json_option
from stagebook.definition.graph import Graph
from stagebook.definition.loading import find, installed
from stagebook.model.errors import StagebookError


@click.command
@json_option
def pipelines(*, as_json: bool) -> None:
    """List the pipelines that installed packages offer; a file of your own is run as `stagebook run FILE.py`."""
    found: dict[str, Graph | StagebookError] = {}
    for name in installed():
        try:
            with stdout_kept_clean():  # a package may print when it is imported
                found[name] = find(name).pipeline.check()
        except StagebookError as error:  # one broken package must not hide the others
            found[name] = error
    if as_json:
        print_json({"pipelines": [_document(name, graph) for name, graph in found.items()]})
        return
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("pipeline", no_wrap=True)
    table.add_column("stages", justify="right")
    table.add_column("input", no_wrap=True)
    table.add_column("what it does", overflow="fold")
    for name, graph in found.items():
        if isinstance(graph, Graph):
            table.add_row(name, str(len(graph.stages)), graph.input.__name__, graph.doc.partition("\n")[0])
        else:
            table.add_row(name, "", "", f"cannot be used: {graph}")
    results().print(table)


def _document(name: str, graph: Graph | StagebookError) -> dict[str, object]:
    """Describe one: its stages, or why it cannot be used."""
    if isinstance(graph, StagebookError):
        return {"name": name, "error": str(graph)}
    stages = sorted(graph.stages.values(), key=lambda one: one.position)
    return {
        "name": name,
        "doc": graph.doc,
        "input": {"name": graph.input.__name__, "schema": graph.input.model_json_schema()},
        "phases": list(graph.phases),
        "stages": [
            {
                "name": stage.name,
                "label": stage.label,
                "number": stage.number,
                "phase": stage.phase,
                "kind": "prompt" if stage.prompt is not None else "compute",
                "each": stage.each,
                "model": stage.model or (stage.prompt.model if stage.prompt is not None else None),
                "output": stage.output.__name__,
                "doc": stage.doc,
            }
            for stage in stages
        ],
    }
