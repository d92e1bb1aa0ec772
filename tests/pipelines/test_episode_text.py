"""Turns, sentences, windows, tokens and durations of transcripts."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagebook_pipelines.episode_content.duration import estimate_minutes
from stagebook_pipelines.episode_content.markup import readable
from stagebook_pipelines.episode_content.sentences import MAX_WORDS, split_sentences
from stagebook_pipelines.episode_content.speakers import one_name_each, person_key
from stagebook_pipelines.episode_content.tokens import estimate_tokens
from stagebook_pipelines.episode_content.turns import split_turns
from stagebook_pipelines.episode_content.windows import cut_windows
from stagebook_pipelines.episode_content.words import word_spans

PODCASTS = Path(__file__).parents[3] / "shared" / "data" / "podcast" / "dev"
O200K = {
    "afk__away-from-keyboard-5.md": 3195,
    "brainscience__brain-science-10.md": 11609,
    "brainscience__brain-science-18.md": 9906,
    "brainscience__brain-science-2.md": 5740,
    "derived-caps-timestamps__brainscience__brain-science-2.txt": 6227,
    "derived-nolabels__brainscience__brain-science-10.txt": 10380,
    "derived-nolabels__practicalai__practical-ai-6.txt": 2718,
    "founderstalk__founders-talk-86.md": 15938,
    "founderstalk__founders-talk-91.md": 7912,
    "friends__changelog--friends-28.md": 21266,
    "practicalai__practical-ai-219.md": 8544,
    "practicalai__practical-ai-6.md": 3060,
    "spotlight__spotlight-2.md": 6495,
}
needs_podcasts = pytest.mark.skipif(not PODCASTS.is_dir(), reason=f"no transcripts in {PODCASTS}")


def said(transcript: str) -> list[tuple[str | None, str]]:
    return [(sentence.speaker, transcript[sentence.start : sentence.end]) for sentence in split_sentences(transcript)]


def texts(transcript: str) -> list[str]:
    return [text for _, text in said(transcript)]


def real(name: str) -> str:
    return (PODCASTS / name).read_bytes().decode()


# --- labels and turns


def test_a_markdown_label_names_the_speaker_and_is_not_said() -> None:
    assert said("**Ann Lee:** Hello there.\n\n**Bo Ek:** Hi.") == [("Ann Lee", "Hello there."), ("Bo Ek", "Hi.")]


def test_a_label_in_capitals_after_a_time_mark_names_the_speaker() -> None:
    transcript = "[00:00:00] ANN LEE: Hello there.\nAnd welcome.\n[00:01:36] BO EK: Hi."
    assert said(transcript) == [("ANN LEE", "Hello there."), ("ANN LEE", "And welcome."), ("BO EK", "Hi.")]


@pytest.mark.parametrize(
    "label", ["Ann:", "Ann (00:12):", "00:12 Ann:", ">> Ann:", "Ann\uff1a", "[00:12] Ann:", "**Ann**:"]
)
def test_a_label_may_be_printed_in_many_ways(label: str) -> None:
    assert said(f"{label} One thing.\n\nBo: Another thing.")[0] == ("Ann", "One thing.")


def test_a_colon_in_a_sentence_makes_no_speaker() -> None:
    transcript = "Ann: I say this:\nRemember: it rains.\nThe point: we wait.\n\nBo: Yes.\n\nAnn: Good."
    assert {speaker for speaker, _ in said(transcript)} == {"Ann", "Bo"}


def test_prose_without_labels_has_one_turn_without_a_speaker() -> None:
    transcript = "It was late. Note: nobody was there.\n\nTime passed: an hour, then two."
    assert [turn.speaker for turn in split_turns(transcript)] == [None]


def test_a_break_is_nobodys_and_what_follows_it_unlabelled_is_not_put_into_anybodys_mouth() -> None:
    ad = "**Break:** \\[07:13\\] to \\[08:53\\] Buy our mattress.\n\n"
    transcript = f"**Ann:** Before.\n\n{ad}Welcome back.\n\n**Ann:** After."
    assert said(transcript) == [("Ann", "Before."), (None, "Welcome back."), ("Ann", "After.")]


def test_labels_that_differ_in_credentials_and_initials_are_one_person_and_stay_as_printed() -> None:
    transcript = (
        "**Mireille Reece, PsyD:** One thing.\n\n**Mireille B. Reece, Psy.D:** Two things.\n\n"
        "**Dr. Reece:** Three things.\n\n**Adam:** Four things.\n\n**Mireille B. Reece, Psy.D:** Five things."
    )
    turns = split_turns(transcript)
    assert [turn.speaker for turn in turns] == ["Mireille B. Reece, Psy.D"] * 3 + ["Adam", "Mireille B. Reece, Psy.D"]
    assert [turn.label for turn in turns][:3] == ["Mireille Reece, PsyD", "Mireille B. Reece, Psy.D", "Dr. Reece"]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("MIREILLE B. REECE, PSY.D", "Mireille Reece, PsyD", True),
        ("Prof. Jo van Dam", "JO VAN DAM", True),
        ("Speaker A", "Speaker B", False),
        ("Speaker 1", "Speaker 2", False),
        ("J. Smith", "K. Smith", False),
        ("Ann Lee (host)", "Ann Lee", True),
        ("Sam Roe Jr.", "Sam Roe", True),
    ],
)
def test_two_labels_are_one_person_when_only_titles_and_initials_differ(one: str, other: str, *, same: bool) -> None:
    assert (person_key(one) == person_key(other)) is same


def test_a_first_name_that_two_people_share_is_nobodys() -> None:
    assert one_name_each(["Ann Lee", "Ann Roe", "Ann"])["Ann"] == "Ann"


# --- sentences


@pytest.mark.parametrize(
    "marked",
    [
        "I saw Dr. Ek at 5 p.m. yesterday.| Good.",
        "We live in the U.S.| It is big.",
        "The U.S. Navy came, e.g. by boat.| Yes.",
        "Mireille B. Reece, Psy.D. spoke.| I left.",
        "It cost 3.5 million.| Vol. 2 was No. 5.| No.| I mean it.",
        "So... you know... it works.| Then...| Well.",
        'She said "Go away!" and left.| "Why?" he asked.',
        "He wrote &quot;Why me?&quot;| Then he slept.",
        "\u201cReally?\u201d she asked.| \u00bfQu\u00e9 tal?| \u00c9l vino.",
        "i went home.| then i slept.| good.",
        "\u4f60\u597d\u3002|\u6211\u662f\u533b\u751f\u3002",
        "No stop here|\n\nNew paragraph",
        "One line\r\nwraps here.|\r\n\r\nNext one.|\r\n",
        "1. First we ask.| 2. Then we wait.",
    ],
)
def test_a_sentence_ends_where_a_reader_would_end_it(marked: str) -> None:
    expected = [part.strip() for part in marked.split("|") if part.strip()]
    assert texts(marked.replace("|", "")) == expected


def test_notes_and_time_marks_between_sentences_are_in_none() -> None:
    transcript = (
        "**Ann:** \\[01:46\\] I saw him. \\[laughter\\] He ran. (laughs)\n\n\\* \\* \\*\n\n**Bo:** \\[laughs\\]"
    )
    assert said(transcript) == [("Ann", "I saw him."), ("Ann", "He ran.")]


def test_a_note_inside_a_sentence_stays_and_is_not_read_aloud() -> None:
    transcript = "Ann: I \\[laughs\\] said no.\n\nBo: Oh."
    assert texts(transcript)[0] == "I \\[laughs\\] said no."
    assert readable(texts(transcript)[0]) == "I said no."


def test_a_note_between_two_sentences_of_a_speaker_begins_a_new_passage() -> None:
    first, second, third = split_sentences("Ann: I saw him. He ran. \\[laughter\\] We laughed.")
    assert first.passage == second.passage != third.passage


def test_text_without_punctuation_is_cut_by_its_words() -> None:
    transcript = " ".join(f"word{number}" for number in range(1000))
    lengths = [len(text.split()) for text in texts(transcript)]
    assert sum(lengths) == 1000
    assert max(lengths) <= MAX_WORDS
    assert min(lengths) >= MAX_WORDS // 2


def test_a_long_sentence_is_cut_at_a_comma_near_the_middle() -> None:
    transcript = "so " * 37 + "well, " + "then " * 35 + "end."
    assert texts(transcript)[0].endswith("well,")


SPEECH = st.text(alphabet=st.sampled_from("abcDEF\u00e9\u4f60 0.5,!?\u2026\u3002'\"\n\r&quot;-"), max_size=400)
ANYTHING = st.text(max_size=300)
PIECES = st.lists(
    st.sampled_from(
        (
            *("Ann: ", "**Bo Ek:** ", "[00:01:02] ANN: ", "**Break:** ", "\\[laughter\\]", "(laughs)", ":"),
            *("Dr. Ek said so. ", "what? ", "no stop and on and on ", "\u201cYes!\u201d ", "\u4f60\u597d\u3002"),
            *("\n\n", "\r\n", "... ", "3.5 ", "&#39;s "),
        ),
    ),
    max_size=60,
).map("".join)


@given(st.one_of(ANYTHING, SPEECH, PIECES))
def test_sentences_lie_in_order_without_overlap_and_are_bounded(transcript: str) -> None:
    reached = 0
    for number, sentence in enumerate(split_sentences(transcript), 1):
        text = transcript[sentence.start : sentence.end]
        assert sentence.number == number
        assert reached <= sentence.start < sentence.end <= len(transcript)
        assert text == text.strip()
        assert len(word_spans(transcript, sentence.start, sentence.end)) <= MAX_WORDS
        reached = sentence.end


@given(SPEECH)
def test_every_letter_that_is_said_is_in_a_sentence(transcript: str) -> None:
    covered = {place for sentence in split_sentences(transcript) for place in range(sentence.start, sentence.end)}
    assert all(place in covered for place, character in enumerate(transcript) if character.isalnum())


@needs_podcasts
@pytest.mark.real_data
@pytest.mark.parametrize("name", ["brainscience__brain-science-10.md", "founderstalk__founders-talk-86.md"])
def test_every_word_of_a_real_transcript_but_labels_and_marks_is_in_a_sentence(name: str) -> None:
    transcript = real(name)
    sentences = split_sentences(transcript)
    gaps = [transcript[: sentences[0].start]]
    gaps += [transcript[one.end : other.start] for one, other in pairwise(sentences)]
    left = {readable(gap).strip("* ").rstrip(":*") for gap in gaps}
    assert left <= {"", "Adam Stacoviak", "Mireille B. Reece, Psy.D", "Christine Yen", "Break:** **Adam Stacoviak"}


# --- windows


@given(st.one_of(PIECES, SPEECH), st.integers(min_value=40, max_value=400))
def test_every_sentence_is_in_exactly_one_window_and_windows_keep_the_budget(transcript: str, budget: int) -> None:
    sentences = split_sentences(transcript)
    windows = cut_windows(transcript, sentences, budget)
    numbers = [number for window in windows for number in range(window.first, window.last + 1)]
    assert numbers == [sentence.number for sentence in sentences]
    for window in windows:
        lines = window.text.split("\n")
        assert [line.split("]")[0] for line in lines] == [
            f"[{number}" for number in range(window.first, window.last + 1)
        ]
        assert window.tokens <= budget or window.first == window.last
        assert window.tokens >= estimate_tokens(window.text)


def test_a_speaker_is_named_where_a_passage_or_a_window_begins() -> None:
    transcript = "Ann: It rains. We wait.\n\nBo: So we do.\n\nAnn: " + "It rains on and on. " * 20
    first = cut_windows(transcript, split_sentences(transcript), 6000)[0]
    assert first.text.split("\n")[:4] == [
        "[1] Ann: It rains.",
        "[2] We wait.",
        "[3] Bo: So we do.",
        "[4] Ann: It rains on and on.",
    ]
    windows = cut_windows(transcript, split_sentences(transcript), 100)
    assert len(windows) > 1
    assert all(window.text.startswith(f"[{window.first}] Ann: ") for window in windows)


def test_unlabelled_speech_between_labels_is_marked_as_unnamed() -> None:
    transcript = "**Ann:** Before.\n\n**Break:** \\[07:13\\]\n\nWelcome back.\n\n**Ann:** After."
    assert "[2] Unnamed: Welcome back." in cut_windows(transcript, split_sentences(transcript), 6000)[0].text


def test_windows_are_of_about_equal_size_and_cut_between_passages() -> None:
    transcript = "\n\n".join(f"{'Ann' if turn % 2 else 'Bo'}: " + "It rained all day long. " * 5 for turn in range(60))
    sentences = split_sentences(transcript)
    windows = cut_windows(transcript, sentences, 2000)
    sizes = [window.tokens for window in windows]
    assert max(sizes) <= 2000
    assert min(sizes) > 0.8 * max(sizes)
    begins = [sentences[window.first - 1].passage != sentences[window.first - 2].passage for window in windows[1:]]
    assert all(begins)


# --- tokens and durations


@needs_podcasts
@pytest.mark.real_data
@pytest.mark.parametrize(("name", "tokens"), O200K.items())
def test_the_estimate_is_within_three_percent_of_the_real_count_and_on_its_side_of_8000(name: str, tokens: int) -> None:
    estimate = estimate_tokens(real(name))
    assert estimate == pytest.approx(tokens, rel=0.03)
    assert (estimate < 8000) is (tokens < 8000)


@pytest.mark.parametrize(
    ("text", "o200k"),
    [
        ("", 0),
        ("The night shift ends at seven, and the organ is still cold when I open the loft.", 19),
        ("Die Nachtschicht endet um sieben, und die Orgel ist noch kalt, wenn ich die Empore aufschlie\u00dfe.", 26),
        ("\u6211\u6253\u5f00\u9601\u697c\u65f6\uff0c\u98ce\u7434\u8fd8\u662f\u51b7\u7684\u3002", 12),
        ("\u041d\u043e\u0447\u043d\u0430\u044f \u0441\u043c\u0435\u043d\u0430.", 5),
    ],
)
def test_short_texts_in_several_languages_are_estimated_within_a_fourth(text: str, o200k: int) -> None:
    assert estimate_tokens(text) == pytest.approx(o200k, rel=0.25)


@given(st.one_of(ANYTHING, SPEECH), st.one_of(ANYTHING, SPEECH))
def test_an_estimate_is_never_negative_and_text_costs_something(one: str, other: str) -> None:
    assert estimate_tokens(one) >= 0
    assert estimate_tokens(f"{one} word {other}") >= 1


def test_the_length_of_an_episode_is_told_by_its_last_time_mark() -> None:
    assert estimate_minutes("**Ann:** \\[01:46\\] Hello.\n\n**Bo:** \\[01:05:56.21\\] " + "word " * 300) == 68
    assert estimate_minutes("word " * 3000) == 20
