"""`stagebook run`: what can be typed. The work is in beginning.py, which `run --help` need not wait for."""

import click

from stagebook.cli.options import json_option, ledger_option


@click.command
@click.argument("pipeline", metavar="PIPELINE|FILE.py")
@click.argument("inputs", nargs=-1, metavar="[INPUT.json|FILE]...")
@click.option("--set", "settings", multiple=True, metavar="K=V", help="Set a field of the input; K=@FILE reads a file.")
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="M|STAGE=M",
    help="Ask this model, provider:name, everywhere or in one stage.",
)
@click.option("--until", metavar="STAGE", help="Stop after this stage and what it needs.")
@click.option(
    "--budget", metavar="USD", help="Most dollars that the run may cost; it pauses before it would pass them."
)
@click.option(
    "--price", "prices", multiple=True, metavar="M=IN/OUT", help="What a model costs, USD per million tokens."
)
@click.option(
    "--limit", "limits", multiple=True, metavar="M=RPM/TPM", help="Requests and tokens a minute, as in openai=3000/2M."
)
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="NAME=FILE|URL",
    help="An HTTP endpoint of your own, asked as endpoint:NAME; FILE.json says its shape.",
)
@click.option("--concurrency", type=click.IntRange(min=1), metavar="N", help="Most steps at once. [default: 16]")
@click.option("--lenient", is_flag=True, help="Accept a last answer that fails its checks, with a warning.")
@click.option("--reuse", is_flag=True, help="Ask only what no other run of the pipeline was answered.")
@click.option(
    "--provider-batch", is_flag=True, help="Ask prompts with many items by the provider's batches: half price, slow."
)
@click.option("--tries", type=click.IntRange(min=1), metavar="N", help="Most answers asked for where checks complain.")
@click.option("--estimate", is_flag=True, help="Only say what it would ask and cost; nobody is asked, nothing written.")
@click.option("--tag", "tags", multiple=True, metavar="T", help="A label to find the run by.")
@json_option
@ledger_option
def run(
    *,
    pipeline: str,
    inputs: tuple[str, ...],
    settings: tuple[str, ...],
    models: tuple[str, ...],
    until: str | None,
    budget: str | None,
    prices: tuple[str, ...],
    limits: tuple[str, ...],
    endpoints: tuple[str, ...],
    concurrency: int | None,
    lenient: bool,
    reuse: bool,
    provider_batch: bool,
    tries: int | None,
    estimate: bool,
    tags: tuple[str, ...],
    as_json: bool,
    ledger: str | None,
) -> int:
    """Run a pipeline on an input.

    The pipeline is an installed one (`stagebook pipelines` lists them), a file, or package.module:name. The input is a
    JSON file, or a text file that fills the input's one text field; --set sets its other fields.
    """
    from stagebook.cli.beginning import Typed, begin_run  # noqa: PLC0415  half a second that `--help` need not wait

    typed = Typed(
        *(pipeline, inputs, settings, models, until, budget, prices, limits, concurrency, lenient, provider_batch),
        *(tries, tags, endpoints, reuse),
    )
    if estimate:
        from stagebook.cli.estimate import show_estimate  # noqa: PLC0415  as above

        show_estimate(typed, as_json=as_json, ledger=ledger)
        return 0
    return begin_run(typed, as_json=as_json, ledger=ledger)
