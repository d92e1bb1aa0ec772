"""What is set up on this machine, what is missing, and what to type for it."""

import importlib.util
import platform
import re
import socket
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final
from urllib.parse import urlsplit

from stagebook.definition.loading import find, installed
from stagebook.llm.providers import LOCAL, PROVIDERS, Provider, reach
from stagebook.llm.weights import MODELS, find_weights
from stagebook.model.errors import InputError, MissingKey, ModelNotInstalled, StagebookError

OK: Final = "ok"
MISSING: Final = "missing"
"""Not there, and nobody may need it."""
BROKEN: Final = "broken"
"""There, or needed, and not as it must be."""
PACKAGE: Final = "stagebook"
ENGINE: Final = "xllamacpp"
"""The package that runs local models."""
PATIENCE: Final = 0.3
"""Seconds that a server of one's own has to accept a connection."""
_EXTRA: Final = re.compile(r"""^([A-Za-z0-9._-]+).*;\s*extra\s*==\s*['"]([\w-]+)['"]""")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    area: str
    """`system`, `ledger`, `provider`, `local model`, `extra` or `pipeline`."""
    name: str
    state: str
    """`ok`, `missing` or `broken`."""
    said: str
    """What there is; never a key's value."""
    mend: str | None = None
    """What to do, or to type, where something is missing or broken."""
    facts: Mapping[str, object] = field(default_factory=dict)
    """Numbers and places, for programs."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All of it."""

    findings: tuple[Finding, ...]

    def of(self, area: str) -> tuple[Finding, ...]:
        """Give the findings of one area."""
        return tuple(one for one in self.findings if one.area == area)

    @property
    def models(self) -> tuple[str, ...]:
        """Whom a run could ask, as `--model` begins."""
        asked = [f"{one.name}:" for one in self.of("provider") if one.state == OK]
        return (*asked, *(one.name for one in self.of("local model") if one.state == OK))

    @property
    def usable(self) -> bool:
        """Whether a run can begin here: there is a place to write it down, and a model to ask."""
        return all(one.state == OK for one in self.of("ledger")) and bool(self.models)


def diagnose(ledger: Finding, environment: Mapping[str, str]) -> Diagnosis:
    """Look at everything; nothing is fetched, and nobody outside this machine is asked.

    Args:
        ledger: What was found of it.
        environment: For keys and addresses.
    """
    return Diagnosis(
        (*system(), ledger, *providers(environment), *local_models(environment), *extras(), *installed_pipelines())
    )


def system() -> Iterator[Finding]:
    """Say what runs here; a Python that is too old, or packages that are, could not have been installed."""
    for name, found in (
        (PACKAGE, version(PACKAGE)),
        ("Python", platform.python_version()),
        ("SQLite", sqlite3.sqlite_version),
        ("machine", f"{platform.system()} {platform.machine()}"),
    ):
        yield Finding("system", name, OK, found, facts={"version": found})


def providers(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Say which providers can be asked: their key is set, or a server of one's own accepts connections."""
    for provider in PROVIDERS.values():
        if provider.name != LOCAL:
            yield _provider(provider, environment)


def _provider(provider: Provider, environment: Mapping[str, str]) -> Finding:
    key_set = bool(environment.get(provider.key_env or "", "").strip())
    try:
        reached = reach(provider.name, environment)
    except MissingKey:
        mend = f"set {provider.key_env}"
        return Finding("provider", provider.name, MISSING, "no key", mend, {"key": provider.key_env, "key_set": False})
    except InputError as error:
        return Finding("provider", provider.name, BROKEN, str(error), f"set {provider.base_env} anew")
    parts = urlsplit(reached.url)
    address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"  # a password may stand before the @
    facts = {"key": provider.key_env, "key_set": key_set, "address": address}
    if provider.key_env is None and not _listens(reached.url):
        mend = f"start it, or set {provider.base_env} to where it is"
        return Finding("provider", provider.name, MISSING, f"nothing listens at {address}", mend, facts)
    said = f"{provider.key_env} is set" if key_set else "needs no key"
    return Finding("provider", provider.name, OK, f"{said}; {address}", facts=facts)


def _listens(url: str) -> bool:
    """Whether a server accepts connections."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        with socket.create_connection((parts.hostname or "", port), PATIENCE):
            return True
    except OSError:
        return False


def local_models(environment: Mapping[str, str]) -> Iterator[Finding]:
    """Say which models run in this process: their weights are here, and the package that runs them."""
    engine = importlib.util.find_spec(ENGINE) is not None
    for name in MODELS:
        full = f"{LOCAL}:{name}"
        try:
            path = find_weights(name, environment)
        except ModelNotInstalled:
            yield Finding("local model", full, MISSING, "its weights are not here", f"{PACKAGE} models get {name}")
            continue
        facts = {"path": str(path)}
        if engine:
            yield Finding("local model", full, OK, "its weights are here", facts=facts)
        else:
            mend = f"pip install '{PACKAGE}[local]'"
            yield Finding("local model", full, MISSING, f"its weights are here, {ENGINE} is not", mend, facts)


def extras() -> Iterator[Finding]:
    """Say which optional packages are installed, by the extra that brings them."""
    wanted: dict[str, list[str]] = {}
    for requirement in requires(PACKAGE) or ():
        found = _EXTRA.match(requirement)
        if found is not None:
            wanted.setdefault(found[2], []).append(found[1])
    for extra, packages in sorted(wanted.items()):
        versions = {package: _version(package) for package in packages}
        absent = [package for package, found in versions.items() if found is None]
        facts = {"packages": versions}
        if absent:
            said, mend = f"without {', '.join(absent)}", f"pip install '{PACKAGE}[{extra}]'"
            yield Finding("extra", extra, MISSING, said, mend, facts)
        else:
            yield Finding(
                "extra", extra, OK, ", ".join(f"{one} {found}" for one, found in versions.items()), facts=facts
            )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def installed_pipelines() -> Iterator[Finding]:
    """Load every installed pipeline, and say which cannot be."""
    for name in installed():
        try:
            graph = find(name).pipeline.check()
        except StagebookError as error:
            yield Finding("pipeline", name, BROKEN, " ".join(str(error).split()), "mend or uninstall its package")
        else:
            count = len(graph.stages)
            yield Finding("pipeline", name, OK, f"{count} stages", facts={"stages": count})
