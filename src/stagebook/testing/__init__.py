"""What tests of pipelines use: a fake provider, in this process or in one of its own, that keeps its own bill.

```python
from stagebook.testing import ProviderProcess, Rule, Script
```
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stagebook.testing.provider import FakeProvider
    from stagebook.testing.provider_process import ProviderProcess
    from stagebook.testing.provider_script import Rule, Script, ScriptedCall

__all__ = ["FakeProvider", "ProviderProcess", "Rule", "Script", "ScriptedCall"]

_PLACES = {
    "FakeProvider": "stagebook.testing.provider",
    "ProviderProcess": "stagebook.testing.provider_process",
    "Rule": "stagebook.testing.provider_script",
    "Script": "stagebook.testing.provider_script",
    "ScriptedCall": "stagebook.testing.provider_script",
}


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: `python -m stagebook.testing.provider` must find nothing imported."""
    if name not in _PLACES:
        raise AttributeError(f"module 'stagebook.testing' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  as above

    return getattr(import_module(_PLACES[name]), name)
