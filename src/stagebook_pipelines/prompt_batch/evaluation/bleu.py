"""BLEU by sacrebleu: of one answer, and of all answers as one text."""

import logging
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from stagebook_pipelines.prompt_batch.evaluation.intervals import Interval
from stagebook_pipelines.prompt_batch.evaluation.metric import Scored

if TYPE_CHECKING:
    import numpy as np
    from sacrebleu.metrics.bleu import BLEU

_ORDERS: Final = 4
_GROUPS: Final = 10_000
"""Answers are counted in so many groups, which are what is drawn: memory and time end there."""
_DRAWS: Final = 1000
_SEED: Final = 12345
"""sacrebleu's own seed for its bootstrap."""
_TAIL: Final = 2.5
"""Percent left out at either end."""


def bleu(answer: str, references: Sequence[str]) -> float | None:
    """BLEU of one answer (Papineni et al. 2002) as sacrebleu 2 computes it, divided by 100.

    Tokens `13a`, exponential smoothing, effective order, all references together. Its mean over many answers is not
    the BLEU of them all, which `CorpusBleu` computes.

    Args:
        answer: What the model said.
        references: Right answers.

    Returns:
        0 to 1; None without a reference that has a word.
    """
    return bleu_counted(answer, references).value


def bleu_counted(answer: str, references: Sequence[str]) -> Scored:
    """BLEU of one answer, with the counts that `CorpusBleu` adds up."""
    right = [reference for reference in references if reference.strip()]
    if not right:
        return Scored(None)
    scored = _bleu().sentence_score(answer, right)
    counts = (*scored.counts, *scored.totals, scored.sys_len, scored.ref_len)
    return Scored(min(float(scored.score) / 100, 1.0), counts=counts)


class CorpusBleu:
    """BLEU of many answers as one text, from counts that are added up answer by answer.

    An order of which no answer has a single n-gram is left out, as for one answer; in all other cases the value is that
    of `sacrebleu.corpus_bleu`.
    """

    def __init__(self) -> None:
        self._groups: list[list[int]] = []
        self._count = 0

    def add(self, counts: Sequence[int]) -> None:
        """Count an answer, by what `bleu_counted` says of it."""
        if self._count < _GROUPS:
            self._groups.append(list(counts))
        else:
            group = self._groups[self._count % _GROUPS]
            for column, more in enumerate(counts):
                group[column] += more
        self._count += 1

    def value(self) -> float | None:
        """The BLEU of all answers, divided by 100; None of none."""
        if not self._count:
            return None
        return _computed([sum(column) for column in zip(*self._groups, strict=True)])

    def interval(self) -> Interval | None:
        """Its 95 % interval: the percentiles of a bootstrap of 1000 draws with a fixed seed (Koehn 2004)."""
        if len(self._groups) <= 1:
            return None
        import numpy as np  # noqa: PLC0415  an extra, and only where BLEU is asked for

        counts = np.asarray(self._groups, dtype=np.int64)
        drawn = np.random.default_rng(_SEED)
        size = len(counts)
        values = [_computed(_total(counts, drawn.integers(size, size=size))) for _ in range(_DRAWS)]
        low, high = np.percentile(values, [_TAIL, 100 - _TAIL])
        return Interval(low=float(low), high=float(high), method="bootstrap")


def _total(counts: "np.ndarray[Any, np.dtype[np.int64]]", chosen: "np.ndarray[Any, np.dtype[np.int64]]") -> list[int]:
    total: list[int] = counts[chosen].sum(axis=0).tolist()
    return total


def _computed(counts: list[int]) -> float:
    from sacrebleu.metrics.bleu import BLEU  # noqa: PLC0415  as in `_bleu`

    correct, total = counts[:_ORDERS], counts[_ORDERS : 2 * _ORDERS]
    *_, said, right = counts
    scored = BLEU.compute_bleu(
        list(correct), list(total), said, right, smooth_method="exp", effective_order=True, max_ngram_order=_ORDERS
    )
    return min(float(scored.score) / 100, 1.0)


@cache
def _bleu() -> "BLEU":
    from sacrebleu.metrics.bleu import BLEU  # noqa: PLC0415  an extra; 0.6 s to import

    logging.getLogger("sacrebleu").setLevel(logging.ERROR)  # it warns of answers that end in a token and a full stop
    return BLEU(effective_order=True)
