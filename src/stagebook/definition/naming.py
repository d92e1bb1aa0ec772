"""Names of pipelines, phases and stages: lower case, with hyphens."""

import re

from stagebook.definition.place import Place, problem

NAME = re.compile(r"[^\W_]+(?:-[^\W_]+)*")


def spelled(name: str) -> str:
    """Spell a name as it must be: hyphens for anything that is neither letter nor digit, lower case."""
    return re.sub(r"[\W_]+", "-", name).strip("-").lower()


def check_name(kind: str, name: str, place: Place) -> str:
    """Refuse a name that is not spelled with hyphens and in lower case.

    Args:
        kind: `stage`, `phase` or `pipeline`.
        name: As it was given.
        place: Where it was given.

    Raises:
        DefinitionError: With the right spelling.
    """
    if NAME.fullmatch(name) and name == name.lower():
        return name
    right = spelled(name)
    why = "has an underscore; names have hyphens" if "_" in name else "is not lower case letters, digits and hyphens"
    mend = f"call it {right!r}" if right else "give it a name, such as 'label-pages'"
    raise problem(place, None, f"the {kind} name {name!r} {why}", mend)
