"""Quotations that stand in a post as the prompts showed them are not held to be inventions."""

import pytest

from stagebook_pipelines.episode_content.models import Episode
from stagebook_pipelines.episode_content.pipeline import misquoted
from stagebook_pipelines.episode_content.quotations import find_quotations

SAID = "My husband has often said that more of the challenges come along with that."


@pytest.mark.parametrize(
    "name",
    ["Ruth Okafor", "Mireille B. Reece", "Dr. Ann Mo", "Mireille B. Reece, Psy.D", "**J. R. Orr**", "Ann Mo, M.D."],
)
def test_the_name_under_a_quotation_is_no_part_of_it_whatever_stops_stand_in_it(name: str) -> None:
    assert [found.text for found in find_quotations(f"> {SAID}\n> \u2014 {name}\n")] == [SAID]


def test_a_last_sentence_after_a_dash_is_part_of_the_quotation() -> None:
    quotation = "It was late \u2014 We had to leave. I never saw the pipe again."
    assert [found.text for found in find_quotations(f"> {quotation}\n")] == [quotation]


def test_words_with_a_note_of_the_transcript_left_out_are_as_they_were_said() -> None:
    heard = "It was an integer \\[unintelligible 00:04:35.17\\] and then it was something else \\[laughter\\] for good."
    episode = Episode(transcript=f"**Bo Ek:** {heard}")
    assert misquoted("Bo says \u201cIt was an integer and then it was something else\u201d.", episode) == []
    assert misquoted("Bo says \u201cand then it was something else for good\u201d.", episode) == []
    assert len(misquoted("Bo says \u201cand then it was something quite else for good\u201d.", episode)) == 1
