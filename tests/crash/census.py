"""Counts villages: every one is asked about at once, one answer is complained about, and the sum is asked for live."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel

from stagebook import Complaint, Key, Pipeline


class Country(BaseModel):
    villages: int
    model: str = "openai:gpt-4.1-mini"


class Village(BaseModel):
    number: Annotated[int, Key]


class Count(BaseModel):
    heads: int


class Total(BaseModel):
    words: str


census = Pipeline("census", input=Country, model="openai:gpt-4.1-mini")


@census.stage()
def villages(country: Country) -> Iterator[Village]:
    for number in range(1, country.villages + 1):
        yield Village(number=number)


@census.prompt(each=Village, returns=Count, text="How many live in village {{ village.number }}?")
def count(village: Village) -> None: ...


@count.check
def somebody_lives_there(count: Count) -> None:
    if count.heads < 0:
        raise Complaint("fewer than nobody cannot live there")


@census.prompt(returns=Total, text="Add {% for one in counts %}{{ one.heads }} {% endfor %}up.")
def total(counts: list[Count]) -> None: ...
