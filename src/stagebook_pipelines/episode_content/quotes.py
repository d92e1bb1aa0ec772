"""Quotes are chosen by sentence numbers, so that they are word for word by construction."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest

from stagebook_pipelines.episode_content.markup import readable
from stagebook_pipelines.episode_content.models import Quote, QuoteChoice, Usage
from stagebook_pipelines.episode_content.sentences import Sentence
from stagebook_pipelines.episode_content.verbatim import fold
from stagebook_pipelines.episode_content.words import count_words

MIN_QUOTES = 5
MAX_QUOTES = 15
MAX_SENTENCES = 4
"""A longer passage is no quote; no reader reads it."""
MIN_WORDS = 4
"""Fewer words, as in `Oh, wow.`, say nothing by themselves."""
UNNAMED_SPEAKER = "Speaker"
"""Given where neither the transcript nor the model tells who speaks."""

_BY_RULE_WORDS = range(8, 41)
_USAGES: tuple[Usage, ...] = ("headline", "pullquote", "social", "key_point")


class RefusedChoiceError(ValueError):
    """A choice of sentences is no quote; the message tells the model why and what to choose instead."""


def resolve_choice(choice: QuoteChoice, sentences: Sequence[Sentence], transcript: str, within: range) -> Quote:
    """The quote that a choice names.

    Args:
        choice: Numbers of the first and last sentence, and what the quote is good for.
        sentences: All sentences of the transcript, number 1 first.
        transcript: The text that the sentences' offsets belong to.
        within: The sentence numbers that were shown to the model.

    Raises:
        RefusedChoiceError: A number was not shown, or the sentences are in the wrong order, too many, of two speakers,
            interrupted, or have too few words.
    """
    named = f"sentences {choice.first} to {choice.last}"
    if choice.first not in within or choice.last not in within:
        raise RefusedChoiceError(
            f"{named}: choose numbers from {within.start} to {within.stop - 1}, no others are shown"
        )
    if choice.last < choice.first:
        raise RefusedChoiceError(f"{named}: the last number must not be smaller than the first")
    if choice.last - choice.first >= MAX_SENTENCES:
        raise RefusedChoiceError(f"{named}: a quote has at most {MAX_SENTENCES} sentences")
    first, last = sentences[choice.first - 1], sentences[choice.last - 1]
    if first.passage != last.passage:
        ends = max(
            sentence.number
            for sentence in sentences[choice.first - 1 : choice.last]
            if sentence.passage == first.passage
        )
        raise RefusedChoiceError(
            f"{named}: a quote is said by one person without a break; sentence {ends} is the last of that passage"
        )
    text = transcript[first.start : last.end]
    if count_words(readable(text)) < MIN_WORDS:
        raise RefusedChoiceError(f"{named}: {readable(text)!r} is too short for a quote; choose a longer one")
    speaker = first.speaker or (choice.speaker or "").strip() or UNNAMED_SPEAKER
    return Quote(
        text=text, speaker=speaker, context=choice.context, usage=choice.usage, start=first.start, end=last.end
    )


def merge_quotes(by_window: Iterable[Sequence[Quote]]) -> list[Quote]:
    """The quotes of all windows in one list of at most 15, in the order of the transcript.

    Every window's best comes before any window's second. Of quotes that overlap or say the same words the earlier
    choice is kept. Where there are too many, the usages take turns.
    """
    kept: list[Quote] = []
    seen: set[str] = set()
    for rank in zip_longest(*by_window):
        for quote in rank:
            if quote is None:
                continue
            words = fold(quote.text).text.casefold()
            if words not in seen and not any(_overlap(quote, other) for other in kept):
                kept.append(quote)
                seen.add(words)
    if len(kept) > MAX_QUOTES:
        queues = [[quote for quote in kept if quote.usage == usage] for usage in _USAGES]
        kept = [quote for turn in zip_longest(*queues) for quote in turn if quote is not None][:MAX_QUOTES]
    return sorted(kept, key=lambda quote: quote.start)


def fill_up(quotes: Sequence[Quote], sentences: Sequence[Sentence], transcript: str) -> list[Quote]:
    """Adds sentences by rule until there are five quotes, in the order of the transcript.

    The rule: statements of 8 to 40 words, else anything of four words or more, by whoever talks most, far from the
    quotes already kept.
    """
    chosen = list(quotes)
    said: dict[str | None, int] = {}
    for sentence in sentences:
        said[sentence.speaker] = said.get(sentence.speaker, 0) + sentence.end - sentence.start
    while len(chosen) < MIN_QUOTES:
        free = [
            quote
            for sentence in sentences
            if (quote := _as_quote(sentence, transcript, _USAGES[len(chosen) % len(_USAGES)]))
            and not any(_overlap(quote, other) for other in chosen)
        ]
        if not free:
            break
        most = max(said.values())
        chosen.append(
            max(free, key=lambda quote: _merit(quote, chosen, said.get(quote.speaker, 0) / most, len(transcript)))
        )
    return sorted(chosen, key=lambda quote: quote.start)


def _as_quote(sentence: Sentence, transcript: str, usage: Usage) -> Quote | None:
    text = transcript[sentence.start : sentence.end]
    if count_words(readable(text)) < MIN_WORDS:
        return None
    return Quote(
        text=text, speaker=sentence.speaker or UNNAMED_SPEAKER, usage=usage, start=sentence.start, end=sentence.end
    )


def _merit(quote: Quote, chosen: Sequence[Quote], share: float, length: int) -> tuple[bool, float, int]:
    words = count_words(readable(quote.text))
    statement = words in _BY_RULE_WORDS and not quote.text.rstrip("\"'\u201d\u2019").endswith("?")
    distance = min((abs(quote.start - other.start) for other in chosen), default=length) / length
    return statement, share + distance, -quote.start


def _overlap(one: Quote, other: Quote) -> bool:
    return one.start < other.end and other.start < one.end
