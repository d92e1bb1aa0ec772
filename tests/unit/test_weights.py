"""Where the weights of local models are looked for."""

from pathlib import Path

import pytest

from stagebook.llm.weights import MODELS, Weights, find_weights, known, locate, model_folder
from stagebook.model.errors import ModelNotInstalled, NotFound

ABSENT = Weights("gone", "stagebook-no-such-distribution", "1", "", "gone/gone.gguf", "", 0, 1024)


def test_an_unknown_local_model_is_not_found_and_the_known_ones_are_named() -> None:
    with pytest.raises(NotFound, match="local:smollm2"):
        known("llama")


def test_fetched_weights_are_found_in_the_model_folder(tmp_path: Path) -> None:
    fetched = tmp_path / MODELS["smollm2"].file_name
    fetched.write_bytes(b"GGUF")
    assert find_weights("smollm2", {"STAGEBOOK_MODELS": str(tmp_path)}) == fetched


def test_weights_are_found_inside_an_installed_distribution(tmp_path: Path) -> None:
    found = find_weights("smollm2", {"STAGEBOOK_MODELS": str(tmp_path)})
    assert found.stat().st_size == MODELS["smollm2"].size


def test_weights_that_are_nowhere_are_none(tmp_path: Path) -> None:
    assert locate(ABSENT, tmp_path) is None


def test_missing_weights_say_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(ModelNotInstalled, match="stagebook models get smollm2"):
        find_weights("smollm2", {"STAGEBOOK_MODELS": str(tmp_path)})


def test_fetched_weights_live_in_the_user_s_data_folder() -> None:
    assert model_folder({"XDG_DATA_HOME": "/data"}) == Path("/data/stagebook/models")
    assert model_folder({}) == Path("~/.local/share/stagebook/models").expanduser()
