"""The door as a stage sees it: recorded HTTP for one step."""

from collections.abc import Mapping
from urllib.parse import urlsplit

import orjson

from stagebook.door.door import OutwardDoor
from stagebook.door.journal import Journal
from stagebook.door.secrets import refuse_literals
from stagebook.model.errors import SecretInInput
from stagebook.model.exchange import Request, Response

SCRAPING = "http"
"""The transport that refuses private addresses."""


class StageDoor:
    """Implements `stagebook.Door` for one step.

    Args:
        door: The way out.
        journal: The step that goes out.
    """

    __slots__ = ("_door", "_journal")

    def __init__(self, door: OutwardDoor, journal: Journal) -> None:
        self._door = door
        self._journal = journal

    async def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Response:
        """Fetch an address; see `stagebook.Door.get`."""
        return await self._send("GET", url, (), headers or {})

    async def post(self, url: str, *, json: object, headers: Mapping[str, str] | None = None) -> Response:
        """Send a JSON document; see `stagebook.Door.post`."""
        merged = {"content-type": "application/json", **(headers or {})}
        return await self._send("POST", url, (orjson.dumps(json),), merged)

    async def _send(self, method: str, url: str, segments: tuple[bytes, ...], headers: Mapping[str, str]) -> Response:
        if "@" in urlsplit(url).netloc:
            raise SecretInInput(
                "an address with a user name or password in it; put the credential in a header as env:NAME"
            )
        refuse_literals(url, "an address given to the door")
        for name, value in headers.items():
            refuse_literals(value, f"the header {name!r} given to the door")
        request = Request(method, url, segments, headers, kind="http", provider=SCRAPING)
        return (await self._door.send(request, self._journal)).response
