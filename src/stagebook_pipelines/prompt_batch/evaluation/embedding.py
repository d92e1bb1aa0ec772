"""Similarity of meaning: the cosine between vectors of an answer and of its references."""

import math
from collections.abc import Sequence
from operator import mul
from typing import Final

from stagebook_pipelines.prompt_batch.evaluation.metric import AskingScorer, Embedder, Sample, Scored

MOST_CHARACTERS: Final = 8000
"""How much of a text is compared: embedding models read some hundreds to some thousands of tokens."""


def cosine(one: Sequence[float], other: Sequence[float]) -> float | None:
    """The cosine of the angle between two vectors, -1 to 1; None where one has no direction.

    Raises:
        ValueError: They differ in length.
    """
    if len(one) != len(other):
        raise ValueError(
            f"vectors of {len(one)} and of {len(other)} numbers cannot be compared: one model must make all"
        )
    lengths = math.hypot(*one) * math.hypot(*other)
    if not lengths or not math.isfinite(lengths):
        return None
    return max(-1.0, min(1.0, float(sum(map(mul, one, other))) / lengths))


def embedding_similarity(embedder: Embedder) -> AskingScorer:
    """Make a scorer: the cosine between answer and reference; of several references, the best.

    Args:
        embedder: Makes the vectors; it is asked once for all texts of a batch. Where it raises `ValueError`, the batch
            is left unscored.
    """

    async def score(samples: Sequence[Sample]) -> list[Scored]:
        texts = {
            _read_part(text): None
            for sample in samples
            if sample.references
            for text in (sample.answer, *sample.references)
        }
        asked = [text for text in texts if text]
        try:
            vectors = dict(zip(asked, await embedder(asked), strict=True)) if asked else {}
        except ValueError as error:
            return [Scored(None, error=f"no vectors: {error}") for _ in samples]
        return [_scored(sample, vectors) for sample in samples]

    return score


def _scored(sample: Sample, vectors: dict[str, Sequence[float]]) -> Scored:
    references = [vectors[part] for part in map(_read_part, sample.references) if part]
    if not references:
        return Scored(None)
    said = vectors.get(_read_part(sample.answer))
    if said is None:
        return Scored(0.0, "the answer is empty")
    found = [similar for similar in (cosine(said, right) for right in references) if similar is not None]
    return Scored(max(found)) if found else Scored(None, "the embedder gave a vector without a direction")


def _read_part(text: str) -> str:
    return text.strip()[:MOST_CHARACTERS]
