"""Checks what makes a stage a prompt: its template against what it reads, its model, what is to be written."""

import inspect
import re
from typing import Any

from pydantic import BaseModel

from stagebook.definition.declaration import Declared
from stagebook.definition.function_code import Sources, is_empty, names_used, returned_keys, texts_in
from stagebook.definition.graph import Check, PromptSpec
from stagebook.definition.output_model import call_field, text_fields, written_fields
from stagebook.definition.place import nearest, problem
from stagebook.definition.schema import NoSchema, Schemas
from stagebook.definition.signature import GIVEN, Shape, Signature
from stagebook.definition.template import Template
from stagebook.definition.template_folder import TemplateFolder
from stagebook.model.errors import DefinitionError

MODEL = re.compile(r"[a-z][\w-]*:\S+")
TRIES = 3
"""Most answers asked for where a prompt does not say."""


def prompt_of(
    declared: Declared,
    signature: Signature,
    returns: type[BaseModel],
    checks: tuple[Check, ...],
    *,
    model: str | None,
    folder: TemplateFolder,
    sources: Sources,
    schemas: Schemas,
) -> PromptSpec:
    """Check a prompt.

    Args:
        declared: The stage.
        signature: Its function's.
        returns: What the answer is validated as.
        checks: Its checks, bound.
        model: The pipeline's, where the prompt names none.
        folder: Where its template is.
        sources: Parsed files.
        schemas: Maker of schemas.

    Raises:
        DefinitionError: Something does not fit.
    """
    template = _template(declared, folder)
    _compare(declared, signature, checks, template, sources)
    text_field = _text_field(declared, returns)
    return PromptSpec(
        template=template,
        model=check_model(declared, declared.options.model or model),
        sampling=declared.options.sampling,
        tries=declared.options.tries or TRIES,
        text_field=text_field,
        schema=None if text_field else _schema(declared, returns, schemas),
        call_field=_call_field(declared, returns),
        bare=signature.returned.bare,
    )


def check_model(declared: Declared, model: str | None) -> str:
    """Refuse a prompt without a model, and a model without its provider.

    Raises:
        DefinitionError: As said.
    """
    if model is None:
        raise _wrong(declared, "no model is named", "say model='provider:name' here or for the whole Pipeline")
    if not MODEL.fullmatch(model):
        raise _wrong(
            declared, f"model={model!r} names no provider", f"write it as 'provider:name', such as 'openai:{model}'"
        )
    return model


def _template(declared: Declared, folder: TemplateFolder) -> Template:
    try:
        if declared.options.text is not None:
            template = Template.parse(declared.name, declared.options.text.strip("\n"))
        else:
            template = folder.load(declared.options.template or declared.name)
    except DefinitionError as error:
        raise DefinitionError(f"{declared.place}: in stage {declared.name!r}: {error}") from error
    return template.of(declared.name)


def _compare(
    declared: Declared, signature: Signature, checks: tuple[Check, ...], template: Template, sources: Sources
) -> None:
    """Hold the template's variables against what the function reads and returns."""
    given = {one.name for one in signature.parameters if one.shape not in GIVEN}
    node = sources.function(declared.function)
    if signature.returned.bare and node is not None and not is_empty(node):
        raise _wrong(
            declared,
            "the function has a body and is annotated with -> None, so it would not be called",
            "annotate it with -> dict[str, object] and return what the template needs more, or empty the body",
        )
    returned: frozenset[str] | None = frozenset()
    if not signature.returned.bare:
        names = {**inspect.unwrap(declared.function).__globals__, **declared.declared.names}
        returned = returned_keys(node, names) if node is not None else None
    if returned is not None:
        unknown = sorted(template.variables - given - returned)
        if unknown:
            known = given | returned
            raise _wrong(
                declared,
                f"template {template.name} ({template.where(unknown[0])}) needs {unknown[0]!r}, which the stage "
                "neither reads nor returns",
                f"add it as a parameter, return it from the body, or write another name: {nearest(unknown[0], known)}",
            )
    _follow(declared, signature, template, frozenset() if signature.returned.bare or node is None else texts_in(node))
    elsewhere = names_used(node) if node is not None and not signature.returned.bare else frozenset()
    checked = {name for check in checks for name in check.reads}
    if node is None and not signature.returned.bare:
        return
    unused = [one.name for one in signature.parameters if one.name not in template.variables | elsewhere | checked]
    if unused:
        raise _wrong(
            declared,
            f"parameter {unused[0]!r} is read by nobody: neither template {template.name} nor the body names it",
            "use it in the template or take it away",
        )


def _follow(declared: Declared, signature: Signature, template: Template, hidden: frozenset[str]) -> None:
    """Hold the template's dotted names against the models of the parameters.

    What the body returns may stand under a parameter's name (`hidden`); then nothing is known of that name.
    """
    types: dict[str, Any] = {}
    for one in signature.parameters:
        if one.shape is Shape.ROWS and one.name in template.variables - hidden:
            raise _wrong(
                declared,
                f"template {template.name} ({template.where(one.name)}) names {one.name!r}, which is {one.written()} "
                "and can only be read by the function",
                "gather what the template needs in the body and return it",
            )
        if one.name not in hidden and one.shape not in GIVEN:
            types[one.name] = one.hint()
    try:
        template.compare(types)
    except DefinitionError as error:
        raise DefinitionError(f"{declared.place}: in stage {declared.name!r}: {error}") from error


def _text_field(declared: Declared, returns: type[BaseModel]) -> str | None:
    written = written_fields(returns)
    if not written:
        raise _wrong(
            declared,
            f"{returns.__name__} has no field that a model could write",
            "give it one, such as text: Text; computed fields are made from what is written",
        )
    return written[0] if len(written) == 1 and written[0] in text_fields(returns) else None


def _call_field(declared: Declared, returns: type[BaseModel]) -> str | None:
    try:
        return call_field(returns)
    except ValueError as error:
        raise _wrong(declared, str(error), "keep one, written as call: Call = Call()") from error


def _schema(declared: Declared, returns: type[BaseModel], schemas: Schemas) -> bytes:
    try:
        return schemas.asked_for(returns)
    except NoSchema as error:
        raise _wrong(
            declared,
            f"{returns.__name__} cannot be asked for by schema: {error}",
            "use types with a JSON form for every field that the model writes",
        ) from error


def _wrong(declared: Declared, what: str, mend: str) -> DefinitionError:
    return problem(declared.place, declared.name, what, mend)
