"""Seeing to it that a batch can end before it begins: nothing is paid for answers that nobody could keep."""

from collections.abc import Mapping

from stagebook_pipelines.prompt_batch.evaluation.references import read_references
from stagebook_pipelines.prompt_batch.evaluation.registry import METRICS
from stagebook_pipelines.prompt_batch.models import Batch
from stagebook_pipelines.prompt_batch.problem import BatchError
from stagebook_pipelines.prompt_batch.storing.address import open_store
from stagebook_pipelines.prompt_batch.storing.record import Heading
from stagebook_pipelines.prompt_batch.webhook import check_address, secret_of


def see_to(given: Batch, environment: Mapping[str, str]) -> list[str]:
    """Try every place and read every file that a batch names; a table that is not there is made.

    Returns:
        What is to be told: lines of the references that cannot be read.

    Raises:
        StoreError: The store cannot take results.
        BatchError: Anything else cannot be used.
    """
    if given.store is not None:
        open_store(given.store, given.table, heading_of(given), environment).close()
    if given.webhook is not None:
        check_address(given.webhook, environment)
        secret_of(given.webhook_secret or "", environment)
    try:
        for name in given.metrics or ():
            METRICS[name].check_installed()
        return read_references(given.references).errors
    except ValueError as error:
        raise BatchError(str(error)) from None


def heading_of(given: Batch) -> Heading:
    """Say what the rows of a batch share."""
    return Heading(given.experiment_name, None, tuple(given.tags))
