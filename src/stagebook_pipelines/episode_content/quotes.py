"""Quotes are chosen by sentence numbers, so that they are word for word by construction."""

import math
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from stagebook_pipelines.episode_content.markup import readable
from stagebook_pipelines.episode_content.models import Quote, QuoteChoice, Usage, WindowQuotes
from stagebook_pipelines.episode_content.sentences import Sentence
from stagebook_pipelines.episode_content.verbatim import fold
from stagebook_pipelines.episode_content.words import count_words

MIN_QUOTES = 5
MAX_QUOTES = 15
ASKED_FOR = 10
"""Of all windows together; some overlap, some are refused."""
MAX_SENTENCES = 4
"""A longer passage is no quote; no reader reads it."""
MIN_WORDS = 4
"""Fewer words, as in `Oh, wow.`, say nothing by themselves."""
UNNAMED_SPEAKER = "Speaker"
"""Given where neither the transcript nor the model tells who speaks."""

USAGES: tuple[Usage, ...] = ("headline", "pullquote", "social", "key_point")


class RefusedChoiceError(ValueError):
    """A choice of sentences is no quote; the message tells the model why and what to choose instead."""


def resolve_choice(choice: QuoteChoice, sentences: Sequence[Sentence], transcript: str, within: range) -> Quote:
    """The quote that a choice names.

    Args:
        choice: Numbers of the sentences, and what the quote is good for.
        sentences: All sentences of the transcript, number 1 first.
        transcript: The text that the sentences' offsets belong to.
        within: The sentence numbers that were shown to the model.

    Raises:
        RefusedChoiceError: A number was not shown, or the sentences do not follow each other, are too many, of two
            speakers, interrupted, or have too few words.
    """
    numbers = choice.sentences
    named = f"quote {numbers}"
    if not numbers or not all(number in within for number in numbers):
        raise RefusedChoiceError(
            f"{named}: choose numbers from {within.start} to {within.stop - 1}, no others are shown"
        )
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise RefusedChoiceError(f"{named}: the sentences of a quote follow each other, in their order")
    if len(numbers) > MAX_SENTENCES:
        raise RefusedChoiceError(f"{named}: a quote has at most {MAX_SENTENCES} sentences")
    first, last = sentences[numbers[0] - 1], sentences[numbers[-1] - 1]
    if first.passage != last.passage:
        ends = max(number for number in numbers if sentences[number - 1].passage == first.passage)
        raise RefusedChoiceError(f"{named}: one person says a quote without a break; sentence {ends} ends that passage")
    text = transcript[first.start : last.end]
    if count_words(readable(text)) < MIN_WORDS:
        raise RefusedChoiceError(f"{named}: {readable(text)!r} is too short for a quote; choose a longer one")
    speaker = first.speaker or (choice.speaker or "").strip() or UNNAMED_SPEAKER
    return Quote(
        text=text, speaker=speaker, context=choice.context, usage=choice.usage, start=first.start, end=last.end
    )


def quotes_wanted(windows: int) -> int:
    """How many quotes to ask for from each window; five at least, so that there is something to choose from."""
    return max(MIN_QUOTES, math.ceil(ASKED_FOR / windows))


def usable_quotes(
    chosen: WindowQuotes,
    sentences: Sequence[Sentence],
    transcript: str,
    within: range,
) -> tuple[list[Quote], list[str]]:
    """The quotes among a window's choices, in their order, and why the others are none."""
    usable: list[Quote] = []
    refused: list[str] = []
    for choice in chosen.quotes:
        try:
            usable.append(resolve_choice(choice, sentences, transcript, within))
        except RefusedChoiceError as refusal:
            refused.append(str(refusal))
    return usable, refused


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
            if words not in seen and not any(overlap(quote, other) for other in kept):
                kept.append(quote)
                seen.add(words)
    if len(kept) > MAX_QUOTES:
        queues = [[quote for quote in kept if quote.usage == usage] for usage in USAGES]
        kept = [quote for turn in zip_longest(*queues) for quote in turn if quote is not None][:MAX_QUOTES]
    return sorted(kept, key=lambda quote: quote.start)


def overlap(one: Quote, other: Quote) -> bool:
    """Whether two quotes share characters of the transcript."""
    return one.start < other.end and other.start < one.end
