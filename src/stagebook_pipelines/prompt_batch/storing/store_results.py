"""The operation `store_results`."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from stagebook_pipelines.prompt_batch.results import BatchResult, Response, Stored
from stagebook_pipelines.prompt_batch.storing.address import TABLE, open_store
from stagebook_pipelines.prompt_batch.storing.chunks import Chunks
from stagebook_pipelines.prompt_batch.storing.record import Heading
from stagebook_pipelines.prompt_batch.storing.store import StoreError


def store_results(
    responses: BatchResult | Iterable[Response | Mapping[str, Any]],
    *,
    store: str,
    table: str = TABLE,
    experiment_name: str | None = None,
    model_name: str | None = None,
    tags: Sequence[str] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Stored:
    """Store responses in any table or file, in chunks of 100, each in a transaction of its own.

    What was stored before is not stored again: within its experiment a result is known by the `record_key` in its
    metadata, where `execute_batch` puts what was asked, of whom and how; without one, by model, prompt, answer and
    time. A row that says that its prompt failed is replaced when an answer of the same `record_key` comes. To keep
    several answers to the same request, name an experiment for each.

    Args:
        responses: What `execute_batch` gives, or its responses, or objects of the same fields; any iterable, read as it
            goes.
        store: `postgresql://...` (Supabase is one), `sqlite:///FILE`, a file that ends in .db, .jsonl or .parquet, or
            `env:NAME` for an environment variable that holds one of these.
        table: `table` or `schema.table`; it is made where there is none.
        experiment_name: The experiment that the responses belong to.
        model_name: Who answered, for responses that do not say.
        tags: Labels to find them by.
        metadata: Put into every row's metadata; what a response says of itself is stronger.

    Returns:
        How many were stored and their ids, how many were there already, and what could not be stored and why; a row or
        a chunk that fails stops no other.

    Raises:
        StoreError: The place cannot be used at all: it cannot be reached, or the table cannot take results. Or it is no
            list of responses that is given.
    """
    if isinstance(responses, BatchResult):
        responses = responses.responses
    if isinstance(responses, str | bytes | Mapping | BaseModel) or not isinstance(responses, Iterable):
        raise StoreError(
            f"a list of responses is stored, or what execute_batch gives, not one {type(responses).__name__}"
        )
    heading = Heading(experiment_name, model_name, tuple(tags), metadata)
    chunks = Chunks(open_store(store, table, heading, os.environ), heading)
    try:
        for response in responses:
            chunks.add(response)
            if chunks.full:
                chunks.keep()
        return chunks.end()
    finally:
        chunks.close()
