"""Every stage has a view with a column per field of its output, and one with a row per element of each list in it."""

# ruff: noqa: S608  names of views
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, Field, RootModel

from stagebook.ledger.sql.typed_views import NAME_MOST
from stagebook.ledger.store import Ledger
from stagebook.model.errors import InputError
from stagebook.model.records import NewRun


class Quote(BaseModel):
    """One quote."""

    speaker: str
    words: int
    tags: list[str]


class Quotes(BaseModel):
    """What is quoted."""

    title: str | None
    quotes: list[Quote]
    topics: list[str] | None
    first: Quote
    sure: bool


class Hostile(BaseModel):
    """Names that want quoting."""

    select: int = Field(alias='se"lect; --')
    slash: list[int] = Field(alias="back\\slash")
    apostrophe: str = Field(alias="it's")
    at: str = Field(alias="_AT")
    run: str = Field(alias="_run_id")
    empty: int = Field(alias="")
    upper: int = Field(alias="Same")
    lower: int = Field(alias="same")


GIVEN = {
    "title": "T",
    "quotes": [{"speaker": "Ada", "words": 3, "tags": ["a"]}, {"speaker": "Bob", "words": 1, "tags": []}],
    "topics": ["x", "y"],
    "first": {"speaker": "Ada", "words": 3, "tags": []},
    "sure": True,
}


def declared(model: type[BaseModel], stage: str = "quote-extraction", name: str = "episode-content") -> bytes:
    schema = model.model_json_schema(mode="serialization")
    return orjson.dumps({"name": name, "stages": [{"name": stage, "schema": schema}]})


@pytest.fixture
def make(ledger: Ledger, begin: Callable[..., Any]) -> Callable[..., Any]:
    async def made(definition: bytes, data: object, stage: str = "quote-extraction") -> Any:
        drive = await begin(ledger, definition=definition)
        await drive.step(stage, data=data)
        return drive

    return made


@pytest.fixture
def new_run() -> Callable[..., Any]:
    """As everywhere, under the name that the definition says."""

    def run(given: bytes = b"{}", **changes: Any) -> NewRun:
        name = orjson.loads(changes["definition"])["name"]
        return NewRun(pipeline=name, input=given, source="book.py:scan", settings=b"{}", **changes)

    return run


async def asked(ledger: Ledger, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in (await ledger.query(sql)).rows]


async def test_a_column_per_field_and_a_row_per_element(make: Any, ledger: Ledger) -> None:
    drive = await make(declared(Quotes), GIVEN)
    table = await ledger.query("SELECT * FROM episode_content__quote_extraction")
    ours = ("_run_id", "_item", "_version", "_output", "_made_by", "_at")
    assert table.columns == (*ours, "title", "quotes", "topics", "first", "sure")
    [row] = table.rows
    assert row[0] == drive.run.run_id
    assert (row[6], row[8], row[10]) == ("T", '["x","y"]', 1)
    quotes = "SELECT _run_id, _index, speaker, words, tags FROM EPISODE_CONTENT__QUOTE_EXTRACTION__QUOTES ORDER BY 2"
    run_id = drive.run.run_id
    assert await asked(ledger, quotes) == [(run_id, 0, "Ada", 3, '["a"]'), (run_id, 1, "Bob", 1, "[]")]
    topics = "SELECT _index, value FROM episode_content__quote_extraction__topics"
    assert await asked(ledger, topics) == [(0, "x"), (1, "y")]


async def test_only_what_is_live_is_seen_and_only_of_its_own_pipeline(make: Any, ledger: Ledger) -> None:
    drive = await make(declared(Quotes), GIVEN)
    await make(declared(Quotes, name="other"), GIVEN | {"title": "of another"})
    await ledger.write(drive.made("quote-extraction", data=GIVEN | {"title": "second", "topics": None}, by="hand"))
    view = "episode_content__quote_extraction"
    assert await asked(ledger, f"SELECT title, _version, _made_by FROM {view}") == [("second", 2, "hand")]
    assert await asked(ledger, f"SELECT count(*) FROM {view}__topics") == [(0,)]
    await ledger.write(drive.removed("quote-extraction"))
    assert await asked(ledger, f"SELECT count(*) FROM {view}") == [(0,)]


async def test_hostile_names_are_quoted_and_read(make: Any, ledger: Ledger) -> None:
    given = {
        'se"lect; --': 7,
        "back\\slash": [5],
        "it's": "ok",
        "_AT": "mine",
        "_run_id": "theirs",
        "": 9,
        "Same": 1,
        "same": 2,
    }
    await make(declared(Hostile, stage="x"), given, "x")
    table = await ledger.query("SELECT * FROM episode_content__x")
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert len(row) == len(table.columns) == 6 + len(given)
    assert (row['se"lect; --'], row["back\\slash"], row["it's"], row["_"]) == (7, "[5]", "ok", 9)
    assert [row[name] for name in row if name.lower().startswith("_at_")] == ["mine"]
    assert [row[name] for name in row if name.startswith("_run_id_")] == ["theirs"]
    assert (row["Same"], [row[name] for name in row if name.startswith("same_")]) == (1, [2])
    assert await asked(ledger, "SELECT _index, value FROM episode_content__x__back_slash") == [(0, 5)]


async def test_fields_of_every_version_of_a_pipeline_are_there(make: Any, ledger: Ledger) -> None:
    class Now(BaseModel):
        title: str
        added: list[int]

    await make(declared(Quotes), GIVEN)
    await make(declared(Now), {"title": "later", "added": [4]})
    rows = await asked(ledger, "SELECT title, added, sure FROM episode_content__quote_extraction ORDER BY _output")
    assert rows == [("T", None, 1), ("later", "[4]", None)]
    assert await asked(ledger, "SELECT count(*) FROM episode_content__quote_extraction__quotes") == [(2,)]
    assert await asked(ledger, "SELECT value FROM episode_content__quote_extraction__added") == [(4,)]


async def test_a_long_name_is_cut_and_told_apart_by_a_hash(make: Any, ledger: Ledger) -> None:
    stages = [f"{'very-' * 12}long-{end}" for end in ("a", "b")]
    for number, stage in enumerate(stages):
        await make(declared(Quotes, stage=stage), GIVEN | {"title": str(number)}, stage)
    views = [view.name for view in await ledger.upkeep.typed_views()]
    assert len(set(views)) == len(views) == 6
    assert max(len(name.encode()) for name in views) <= NAME_MOST
    titles = [await asked(ledger, f"SELECT title FROM {name}") for name in views if name in (views[0], views[3])]
    assert titles == [[("0",)], [("1",)]]
    assert await asked(ledger, f"SELECT speaker FROM {views[1]} WHERE _index = 1") == [("Bob",)]


async def test_an_output_that_is_no_object_has_a_column_value(make: Any, ledger: Ledger) -> None:
    await make(declared(RootModel[list[int | Quote]], stage="x"), [1, GIVEN["first"]], "x")
    assert await asked(ledger, "SELECT value FROM episode_content__x") == [
        (orjson.dumps([1, GIVEN["first"]]).decode(),)
    ]
    rows = await asked(ledger, "SELECT _index, speaker, value FROM episode_content__x__value")
    assert rows == [(0, None, 1), (1, "Ada", None)]


@pytest.mark.parametrize("schema", [{"$ref": "#/$defs/None"}, {"properties": 3}, "odd", {"$ref": "#"}, {"anyOf": [{}]}])
async def test_a_bad_schema_spoils_no_question(make: Any, ledger: Ledger, schema: object) -> None:
    stages = [{"name": "bad", "schema": schema}, {"name": "good", "schema": Quotes.model_json_schema()}]
    await make(orjson.dumps({"name": "p", "stages": stages}), GIVEN, "good")
    assert await asked(ledger, "SELECT title FROM p__good WHERE 'p__bad' <> ''") == [("T",)]


async def test_a_view_that_is_not_there_is_told_with_the_nearest(make: Any, ledger: Ledger) -> None:
    await make(declared(Quotes), GIVEN)
    with pytest.raises(InputError, match=r"the nearest: episode_content__quote_extraction"):
        await ledger.query("SELECT * FROM episode_content__quotes_extraction")


async def test_installed_views_are_there_for_other_clients_and_made_anew(
    file_ledger: Ledger, begin: Callable[..., Any], tmp_path: Path
) -> None:
    drive = await begin(file_ledger, definition=declared(Quotes))
    await drive.step("quote-extraction", data=GIVEN)
    names = {view.name for view in await file_ledger.upkeep.install_views()}
    await file_ledger.upkeep.install_views()
    other = sqlite3.connect(tmp_path / "ledger.db")
    found = other.execute("SELECT name FROM sqlite_master WHERE type = 'view' AND name LIKE '%\\_\\_%' ESCAPE '\\'")
    assert {name for (name,) in found} == names
    assert other.execute("SELECT speaker FROM episode_content__quote_extraction__quotes").fetchall() == [
        ("Ada",),
        ("Bob",),
    ]
    other.close()
    assert await asked(file_ledger, "SELECT title FROM episode_content__quote_extraction") == [("T",)]
