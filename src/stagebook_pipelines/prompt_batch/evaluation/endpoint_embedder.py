"""Vectors from any endpoint that speaks OpenAI's embeddings, asked through a stage's door: every call is recorded."""

import math
import os
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from stagebook import Door
from stagebook_pipelines.prompt_batch.evaluation.metric import Embedder

_OPENAI: Final = "https://api.openai.com/v1"
_AT_ONCE: Final = 128
"""Texts in one request; OpenAI takes 2048, with 300,000 tokens together."""


def endpoint_embedder(
    door: Door, model: str = "text-embedding-3-small", *, base_url: str | None = None, key: str = "OPENAI_API_KEY"
) -> Embedder:
    """Make an embedder that posts to `BASE_URL/embeddings`; on resume it is answered from the ledger.

    It goes through `door.httpx2_client()`, so that a server on this machine can be asked, too.

    Args:
        door: The door of the stage that asks.
        model: Name of the embedding model.
        base_url: Where it is asked; by default OPENAI_BASE_URL, else OpenAI.
        key: Name of the environment variable that holds the key; where it is not set, none is sent.

    Returns:
        The embedder. It raises `ValueError` for an answer that cannot be used.
    """
    base = (base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI).rstrip("/")
    secret = os.environ.get(key)
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    import httpx2  # noqa: PLC0415  an extra, and 0.2 s to import

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        vectors: list[list[float]] = []
        async with door.httpx2_client(headers=headers) as client:
            for start in range(0, len(texts), _AT_ONCE):
                part = list(texts[start : start + _AT_ONCE])
                try:
                    answer = await client.post(f"{base}/embeddings", json={"model": model, "input": part})
                except httpx2.TransportError as error:
                    raise ValueError(f"{base}/embeddings did not answer: {error}") from error
                if answer.status_code != HTTPStatus.OK:
                    raise ValueError(f"{base}/embeddings answered {answer.status_code}: {answer.text[:200]}")
                vectors += _read(answer.json(), len(part), base)
        return vectors

    return embed


def _read(document: Any, expected: int, base: str) -> list[list[float]]:
    """Put the vectors of an answer in the order of the texts.

    Raises:
        ValueError: It is no list of so many vectors.
    """
    try:
        ordered = sorted(document["data"], key=lambda entry: int(entry["index"]))
        vectors = [[float(number) for number in entry["embedding"]] for entry in ordered]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{base}/embeddings answered in another shape than OpenAI's: {error!r}") from error
    if len(vectors) != expected or not all(math.isfinite(number) for vector in vectors for number in vector):
        raise ValueError(f"{base}/embeddings gave {len(vectors)} vectors for {expected} texts, or numbers without end")
    return vectors
