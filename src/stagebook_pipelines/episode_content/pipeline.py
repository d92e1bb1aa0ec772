"""A podcast transcript becomes a blog post, social posts and an e-mail campaign, in ten stages.

Stages 0 and 2 read the transcript in windows: each has a helper that is asked once for every window.
"""

# ruff: noqa: ARG001  a prompt's parameters are read by its template

from collections.abc import Iterator

from stagebook import Complaint, Pipeline, Skip
from stagebook_pipelines.episode_content.duration import estimate_minutes
from stagebook_pipelines.episode_content.markdown_shape import shortcomings
from stagebook_pipelines.episode_content.markup import readable
from stagebook_pipelines.episode_content.models import (
    BlogDraft,
    BlogOutline,
    EmailCampaign,
    Episode,
    Headlines,
    ParagraphOutlines,
    QuoteExtraction,
    RefinedPost,
    SocialContent,
    TranscriptAnalysis,
    TranscriptPreprocessing,
    Window,
    WindowQuotes,
    WindowSummary,
)
from stagebook_pipelines.episode_content.phrases import count_phrases
from stagebook_pipelines.episode_content.quotations import find_quotations, not_verbatim
from stagebook_pipelines.episode_content.quotes import MIN_QUOTES, merge_quotes, quotes_wanted, usable_quotes
from stagebook_pipelines.episode_content.quotes_by_rule import fill_up, quotable
from stagebook_pipelines.episode_content.sentences import split_sentences
from stagebook_pipelines.episode_content.tokens import estimate_tokens
from stagebook_pipelines.episode_content.verbatim import fold
from stagebook_pipelines.episode_content.windows import cut_windows

SMALL = "openai:gpt-4.1-nano"
MID = "openai:gpt-4.1-mini"
LARGE = "openai:gpt-4.1"
TWEET_CHARACTERS = 280

pipeline = Pipeline("episode-content", input=Episode)
reading = pipeline.phase("reading")
planning = pipeline.phase("planning")
writing = pipeline.phase("writing")
publishing = pipeline.phase("publishing")


@reading.stage()
def windows(episode: Episode) -> Iterator[Window]:
    """Cut the transcript into windows of numbered sentences that fit the context of a small model."""
    sentences = split_sentences(episode.transcript)
    possible = len(quotable(sentences, episode.transcript))
    if possible < MIN_QUOTES:
        raise ValueError(
            f"the transcript has {possible} sentences of four words or more, and {MIN_QUOTES} are needed for quotes;"
            " give the whole transcript of the episode",
        )
    cut = cut_windows(episode.transcript, sentences, episode.window_tokens)
    for number, window in enumerate(cut, 1):
        yield Window(
            number=number,
            text=window.text,
            first_sentence=window.first,
            last_sentence=window.last,
            named=any(sentence.speaker for sentence in sentences),
            tokens=window.tokens,
            quotes_wanted=min(quotes_wanted(len(cut)), window.last - window.first + 1),
        )


def short(episode: Episode) -> Skip | None:
    """Why stage 0 is not needed; None where it is."""
    tokens = estimate_tokens(episode.transcript)
    if tokens >= episode.preprocess_from_tokens:
        return None
    return Skip(f"the transcript has about {tokens} tokens, fewer than {episode.preprocess_from_tokens}")


@reading.prompt(
    label="0_TRANSCRIPT_PREPROCESSING",
    each=Window,
    returns=WindowSummary,
    model=SMALL,
    max_tokens=1500,
)
def window_summary(window: Window, episode: Episode) -> Skip | None:
    """Summarise one window of a long transcript."""
    return short(episode)


@reading.prompt(
    label="0_TRANSCRIPT_PREPROCESSING",
    number=0,
    returns=TranscriptPreprocessing,
    model=SMALL,
    max_tokens=4000,
)
def transcript_preprocessing(summaries: list[WindowSummary], episode: Episode) -> dict[str, object] | Skip:
    """Compress a long transcript; a short one is read as it is."""
    return short(episode) or {"minutes": estimate_minutes(episode.transcript)}


@reading.prompt(label="1_TRANSCRIPT_ANALYSIS", number=1, returns=TranscriptAnalysis, model=MID, max_tokens=2000)
def transcript_analysis(
    episode: Episode,
    windows: list[Window],
    preprocessing: TranscriptPreprocessing | None,
) -> dict[str, object]:
    """Say what the episode is and what it comes down to: the one summary that everything later is built on."""
    return {"minutes": estimate_minutes(episode.transcript)}


@reading.prompt(label="2_QUOTE_EXTRACTION", each=Window, returns=WindowQuotes, model=SMALL, max_tokens=2000)
def window_quotes(window: Window, episode: Episode) -> None:
    """Choose the quotes of one window by the numbers of their sentences."""


@window_quotes.check
def choices_are_quotes(chosen: WindowQuotes, window: Window, episode: Episode) -> None:
    """Sends a choice that is no quote back to the model; after the tries it is dropped with a warning."""
    transcript = episode.transcript
    usable, refused = usable_quotes(chosen, split_sentences(transcript), transcript, window.sentence_numbers)
    if refused:
        wanted = f"Choose {window.quotes_wanted} quotes; {len(usable)} of yours can be used."
        raise Complaint("\n".join((*refused, wanted)), insist=False)


@reading.stage(label="2_QUOTE_EXTRACTION", number=2)
def quote_extraction(episode: Episode, windows: list[Window], choices: dict[str, WindowQuotes]) -> QuoteExtraction:
    """Merge what was chosen from all windows; every quote is cut out of the original transcript."""
    transcript = episode.transcript
    sentences = split_sentences(transcript)
    chosen = [
        usable_quotes(choices[str(window.number)], sentences, transcript, window.sentence_numbers) for window in windows
    ]
    merged = merge_quotes([usable for usable, _ in chosen])
    quotes = fill_up(merged, sentences, transcript)
    left_out = sum(len(usable) for usable, _ in chosen) - len(merged)
    notes = [
        f"{left_out} left out: they overlap, repeat or are too many." if left_out else "",
        *(f"Refused: {reason}." for _, refused in chosen for reason in refused),
        f"{len(quotes) - len(merged)} chosen by rule: the model named too few." if len(quotes) > len(merged) else "",
    ]
    return QuoteExtraction(quotes=quotes, extraction_notes="\n".join(filter(None, notes)) or None)


@quote_extraction.check
def quotes_stand_in_the_transcript(extraction: QuoteExtraction, episode: Episode) -> None:
    """Refuses a quote that does not stand word for word where its offsets say."""
    for quote in extraction.quotes:
        stands = episode.transcript[quote.start : quote.end]
        if fold(stands).text != fold(quote.text).text:
            raise Complaint(f"the quote {quote.text!r} does not stand at {quote.start}:{quote.end} of the transcript")


def read_aloud(extraction: QuoteExtraction) -> list[dict[str, str | None]]:
    """The quotes as a writer should see them: without escapes and notes."""
    return [
        {"text": readable(quote.text), "speaker": quote.speaker, "context": quote.context, "usage": quote.usage}
        for quote in extraction.quotes
    ]


@planning.prompt(label="3_BLOG_OUTLINE", number=3, returns=BlogOutline, model=MID, max_tokens=2500)
def blog_outline(
    analysis: TranscriptAnalysis,
    extraction: QuoteExtraction,
    episode: Episode,
) -> dict[str, object]:
    """Plan the post."""
    return {"quotes": read_aloud(extraction)}


@planning.prompt(label="4_PARAGRAPH_OUTLINES", number=4, returns=ParagraphOutlines, model=MID, max_tokens=4000)
def paragraph_outlines(extraction: QuoteExtraction, outline: BlogOutline, episode: Episode) -> dict[str, object]:
    """Plan the paragraphs of every section."""
    return {"quotes": read_aloud(extraction)}


@paragraph_outlines.check
def every_section_is_there(paragraphs: ParagraphOutlines, outline: BlogOutline) -> str | None:
    """Warns where sections were left out or added."""
    planned, detailed = len(outline.post_structure.sections), len(paragraphs.section_details)
    return None if planned == detailed else f"the outline has {planned} sections, their paragraphs are for {detailed}"


@planning.prompt(label="5_HEADLINES", number=5, returns=Headlines, model=MID, max_tokens=3000)
def headlines(analysis: TranscriptAnalysis, extraction: QuoteExtraction, outline: BlogOutline) -> dict[str, object]:
    """Write titles, headings and first lines to choose from."""
    return {"quotes": read_aloud(extraction)}


@writing.prompt(label="6_BLOG_DRAFT", number=6, returns=BlogDraft, model=MID, tries=2, max_tokens=4000)
def blog_draft(
    analysis: TranscriptAnalysis,
    extraction: QuoteExtraction,
    outline: BlogOutline,
    paragraphs: ParagraphOutlines,
    headlines: Headlines,
    episode: Episode,
) -> dict[str, object]:
    """Write the post."""
    return {"quotes": read_aloud(extraction)}


@blog_draft.check
def draft_is_a_whole_post(draft: BlogDraft) -> None:
    """Asks again for a draft that is too short or is not built as a post."""
    if found := shortcomings(draft.text):
        raise Complaint(" ".join((*found, "Write the whole post again.")))


@blog_draft.check
def draft_is_honest_and_plain(draft: BlogDraft, episode: Episode) -> list[str]:
    """Warns of worn phrases and of quotations that nobody said."""
    return [*worn(draft.text), *misquoted(draft.text, episode)]


@writing.prompt(label="7_REFINEMENT", number=7, returns=RefinedPost, model=LARGE, max_tokens=4000)
def refinement(draft: BlogDraft, episode: Episode) -> None:
    """Make the post sound like its author."""


@refinement.check
def refined_post_keeps_what_the_draft_had(post: RefinedPost, draft: BlogDraft, episode: Episode) -> list[str]:
    """Warns of a post that was spoilt, of lost or changed quotations, and of worn phrases that stayed."""
    lost = len(find_quotations(draft.text)) - len(find_quotations(post.text))
    return [
        *shortcomings(post.text),
        *([f"{lost} quotations of the draft were lost"] if lost > 0 else []),
        *misquoted(post.text, episode),
        *worn(post.text),
    ]


@publishing.prompt(label="8_SOCIAL_CONTENT", number=8, returns=SocialContent, model=LARGE, max_tokens=5000)
def social_content(
    post: RefinedPost,
    extraction: QuoteExtraction,
    headlines: Headlines,
    episode: Episode,
) -> dict[str, object]:
    """Write posts for four networks."""
    return {"quotes": read_aloud(extraction)}


@social_content.check
def posts_fit_and_are_honest(content: SocialContent, episode: Episode) -> list[str]:
    """Warns of posts that are too long for their network and of quotations that nobody said."""
    long = [
        f"a post for twitter has {len(text)} characters" for text in content.twitter if len(text) > TWEET_CHARACTERS
    ]
    posts = (*content.instagram, *content.twitter, *content.linkedin, *content.facebook)
    return [*long, *misquoted("\n\n".join(posts), episode)]


@publishing.prompt(label="9_EMAIL_CAMPAIGN", number=9, returns=EmailCampaign, model=LARGE, max_tokens=3500)
def email_campaign(post: RefinedPost, headlines: Headlines, analysis: TranscriptAnalysis, episode: Episode) -> None:
    """Write the newsletter."""


def worn(text: str) -> list[str]:
    """One warning for every phrase typical of machine writing."""
    return [f"worn phrase, {times} x: {phrase}" for phrase, times in count_phrases(text).items()]


def misquoted(text: str, episode: Episode) -> list[str]:
    """One warning for every quotation that nobody said word for word; notes in the transcript may be left out."""
    missing = not_verbatim(text, fold(episode.transcript))
    if missing:  # prompts show quotes without the notes that the transcript has between the words
        without_notes = not_verbatim(text, fold(readable(episode.transcript)))
        missing = tuple(said for said in missing if said in without_notes)
    return [f"not in the transcript word for word: {said!r}" for said in missing]
