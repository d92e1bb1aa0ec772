"""The local model as a transport: the door journals it like any other provider."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import orjson

from stagebook.model.exchange import Request, Response

if TYPE_CHECKING:
    from stagebook.llm.local import LocalModel


class LocalTransport:
    """Answers requests whose provider is `local` in this process; a model is loaded when it is first asked.

    Args:
        on_tokens: Told how many tokens of the answer are written so far.
    """

    def __init__(self, on_tokens: Callable[[int], None] | None = None) -> None:
        self._on_tokens = on_tokens
        self._models: dict[str, LocalModel] = {}

    async def send(self, request: Request, headers: Mapping[str, str]) -> Response:  # noqa: ARG002  there are none to send
        """Answer one request."""
        name = request.model or ""
        model = self._models.get(name)
        if model is None:
            from stagebook.llm.local import LocalModel  # noqa: PLC0415  only runs that ask it load what it needs

            model = self._models[name] = LocalModel(name)
        body = await model.complete(request.body, on_tokens=self._on_tokens)
        status = 400 if "error" in orjson.loads(body) else 200
        return Response(status, {"content-type": "application/json"}, body)

    async def close(self) -> None:
        """Unload every model."""
        for model in self._models.values():
            await model.close()
        self._models.clear()
