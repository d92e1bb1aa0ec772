"""The door as a stage sees it: recorded HTTP for one step."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson

from stagebook.door.door import OutwardDoor
from stagebook.door.journal import Journal
from stagebook.door.recognised import Recognise, unrecognised
from stagebook.door.secrets import refuse_literals
from stagebook.model.errors import SecretInInput, UsageError
from stagebook.model.exchange import Request, Response

if TYPE_CHECKING:
    import httpx2

SCRAPING = "http"
"""The transport that refuses private addresses."""


class StageDoor:
    """Implements `stagebook.Door` for one step.

    Args:
        door: The way out.
        journal: The step that goes out.
        recognise: Says which requests of an SDK ask a model, and what their answers cost.
    """

    __slots__ = ("_door", "_journal", "_recognise")

    def __init__(self, door: OutwardDoor, journal: Journal, recognise: Recognise = unrecognised) -> None:
        self._door = door
        self._journal = journal
        self._recognise = recognise

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Response:
        """Fetch an address; see `stagebook.Door.get`."""
        return await self._send("GET", url, (), headers or {})

    async def post(
        self, url: str, *, json: object, headers: Mapping[str, str] | None = None, named: bool = False
    ) -> Response:
        """Send a JSON document; see `stagebook.Door.post`."""
        merged = {"content-type": "application/json", **(headers or {})}
        return await self._send("POST", url, (orjson.dumps(json),), merged, named=named)

    def httpx2_client(self, **options: Any) -> "httpx2.AsyncClient":
        """Make a client for an SDK; see `stagebook.Door.httpx2_client`."""
        try:
            from stagebook.door.httpx2_transport import client  # noqa: PLC0415  0.2 s to import, and an extra
        except ModuleNotFoundError as error:
            raise UsageError(
                f"door.httpx2_client() needs the package {error.name}, which is not installed;"
                " install it with: pip install 'stagebook[sdk]'"
            ) from error
        return client(self._door, self._journal, self._recognise, options)

    async def _send(
        self, method: str, url: str, segments: tuple[bytes, ...], headers: Mapping[str, str], *, named: bool = False
    ) -> Response:
        if "@" in urlsplit(url).netloc:
            raise SecretInInput(
                "an address with a user name or password in it; put the credential in a header as env:NAME"
            )
        refuse_literals(url, "an address given to the door")
        for name, value in headers.items():
            refuse_literals(value, f"the header {name!r} given to the door")
        request = Request(method, url, segments, dict(headers), kind="http", provider=SCRAPING)
        way = self._door.way(None) if named else None
        return (await self._door.send(request, self._journal, transport=way)).response
