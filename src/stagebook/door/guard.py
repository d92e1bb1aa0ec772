"""Keeps scraped links from reaching this machine or its network (server-side request forgery)."""

import ipaddress
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver


class PrivateAddress(Exception):
    """An address that is not on the public internet was asked for."""


def is_public(address: str) -> bool:
    """Whether an IP address is globally reachable (the IANA special-purpose registries, as `ipaddress` has them)."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (mapped or ip).is_global and not (mapped or ip).is_multicast


def refuse_private(url: str) -> None:
    """Refuse an address written as numbers, or a scheme that is not HTTP; names are checked when they are resolved.

    Raises:
        PrivateAddress: It is not public.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise PrivateAddress(f"only http and https addresses can be fetched, not {url!r}")
    try:
        public = is_public(parts.hostname)
    except ValueError:
        return
    if not public:
        raise PrivateAddress(f"{parts.hostname} is not a public address; a page may not send us there")


class PublicResolver(AbstractResolver):
    """Resolves names and refuses what is not public, at the moment of use (so that DNS cannot change in between)."""

    def __init__(self) -> None:
        self._inner = ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        """Resolve a name to public addresses only."""
        found = await self._inner.resolve(host, port, family)  # type: ignore[arg-type]  # aiohttp's enum is an int
        for entry in found:
            if not is_public(entry["host"]):
                raise PrivateAddress(f"{host} is {entry['host']}, not a public address; a page may not send us there")
        return found

    async def close(self) -> None:
        """Nothing is held."""
        await self._inner.close()
