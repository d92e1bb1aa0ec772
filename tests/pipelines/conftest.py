import importlib.util
import json
import uuid
from pathlib import Path
from types import ModuleType
from typing import Any

import psycopg
import pytest

from stagebook.testing.postgres_process import PostgresProcess

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


@pytest.fixture
def database(postgres_server: PostgresProcess) -> str:
    """Address of an empty database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_server.address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return postgres_server.address.removesuffix("postgres") + name
