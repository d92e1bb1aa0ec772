"""Extract prompts from archives, send them to a model, store and evaluate the answers.

What the package exports is imported when it is first asked for.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagebook_pipelines.prompt_batch.archives.extraction import extract_prompts
    from stagebook_pipelines.prompt_batch.archives.models import ArchiveFile, ExtractedPrompt, Extraction, FileError
    from stagebook_pipelines.prompt_batch.archives.reading import read_prompts
    from stagebook_pipelines.prompt_batch.archives.sources import list_archives

__all__ = [
    "ArchiveFile",
    "ExtractedPrompt",
    "Extraction",
    "FileError",
    "extract_prompts",
    "list_archives",
    "read_prompts",
]

_ARCHIVES = "stagebook_pipelines.prompt_batch.archives"
_PLACES = {
    "ArchiveFile": f"{_ARCHIVES}.models",
    "ExtractedPrompt": f"{_ARCHIVES}.models",
    "Extraction": f"{_ARCHIVES}.models",
    "FileError": f"{_ARCHIVES}.models",
    "extract_prompts": f"{_ARCHIVES}.extraction",
    "list_archives": f"{_ARCHIVES}.sources",
    "read_prompts": f"{_ARCHIVES}.reading",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  importing the package costs nothing

    value = getattr(import_module(place), name)
    globals()[name] = value
    return value
