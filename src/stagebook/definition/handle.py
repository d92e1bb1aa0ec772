"""What a declared function becomes: still callable, and known to its pipeline."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, ParamSpec, TypeVar

from stagebook.definition.declaration import CheckDeclared, Declared
from stagebook.definition.place import here, place_of, shown

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)

Warnings = str | Iterable[str] | None
CheckFunction = TypeVar("CheckFunction", bound=Callable[..., Warnings | Awaitable[Warnings]])


class StageHandle(Generic[P, R_co]):
    """A declared stage. Call it as the plain function that it is, in a test for instance; nothing is recorded then."""

    def __init__(self, declared: Declared, function: Callable[P, R_co]) -> None:
        self.declared = declared
        self.__wrapped__ = function
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__module__ = function.__module__
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function itself."""
        return self.__wrapped__(*args, **kwargs)

    def __repr__(self) -> str:
        place = self.declared.place
        return f"<stage {self.name!r} of {shown(place.file)}:{place.line}>"

    @property
    def name(self) -> str:
        """The stage's name, its identity in the pipeline."""
        return self.declared.name

    def check(self, function: CheckFunction) -> CheckFunction:
        """Add a function that looks at what the stage made, before it is kept.

        It takes the answer (a parameter of the type that the stage returns), and beside it anything that the stage
        itself reads, by the same parameter names. It raises `Complaint` to refuse: a prompt's model is told the reason
        and tries again, a computing stage fails. It returns None, or one or several warnings.

        Returns:
            The function, unchanged.
        """
        self.declared.own_checks.append(CheckDeclared(function, place_of(function, here())))
        return function


def function_of(stage: Callable[..., Any]) -> Callable[..., Any]:
    """Give the plain function of a handle, or the function itself."""
    return stage.__wrapped__ if isinstance(stage, StageHandle) else stage
