"""What goes into the pipeline and what each of its stages writes."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, computed_field, field_validator

from stagebook import Key, Text
from stagebook_pipelines.episode_content.markdown_shape import PostShape, shape_of, words_in
from stagebook_pipelines.episode_content.phrases import count_phrases

Line = Annotated[str, Field(min_length=1, max_length=250)]
"""A title, a topic, a heading. Limits are far above what is asked for: they stop a small model that repeats itself."""
Passage = Annotated[str, Field(min_length=1, max_length=1000)]
"""A few sentences."""
Post = Annotated[str, Field(min_length=1, max_length=3000)]
"""A post or letter; 3,000 characters are what the longest-winded network takes."""
ARTICLE = Field(json_schema_extra={"contentMediaType": "text/markdown", "minLength": 4200})
"""Tells a provider that can hold a form what the text is: markdown of 700 words or so. It is checked by the stages."""
Usage = Literal["headline", "pullquote", "social", "key_point"]


def _as_text(value: Any) -> Any:
    """A standing text given as an object or list becomes lines of text, such as `tone: warm`."""
    return "\n".join(_lines(value, "")) if isinstance(value, (dict, list)) else value


def _lines(value: Any, indent: str) -> Iterator[str]:
    named = (
        [(f"{name}:", part) for name, part in value.items()]
        if isinstance(value, dict)
        else [("-", part) for part in value]
    )
    for name, part in named:
        if isinstance(part, (dict, list)):
            yield f"{indent}{name}"
            yield from _lines(part, indent + "  ")
        else:
            yield f"{indent}{name} {part}"


StandingText = Annotated[str | None, BeforeValidator(_as_text)]


class Evergreen(BaseModel):
    """The owner's standing texts, the same for every episode; each may be text or an object of texts."""

    therapist_profile: StandingText = None
    """Who the owner of the podcast is: name, credentials, approach."""
    podcast_info: StandingText = None
    """The show: its name, its listeners, how to subscribe, what listeners are asked to do."""
    voice_guidelines: StandingText = None
    """How the owner writes, and what is never to be written."""
    seo_defaults: StandingText = None
    """Standing keywords and conventions for search engines."""


class Episode(BaseModel):
    """One recorded episode: its transcript and what its owner knows about it."""

    transcript: str
    """The whole transcript, as it was delivered; speaker labels and time marks may stand in it."""
    evergreen: Evergreen = Evergreen()
    """The owner's standing texts."""
    guest_name: str | None = None
    """The guest's name, spelt right."""
    keywords: list[str] = []
    """What the episode should be found under."""
    date: str | None = None
    """When it was or will be published."""
    preprocess_from_tokens: int = Field(default=8000, ge=0)
    """A transcript of fewer tokens is read as it is; a longer one is summarised first."""
    window_tokens: int = Field(default=6000, ge=200)
    """The transcript is shown in windows of at most so many tokens; they fit the context of a small model."""

    @field_validator("transcript")
    @classmethod
    def _has_words(cls, transcript: str) -> str:
        if not any(map(str.isalpha, transcript)):
            raise ValueError("the transcript has no words in it")
        return transcript


class Window(BaseModel):
    """A stretch of the transcript as numbered sentences."""

    number: Annotated[int, Key]
    """From 1."""
    text: str
    """One line a sentence: `[12] Speaker: sentence`."""
    first_sentence: int
    """Number of its first sentence."""
    last_sentence: int
    """Number of its last sentence."""
    named: bool
    """Whether its lines name their speakers."""
    tokens: int
    """What the text costs at most, estimated."""
    quotes_wanted: int
    """How many quotes are asked for from this window."""

    @property
    def sentence_numbers(self) -> range:
        """The numbers of its sentences."""
        return range(self.first_sentence, self.last_sentence + 1)


class WindowSummary(BaseModel):
    """What is said in one window of a long transcript."""

    text: Text


class HostSpeaker(BaseModel):
    """Who leads the conversation."""

    name: Line | None = Field(default=None, description="The host's name, null where it is not told.")
    role: Line | None = Field(default=None, description="What the host is, such as therapist and host of the show.")


class GuestSpeaker(BaseModel):
    """Who is being talked to."""

    name: Line | None = Field(default=None, description="The guest's name, null where it is not told.")
    credentials: Line | None = Field(default=None, description="Titles and training, null where not told.")
    expertise: Line | None = Field(default=None, description="What the guest knows from work or life.")


class Speakers(BaseModel):
    """The people of the episode."""

    host: HostSpeaker
    guest: GuestSpeaker | None = Field(default=None, description="Null where the host speaks alone.")


class EpisodeMetadata(BaseModel):
    """What the episode would be announced with."""

    inferred_title: Line = Field(description="A fitting title, or the one that is said in the episode.")
    estimated_duration: Line = Field(description="How long the episode is, such as 52 minutes.")


class TranscriptPreprocessing(BaseModel):
    """Stage 0: a long transcript, compressed."""

    comprehensive_summary: str = Field(
        min_length=1,
        max_length=12_000,
        description="Everything of substance in the order it comes up: claims, stories, examples, advice.",
    )
    key_topics: list[Line] = Field(min_length=1, max_length=20, description="The topics, a few words each.")
    speakers: Speakers
    episode_metadata: EpisodeMetadata


class EpisodeBasics(BaseModel):
    """What an editor puts above the episode."""

    title: Line = Field(description="The title of the episode.")
    date: Line | None = Field(default=None, description="The date, null where it is not told.")
    duration_estimate: Line | None = Field(default=None, description="How long the episode is, such as 52 minutes.")
    main_topics: list[Line] = Field(min_length=3, max_length=5, description="The main topics, a few words each.")


class GuestInfo(BaseModel):
    """Who the guest is, by what is said."""

    name: Line = Field(description="The guest's name.")
    credentials: Line | None = Field(default=None, description="Titles and training, null where not told.")
    expertise: Line = Field(description="What the guest knows from work or life, in one phrase.")
    website: Line | None = Field(default=None, description="The guest's website, only where it is told.")


class TranscriptAnalysis(BaseModel):
    """Stage 1: what the episode is and what it comes down to."""

    episode_basics: EpisodeBasics
    guest_info: GuestInfo | None = Field(default=None, description="Null where there is no guest.")
    episode_crux: str = Field(
        min_length=51,
        max_length=1500,
        description="The one thing a listener should take away, in two or three full sentences.",
    )


class QuoteChoice(BaseModel):
    """A quote named by the numbers of its sentences."""

    sentences: list[int] = Field(
        min_length=1,
        max_length=4,
        description="The numbers of its sentences, which follow each other.",
    )
    usage: Usage = Field(
        description="headline: short and striking. pullquote: stands alone on a page. social: needs no context. "
        "key_point: states what the episode teaches.",
    )
    context: str | None = Field(
        default=None, max_length=120, description="What was being talked about, in a few words."
    )
    speaker: str | None = Field(
        default=None, description="Who says it, only where the lines carry no names; otherwise null."
    )


class WindowQuotes(BaseModel):
    """The quotes chosen from one window, the best first."""

    quotes: list[QuoteChoice] = Field(min_length=5, max_length=12, description="The best quote first.")


class Quote(BaseModel):
    """Words that somebody said, exactly as they stand in the transcript."""

    text: str = Field(min_length=1)
    """`transcript[start:end]`, character for character."""
    speaker: Line
    """The one name that the person has in this episode."""
    context: str | None = None
    """What was being talked about."""
    usage: Usage
    """What the quote is good for."""
    start: int
    """Offset of its first character in the transcript."""
    end: int
    """Offset after its last character."""


class QuoteExtraction(BaseModel):
    """Stage 2: the only source of quotes for everything that is written."""

    quotes: list[Quote] = Field(min_length=5, max_length=15)
    """In the order of the transcript."""
    extraction_notes: str | None = None
    """What was left out and why, and what was chosen by rule instead of by the model."""


class BlogSection(BaseModel):
    """A section of the post, planned."""

    section_title: Line = Field(description="The section's heading.")
    purpose: Passage = Field(description="What the section does for the reader.")
    key_points: list[Passage] = Field(min_length=1, max_length=8, description="What it says.")
    word_count_target: int = Field(ge=1, description="How many words it should have.")


class PostStructure(BaseModel):
    """The plan of the post."""

    hook: Passage = Field(description="The opening, in one or two sentences.")
    hook_type: Line = Field(description="The kind of opening: story, question, surprise, scene or quote.")
    sections: list[BlogSection] = Field(min_length=3, max_length=4)
    cta: Passage = Field(description="What the reader is asked to do at the end.")


class BlogOutline(BaseModel):
    """Stage 3: the outline of the post."""

    post_structure: PostStructure

    @computed_field  # type: ignore[prop-decorator]  # mypy cannot decorate a property
    @property
    def estimated_total_words(self) -> int:
        """What the targets of the sections add up to."""
        return sum(section.word_count_target for section in self.post_structure.sections)


class ParagraphOutline(BaseModel):
    """One paragraph, planned."""

    para_number: int = Field(ge=1, description="Its number within the section, from 1.")
    main_point: Passage = Field(description="The one thing the paragraph says.")
    supporting_elements: list[Passage] = Field(
        default=[], max_length=8, description="Stories, facts and quotes that carry it."
    )
    transition_note: Passage | None = Field(default=None, description="How it leads on to the next paragraph.")


class SectionDetail(BaseModel):
    """A section with its paragraphs."""

    section_number: int = Field(ge=1, description="Its number in the outline, from 1.")
    section_title: Line = Field(description="Its heading in the outline.")
    paragraphs: list[ParagraphOutline] = Field(min_length=1, max_length=8)


class ParagraphOutlines(BaseModel):
    """Stage 4: the outline, down to its paragraphs."""

    section_details: list[SectionDetail] = Field(min_length=1, max_length=6)


class Headlines(BaseModel):
    """Stage 5: wordings to choose from."""

    headlines: list[Line] = Field(min_length=10, max_length=15, description="Titles for the post.")
    subheadings: list[Line] = Field(min_length=8, max_length=10, description="Headings for its sections.")
    taglines: list[Line] = Field(min_length=5, max_length=7, description="One line under the title.")
    social_hooks: list[Line] = Field(min_length=5, max_length=7, description="First lines for social posts.")


class BlogDraft(BaseModel):
    """Stage 6: the post as first written, and what can be counted in it."""

    text: Text = ARTICLE

    @computed_field  # type: ignore[prop-decorator]  # mypy cannot decorate a property
    @property
    def word_count(self) -> int:
        """Words that a reader sees."""
        return words_in(self.text)

    @computed_field  # type: ignore[prop-decorator]  # mypy cannot decorate a property
    @property
    def char_count(self) -> int:
        """Characters of the markdown."""
        return len(self.text)

    @computed_field  # type: ignore[prop-decorator]  # mypy cannot decorate a property
    @property
    def structure(self) -> PostShape:
        """Titles, sections and how long they are."""
        return shape_of(self.text)

    @computed_field  # type: ignore[prop-decorator]  # mypy cannot decorate a property
    @property
    def ai_patterns_detected(self) -> dict[str, int]:
        """Phrases typical of machine writing, with how often each occurs."""
        return count_phrases(self.text)


class RefinedPost(BaseModel):
    """Stage 7: the post as it is published, in markdown."""

    text: Text = ARTICLE


class SocialContent(BaseModel):
    """Stage 8: posts that lead to the article."""

    instagram: list[Post] = Field(
        min_length=2, max_length=6, description="Captions with line breaks and a few hashtags."
    )
    twitter: list[Passage] = Field(min_length=3, max_length=8, description="Posts of at most 280 characters.")
    linkedin: list[Post] = Field(min_length=1, max_length=4, description="Posts of three or four short paragraphs.")
    facebook: list[Post] = Field(min_length=1, max_length=4, description="Posts that end in a question to the reader.")


class EmailCampaign(BaseModel):
    """Stage 9: the newsletter about the episode."""

    subject_lines: list[Line] = Field(min_length=5, max_length=10, description="Subjects of at most 60 characters.")
    preview_text: list[Line] = Field(min_length=3, max_length=6, description="The line shown after the subject.")
    email_body: str = Field(
        min_length=200, max_length=6000, description="The whole e-mail, from the greeting to the sign-off."
    )
    followup_email: Post = Field(description="A shorter e-mail for those who have not opened the first.")
