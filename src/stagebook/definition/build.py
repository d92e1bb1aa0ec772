"""From what was declared to a checked graph. The first thing that does not fit is told, stage by stage as declared."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from stagebook.definition.axes import Axes, find_cycle, in_order
from stagebook.definition.checks import bind_checks
from stagebook.definition.declaration import Declared
from stagebook.definition.document import document
from stagebook.definition.function_code import Sources
from stagebook.definition.graph import Graph, Read, ReadKind, StageSpec
from stagebook.definition.independence import refuse_imports
from stagebook.definition.outputs import key_of, schema_of, text_of
from stagebook.definition.place import Place, problem
from stagebook.definition.prompts import check_model, prompt_of
from stagebook.definition.schema import NoSchema, Schemas
from stagebook.definition.signature import Returned, Signature, read_signature
from stagebook.definition.template_folder import TemplateFolder
from stagebook.definition.wiring import Maker, Wiring
from stagebook.model.exchange import content_hash


@dataclass(frozen=True, slots=True)
class Declarations:
    """A pipeline, as it was declared."""

    name: str
    doc: str
    input: type[BaseModel]
    model: str | None
    templates: Path
    place: Place
    stages: tuple[Declared, ...]
    """In order of declaration."""
    phases: tuple[str, ...]


def build(pipeline: Declarations) -> Graph:
    """Check a pipeline as a whole.

    Raises:
        DefinitionError: Something does not fit; always the same one for the same declaration.
    """
    if not pipeline.stages:
        raise problem(pipeline.place, None, f"pipeline {pipeline.name!r} has no stages", "declare one with @stage()")
    sources = Sources()
    schemas = Schemas(sources)
    folder = TemplateFolder(pipeline.templates)
    input_schema = _input_schema(pipeline, schemas)
    makers = _makers(pipeline)
    wiring = Wiring(makers, pipeline.input, pipeline.phases)
    reads = {name: wiring.bind(maker) for name, maker in makers.items()}
    upstream = {name: _upstream(maker, reads[name]) for name, maker in makers.items()}
    _refuse_cycle(makers, upstream)
    specs = {
        name: _spec(pipeline, position, maker, reads[name], sources, schemas, folder)
        for position, (name, maker) in enumerate(makers.items())
    }
    refuse_imports(pipeline.stages, pipeline.place, sources)
    stages = {name: specs[name] for name in in_order(upstream)}
    definition = document(pipeline.name, pipeline.doc, pipeline.input, input_schema, stages.values(), pipeline.phases)
    return Graph(
        name=pipeline.name,
        doc=pipeline.doc,
        input=pipeline.input,
        stages=stages,
        phases=pipeline.phases,
        definition=definition,
        definition_hash=content_hash(definition),
        upstream={name: upstream[name] for name in stages},
    )


def _input_schema(pipeline: Declarations, schemas: Schemas) -> bytes:
    if not (isinstance(pipeline.input, type) and issubclass(pipeline.input, BaseModel)):
        raise problem(
            pipeline.place, None, f"input={pipeline.input!r} is no pydantic model", "give a class made from BaseModel"
        )
    try:
        return schemas.written(pipeline.input)
    except NoSchema as error:
        raise problem(
            pipeline.place,
            None,
            f"the input {pipeline.input.__name__} has no JSON form: {error}",
            "use types that can be read from JSON",
        ) from error


def _makers(pipeline: Declarations) -> dict[str, Maker]:
    """Read every function, and for which items it runs."""
    signatures = {one.name: read_signature(one) for one in pipeline.stages}
    outputs = {one.name: _output(one, signatures[one.name]) for one in pipeline.stages}
    axes = Axes(
        {one.name: (one, Returned(outputs[one.name], signatures[one.name].returned.streams)) for one in pipeline.stages}
    )
    return {
        one.name: Maker(one, signatures[one.name], outputs[one.name], axes.axis(one.name)) for one in pipeline.stages
    }


def _output(declared: Declared, signature: Signature) -> type[BaseModel]:
    output = declared.options.returns or signature.returned.type
    if not (isinstance(output, type) and issubclass(output, BaseModel)):
        raise problem(
            declared.place,
            declared.name,
            f"returns={output!r} is no pydantic model",
            "give a class made from BaseModel",
        )
    return output


def _upstream(maker: Maker, reads: tuple[Read, ...]) -> frozenset[str]:
    return frozenset(name for read in reads for name in read.stages) | frozenset(maker.axis[-1:])


def _refuse_cycle(makers: Mapping[str, Maker], upstream: Mapping[str, frozenset[str]]) -> None:
    circle = find_cycle(upstream)
    if circle is not None:
        first = makers[circle[0]].declared
        raise problem(
            first.place,
            first.name,
            f"stages read each other in a circle: {' -> '.join(circle)}",
            "let one of them not read",
        )


def _spec(
    pipeline: Declarations,
    position: int,
    maker: Maker,
    reads: tuple[Read, ...],
    sources: Sources,
    schemas: Schemas,
    folder: TemplateFolder,
) -> StageSpec:
    """Check one stage, all but its wiring."""
    declared, returned = maker.declared, maker.signature.returned
    options = declared.options
    text_field = text_of(declared, maker.output)
    checks = bind_checks(declared, maker.signature, maker.output, sources)
    prompt = None
    model = options.model or pipeline.model
    if options.returns is not None:
        prompt = prompt_of(
            declared,
            maker.signature,
            maker.output,
            checks,
            model=model,
            folder=folder,
            sources=sources,
            schemas=schemas,
        )
    elif any(read.kind is ReadKind.LLM for read in reads):
        model = check_model(declared, model) if model is not None else None
    function = inspect.unwrap(declared.function)
    return StageSpec(
        name=declared.name,
        label=options.label,
        number=options.number,
        phase=declared.phase,
        position=position,
        function=declared.function,
        is_async=inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function),
        location=str(declared.place),
        doc=(inspect.getdoc(function) or "").partition("\n")[0],
        each=maker.axis[-1] if maker.axis else None,
        axis=maker.axis,
        reads=reads,
        output=maker.output,
        streams=returned.streams,
        key_field=key_of(declared, maker.output) if returned.streams else None,
        text_field=text_field,
        skips=returned.skips,
        checks=checks,
        policy=options.policy,
        code_hash=sources.code_hash(declared.function, options.version),
        prompt=prompt,
        schema=schema_of(declared, maker.output, schemas),
        model=model,
    )
