"""Metrics that match an answer with its references: exactly, normalised, and by shared words."""

from collections import Counter
from collections.abc import Sequence

from stagebook_pipelines.prompt_batch.evaluation.plain_text import normalise


def exact_match(answer: str, references: Sequence[str]) -> float | None:
    """Whether the answer is a reference, character for character; white space around it does not count.

    Args:
        answer: What the model said.
        references: Right answers; the best counts.

    Returns:
        1 or 0; None without a reference.
    """
    if not references:
        return None
    said = answer.strip()
    return float(any(said == reference.strip() for reference in references))


def normalised_match(answer: str, references: Sequence[str]) -> float | None:
    """Whether the answer is a reference once both are normalised: SQuAD's exact match (Rajpurkar et al. 2016).

    Arguments and result are those of `exact_match`.
    """
    if not references:
        return None
    said = normalise(answer)
    return float(any(said == normalise(reference) for reference in references))


def token_f1(answer: str, references: Sequence[str]) -> float | None:
    """The harmonic mean of precision and recall of the words, normalised: SQuAD's F1 (Rajpurkar et al. 2016).

    Where nothing is left of a text, it is 1 if nothing is left of the other either, else 0 (SQuAD 2.0).

    Args:
        answer: What the model said.
        references: Right answers; the best counts.

    Returns:
        0 to 1; None without a reference.
    """
    if not references:
        return None
    said = Counter(normalise(answer).split())
    return max(_f1(said, Counter(normalise(reference).split())) for reference in references)


def _f1(said: Counter[str], right: Counter[str]) -> float:
    if not said or not right:
        return float(said == right)
    shared = (said & right).total()
    return 2 * shared / (said.total() + right.total())
