"""Definitions as rows."""

import orjson
import pytest

from stagebook.ledger.sql.stage_rows import stage_rows

NAME, LABEL, KEY = 0, 1, -1


def keys(*stages: dict[str, object]) -> list[str]:
    return [row[KEY] for row in stage_rows(orjson.dumps({"stages": stages}))]


def test_a_stage_without_a_label_is_called_by_its_name() -> None:
    ((name, label, *_),) = stage_rows(b'{"stages":[{"name":"label-page"}]}')
    assert (name, label) == ("label-page", "label-page")


def test_a_label_that_two_stages_share_is_told_apart_by_their_names() -> None:
    stages = ({"name": "a", "label": "5_WRITE"}, {"name": "b", "label": "5_WRITE"}, {"name": "c", "label": "6"})
    assert keys(*stages) == ["5_WRITE_a", "5_WRITE_b", "6"]


def test_a_mapped_stages_key_is_never_the_beginning_of_another() -> None:
    found = keys({"name": "5A", "axis": ["pages"]}, {"name": "5A_ENRICH"})
    assert found == ["5A_", "5A_ENRICH"]
    assert keys({"name": "5A"}, {"name": "5A_ENRICH"}) == ["5A", "5A_ENRICH"]


@pytest.mark.parametrize("definition", [b"{}", b"[]", b'{"stages":[]}', b"null"])
def test_a_definition_without_stages_has_no_rows(definition: bytes) -> None:
    assert stage_rows(definition) == []
