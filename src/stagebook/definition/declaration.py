"""What a user declared, as it was typed: nothing is resolved or checked yet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Protocol, TypeAlias

from pydantic import BaseModel

from stagebook.definition.markers import From
from stagebook.definition.place import Place, problem
from stagebook.definition.policy import OnError, Policy
from stagebook.model.prompt import Sampling

Effort = Literal["minimal", "low", "medium", "high"]


class Named(Protocol):
    """A stage's handle, as far as it stands for its name."""

    @property
    def name(self) -> str:
        """The stage's name."""
        ...


Source: TypeAlias = str | Named | From | Sequence[str | Named]
"""What `reads=` takes for a parameter: a stage's handle or name, several of them, or `From(...)`."""

ABOVE = {"attempts": 0, "timeout": 0, "concurrency": 0, "tries": 0, "max_tokens": 0}
"""Options that are numbers and must be greater than this."""

OF_PROMPTS = (
    "template",
    "text",
    "max_tokens",
    "temperature",
    "top_p",
    "seed",
    "reasoning_effort",
    "tries",
)
"""Options that only a prompt has."""

WITHIN = {"temperature": (0, 2), "top_p": (0, 1)}
"""Options that must lie between two numbers."""


@dataclass(frozen=True, slots=True)
class Options:
    """Everything that may be said about a stage; None is what was left unsaid."""

    label: str | None = None
    number: int | None = None
    each: type[BaseModel] | Named | str | None = None
    on_error: OnError | None = None
    attempts: int | None = None
    timeout: float | None = None
    concurrency: int | None = None
    version: str | None = None
    reads: Mapping[str, Source] | None = None
    model: str | None = None
    returns: type[BaseModel] | None = None
    """What a prompt's answer is validated as; a stage with it is a prompt."""
    template: str | None = None
    text: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    reasoning_effort: Effort | None = None
    tries: int | None = None

    def check(self, place: Place, stage: str) -> None:
        """Refuse numbers that are out of range, and options that belong to the other kind of stage.

        Raises:
            DefinitionError: One is.
        """
        for name, least in ABOVE.items():
            value = getattr(self, name)
            if value is not None and value <= least:
                raise problem(place, stage, f"{name}={value!r} is too small", f"give more than {least}")
        for name, (low, high) in WITHIN.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise problem(place, stage, f"{name}={value!r} is out of range", f"give {low} to {high}")
        if self.on_error not in {None, "stop", "collect"}:
            raise problem(place, stage, f"on_error={self.on_error!r} is unknown", "say 'stop' or 'collect'")
        if self.returns is None:
            for name in OF_PROMPTS:
                if getattr(self, name) is not None:
                    raise problem(
                        place,
                        stage,
                        f"{name}= is for a prompt, and this stage computes",
                        "say returns= too, or leave it away",
                    )
        elif self.version is not None:
            raise problem(
                place, stage, "version= is for a stage that computes; a prompt is told by what it asks", "leave it away"
            )
        if self.template is not None and self.text is not None:
            raise problem(place, stage, "it has both template= and text=", "keep one of them")

    def over(self, base: "Options") -> "Options":
        """Lay these options over others: what is said here wins, the rest is taken over."""
        said = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) is not None}
        if base.reads and self.reads:
            said["reads"] = {**base.reads, **self.reads}
        if "text" in said:
            said["template"] = None
        elif "template" in said:
            said["text"] = None
        return replace(base, **said)

    @property
    def policy(self) -> Policy:
        """Retry, limits and what a failure does."""
        default = Policy()
        return Policy(
            on_error=self.on_error or default.on_error,
            attempts=self.attempts or default.attempts,
            timeout=self.timeout,
            concurrency=self.concurrency,
        )

    @property
    def sampling(self) -> Sampling:
        """How the model is to write."""
        return Sampling(self.max_tokens, self.temperature, self.top_p, self.seed, self.reasoning_effort)


@dataclass(frozen=True, slots=True)
class CheckDeclared:
    """A check, as it was added."""

    function: Callable[..., Any]
    place: Place


@dataclass(eq=False, slots=True)
class Declared:
    """One declared stage."""

    name: str
    function: Callable[..., Any]
    options: Options
    place: Place
    """Of the function."""
    declared: Place
    """Of the line that declared it."""
    phase: str | None
    base: "Declared | None" = None
    """The stage that it was made from with `add`: its checks hold here too."""
    own_checks: list[CheckDeclared] = field(default_factory=list)

    @property
    def checks(self) -> list[CheckDeclared]:
        """All checks, inherited ones first."""
        return [*(self.base.checks if self.base is not None else ()), *self.own_checks]
