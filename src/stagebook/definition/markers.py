"""The words that stand in annotations of a stage's function and in models, and what a function may return instead."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol, TypeAlias, TypeVar, runtime_checkable

T = TypeVar("T")
Row_co = TypeVar("Row_co", covariant=True)


class TextMark:
    """Stands in the metadata of `Text`."""


class ChildrenMark:
    """Stands in the metadata of `Children`."""


Text: TypeAlias = Annotated[str, TextMark()]
"""Type of a field that holds running text (a post, a letter, a page).

A model whose only field is `Text` is asked for plain text instead of JSON; the ledger shows the field as `output_text`.
"""

Children: TypeAlias = Annotated[Sequence[T], ChildrenMark()]
"""`Children[T]`: those outputs of a stage on a deeper axis that stand below this stage's item, in order; a sequence."""


class Key:
    """Marks the field that tells items apart, `number: Annotated[int, Key]`; `str` or `int`, unique among siblings.

    A key is a page number or a content hash, never a position in a list: what is done for an item is found by it again.
    """


@dataclass(frozen=True, slots=True)
class Skip:
    """Returned instead of an output: the step is done, costs nothing, and says why."""

    reason: str
    """One line, such as `under 8000 tokens`."""


@dataclass(frozen=True, slots=True, init=False)
class From:
    """Says which stages a parameter reads: `Annotated[list[T], From("a", "b")]` or `From(phase="research")`.

    Args:
        stages: Names of stages.
        phase: Name of a phase: all of its stages that return the type.
    """

    stages: tuple[str, ...]
    phase: str | None

    def __init__(self, *stages: str, phase: str | None = None) -> None:
        object.__setattr__(self, "stages", stages)
        object.__setattr__(self, "phase", phase)


@dataclass(frozen=True, slots=True)
class Item:
    """Picks one item of a mapped stage by its key: `Annotated[HomePage, Item("vendor")]`."""

    key: str


@runtime_checkable
class Rows(Protocol[Row_co]):
    """`Rows[T]`: all items of a stage, read one by one as they are asked for, for what does not fit in memory."""

    def __len__(self) -> int:
        """Count them, without reading any."""
        ...

    def __aiter__(self) -> AsyncIterator[Row_co]:
        """Read them in order."""
        ...

    def items(self) -> AsyncIterator[tuple[str, Row_co]]:
        """Read them in order, each with the key of its item."""
        ...

    async def get(self, key: str) -> Row_co | None:
        """Read the one of an item; None where there is none."""
        ...
