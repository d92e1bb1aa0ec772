"""Quotes that are chosen by number, and quotations that are looked up word for word."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebook_pipelines.episode_content.models import Quote, QuoteChoice, Usage
from stagebook_pipelines.episode_content.quotations import find_quotations, not_verbatim
from stagebook_pipelines.episode_content.quotes import (
    MAX_QUOTES,
    MIN_QUOTES,
    RefusedChoiceError,
    merge_quotes,
    resolve_choice,
)
from stagebook_pipelines.episode_content.quotes_by_rule import fill_up
from stagebook_pipelines.episode_content.sentences import split_sentences
from stagebook_pipelines.episode_content.verbatim import fold, verify_quote

PODCASTS = Path(__file__).parents[3] / "shared" / "data" / "podcast" / "dev"
TRANSCRIPT = (
    "**Ann Lee, PhD:** Welcome to the show, everyone. Today we talk about rain.\n\n"
    "**Bo Ek:** Rain is only water that has been patient. It waits for years &quot;up there&quot;. "
    "Then it comes down.\n\n"
    "It does not ask anybody. \\[laughter\\] Nobody owns it, you see.\n\n**Ann Lee:** Oh.\n"
)
SENTENCES = split_sentences(TRANSCRIPT)
ALL = range(1, len(SENTENCES) + 1)


def choice(*sentences: int, usage: Usage = "headline", speaker: str | None = None) -> QuoteChoice:
    return QuoteChoice(sentences=list(sentences), usage=usage, context="rain", speaker=speaker)


def quote(start: int, end: int, usage: Usage = "social", text: str | None = None) -> Quote:
    return Quote(text=text or f"quote {start} to {end}", speaker="Ann", usage=usage, start=start, end=end)


# --- choices by number


def test_a_choice_of_sentences_is_the_text_that_stands_there_character_for_character() -> None:
    found = resolve_choice(choice(4, 5, 6), SENTENCES, TRANSCRIPT, ALL)
    assert found.text == TRANSCRIPT[found.start : found.end]
    assert found.text.startswith("It waits for years &quot;up there&quot;. Then")
    assert found.text.endswith("comes down.\n\nIt does not ask anybody.")
    assert (found.speaker, found.context, found.usage) == ("Bo Ek", "rain", "headline")


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ([3, 99], "choose numbers from 1 to 8"),
        ([0], "choose numbers from 1 to 8"),
        ([4, 3], "follow each other"),
        ([3, 5], "follow each other"),
        ([2, 3], "one person says a quote without a break; sentence 2 ends"),
        ([6, 7], "one person says a quote without a break; sentence 6 ends"),
        ([8], "too short"),
    ],
)
def test_a_choice_that_is_no_quote_is_refused_with_its_reason(numbers: list[int], why: str) -> None:
    with pytest.raises(RefusedChoiceError, match=why):
        resolve_choice(choice(*numbers), SENTENCES, TRANSCRIPT, ALL)


def test_a_sentence_that_exists_but_was_not_shown_is_refused() -> None:
    with pytest.raises(RefusedChoiceError, match="from 4 to 8"):
        resolve_choice(choice(3), SENTENCES, TRANSCRIPT, range(4, 9))


def test_the_printed_speaker_wins_over_the_models_guess_which_serves_where_none_is_printed() -> None:
    assert resolve_choice(choice(3, speaker="Ann"), SENTENCES, TRANSCRIPT, ALL).speaker == "Bo Ek"
    bare = "Rain is only water that has been patient."
    assert resolve_choice(choice(1, speaker="Bo"), split_sentences(bare), bare, range(1, 2)).speaker == "Bo"
    assert resolve_choice(choice(1), split_sentences(bare), bare, range(1, 2)).speaker == "Speaker"


# --- merging


def test_of_overlapping_choices_the_better_ranked_one_is_kept() -> None:
    assert merge_quotes([[quote(50, 90), quote(0, 60)], [quote(200, 210)]]) == [quote(50, 90), quote(200, 210)]


def test_the_same_words_said_twice_are_one_quote() -> None:
    one, other = quote(0, 20, text="Rain is \u201cwater\u201d \u2014 no?"), quote(90, 110, text='rain is "water" - no?')
    assert merge_quotes([[one], [other]]) == [one]


def test_too_many_quotes_are_thinned_so_that_every_usage_stays() -> None:
    many = [quote(20 * place, 20 * place + 9) for place in range(30)]
    rare = [quote(1000, 1009, "headline"), quote(1020, 1029, "pullquote"), quote(1040, 1049, "key_point")]
    merged = merge_quotes([many, rare])
    assert len(merged) == MAX_QUOTES
    assert all(wanted in merged for wanted in rare)
    assert merged == sorted(merged, key=lambda kept: kept.start)


QUOTES = st.builds(
    lambda start, length, usage: quote(start, start + length, usage),
    st.integers(0, 2000),
    st.integers(1, 80),
    st.sampled_from(["headline", "pullquote", "social", "key_point"]),
)


@given(st.lists(st.lists(QUOTES, max_size=15), max_size=6))
def test_merged_quotes_never_overlap_and_are_never_too_many(by_window: list[list[Quote]]) -> None:
    merged = merge_quotes(by_window)
    assert len(merged) <= MAX_QUOTES
    assert all(one.end <= other.start for one, other in pairwise(merged))
    assert bool(merged) is any(by_window)
    assert merge_quotes(by_window) == merged


def test_missing_quotes_are_filled_up_from_the_transcript_with_what_was_chosen_kept() -> None:
    chosen = [resolve_choice(choice(3), SENTENCES, TRANSCRIPT, ALL)]
    filled = fill_up(chosen, SENTENCES, TRANSCRIPT)
    assert len(filled) == MIN_QUOTES
    assert chosen[0] in filled
    assert all(added.text == TRANSCRIPT[added.start : added.end] for added in filled)
    assert len({added.start for added in filled}) == MIN_QUOTES
    assert [added.start for added in filled] == sorted(added.start for added in filled)


def test_enough_quotes_are_left_alone_and_a_transcript_without_material_gives_what_it_has() -> None:
    enough = [quote(20 * place, 20 * place + 9) for place in range(MIN_QUOTES)]
    assert fill_up(enough, SENTENCES, TRANSCRIPT) == enough
    short = "Ann: Oh. Well. Rain is only water, you see."
    assert [added.text for added in fill_up([], split_sentences(short), short)] == ["Rain is only water, you see."]


def test_long_quotes_of_a_very_short_transcript_are_given_up_for_five() -> None:
    whole = " ".join(f"This is number {number} of all." for number in range(6))
    sentences = split_sentences(whole)
    long = resolve_choice(choice(1, 2, 3, 4), sentences, whole, range(1, 7))
    assert len(fill_up([long], sentences, whole)) == MIN_QUOTES


def test_more_than_four_sentences_are_no_quote() -> None:
    whole = " ".join(f"This is number {number} of all." for number in range(6))
    lenient = QuoteChoice.model_construct(sentences=[1, 2, 3, 4, 5], usage="social", context=None, speaker=None)
    with pytest.raises(RefusedChoiceError, match="at most 4 sentences"):
        resolve_choice(lenient, split_sentences(whole), whole, range(1, 7))


# --- word for word


@pytest.mark.parametrize(
    ("quotation", "found"),
    [
        ("Rain is only water that has been patient.", "Rain is only water that has been patient."),
        ("\u201cRain is only  water\nthat has been patient,\u201d", "Rain is only water that has been patient"),
        ("It waits for years \u201cup there\u201d.", "It waits for years &quot;up there&quot;."),
        ("Then it comes down. It does not ask anybody.", "Then it comes down.\n\nIt does not ask anybody."),
        ("anybody. [laughter] Nobody", "anybody. \\[laughter\\] Nobody"),
    ],
)
def test_a_quotation_is_found_whatever_its_marks_and_white_space(quotation: str, found: str) -> None:
    place = verify_quote(quotation, TRANSCRIPT)
    assert place is not None
    assert TRANSCRIPT[slice(*place)] == found


@pytest.mark.parametrize(
    "quotation",
    [
        "Rain is only water that was patient.",
        "rain is only water",
        "ain is only water",
        "Rain is only wat",
        "",
        "...",
        "\u201c\u201d",
    ],
)
def test_what_is_not_said_word_for_word_is_not_found(quotation: str) -> None:
    assert verify_quote(quotation, TRANSCRIPT) is None


@pytest.mark.parametrize("dash", ["\u2014", " \u2014 ", " -- ", "--", " \u2013 ", "&mdash;"])
def test_dashes_are_one_mark(dash: str) -> None:
    transcript = f"We wait{dash}and it rains."
    assert verify_quote("We wait -- and it rains.", transcript) == (0, len(transcript))


@given(st.text(alphabet=st.sampled_from("abc \n'\"\u2019\u201c\u2014-\u2026.[]\u00a0"), max_size=120), st.data())
def test_every_stretch_of_whole_words_is_found_where_it_stands_or_earlier(transcript: str, data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(transcript)))
    end = data.draw(st.integers(begin, len(transcript)))
    before, stretch, after = transcript[:begin], transcript[begin:end], transcript[end:]
    cut = (before[-1:].isalpha() and stretch[:1].isalpha()) or (stretch[-1:].isalpha() and after[:1].isalpha())
    if cut or not any(map(str.isalpha, stretch)):
        return
    place = verify_quote(stretch, transcript)
    assert place is not None
    assert place[0] <= begin + next(at for at, character in enumerate(stretch) if character.isalpha())
    assert fold(transcript[slice(*place)]).text.strip(" '\".-") == fold(stretch).text.strip(" '\".-")


@pytest.mark.real_data
@pytest.mark.skipif(not PODCASTS.is_dir(), reason=f"no transcripts in {PODCASTS}")
def test_every_sentence_of_a_real_transcript_is_found_in_it_word_for_word() -> None:
    transcript = (PODCASTS / "founderstalk__founders-talk-91.md").read_bytes().decode()
    folded = fold(transcript)
    for sentence in split_sentences(transcript):
        text = transcript[sentence.start : sentence.end]
        place = folded.find(text)
        assert place is not None
        assert place[0] <= sentence.start


# --- quotations in a post

POST = """# Rain

Bo says "Rain is only water that has been patient." He calls it "wet".

> \u201cIt does not ask anybody. [\u2026] Nobody owns it, you see.\u201d
> \u2014 Bo Ek

She answers that \u201cwe never once thought about the rain before\u201d.
"""


def test_quotations_are_block_quotes_and_long_passages_in_marks() -> None:
    assert [(found.text, found.block) for found in find_quotations(POST)] == [
        ("It does not ask anybody. [\u2026] Nobody owns it, you see.", True),
        ("Rain is only water that has been patient.", False),
        ("we never once thought about the rain before", False),
    ]


def test_only_quotations_that_nobody_said_are_reported() -> None:
    assert not_verbatim(POST, fold(TRANSCRIPT)) == ("we never once thought about the rain before",)
