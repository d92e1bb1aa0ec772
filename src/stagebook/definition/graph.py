"""The declaration once it is checked: what the engine, the ledger and the pictures read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from stagebook.definition.policy import Policy
from stagebook.definition.template import Template
from stagebook.model.prompt import Sampling


class ReadKind(StrEnum):
    """How a parameter gets its value."""

    INPUT = "input"
    """The run's input."""
    OUTPUT = "output"
    """One output of one stage: its only one, this item's, or (on an outer axis) this item's parent's."""
    ITEM = "item"
    """The item that the stage is mapped over, or an outer one, as its maker yielded it."""
    LIST = "list"
    """`list[T]`: all items of one or several stages, in the order of their items."""
    BY_STAGE = "by-stage"
    """`dict[str, T]` over several stages: the one output of each, by stage name."""
    BY_ITEM = "by-item"
    """`dict[str, T]` over one mapped stage: every item's output, by key."""
    ROWS = "rows"
    """`Rows[T]`: all items, read as they are asked for."""
    CHILDREN = "children"
    """`Children[T]`: the items whose key stands below this item's."""
    PICK = "pick"
    """`Annotated[T, Item("key")]`: one named item."""
    DOOR = "door"
    """The recorded way out over HTTP."""
    OUTCOMES = "outcomes"
    """`list[Outcome]`: what became of the steps of one or several stages that did not simply complete."""
    LLM = "llm"
    """The recorded way to a model."""
    WARN = "warn"
    """A way to warn without failing."""


GIVEN = frozenset({ReadKind.DOOR, ReadKind.LLM, ReadKind.WARN})
"""What the engine gives, and no stage makes."""


@dataclass(frozen=True, slots=True)
class Read:
    """One parameter of a stage, bound."""

    parameter: str
    kind: ReadKind
    stages: tuple[str, ...] = ()
    """Makers, by name; empty for the input and for what the engine gives."""
    optional: bool = False
    """`T | None`: None where the maker was skipped, or failed where it collects errors."""
    item: str | None = None
    """For PICK."""
    type: Any = None
    """The model that one value is; of several stages, the class that all their outputs are made from."""


@dataclass(frozen=True, slots=True)
class Check:
    """A function that looks at an answer: raises Complaint, or returns warnings."""

    name: str
    function: Callable[..., Any]
    parameter: str
    """Which parameter takes the answer."""
    reads: tuple[str, ...]
    """Names of further parameters: each is one that the stage itself reads."""
    code_hash: bytes
    """Of the function's syntax tree without docstrings: part of the fingerprint."""


@dataclass(frozen=True, slots=True)
class PromptSpec:
    """What makes a stage a prompt."""

    template: Template
    model: str
    """Default model, `provider:name`."""
    sampling: Sampling
    tries: int
    """Most answers asked for before the step fails (or, leniently, the last is accepted)."""
    text_field: str | None
    """The one model-written field if it is Text: then plain text is asked for. None asks for JSON by schema."""
    schema: bytes | None
    """Canonical JSON schema of what the model writes."""
    call_field: str | None = None
    """The field that tells of the call itself, if there is one: it is filled in, never asked for."""
    bare: bool = True
    """Whether the function's body says nothing (its return annotation is None): then it is not called."""


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One declared stage, wired."""

    name: str
    """Identity: hyphens, unique in the pipeline."""
    label: str | None
    """Published name; need not be unique."""
    number: int | None
    """Published number; a label too."""
    phase: str | None
    position: int
    """Order of declaration; for display only."""
    function: Callable[..., Any]
    is_async: bool
    """Whether the function is a coroutine function or an async generator."""
    location: str
    """`file.py:12`, of the function."""
    doc: str
    """First line of the function's docstring."""
    each: str | None
    """Name of the stage whose yielded items it is mapped over (the innermost of `axis`)."""
    axis: tuple[str, ...]
    """The streaming stages whose items it runs for, outermost first; () runs once."""
    reads: tuple[Read, ...]
    output: type[BaseModel]
    """What it returns, or what it yields."""
    streams: bool
    """Whether it yields items (or returns a list of them)."""
    key_field: str | None
    """For a streaming stage: the field of its item that is the key."""
    text_field: str | None
    """The output's field of type Text, if it has one."""
    skips: bool
    """Whether its annotation says that it may return Skip."""
    checks: tuple[Check, ...]
    policy: Policy
    code_hash: bytes
    """Of the function's syntax tree without docstrings, or of its `version=`."""
    prompt: PromptSpec | None = None
    schema: bytes = b"{}"
    """JSON schema of the output as it is kept, computed fields included; properties in the order of their fields."""
    model: str | None = None
    """What a prompt, or a parameter of type `Llm`, asks by default: the stage's, else the pipeline's."""

    @property
    def item_axis(self) -> tuple[str, ...]:
        """The axis of its outputs: its own, and itself where it yields items."""
        return (*self.axis, self.name) if self.streams else self.axis


@dataclass(frozen=True, slots=True)
class Graph:
    """A checked pipeline."""

    name: str
    doc: str
    input: type[BaseModel]
    stages: Mapping[str, StageSpec]
    """By name, in an order in which every stage stands after those it reads (ties: order of declaration)."""
    phases: tuple[str, ...]
    definition: bytes
    """Canonical JSON of all of it, as the ledger keeps it."""
    definition_hash: bytes
    upstream: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Direct makers of each stage: what it reads, and the stage it is mapped over."""
