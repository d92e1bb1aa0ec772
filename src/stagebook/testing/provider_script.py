"""What the fake provider answers and does wrong: rules on the request, and the count of what has happened so far."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator, model_validator

from stagebook.model.errors import InputError
from stagebook.testing.provider_faults import AnyFault, BatchFaults, Counted, Delay, fraction
from stagebook.testing.provider_request import ChatRequest

Content = str | dict[str, JsonValue] | Callable[[ChatRequest], str | dict[str, Any]]
"""What one answer says: its text, an object written as JSON, or a function (in process only) that gives either."""


class ScriptedCall(BaseModel):
    """A tool that the model calls."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Of the tool."""
    arguments: dict[str, JsonValue] | str = {}
    """What it is given; text is taken as it is, valid JSON or not."""


class Rule(BaseModel):
    """What happens to the requests that it matches. All conditions given must hold; a rule without any matches all."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    contains: str | tuple[str, ...] | None = None
    """Text that must stand in the messages; of several, all of them."""
    matches: str | None = None
    """A regular expression that must be found in the text of the messages (joined by line ends)."""
    model: str | None = None
    """The model that is asked for."""
    schema_name: str | None = None
    """The name of the response's schema, or its title (with pydantic: the class)."""
    answer: Content | list[Content] | None = None
    """The content. A list gives one after the other and then repeats the last. None: made by `Answerer`."""
    template: str | list[str] | None = None
    """As `answer`, in Jinja: `text` (last message), `messages`, `model`, `match` (what `matches` found: `match[0]` is
    all of it, `match[1]` or `match["name"]` a group), `sha256` (of the body), `count` (the answer's number, from 1)."""
    fields: dict[str, JsonValue] | None = None
    """Fields that replace those of the object made from the schema."""
    calls: tuple[tuple[ScriptedCall, ...], ...] = ()
    """What a model with tools calls before it answers: in its first turn of a conversation, in its second, ..."""
    counted: Counted = "rule"
    """What a list of answers counts: with `conversation`, each prompt gets the first answer first."""
    faults: tuple[AnyFault, ...] = ()
    """What goes wrong with the requests of this rule."""
    cached_tokens: int = Field(default=0, ge=0)
    """Input tokens reported and charged as cached (never more than there are)."""
    reasoning_tokens: int = Field(default=0, ge=0)
    """Output tokens added as reasoning."""

    @field_validator("matches")
    @classmethod
    def _pattern_compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in ("answer", "template", "fields") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"a rule has one source of its answer, not {' and '.join(given)}; keep one of them")
        if self.answer == [] or self.template == []:
            raise ValueError("a list of answers needs at least one; leave it out to have the answer made")
        return self


class Script(BaseModel):
    """How the fake provider behaves. Without rules it answers every request by its response format."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Rule, ...] = ()
    """The first that matches decides."""
    faults: tuple[AnyFault, ...] = ()
    """What goes wrong with any request; `nth` counts all arrivals that pass key, size, model and rate limit."""
    batches: BatchFaults = BatchFaults()
    """How batches go."""

    @classmethod
    def from_json(cls, data: str | bytes, *, origin: str) -> Self:
        """Read a script.

        Args:
            data: The JSON document.
            origin: Where it came from, for the error.

        Raises:
            InputError: It is not a script; the text names the fields.
        """
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise InputError(f"{origin} is not a script for the fake provider: {error}") from error

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a script from a JSON file.

        Raises:
            InputError: The file cannot be read, or is not a script.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"the script {path} cannot be read: {error.strerror}; name a JSON file") from error
        return cls.from_json(data, origin=str(path))


@dataclass(frozen=True, slots=True)
class Ruling:
    """What the script says about one request."""

    rule: Rule | None
    """The rule that matched."""
    place: int
    """The rule's index; -1 without one."""
    groups: re.Match[str] | None
    """Where `matches` was found."""
    delay: float
    """Seconds to hold the answer back."""
    fault: AnyFault | None
    """What goes wrong, delays aside."""


class ScriptPlayer:
    """Applies a script to requests in the order of their arrival, and keeps count."""

    def __init__(self, script: Script, *, seed: int = 0) -> None:
        """Start at the beginning.

        Args:
            script: What to do.
            seed: Changes what probabilities and delays draw.
        """
        self.script = script
        self._seed = seed
        self._patterns = [re.compile(rule.matches) if rule.matches is not None else None for rule in script.rules]
        self._seen: Counter[tuple[int, str, str]] = Counter()
        self._struck: Counter[tuple[int, int, str]] = Counter()
        self._answered: Counter[tuple[int, str]] = Counter()

    def rule_on(self, request: ChatRequest) -> Ruling:
        """Decide about a request, and count it."""
        place, groups = self._match(request)
        rule = self.script.rules[place] if place >= 0 else None
        delay, fault = 0.0, None
        scopes = [(-1, self.script.faults), (place, rule.faults)] if rule else [(-1, self.script.faults)]
        for scope, faults in scopes:
            for struck, draw in self._strikes(scope, faults, request, failed=fault is not None):
                if isinstance(struck, Delay):
                    delay += struck.seconds + draw * max(0.0, (struck.up_to or 0.0) - struck.seconds)
                else:
                    fault = struck
        return Ruling(rule, place, groups, delay, fault)

    def next_answer(self, ruling: Ruling, request: ChatRequest) -> int:
        """Count an answer of the ruling's rule; returns its number, from 1."""
        key = (ruling.place, _scope_key(ruling.rule.counted if ruling.rule else "rule", request))
        self._answered[key] += 1
        return self._answered[key]

    def _match(self, request: ChatRequest) -> tuple[int, re.Match[str] | None]:
        for place, (rule, pattern) in enumerate(zip(self.script.rules, self._patterns, strict=True)):
            if rule.model not in {None, request.model}:
                continue
            if rule.schema_name not in {None, request.schema_name, request.schema_title}:
                continue
            wanted = (rule.contains,) if isinstance(rule.contains, str) else rule.contains or ()
            if not all(part in request.text for part in wanted):
                continue
            groups = pattern.search(request.text) if pattern else None
            if pattern is None or groups:
                return place, groups
        return -1, None

    def _strikes(
        self, scope: int, faults: Sequence[AnyFault], request: ChatRequest, *, failed: bool
    ) -> Iterator[tuple[AnyFault, float]]:
        """Yield the faults of one scope that strike: any number of delays, at most one other; and a draw for each."""
        if not faults:
            return
        for counted in {"body", *(fault.counted for fault in faults)}:
            self._seen[scope, counted, _scope_key(counted, request)] += 1
        repeats = self._seen[scope, "body", request.sha256]
        for index, fault in enumerate(faults):
            key = _scope_key(fault.counted, request)
            if failed and not isinstance(fault, Delay):
                continue
            if fault.nth is not None and self._seen[scope, fault.counted, key] not in fault.nth:
                continue
            if fault.times is not None and self._struck[scope, index, key] >= fault.times:
                continue
            where = (self._seed, scope, index, request.sha256, repeats)
            if fault.probability < 1 and fraction("strikes", *where) >= fault.probability:
                continue
            self._struck[scope, index, key] += 1
            failed = failed or not isinstance(fault, Delay)
            yield fault, fraction("length", *where) if isinstance(fault, Delay) else 0.0


def _scope_key(counted: Counted, request: ChatRequest) -> str:
    if counted == "rule":
        return ""
    return request.sha256 if counted == "body" else request.conversation()
