"""Runs pipelines of language-model stages and writes everything down, so that nothing finished is ever paid for twice.

```python
from stagebook import Pipeline, Text
```

What a pipeline is declared with is imported when it is first asked for: `import stagebook` alone costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagebook.definition.graph import Graph
    from stagebook.definition.handle import StageHandle
    from stagebook.definition.markers import Children, From, Item, Key, Rows, Skip, Text
    from stagebook.definition.pipeline import Phase, Pipeline
    from stagebook.engine.api import aresume, arun, resume, run
    from stagebook.engine.result import RunResult
    from stagebook.llm.endpoint import Endpoint
    from stagebook.model.errors import Complaint, DefinitionError, RunFailed, RunInterrupted, RunPaused, StagebookError
    from stagebook.model.image import Image
    from stagebook.model.ports import Door, Llm, Warn
    from stagebook.model.told import Call, Outcome

__all__ = [
    "Call",
    "Children",
    "Complaint",
    "DefinitionError",
    "Door",
    "Endpoint",
    "From",
    "Graph",
    "Image",
    "Item",
    "Key",
    "Llm",
    "Outcome",
    "Phase",
    "Pipeline",
    "Rows",
    "RunFailed",
    "RunInterrupted",
    "RunPaused",
    "RunResult",
    "Skip",
    "StageHandle",
    "StagebookError",
    "Text",
    "Warn",
    "aresume",
    "arun",
    "resume",
    "run",
]

_PLACES = {
    "Call": "stagebook.model.told",
    "Children": "stagebook.definition.markers",
    "Complaint": "stagebook.model.errors",
    "DefinitionError": "stagebook.model.errors",
    "Door": "stagebook.model.ports",
    "Endpoint": "stagebook.llm.endpoint",
    "From": "stagebook.definition.markers",
    "Graph": "stagebook.definition.graph",
    "Image": "stagebook.model.image",
    "Item": "stagebook.definition.markers",
    "Key": "stagebook.definition.markers",
    "Llm": "stagebook.model.ports",
    "Outcome": "stagebook.model.told",
    "Phase": "stagebook.definition.pipeline",
    "Pipeline": "stagebook.definition.pipeline",
    "Rows": "stagebook.definition.markers",
    "RunFailed": "stagebook.model.errors",
    "RunInterrupted": "stagebook.model.errors",
    "RunPaused": "stagebook.model.errors",
    "RunResult": "stagebook.engine.result",
    "Skip": "stagebook.definition.markers",
    "StageHandle": "stagebook.definition.handle",
    "StagebookError": "stagebook.model.errors",
    "Text": "stagebook.definition.markers",
    "Warn": "stagebook.model.ports",
    "aresume": "stagebook.engine.api",
    "arun": "stagebook.engine.api",
    "resume": "stagebook.engine.api",
    "run": "stagebook.engine.api",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'stagebook' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  `import stagebook` imports nothing

    value = getattr(import_module(place), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
