"""The pipeline episode-content: how it is wired, what its prompts show, and whole runs against a fake provider."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from stagebook import Complaint, Skip
from stagebook.engine.session import Site, Start, begin, carry_on
from stagebook.engine.settings import Settings
from stagebook.ledger.store import Ledger
from stagebook.model.records import Run
from stagebook.testing.provider import FakeProvider
from stagebook.testing.provider_request import ChatRequest
from stagebook.testing.provider_script import Rule, Script
from stagebook_pipelines.episode_content import pipeline as declared
from stagebook_pipelines.episode_content.models import (
    BlogDraft,
    Episode,
    QuoteChoice,
    QuoteExtraction,
    RefinedPost,
    SocialContent,
    Window,
    WindowQuotes,
)
from stagebook_pipelines.episode_content.quotes import UNNAMED_SPEAKER
from stagebook_pipelines.episode_content.tokens import estimate_tokens

EXAMPLES = Path(__file__).parents[2] / "examples"
INTERVIEW = (EXAMPLES / "interview.txt").read_text(encoding="utf-8")
EVERGREEN = json.loads((EXAMPLES / "evergreen.json").read_text(encoding="utf-8"))
EPISODE = Episode(transcript=INTERVIEW, evergreen=EVERGREEN)
LONG = Episode(transcript="\n\n".join([INTERVIEW] * 4))
SAID = "Somebody has to hold the note while somebody else listens."
POST = (
    "# Somebody Has to Hold the Note\n\n"
    + "Ruth Okafor comes off the night shift and climbs into an organ. " * 12
    + f"\n\n> {SAID}\n> \u2014 Ruth Okafor\n\n## The crumb\n\n"
    + "It was a crumb of plaster, and it had kept one pipe speaking through four hymns. " * 20
    + "\n\n## The chair\n\n"
    + "She asks what would help, and when the answer is nothing she gets a chair. " * 20
).strip()
CRUX = "Grief goes better when the hands have a dull job, and holding still for somebody is work too."
BASICS = {"title": "Hold the Note", "main_topics": ["organs", "night nursing", "grief"]}
OUTLINE = {
    "hook": "A note would not stop.",
    "hook_type": "scene",
    "cta": "Listen to the whole conversation.",
    "sections": [
        {"section_title": title, "purpose": "to tell", "key_points": ["one"], "word_count_target": 250}
        for title in ("The crumb", "The hour at three", "The chair")
    ],
}


def windows_of(episode: Episode) -> list[Window]:
    return list(declared.windows(episode))


def choose(request: ChatRequest) -> dict[str, Any]:
    """As a model would: long statements of the window that was shown, one of them a sentence that is not there."""
    lines = re.findall(r"^\[(\d+)\] (.+)$", request.text, re.MULTILINE)
    good = [int(number) for number, text in lines if 60 < len(text) < 200 and "?" not in text][:6]
    usages = ("headline", "pullquote", "social", "key_point")
    quotes = [{"sentences": [one], "usage": usages[place % 4], "context": "talk"} for place, one in enumerate(good)]
    return {"quotes": [*quotes, {"sentences": [99999], "usage": "social"}]}


def rules(*, drafts: tuple[str, ...] = (POST,), seen: list[str] | None = None) -> Script:
    def analyse(request: ChatRequest) -> dict[str, Any]:
        if seen is not None:
            seen.append(request.text)
        guest = {"name": "Ruth Okafor", "expertise": "palliative nursing"}
        return {"episode_basics": BASICS, "guest_info": guest, "episode_crux": CRUX}

    return Script(
        rules=(
            Rule(schema_name="WindowQuotes", answer=choose),
            Rule(schema_name="TranscriptAnalysis", answer=analyse),
            Rule(schema_name="BlogOutline", answer={"post_structure": OUTLINE}),
            Rule(contains="Write the whole post in markdown", answer=list(drafts), counted="conversation"),
            Rule(contains="Refine the post.", answer=POST),
            Rule(contains="Write what is said in it", answer="Ruth tells how she mended the organ."),
            Rule(
                schema_name="SocialContent",
                answer={
                    "instagram": [f'"{SAID}"', "Two."],
                    "twitter": ["x" * 300, "\u201cI never said this, not once in my life.\u201d", "Three."],
                    "linkedin": ["One."],
                    "facebook": ["One?"],
                },
            ),
            Rule(schema_name="EmailCampaign", fields={"email_body": "Dear reader, " * 30}),
        ),
    )


class Studio:
    """A ledger and a provider, and the pipeline between them."""

    def __init__(self, ledger: Ledger, provider: FakeProvider) -> None:
        self.ledger = ledger
        self.provider = provider
        environment = {"OPENAI_BASE_URL": provider.base_url, "OPENAI_API_KEY": "sk-fake-key-of-the-tests"}
        self.site = Site(ledger, environment)

    async def run(self, episode: Episode, script: Script, **settings: Any) -> tuple[Run, bool]:
        self.provider.use(script)
        graph = declared.pipeline.check()
        run = await begin(Start(graph, "test", episode, Settings(**settings)), self.site)
        ended = await carry_on(run, graph, self.site)
        return run, ended.finished

    async def output(self, run: Run, stage: str) -> dict[str, Any]:
        data = await self.ledger.output_of(run.id, stage, "")
        assert data is not None
        made: dict[str, Any] = json.loads(data)
        return made

    async def asked(self, run: Run) -> dict[str, int]:
        """How many exchanges each stage had."""
        counted = "select steps.stage, count(*) from exchanges join steps on steps.id = exchanges.step"
        table = await self.ledger.query(f"{counted} where exchanges.run = ? group by 1", [run.id])
        return {str(stage): int(str(count)) for stage, count in table.rows}

    async def statuses(self, run: Run) -> dict[str, str]:
        return {step.stage: step.status.value for step in await self.ledger.steps(run.id)}

    async def warnings(self, run: Run) -> str:
        return json.dumps([step.warnings for step in await self.ledger.steps(run.id)])


@pytest.fixture
async def studio(tmp_path: Path) -> AsyncIterator[Studio]:
    async with FakeProvider() as provider, await Ledger.open(tmp_path / "ledger.db") as ledger:
        yield Studio(ledger, provider)


# --- how it is wired


def test_the_pipeline_has_ten_numbered_stages_under_their_published_names() -> None:
    graph = declared.pipeline.check()
    numbered = {stage.number: stage for stage in graph.stages.values() if stage.number is not None}
    assert [numbered[number].name for number in range(10)] == [
        "transcript-preprocessing",
        "transcript-analysis",
        "quote-extraction",
        "blog-outline",
        "paragraph-outlines",
        "headlines",
        "blog-draft",
        "refinement",
        "social-content",
        "email-campaign",
    ]
    assert [stage.label for number, stage in sorted(numbered.items())] == [
        f"{number}_{numbered[number].name.upper().replace('-', '_')}" for number in range(10)
    ]


def test_every_stage_reads_what_its_place_in_the_flow_allows() -> None:
    upstream = declared.pipeline.check().upstream
    quotes, basics = "quote-extraction", "transcript-analysis"
    assert upstream["blog-outline"] == {basics, quotes}
    assert upstream["paragraph-outlines"] == {quotes, "blog-outline"}
    assert upstream["headlines"] == {basics, quotes, "blog-outline"}
    assert upstream["blog-draft"] == {basics, quotes, "blog-outline", "paragraph-outlines", "headlines"}
    assert upstream["refinement"] == {"blog-draft"}
    assert upstream["social-content"] == {"refinement", quotes, "headlines"}
    assert upstream["email-campaign"] == {"refinement", basics, "headlines"}
    assert upstream[quotes] == {"windows", "window-quotes"}
    assert upstream["window-quotes"] == {"windows"}


# --- the transcript


def test_a_transcript_under_8000_tokens_is_read_as_it_is() -> None:
    assert estimate_tokens(INTERVIEW) < 8000
    window = windows_of(EPISODE)[0]
    skipped = declared.window_summary(window, EPISODE)
    assert isinstance(skipped, Skip)
    assert "fewer than 8000" in skipped.reason
    assert isinstance(declared.transcript_preprocessing([], EPISODE), Skip)


def test_a_transcript_of_8000_tokens_or_more_is_summarised_window_by_window() -> None:
    windows = windows_of(LONG)
    assert len(windows) > 1
    assert declared.window_summary(windows[0], LONG) is None
    assert declared.transcript_preprocessing([], LONG) == {"minutes": 55}


def test_a_transcript_without_five_sentences_to_quote_is_refused_before_anything_is_paid() -> None:
    with pytest.raises(ValueError, match="has 2 sentences of four words or more, and 5 are needed"):
        windows_of(Episode(transcript="Ann: It rains on the town. Oh.\n\nBo: And on the sea too."))


def choice(*sentences: int) -> QuoteChoice:
    return QuoteChoice(sentences=list(sentences), usage="social")


def chosen_of(*numbers: int | tuple[int, ...]) -> WindowQuotes:
    """What a lenient run may go on with: fewer choices than the schema wants."""
    choices = [choice(*number) if isinstance(number, tuple) else choice(number) for number in numbers]
    return WindowQuotes.model_construct(quotes=choices)


def test_a_choice_that_is_no_quote_goes_back_with_its_reason_and_does_not_insist() -> None:
    window = windows_of(EPISODE)[0]
    chosen = chosen_of(95, 9999, (8, 9))
    reasons = r"choose numbers.*\n.*sentence 8 ends that passage\nChoose 10 quotes; 1 of yours can be used"
    with pytest.raises(Complaint, match=reasons) as raised:
        declared.choices_are_quotes(chosen, window, EPISODE)
    assert not raised.value.insist


def test_choices_that_are_all_quotes_are_accepted() -> None:
    chosen = WindowQuotes(quotes=[*map(choice, (91, 92, 93, 94, 95, 99))])
    declared.choices_are_quotes(chosen, windows_of(EPISODE)[0], EPISODE)


def test_quotes_of_all_windows_are_cut_out_of_the_original() -> None:
    episode = EPISODE.model_copy(update={"window_tokens": 1000})
    windows = windows_of(episode)
    choices = {
        str(window.number): WindowQuotes(quotes=[choice(number) for number in list(window.sentence_numbers)[5:12]])
        for window in windows
    }
    made = declared.quote_extraction(episode, windows, choices)
    assert 5 <= len(made.quotes) <= 15
    assert all(INTERVIEW[quote.start : quote.end] == quote.text for quote in made.quotes)
    assert {quote.speaker for quote in made.quotes} <= {"Nora Lindqvist", "Ruth Okafor"}
    assert "left out: they overlap, repeat or are too many" in (made.extraction_notes or "")
    declared.quotes_stand_in_the_transcript(made, episode)


def test_quotes_that_were_chosen_by_rule_are_said_to_be() -> None:
    windows = windows_of(EPISODE)
    made = declared.quote_extraction(EPISODE, windows, {"1": chosen_of(95, 9999)})
    assert len(made.quotes) == 5
    assert SAID in {quote.text for quote in made.quotes}
    assert made.extraction_notes is not None
    assert "4 chosen by rule" in made.extraction_notes
    assert "Refused: quote [9999]" in made.extraction_notes


def test_a_quote_that_was_changed_by_hand_is_refused() -> None:
    windows = windows_of(EPISODE)
    made = declared.quote_extraction(EPISODE, windows, {"1": chosen_of(95)})
    changed = [quote.model_copy(update={"text": quote.text.replace("note", "tune")}) for quote in made.quotes]
    with pytest.raises(Complaint, match="hold the tune"):
        declared.quotes_stand_in_the_transcript(QuoteExtraction(quotes=changed), EPISODE)


def test_a_transcript_without_labels_gives_quotes_of_whoever_the_model_names() -> None:
    bare = Episode(transcript=re.sub(r"(?m)^[A-Z]\w+ \w+: ", "", INTERVIEW))
    windows = windows_of(bare)
    assert not windows[0].named
    named = QuoteChoice(sentences=[95], usage="social", speaker="Ruth Okafor")
    made = declared.quote_extraction(bare, windows, {"1": WindowQuotes.model_construct(quotes=[named])})
    assert {quote.speaker for quote in made.quotes} == {"Ruth Okafor", UNNAMED_SPEAKER}


# --- the post


def test_a_draft_that_is_no_whole_post_is_sent_back_with_what_it_lacks() -> None:
    with pytest.raises(Complaint, match=r"has 2 words; it needs at least 600.*Write the whole post again"):
        declared.draft_is_a_whole_post(BlogDraft(text="# Too short"))
    declared.draft_is_a_whole_post(BlogDraft(text=POST))


def test_worn_phrases_and_words_that_nobody_said_are_only_warned_of() -> None:
    text = POST + '\n\nLet\'s dive in. She told me "I have never held a single note in my life".'
    assert declared.draft_is_honest_and_plain(BlogDraft(text=text), EPISODE) == [
        "worn phrase, 1 x: let's dive in",
        "not in the transcript word for word: 'I have never held a single note in my life'",
    ]
    assert declared.draft_is_honest_and_plain(BlogDraft(text=POST), EPISODE) == []


def test_a_refined_post_is_warned_of_when_it_lost_what_the_draft_had() -> None:
    spoilt = RefinedPost(text="# Short\n\nGone.")
    warnings = declared.refined_post_keeps_what_the_draft_had(spoilt, BlogDraft(text=POST), EPISODE)
    assert "1 quotations of the draft were lost" in warnings
    assert any("needs at least 600" in warning for warning in warnings)
    assert declared.refined_post_keeps_what_the_draft_had(RefinedPost(text=POST), BlogDraft(text=POST), EPISODE) == []


def test_a_post_that_is_too_long_for_its_network_is_warned_of() -> None:
    content = SocialContent(instagram=["a", "b"], twitter=["x" * 281, "b", "c"], linkedin=["a"], facebook=["a"])
    assert declared.posts_fit_and_are_honest(content, EPISODE) == ["a post for twitter has 281 characters"]


# --- what the prompts show


def rendered(stage: str, **values: object) -> list[tuple[str, ...]]:
    spec = declared.pipeline.check().stages[stage]
    assert spec.prompt is not None
    return [message.pieces for message in spec.prompt.template.render(values)]


def test_prompts_that_read_the_transcript_begin_alike_and_keep_its_text_as_one_value() -> None:
    window = windows_of(EPISODE)[0]
    summary = rendered("window-summary", window=window, episode=EPISODE)
    quotes = rendered("window-quotes", window=window, episode=EPISODE)
    analysis = rendered("transcript-analysis", windows=[window], preprocessing=None, episode=EPISODE, minutes=14)
    for messages in (summary, quotes, analysis):
        system, user = messages
        assert system == summary[0]
        assert user[0] == "<transcript>\n"
        assert user[1] == window.text


def test_prompts_that_read_the_post_begin_alike_and_keep_its_text_as_one_value() -> None:
    values = {"post": RefinedPost(text=POST), "episode": EPISODE, "quotes": []}
    headlines = {"headlines": {name: ["x"] for name in ("headlines", "taglines", "social_hooks")}}
    social = rendered("social-content", **values, **headlines)
    email = rendered("email-campaign", **values, **headlines, analysis={"episode_basics": BASICS})
    assert social[0] == email[0]
    assert social[1][:2] == email[1][:2] == ("<post>\n", POST)


# --- whole runs


async def test_a_short_episode_runs_through_without_stage_0_and_without_its_cost(studio: Studio) -> None:
    run, finished = await studio.run(EPISODE, rules())
    assert finished
    statuses = await studio.statuses(run)
    assert statuses["transcript-preprocessing"] == statuses["window-summary"] == "skipped"
    assert {status for stage, status in statuses.items() if "summary" not in stage and "processing" not in stage} == {
        "completed",
    }
    asked = await studio.asked(run)
    assert "window-summary" not in asked
    assert "transcript-preprocessing" not in asked
    assert asked.pop("window-quotes") == 3, "one choice was no quote every time: refused twice, then dropped"
    assert set(asked.values()) == {1}


async def test_every_quote_of_a_run_stands_in_the_transcript_at_its_offsets(studio: Studio) -> None:
    run, _ = await studio.run(EPISODE, rules())
    made = await studio.output(run, "quote-extraction")
    assert len(made["quotes"]) >= 5
    assert all(INTERVIEW[quote["start"] : quote["end"]] == quote["text"] for quote in made["quotes"])
    assert "Refused: quote [99999]" in made["extraction_notes"]
    assert "no others are shown" in await studio.warnings(run)


async def test_a_draft_keeps_both_kinds_of_output_and_its_text_reaches_the_refinement(studio: Studio) -> None:
    run, _ = await studio.run(EPISODE, rules())
    draft = await studio.output(run, "blog-draft")
    assert draft["text"] == POST
    assert draft["word_count"] > 600
    assert set(draft) == {"text", "word_count", "char_count", "structure", "ai_patterns_detected"}
    assert (await studio.output(run, "refinement")) == {"text": POST}


async def test_a_short_draft_is_asked_for_once_more_and_both_tries_are_paid(studio: Studio) -> None:
    run, finished = await studio.run(EPISODE, rules(drafts=("# Short\n\nToo short.", POST)))
    assert finished
    assert (await studio.asked(run))["blog-draft"] == 2
    assert (await studio.output(run, "blog-draft"))["text"] == POST


async def test_a_draft_that_stays_short_fails_after_two_tries_and_nothing_below_it_is_asked(studio: Studio) -> None:
    run, finished = await studio.run(EPISODE, rules(drafts=("# Short\n\nToo short.",)))
    assert not finished
    asked = await studio.asked(run)
    assert asked["blog-draft"] == 2
    assert "refinement" not in asked
    steps = {step.stage: step for step in await studio.ledger.steps(run.id)}
    assert steps["blog-draft"].status.value == "failed"
    assert "it needs at least 600" in (steps["blog-draft"].reason or "")


async def test_social_posts_that_are_too_long_or_misquote_are_kept_with_warnings(studio: Studio) -> None:
    run, finished = await studio.run(EPISODE, rules())
    assert finished
    warnings = await studio.warnings(run)
    assert "a post for twitter has 300 characters" in warnings
    assert "I never said this, not once in my life." in warnings


async def test_a_long_episode_is_summarised_by_windows_and_quoted_from_the_original(studio: Studio) -> None:
    seen: list[str] = []
    run, finished = await studio.run(LONG, rules(seen=seen))
    assert finished
    windows = windows_of(LONG)
    asked = await studio.asked(run)
    assert asked["window-summary"] == len(windows) > 1
    assert asked["window-quotes"] == 3 * len(windows)
    assert asked["transcript-preprocessing"] == 1
    summary = (await studio.output(run, "transcript-preprocessing"))["comprehensive_summary"]
    assert summary in seen[0]
    assert "<transcript>" not in seen[0]
    made = await studio.output(run, "quote-extraction")
    assert all(LONG.transcript[quote["start"] : quote["end"]] == quote["text"] for quote in made["quotes"])
