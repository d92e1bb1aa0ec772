"""The shape of a post, phrases of machine writing, and the models of what the stages write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stagebook_pipelines.episode_content.markdown_shape import Section, shape_of, shortcomings, words_in
from stagebook_pipelines.episode_content.models import BlogDraft, BlogOutline, Episode, TranscriptAnalysis
from stagebook_pipelines.episode_content.phrases import count_phrases

GOOD_POST = "# Rain\n\n" + "It has rained for days and nobody minds. " * 20 + "".join(
    f"\n\n## Part {part}\n\n" + "The water comes down and the town looks up. " * 30 for part in ("one", "two")
)  # fmt: skip


def test_the_sections_of_a_post_are_told_with_their_lengths() -> None:
    first = "# Rain\n\nOne two three.\n\n## First #\n\nFour five.\n\n### Deeper\n\nSix.\n\n"
    shape = shape_of(first + "## Second\n\n- seven\n- eight nine\n")
    assert shape.titles == ("Rain",)
    assert shape.sections == (Section("First", 3), Section("Second", 3))
    assert shape.introduction_words == 3
    assert shape.paragraphs == 4


def test_underlined_headings_count_and_rules_and_code_do_not() -> None:
    shape = shape_of(
        "Rain\n====\n\nText\n\nPart\n----\n\nMore\n\n---\n\n```\n# no title\n## no part\n```\n\n#hashtag\n"
    )
    assert shape.titles == ("Rain",)
    assert [section.title for section in shape.sections] == ["Part"]


def test_words_are_those_that_a_reader_sees() -> None:
    assert (
        words_in(
            "Read [the *well-known* note](https://example.org/a-b-c) <!-- not this --> don't 3.5\n\n[1]: https://x.y"
        )
        == 6
    )


def test_a_good_post_has_no_shortcomings() -> None:
    assert shortcomings(GOOD_POST) == []


@pytest.mark.parametrize(
    ("post", "lacks"),
    [
        ("# Rain\n\n## One\n\nToo short.\n\n## Two\n\nIndeed.", ["has 6 words", "characters"]),
        (GOOD_POST.replace("# Rain\n", "Rain\n", 1), ["begin with '# '"]),
        (GOOD_POST + "\n\n# Another", ["2 lines that begin with '# '"]),
        (GOOD_POST.replace("## Part two", "Part two"), ["1 lines that begin with '## '"]),
    ],
)
def test_every_shortcoming_of_a_post_is_told(post: str, lacks: list[str]) -> None:
    found = shortcomings(post)
    assert len(found) == len(lacks)
    assert all(part in sentence for part, sentence in zip(lacks, found, strict=True))


def test_phrases_are_counted_whatever_their_case_marks_and_line_breaks() -> None:
    text = "Let\u2019s dive\nin. A game\u2011changer, a GAME-CHANGER! Not just wet, but cold."
    text += " It's not about rain, it's about water."
    assert count_phrases(text) == {
        "game-changer": 2,
        "it's not about X, it's about Y": 1,
        "let's dive in": 1,
        "not just X, but Y": 1,
    }


def test_words_that_only_contain_a_phrase_are_not_counted() -> None:
    assert count_phrases("He redelves into it. The ingame changers sat down.") == {}


@given(st.text(max_size=300))
def test_any_text_has_a_shape_and_adding_a_phrase_adds_to_its_count(text: str) -> None:
    shape_of(text)
    assert (
        count_phrases(text + "\n. A treasure trove .").get("treasure trove", 0)
        == count_phrases(text).get("treasure trove", 0) + 1
    )


def test_a_draft_keeps_its_text_beside_what_is_counted_in_it() -> None:
    draft = BlogDraft(text=GOOD_POST + "\n\nIn conclusion, rain.")
    written = draft.model_dump(mode="json")
    assert written["text"] == GOOD_POST + "\n\nIn conclusion, rain."
    assert written["word_count"] == words_in(GOOD_POST) + 3
    assert written["char_count"] == len(GOOD_POST) + len("\n\nIn conclusion, rain.")
    assert [section["title"] for section in written["structure"]["sections"]] == ["Part one", "Part two"]
    assert written["ai_patterns_detected"] == {"in conclusion": 1}


def test_the_words_of_an_outline_are_added_up_and_not_left_to_the_model() -> None:
    section = {"section_title": "Rain", "purpose": "to begin", "key_points": ["wet"]}
    outline = BlogOutline.model_validate(
        {
            "estimated_total_words": 5,
            "post_structure": {
                "hook": "It rains.",
                "hook_type": "scene",
                "cta": "Listen.",
                "sections": [section | {"word_count_target": words} for words in (200, 250, 300)],
            },
        },
    )
    assert outline.model_dump()["estimated_total_words"] == 750


def test_a_guest_needs_a_name_and_expertise_only_where_there_is_one() -> None:
    basics = {"title": "Rain", "main_topics": ["a", "b", "c"]}
    crux = "Rain teaches patience, because nobody can hurry it, whatever they try."
    alone = TranscriptAnalysis.model_validate({"episode_basics": basics, "guest_info": None, "episode_crux": crux})
    assert alone.guest_info is None
    with pytest.raises(ValidationError, match=r"guest_info\.expertise"):
        TranscriptAnalysis.model_validate(
            {"episode_basics": basics, "guest_info": {"name": "Bo"}, "episode_crux": crux}
        )
    with pytest.raises(ValidationError, match="at least 51"):
        TranscriptAnalysis.model_validate({"episode_basics": basics, "guest_info": None, "episode_crux": "x" * 50})


def test_standing_texts_may_be_text_or_objects() -> None:
    episode = Episode.model_validate(
        {
            "transcript": "Ann: It rains.",
            "evergreen": {"podcast_info": "A show.", "voice_guidelines": {"tone": "warm", "never": ["hype", "jargon"]}},
        },
    )
    assert episode.evergreen.podcast_info == "A show."
    assert episode.evergreen.voice_guidelines == "tone: warm\nnever:\n  - hype\n  - jargon"
    assert episode.evergreen.seo_defaults is None


def test_a_transcript_without_words_is_refused() -> None:
    with pytest.raises(ValidationError, match="no words"):
        Episode(transcript="  \n[00:00]\n")
