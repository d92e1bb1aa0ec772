"""A gazetteer of invented regions: a small pipeline with everything in it that a crash can hurt.

Items that are yielded while others are at work, a chain of prompts on each, a check that sends the first answer back,
items below items, a gather, plain text, a page fetched, turns of a conversation in a stage that trips between them, and
one request sent three times on purpose.
"""

import asyncio
import random
import time
from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BaseModel

from stagebook import Children, Complaint, Door, Key, Llm, Pipeline, Skip, Text

PAUSE = 0.002
"""Seconds between two regions, so that a kill can fall between them."""


class Commission(BaseModel):
    """What is asked for."""

    regions: int
    places: int
    """In each region."""
    server: str
    """Where the list of models is fetched from, as a page from outside; empty: no page is fetched."""
    appendix: int = 0
    """Thousands of characters that the preface is asked with and that no compression makes smaller than half."""


class Region(BaseModel):
    name: Annotated[str, Key]
    notes: str


class Portrait(BaseModel):
    climate: str
    trade: str


class Ruling(BaseModel):
    rank: Literal["unknown", "minor", "major"]
    reason: str


class Place(BaseModel):
    name: Annotated[str, Key]
    ruined: bool


class Entry(BaseModel):
    gloss: Text


class Chapter(BaseModel):
    region: str
    glosses: list[str]


class Index(BaseModel):
    trades: list[str]
    ranks: list[str]
    glosses: list[str]


class Preface(BaseModel):
    words: Text


class Consultation(BaseModel):
    page: str
    opinion: str
    second_opinion: str


class Titles(BaseModel):
    proposed: list[str]


class Gazetteer(BaseModel):
    preface: str
    chapters: list[Chapter]
    opinion: str
    titles: list[str]


pipeline = Pipeline("gazetteer", input=Commission, model="openai:gpt-4.1-mini")
survey = pipeline.phase("survey")
printing = pipeline.phase("printing")


@survey.stage()
def regions(commission: Commission) -> Iterator[Region]:
    for number in range(1, commission.regions + 1):
        time.sleep(PAUSE)
        yield Region(name=f"region-{number}", notes=f"Surveyed on foot, sheet {number}. " * 30)


@survey.prompt(each=Region, returns=Portrait, text="Describe {{ region.name }}.\n{{ region.notes }}")
def portrait(region: Region) -> None: ...


@survey.prompt(
    each=Region,
    returns=Ruling,
    tries=6,
    text="Rank {{ region.name }}, whose climate is {{ portrait.climate }} and whose trade is {{ portrait.trade }}.",
)
def ruling(region: Region, portrait: Portrait) -> None: ...


@ruling.check
def rank_is_known(ruling: Ruling) -> None:
    if ruling.rank == "unknown":
        raise Complaint("The rank must be minor or major.")


@survey.stage(each=Region)
def places(region: Region, commission: Commission) -> Iterator[Place]:
    for number in range(1, commission.places + 1):
        yield Place(name=f"place-{number}", ruined=region.name == "region-1" and number == 1)


@survey.prompt(each=Place, returns=Entry, text="Gloss {{ place.name }} in {{ region.name }}.")
def entry(place: Place, region: Region) -> Skip | None:
    return Skip("nothing is left of it") if place.ruined else None


@survey.stage(each=Region)
def chapter(region: Region, entries: Children[Entry]) -> Chapter:
    return Chapter(region=region.name, glosses=[one.gloss for one in entries])


@printing.stage()
def index(portraits: list[Portrait], rulings: list[Ruling], entries: list[Entry]) -> Index:
    return Index(
        trades=[one.trade for one in portraits],
        ranks=[f"{one.rank}: {one.reason}" for one in rulings],
        glosses=[one.gloss for one in entries],
    )


@printing.prompt(
    returns=Preface, text="Write a preface to this index:\n{{ index.glosses | join('\n') }}\n{{ appendix }}"
)
def preface(index: Index, commission: Commission) -> dict[str, str]:
    return {"appendix": random.Random(1).randbytes(commission.appendix * 500).hex()}


tripped: list[bool] = []
"""Whether this process has tripped."""


@printing.stage(model="openai:gpt-4.1-mini", attempts=2)
async def consultation(index: Index, commission: Commission, door: Door, llm: Llm) -> Consultation:
    page = (await door.get(f"{commission.server}/v1/models")).body.decode() if commission.server else "none"
    opinion = await llm.ask(f"Judge these trades: {', '.join(index.trades)}; and these models: {page}")
    if not tripped:  # once in every process: what was answered before is not paid again by the second attempt
        tripped.append(True)
        raise RuntimeError("tripped")
    second_opinion = await llm.ask(f"Judge this judgement: {opinion}")
    return Consultation(page=page, opinion=opinion, second_opinion=second_opinion)


@printing.stage(model="openai:gpt-4.1-mini")
async def titles(index: Index, llm: Llm) -> Titles:
    question = f"Propose a title for a gazetteer of {len(index.trades)} regions."
    return Titles(proposed=await asyncio.gather(*(llm.ask(question) for _ in range(3))))


@printing.stage()
def gazetteer(preface: Preface, chapters: list[Chapter], consultation: Consultation, titles: Titles) -> Gazetteer:
    return Gazetteer(
        preface=preface.words, chapters=chapters, opinion=consultation.second_opinion, titles=titles.proposed
    )
