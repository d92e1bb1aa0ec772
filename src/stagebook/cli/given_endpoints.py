"""Endpoints of one's own as they are typed: `--endpoint NAME=FILE.json` or `--endpoint NAME=URL`."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from stagebook.cli.text_file import read_json
from stagebook.llm.endpoint import Endpoint
from stagebook.model.errors import InputError


def read_endpoints(typed: Sequence[str]) -> dict[str, Endpoint]:
    """Read every `--endpoint`.

    Raises:
        InputError: One is not of that form, is given twice, or its file cannot be used.
    """
    found: dict[str, Endpoint] = {}
    for one in typed:
        name, equals, place = one.partition("=")
        if not equals or not name or not place:
            raise InputError(f"--endpoint {one} is not of the form NAME=FILE.json or NAME=URL")
        if name in found:
            raise InputError(f"--endpoint {name}=... is given twice; keep one")
        if place.startswith(("http://", "https://")):
            found[name] = Endpoint(url=place)
        else:
            found[name] = _read(Path(place))
    return found


def _read(file: Path) -> Endpoint:
    what = f"the endpoint's file {file}"
    document = read_json(file, what)
    if not isinstance(document, dict):
        raise InputError(f'{what} is no object; write at least {{"url": "https://..."}}')
    try:
        return Endpoint.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"])) or "the whole"
        known = ", ".join(Endpoint.model_fields)
        mend = f"; an endpoint has: {known}" if first["type"] in {"extra_forbidden", "missing"} else ""
        raise InputError(
            f"{what} cannot be used: {field}: {first['msg'][:1].lower()}{first['msg'][1:]}{mend}"
        ) from None
    except InputError as error:
        raise type(error)(f"{what} cannot be used: {error}") from None
