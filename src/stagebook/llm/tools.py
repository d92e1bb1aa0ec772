"""Python functions that a model may call: their schemas, and each call as an exchange of its own."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import to_json

from stagebook.door.door import OutwardDoor
from stagebook.door.journal import Journal
from stagebook.llm.reading import problems
from stagebook.model.errors import Complaint, InputError, RequestRefused
from stagebook.model.exchange import Request, Response
from stagebook.model.prompt import Message, ToolCall, ToolSpec

FAILED = 500
"""Status under which a tool's own error is recorded; it is no answer, so the tool runs again on resume."""


class Tool:
    """One function, typed: its parameters are the schema, its docstring tells the model when to call it.

    Args:
        function: Ordinary or async. What it returns is shown as it is (text) or as JSON. It may raise Complaint to tell
            the model what was wrong with the call; any other error is the stage's.

    Raises:
        InputError: A parameter has no annotation, or one that has no JSON form.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.name = function.__name__
        unnamed = [one.name for one in inspect.signature(function).parameters.values() if one.annotation is one.empty]
        if unnamed:
            raise InputError(f"the tool {self.name} has no annotation on {unnamed[0]!r}; a model is told its type")

        @functools.wraps(function)
        def gathered(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return args, kwargs

        try:
            self._arguments: TypeAdapter[Any] = TypeAdapter(cast("Any", gathered))
            schema = self._arguments.json_schema()
        except (PydanticUserError, NameError) as error:
            raise InputError(f"the tool {self.name} cannot be described to a model: {error}") from error
        if schema.get("type") != "object":
            raise InputError(f"the tool {self.name} takes positional arguments; a model gives them by name")
        self.spec = ToolSpec(self.name, inspect.getdoc(function) or "", orjson.dumps(schema))

    async def run(self, arguments: bytes) -> str:
        """Call it.

        Args:
            arguments: JSON object, as the model wrote it.

        Returns:
            What the model is told: the result, or why there is none.
        """
        try:
            args, kwargs = self._arguments.validate_json(arguments or b"{}")
        except ValidationError as error:
            return f"error: the arguments cannot be used:\n{problems(error)}"
        try:
            if inspect.iscoroutinefunction(self.function):
                result = await self.function(*args, **kwargs)
            else:
                result = await asyncio.to_thread(self.function, *args, **kwargs)
        except Complaint as complaint:
            return f"error: {complaint}"
        return result if isinstance(result, str) else to_json(result).decode()


class Toolbox:
    """The tools of one question.

    Args:
        functions: The tools.
        most_turns: Answers that may call tools; one more is refused.

    Raises:
        InputError: A function cannot be a tool, or two have one name.
    """

    def __init__(self, functions: Sequence[Callable[..., Any]] = (), most_turns: int = 0) -> None:
        self._tools = {tool.name: tool for tool in map(Tool, functions)}
        if len(self._tools) < len(functions):
            raise InputError("two tools have one name; rename one")
        self.most_turns = most_turns

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is told of them."""
        return tuple(tool.spec for tool in self._tools.values())

    async def answer(self, calls: Sequence[ToolCall], door: OutwardDoor, journal: Journal) -> tuple[Message, ...]:
        """Do what a model asked for, one call after the other; each is recorded, and given again on resume.

        Raises:
            Exception: Whatever a tool raises.
        """
        return tuple([Message("tool", (await self._one(call, door, journal),), call_id=call.id) for call in calls])

    async def _one(self, call: ToolCall, door: OutwardDoor, journal: Journal) -> str:
        tool = self._tools.get(call.name)
        if tool is None:
            return f"error: there is no tool {call.name!r}; there are: {', '.join(self._tools)}"
        running = _Running(tool)
        request = Request("CALL", f"tool:{call.name}", (call.arguments.encode(),), kind="tool")
        try:
            sent = await door.send(request, journal, explain=_as_refusal, transport=running)
        except RequestRefused:
            if running.error is None:
                raise
            raise running.error from None
        return sent.response.body.decode()


class _Running:
    """A tool as a transport, so that the door journals its calls like any others."""

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self.error: Exception | None = None

    async def send(self, request: Request, headers: Mapping[str, str]) -> Response:  # noqa: ARG002  there are none to send
        """Call the function."""
        try:
            text = await self._tool.run(request.body)
        except Exception as error:  # noqa: BLE001  kept, and raised again once it is recorded
            self.error = error
            return Response(FAILED, {}, f"{type(error).__name__}: {error}".encode())
        return Response(200, {"content-type": "text/plain; charset=utf-8"}, text.encode())

    async def close(self) -> None:
        """Nothing is held."""


def _as_refusal(response: Response) -> RequestRefused:
    """Keep the door from trying again: what a function raised is its stage's failure."""
    return RequestRefused(response.body.decode(), status=response.status)
