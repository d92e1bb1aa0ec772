"""Quotes that are chosen by rule, where a model has named too few."""

from collections import Counter
from collections.abc import Sequence

from stagebook_pipelines.episode_content.markup import readable
from stagebook_pipelines.episode_content.models import Quote
from stagebook_pipelines.episode_content.quotes import MIN_QUOTES, MIN_WORDS, UNNAMED_SPEAKER, USAGES, overlap
from stagebook_pipelines.episode_content.sentences import Sentence
from stagebook_pipelines.episode_content.words import count_words

_STATEMENT_WORDS = range(8, 41)


def quotable(sentences: Sequence[Sentence], transcript: str) -> list[Sentence]:
    """The sentences that could be a quote by themselves: those of four words or more."""
    return [one for one in sentences if _words(one, transcript) >= MIN_WORDS]


def fill_up(quotes: Sequence[Quote], sentences: Sequence[Sentence], transcript: str) -> list[Quote]:
    """Adds sentences by rule until there are five quotes, in the order of the transcript.

    The rule: statements of 8 to 40 words, else anything of four words or more, by whoever talks most, far from the
    quotes already kept. Where long quotes leave too few sentences in a very short transcript, they are given up.
    """
    chosen = list(quotes)
    shares = _shares(sentences)
    left = [_as_quote(one, transcript) for one in quotable(sentences, transcript)]
    while len(chosen) < MIN_QUOTES:
        left = [quote for quote in left if not any(overlap(quote, other) for other in chosen)]
        if not left:
            break
        best = max(left, key=lambda quote: _merit(quote, chosen, shares, len(transcript)))
        chosen.append(best.model_copy(update={"usage": USAGES[len(chosen) % len(USAGES)]}))
    if quotes and len(chosen) < MIN_QUOTES:
        return fill_up([], sentences, transcript)
    return sorted(chosen, key=lambda quote: quote.start)


def _words(sentence: Sentence, transcript: str) -> int:
    return count_words(readable(transcript[sentence.start : sentence.end]))


def _shares(sentences: Sequence[Sentence]) -> dict[str, float]:
    """How much each person says, as a share of what the most talkative one says."""
    said: Counter[str] = Counter()
    for sentence in sentences:
        said[sentence.speaker or UNNAMED_SPEAKER] += sentence.end - sentence.start
    return {speaker: characters / max(said.values()) for speaker, characters in said.items()}


def _as_quote(sentence: Sentence, transcript: str) -> Quote:
    return Quote(
        text=transcript[sentence.start : sentence.end],
        speaker=sentence.speaker or UNNAMED_SPEAKER,
        usage=USAGES[0],
        start=sentence.start,
        end=sentence.end,
    )


def _merit(quote: Quote, chosen: Sequence[Quote], shares: dict[str, float], length: int) -> tuple[bool, float, int]:
    words = count_words(readable(quote.text))
    statement = words in _STATEMENT_WORDS and not quote.text.rstrip("\"'\u201d\u2019").endswith("?")
    distance = min((abs(quote.start - other.start) for other in chosen), default=length) / length
    return statement, shares[quote.speaker] + distance, -quote.start
