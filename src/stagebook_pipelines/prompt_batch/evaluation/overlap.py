"""ROUGE-L: how much of two texts stands in the same order in both."""

from collections.abc import Sequence

from stagebook_pipelines.prompt_batch.evaluation.plain_text import words


def rouge_l(answer: str, references: Sequence[str]) -> float | None:
    """The harmonic mean of precision and recall of the longest common subsequence of words (Lin 2004, ROUGE-L).

    Words are those of the package rouge-score without stemming, of which the values are the same for English; letters
    of other scripts count as well.

    Args:
        answer: What the model said.
        references: Right answers; the best counts.

    Returns:
        0 to 1; None without a reference, or where no reference has a word.
    """
    right = [found for found in map(words, references) if found]
    if not right:
        return None
    from rapidfuzz.distance import LCSseq  # noqa: PLC0415  an extra, needed by this metric alone

    said = words(answer)
    return max(2 * LCSseq.similarity(said, reference) / (len(said) + len(reference)) for reference in right)
