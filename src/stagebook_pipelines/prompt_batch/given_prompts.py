"""Prompts that are given from Python, laid down in a file, so that a run that is resumed finds them again.

They do not stand in the run's input: they may be many, and what looks like a key in one of them is no reason to refuse
them all. The file is named by its content, so that the same call made again is known as the same.
"""

import hashlib
import os
import secrets
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import ValidationError

from stagebook_pipelines.prompt_batch.archives.models import ExtractedPrompt
from stagebook_pipelines.prompt_batch.archives.seen import SeenKeys
from stagebook_pipelines.prompt_batch.problem import BatchError
from stagebook_pipelines.prompt_batch.whole_text import whole

INLINE: Final = "prompts"
"""What stands for a file where the prompts are given themselves."""
_LEDGER: Final = "STAGEBOOK_LEDGER"
_SQLITE: Final = "sqlite:///"


def read_given(prompts: Iterable[Any]) -> list[ExtractedPrompt]:
    """Read prompts as they are given: texts, or what `extract_prompts` found.

    Raises:
        BatchError: They are of another type.
    """
    if isinstance(prompts, str | bytes):
        raise BatchError(f"prompts is one {type(prompts).__name__}, not a list; write prompts=[...]")
    given = getattr(prompts, "prompts", prompts)  # an Extraction holds them
    if not isinstance(given, Iterable):
        raise BatchError(f"prompts is a list of texts or of extracted prompts, not {type(prompts).__name__}")
    return list(keyed(_read(one, index) for index, one in enumerate(given)))


def keyed(prompts: Iterable[ExtractedPrompt]) -> Generator[ExtractedPrompt]:
    """Give prompts their keys, no two the same."""
    seen = SeenKeys()
    for one in prompts:
        digest = hashlib.sha256(one.text.encode()).hexdigest()[:16]
        times = seen.count(int(digest, 16))
        yield one.model_copy(update={"key": digest if times == 1 else f"{digest}.{times}"})


def lay_down(prompts: Iterable[ExtractedPrompt], ledger: str | Path | None) -> Path:
    """Write prompts into a file beside the ledger; for one on a server, below `.stagebook` in the current folder.

    Raises:
        BatchError: It cannot be written.
    """
    body = b"".join(orjson.dumps(one.model_dump(exclude_defaults=True)) + b"\n" for one in prompts)
    path = _folder(ledger) / f"{hashlib.sha256(body).hexdigest()[:32]}.jsonl"
    whole_file = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not path.exists():
            with os.fdopen(os.open(whole_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            whole_file.replace(path)
    except OSError as error:
        raise BatchError(f"the prompts cannot be laid down in {path.parent}: {error.strerror or error}") from None
    return path


def laid_down(path: Path) -> Generator[ExtractedPrompt]:
    """Read the prompts of a file that `lay_down` wrote.

    Raises:
        BatchError: It is gone, or is none.
    """
    try:
        with path.open("rb") as file:
            for line in file:
                yield ExtractedPrompt.model_validate_json(line)
    except OSError as error:
        raise BatchError(f"the file of prompts {path} cannot be read: {error.strerror or error}") from None
    except ValidationError:
        raise BatchError(f"{path} is no file of prompts as the library lays them down") from None


def _read(given: Any, index: int) -> ExtractedPrompt:
    if isinstance(given, ExtractedPrompt):
        return ExtractedPrompt.model_validate(_whole(given.model_dump()))
    if isinstance(given, str):
        return ExtractedPrompt(key="", text=whole(given), file=INLINE, index=index)
    raise BatchError(
        f"the prompt at index {index} is {type(given).__name__}; give a text, or what extract_prompts found"
    )


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return {name: _whole(one) for name, one in value.items()} if isinstance(value, dict) else value


def _folder(ledger: str | Path | None) -> Path:
    named = str(ledger) if ledger is not None else os.environ.get(_LEDGER, "")
    named = named.removeprefix(_SQLITE)
    if not named or "://" in named:
        named = ".stagebook/ledger.db"
    return Path(named).expanduser().absolute().parent / "prompts"
