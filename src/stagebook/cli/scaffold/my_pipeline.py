"""Read reviews, one a line; ask a model what each is about; write a report."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field
from stagebook import Complaint, Key, Pipeline, Text

SAMPLE = Path(__file__).with_suffix(".txt")


class Reviews(BaseModel):
    """What a run is given."""

    text: str = Field(default_factory=lambda: SAMPLE.read_text(encoding="utf-8"))
    """One review a line; where none are given, the sample's."""


class Review(BaseModel):
    """One line."""

    number: Annotated[int, Key]
    """By its key, an item is found again when a run is resumed."""
    text: str


class Opinion(BaseModel):
    """What the model says about one review: its answer must be exactly this."""

    topic: str = Field(min_length=3, max_length=40)
    """What it is about, in one to three words."""
    mood: Literal["praise", "complaint", "neither"]


class Report(BaseModel):
    """What comes out in the end."""

    text: Text


pipeline = Pipeline(
    "my-pipeline",
    input=Reviews,
    model="local:smollm2",
    templates="templates/my-pipeline",
)


@pipeline.stage()
def review(reviews: Reviews) -> Iterator[Review]:
    """Cut the text into items; each is on disk before the next is made."""
    for number, line in enumerate(reviews.text.splitlines(), 1):
        if line.strip():
            yield Review(number=number, text=line.strip())


@pipeline.prompt(each=Review, returns=Opinion, temperature=0, max_tokens=100)
def opinion(review: Review) -> None:
    """Ask the model about one review; the words are in templates/.../opinion.md."""


@opinion.check
def topic_names_a_thing(opinion: Opinion) -> None:
    """Send an answer back to the model, with the reason; after three tries the last one is kept, with a warning."""
    if opinion.topic.lower() in {"review", "the review", "product", "the product"}:
        raise Complaint(f"{opinion.topic!r} says nothing; name the thing itself, such as 'strap'.", insist=False)


@pipeline.stage()
def report(reviews: list[Review], opinions: list[Opinion]) -> Report:
    """Write down what came of all of them."""
    complaints = sum(opinion.mood == "complaint" for opinion in opinions)
    lines = [f"# {len(opinions)} reviews, {complaints} of them complaints", ""]
    for review, opinion in zip(reviews, opinions, strict=True):
        lines.append(f"- {opinion.topic} ({opinion.mood}): {review.text}")
    return Report(text="\n".join(lines))
