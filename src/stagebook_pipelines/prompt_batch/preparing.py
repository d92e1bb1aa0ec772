"""Seeing to it that a batch can end before it begins: nothing is paid for answers that nobody could keep."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from stagebook_pipelines.prompt_batch.archives.export import destination
from stagebook_pipelines.prompt_batch.evaluation.json_validity import json_schema
from stagebook_pipelines.prompt_batch.evaluation.metric import Need
from stagebook_pipelines.prompt_batch.evaluation.references import read_references
from stagebook_pipelines.prompt_batch.evaluation.registry import METRICS
from stagebook_pipelines.prompt_batch.given_prompts import laid_down
from stagebook_pipelines.prompt_batch.models import Batch
from stagebook_pipelines.prompt_batch.problem import BatchError
from stagebook_pipelines.prompt_batch.storing.address import open_store
from stagebook_pipelines.prompt_batch.storing.record import Heading
from stagebook_pipelines.prompt_batch.webhook import check_address, secret_of

_OF_ANSWERS: Final = frozenset({Need.REFERENCES, Need.EMBEDDER})
"""What metrics need that compare with right answers."""


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
        _see_to_export(given)
        for name in given.metrics or ():
            METRICS[name].check_installed()
        if given.wants(Need.SCHEMA) and given.answer_schema is not None:
            METRICS["json_schema"].check_installed()
            json_schema(given.answer_schema)
        known = read_references(given.references)
    except ValueError as error:
        raise BatchError(str(error)) from None
    comparing = next((name for name in given.metrics or () if METRICS[name].needs in _OF_ANSWERS), None)
    if comparing is not None and not len(known) and not _may_hold_answers(given):
        where = "none are named; say references=FILE" if given.references is None else f"{given.references} has none"
        raise BatchError(f"the metric {comparing} compares answers with right ones, and {where}")
    return known.errors


def _see_to_export(given: Batch) -> None:
    """See that a file of prompts can be written.

    Raises:
        ValueError: It cannot.
    """
    goes_to = destination(given.export, given.export_path)
    if goes_to is None:
        return
    path = goes_to[0].absolute()
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK) or path.is_dir():
        raise ValueError(f"the prompts cannot be exported to {path}: its folder is not there, or cannot be written to")


def _may_hold_answers(given: Batch) -> bool:
    """Whether right answers may come with the prompts."""
    if given.prompts_file is not None:
        return any(one.reference or one.references for one in laid_down(Path(given.prompts_file)))
    return given.source is not None


def heading_of(given: Batch) -> Heading:
    """Say what the rows of a batch share."""
    return Heading(given.experiment_name, None, tuple(given.tags))
