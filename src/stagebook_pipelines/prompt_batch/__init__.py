"""Extract prompts from archives, send them to a model, store the answers and evaluate them.

The pipeline is `stagebook run prompt-batch`. Its operations are here one by one, each imported when it is first used:

```python
from stagebook_pipelines.prompt_batch import execute_batch, extract_prompts, store_results
```
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagebook_pipelines.prompt_batch.archives.extraction import extract_prompts
    from stagebook_pipelines.prompt_batch.archives.models import ArchiveFile, ExtractedPrompt, Extraction, FileError
    from stagebook_pipelines.prompt_batch.archives.reading import read_prompts
    from stagebook_pipelines.prompt_batch.archives.sources import list_archives
    from stagebook_pipelines.prompt_batch.endpoint import RequestOptions
    from stagebook_pipelines.prompt_batch.evaluation.evaluating import evaluate
    from stagebook_pipelines.prompt_batch.evaluation.models import Evaluation
    from stagebook_pipelines.prompt_batch.executing import execute_batch, run_pipeline
    from stagebook_pipelines.prompt_batch.models import Batch, Summary
    from stagebook_pipelines.prompt_batch.results import BatchResult, Response, ResponseMetadata, Stored
    from stagebook_pipelines.prompt_batch.storing.store import StoreError
    from stagebook_pipelines.prompt_batch.storing.store_results import store_results

__all__ = [
    "ArchiveFile",
    "Batch",
    "BatchResult",
    "Evaluation",
    "ExtractedPrompt",
    "Extraction",
    "FileError",
    "RequestOptions",
    "Response",
    "ResponseMetadata",
    "StoreError",
    "Stored",
    "Summary",
    "evaluate",
    "execute_batch",
    "extract_prompts",
    "list_archives",
    "read_prompts",
    "run_pipeline",
    "store_results",
]

_PLACES = {
    "ArchiveFile": "archives.models",
    "Batch": "models",
    "BatchResult": "results",
    "Evaluation": "evaluation.models",
    "ExtractedPrompt": "archives.models",
    "Extraction": "archives.models",
    "FileError": "archives.models",
    "RequestOptions": "endpoint",
    "Response": "results",
    "ResponseMetadata": "results",
    "StoreError": "storing.store",
    "Stored": "results",
    "Summary": "models",
    "evaluate": "evaluation.evaluating",
    "execute_batch": "executing",
    "extract_prompts": "archives.extraction",
    "list_archives": "archives.sources",
    "read_prompts": "archives.reading",
    "run_pipeline": "executing",
    "store_results": "storing.store_results",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  one operation need not import what the others do

    value = getattr(import_module(f"{__name__}.{place}"), name)
    globals()[name] = value
    return value
