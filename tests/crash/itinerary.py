"""A short journey with every way to ask in it: a job with a picture, a stage whose model calls a tool, a stand-in."""

from pathlib import Path

from pydantic import BaseModel

from stagebook import Complaint, Image, Llm, Pipeline

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4


class Journey(BaseModel):
    town: str
    visits: str
    """File in which the tool leaves a line when it runs."""


class View(BaseModel):
    picture: Image


class Sight(BaseModel):
    name: str
    age: int


class Stay(BaseModel):
    hotel: str


class Verdict(BaseModel):
    word: str


journey = Pipeline("journey", input=Journey, model="openai-background:gpt-4.1-mini")


@journey.stage()
def view(journey: Journey) -> View:
    return View(picture=Image.from_bytes(PICTURE))


@journey.prompt(text="What stands in {{ journey.town }}?\n{{ view.picture }}", returns=Sight)
def sight(journey: Journey, view: View) -> None: ...


@journey.stage(model="anthropic:claude-haiku-4-5")
async def stay(journey: Journey, sight: Sight, llm: Llm) -> Stay:
    def vacancies(hotel: str) -> int:
        """Count the free rooms of a hotel."""
        with Path(journey.visits).open("a") as file:
            file.write(f"{hotel}\n")
        return len(hotel)

    return await llm.ask_for(Stay, f"Find a bed near {sight.name}.", tools=[vacancies])


@journey.prompt(
    model="openai:gpt-4.1-nano|openai-responses:gpt-4.1-mini",
    text="Judge {{ sight.name }} and {{ stay.hotel }}.",
    returns=Verdict,
)
def verdict(sight: Sight, stay: Stay) -> None: ...


@verdict.check
def is_a_verdict(verdict: Verdict) -> None:
    if verdict.word == "perhaps":
        raise Complaint("yes or no")
