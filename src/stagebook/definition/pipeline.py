"""How a pipeline is declared: `Pipeline`, its phases, and the decorators that make stages of functions."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from threading import RLock
from typing import Any, Protocol, TypeVar, overload

from pydantic import BaseModel

from stagebook.definition.build import Declarations, build
from stagebook.definition.declaration import Declared, Effort, Named, Options, Source
from stagebook.definition.graph import Graph
from stagebook.definition.handle import P, StageHandle, function_of
from stagebook.definition.markers import Skip
from stagebook.definition.naming import check_name, spelled
from stagebook.definition.place import Place, caller, here, place_of, problem
from stagebook.definition.policy import OnError

R = TypeVar("R")
Items = Iterable[BaseModel] | AsyncIterable[BaseModel]
Made = TypeVar("Made", bound=BaseModel | Skip | Items | Awaitable[BaseModel | Skip | Items])
"""What a computing stage's function may return: a model, Skip, or items."""
More = TypeVar("More", bound=Mapping[str, object] | Skip | Awaitable[Mapping[str, object] | Skip | None] | None)
"""What a prompt's function may return: nothing, more values for its template, or Skip."""


class StageDecorator(Protocol):
    """Makes a stage of a function that computes."""

    def __call__(self, function: Callable[P, Made], /) -> StageHandle[P, Made]:
        """Declare the function."""
        ...


class PromptDecorator(Protocol):
    """Makes a stage of a prompt's function."""

    def __call__(self, function: Callable[P, More], /) -> StageHandle[P, More]:
        """Declare the function."""
        ...


class StageGroup(ABC):
    """Where stages are declared: a pipeline, or one of its phases."""

    @abstractmethod
    def _add(self, declared: Declared) -> None:
        """Take a stage in."""

    @property
    @abstractmethod
    def _phase(self) -> str | None:
        """The name of the phase; None for the pipeline itself."""

    @overload
    def stage(self, function: Callable[P, Made], /) -> StageHandle[P, Made]: ...

    @overload
    def stage(
        self,
        function: None = None,
        /,
        *,
        name: str | None = None,
        label: str | None = None,
        number: int | None = None,
        each: type[BaseModel] | Named | str | None = None,
        on_error: OnError | None = None,
        attempts: int | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
        version: str | None = None,
        model: str | None = None,
        reads: Mapping[str, Source] | None = None,
    ) -> StageDecorator: ...

    def stage(
        self,
        function: Callable[..., Any] | None = None,
        /,
        *,
        name: str | None = None,
        label: str | None = None,
        number: int | None = None,
        each: type[BaseModel] | Named | str | None = None,
        on_error: OnError | None = None,
        attempts: int | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
        version: str | None = None,
        model: str | None = None,
        reads: Mapping[str, Source] | None = None,
    ) -> Any:
        """Declare a stage that computes: what it reads is its parameters, what it writes is its return type.

        Args:
            function: The function, where the decorator is written without brackets.
            name: The stage's identity; by default the function's name with hyphens.
            label: A published name, such as `2_SIGNAL_DISCOVERY`; need not be unique.
            number: A published number; a label too.
            each: Run once for every item of this: the items' model, or the stage that yields them.
            on_error: `stop` (default): a failed step ends the run. `collect`: the others go on without it.
            attempts: Most attempts when the function raises; 1 by default. Provider errors are retried by the door.
            timeout: Seconds that one attempt may take.
            concurrency: Most steps of this stage at once.
            version: Stands for the function's code: what was made stays valid until it is changed.
            model: What a parameter of type `Llm` asks by default, `provider:name`.
            reads: Which stage a parameter reads, where types and names do not settle it.

        Raises:
            DefinitionError: The name or an option cannot be used.
        """
        options = Options(
            label=label,
            number=number,
            each=each,
            on_error=on_error,
            attempts=attempts,
            timeout=timeout,
            concurrency=concurrency,
            version=version,
            model=model,
            reads=reads,
        )

        def declare(plain: Callable[P, Made]) -> StageHandle[P, Made]:
            return self._declare(plain, name, options)

        return declare if function is None else declare(function)

    def prompt(
        self,
        *,
        returns: type[BaseModel],
        model: str | None = None,
        template: str | None = None,
        text: str | None = None,
        name: str | None = None,
        label: str | None = None,
        number: int | None = None,
        each: type[BaseModel] | Named | str | None = None,
        on_error: OnError | None = None,
        attempts: int | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        reasoning_effort: Effort | None = None,
        tries: int | None = None,
        reads: Mapping[str, Source] | None = None,
    ) -> PromptDecorator:
        """Declare a stage that asks a model: a template is rendered with the parameters, the answer validated.

        The function's body may be empty (`-> None`). Otherwise it returns more values for the template, or Skip.

        Args:
            returns: What the answer is validated as. If its only field that the model writes is `Text`, plain text is
                asked for, otherwise JSON by schema.
            model: `provider:name`; by default the pipeline's.
            template: Name of a file in the pipeline's `templates` folder, without its ending; by default the stage's.
            text: The template itself, instead of a file.
            name: The stage's identity; by default the function's name with hyphens.
            label: A published name; need not be unique.
            number: A published number; a label too.
            each: Run once for every item of this: the items' model, or the stage that yields them.
            on_error: `stop` (default): a failed step ends the run. `collect`: the others go on without it.
            attempts: Most attempts when the function's body raises.
            timeout: Seconds that one attempt may take, all its tries together.
            concurrency: Most steps of this stage at once.
            max_tokens: Most tokens of the answer.
            temperature: 0 (steady) to 2 (loose).
            top_p: Nucleus sampling, 0 to 1.
            seed: For providers that take one.
            reasoning_effort: For models that reason.
            tries: Most answers asked for when one is not valid or a check complains; 3 by default.
            reads: Which stage a parameter reads, where types and names do not settle it.

        Raises:
            DefinitionError: The name or an option cannot be used.
        """
        options = Options(
            label=label,
            number=number,
            each=each,
            on_error=on_error,
            attempts=attempts,
            timeout=timeout,
            concurrency=concurrency,
            reads=reads,
            model=model,
            returns=returns,
            template=template,
            text=text,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            reasoning_effort=reasoning_effort,
            tries=tries,
        )

        def declare(plain: Callable[P, More]) -> StageHandle[P, More]:
            return self._declare(plain, name, options)

        return declare

    def add(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        label: str | None = None,
        number: int | None = None,
        each: type[BaseModel] | Named | str | None = None,
        on_error: OnError | None = None,
        attempts: int | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
        version: str | None = None,
        returns: type[BaseModel] | None = None,
        model: str | None = None,
        template: str | None = None,
        text: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        reasoning_effort: Effort | None = None,
        tries: int | None = None,
        reads: Mapping[str, Source] | None = None,
    ) -> StageHandle[P, R]:
        """Declare a stage from a function that may serve several: agents that differ by their text are not copies.

        A plain function is declared as by `stage`, or as by `prompt` where `returns` is given. From a stage's handle
        its options and checks are taken over, and what is said here wins. Options are those of `stage` and `prompt`.

        Returns:
            The new stage's handle.

        Raises:
            DefinitionError: The name or an option cannot be used.
        """
        options = Options(
            label=label,
            number=number,
            each=each,
            on_error=on_error,
            attempts=attempts,
            timeout=timeout,
            concurrency=concurrency,
            version=version,
            reads=reads,
            model=model,
            returns=returns,
            template=template,
            text=text,
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            reasoning_effort=reasoning_effort,
            tries=tries,
        )
        return self._declare(function, name, options)

    def _declare(self, function: Callable[P, R], name: str | None, options: Options) -> StageHandle[P, R]:
        declared_at = here()
        base = function.declared if isinstance(function, StageHandle) else None
        plain: Callable[P, R] = function_of(function)
        if not hasattr(plain, "__code__") and not hasattr(plain, "__wrapped__"):
            raise problem(declared_at, name, f"{plain!r} is no function", "declare a function written with def")
        if plain.__name__ == "<lambda>":
            raise problem(declared_at, name, "a lambda has no annotations to read", "write a function with def")
        place = place_of(plain, declared_at)
        given = name if name is not None else spelled(plain.__name__)
        if name is None and not given:
            raise problem(
                place, None, "a function without a name cannot be a stage", "write it with def, or give name="
            )
        check_name("stage", given, declared_at if name is not None else place)
        merged = options.over(base.options) if base is not None else options
        merged.check(declared_at, given)
        declared = Declared(given, plain, merged, place, declared_at, self._phase, base)
        self._add(declared)
        return StageHandle(declared, plain)


class Pipeline(StageGroup):
    """A pipeline: an input model and its stages.

    Nothing runs while it is declared. It is checked as a whole when it is loaded, or by `check()` in a test.

    Args:
        name: Lower case, with hyphens.
        input: The model of a run's input.
        doc: What it does; by default the docstring of the module that declares it.
        templates: Folder of its prompts' templates; by default `templates` beside the file that declares it.
        model: What its prompts ask where they do not name a model, `provider:name`.

    Raises:
        DefinitionError: The name cannot be used.
    """

    def __init__(
        self,
        name: str,
        *,
        input: type[BaseModel],  # noqa: A002  the word that users read; nothing here reads from a terminal
        doc: str | None = None,
        templates: str | Path | None = None,
        model: str | None = None,
    ) -> None:
        self.place: Place = here()
        self.name = check_name("pipeline", name, self.place)
        self.input = input
        self.model = model
        self._module = caller().f_globals
        self._doc = doc
        self._templates = templates
        self._declared: dict[str, Declared] = {}
        self._phases: dict[str, Phase] = {}
        self._graph: Graph | None = None
        self._checks = 0
        self._lock = RLock()

    def __repr__(self) -> str:
        return f"<pipeline {self.name!r} of {self.place}>"

    @property
    def doc(self) -> str:
        """What it does: `doc=`, or the docstring of the module that declares it."""
        return (self._doc if self._doc is not None else str(self._module.get("__doc__") or "")).strip()

    @property
    def templates(self) -> Path:
        """Folder of its prompts' templates."""
        folder = Path(self._templates) if self._templates is not None else Path("templates")
        return folder if folder.is_absolute() else Path(self.place.file).absolute().parent / folder

    def phase(self, name: str) -> "Phase":
        """Name a group of stages: a heading and a place to replay from, not a barrier; asked again, it is the same one.

        Raises:
            DefinitionError: The name cannot be used.
        """
        check_name("phase", name, here())
        with self._lock:
            return self._phases.setdefault(name, Phase(self, name))

    def check(self) -> Graph:
        """Check the whole declaration and wire it; kept until another stage is added.

        Raises:
            DefinitionError: Something does not fit; with file and line, the candidates and the mend.
        """
        with self._lock:
            declared = tuple(self._declared.values())
            checks = sum(len(one.own_checks) for one in declared)
            if self._graph is None or self._checks != checks:
                self._graph = build(
                    Declarations(
                        name=self.name,
                        doc=self.doc,
                        input=self.input,
                        model=self.model,
                        templates=self.templates,
                        place=self.place,
                        stages=declared,
                        phases=tuple(self._phases),
                    )
                )
                self._checks = checks
            return self._graph

    @property
    def graph(self) -> Graph:
        """The checked declaration.

        Raises:
            DefinitionError: As `check`.
        """
        return self.check()

    @property
    def _phase(self) -> str | None:
        return None

    def _add(self, declared: Declared) -> None:
        with self._lock:
            other = self._declared.get(declared.name)
            if other is not None:
                raise problem(
                    declared.declared,
                    declared.name,
                    f"another stage of that name is declared at {other.declared}",
                    "give one of them another name=",
                )
            self._declared[declared.name] = declared
            self._graph = None


class Phase(StageGroup):
    """A named group of stages; made by `Pipeline.phase`."""

    def __init__(self, pipeline: Pipeline, name: str) -> None:
        self._pipeline = pipeline
        self.name = name

    def __repr__(self) -> str:
        return f"<phase {self.name!r} of {self._pipeline.name!r}>"

    @property
    def _phase(self) -> str | None:
        return self.name

    def _add(self, declared: Declared) -> None:
        self._pipeline._add(declared)  # noqa: SLF001  the same family: a phase is a part of its pipeline
