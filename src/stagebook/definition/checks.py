"""Binds the checks of a stage: which parameter takes the answer, and which take what the stage itself reads."""

import inspect

from pydantic import BaseModel

from stagebook.definition.declaration import CheckDeclared, Declared
from stagebook.definition.function_code import Sources
from stagebook.definition.graph import Check
from stagebook.definition.place import nearest, problem
from stagebook.definition.signature import GIVEN, Signature, hints_of, peeled


def bind_checks(
    declared: Declared, signature: Signature, output: type[BaseModel], sources: Sources
) -> tuple[Check, ...]:
    """Bind all checks of a stage.

    Raises:
        DefinitionError: One does not take the answer, or takes what the stage does not read.
    """
    if declared.checks and signature.returned.streams:
        raise problem(
            declared.checks[0].place,
            declared.name,
            "a check looks at one answer, and this stage yields items",
            "check each item where it is made, or in a stage with each= of them",
        )
    return tuple(_bind(check, declared, signature, output, sources) for check in declared.checks)


def _bind(
    check: CheckDeclared, declared: Declared, signature: Signature, output: type[BaseModel], sources: Sources
) -> Check:
    name = check.function.__name__
    hints = hints_of(declared, check.function, check.place)
    parameters = list(inspect.signature(check.function).parameters)
    own = {one.name: one for one in signature.parameters if one.shape not in GIVEN}
    answers = [one for one in parameters if one in hints and peeled(hints[one]) is output]
    if len(answers) > 1:
        answers = [one for one in answers if one not in own] or answers
    if len(answers) != 1:
        found = "no parameter" if not answers else "several parameters"
        raise problem(
            check.place,
            declared.name,
            f"the check {name!r} has {found} of type {output.__name__}",
            f"let one parameter take the answer: {output.__name__.lower()}: {output.__name__}",
        )
    reads = tuple(one for one in parameters if one != answers[0])
    for one in reads:
        if one not in own:
            raise problem(
                check.place,
                declared.name,
                f"the check {name!r} reads {one!r}, which the stage does not read",
                f"add the parameter to the stage, or name one of its own: {nearest(one, own)}",
            )
    return Check(name, check.function, answers[0], reads, sources.code_hash(check.function))
