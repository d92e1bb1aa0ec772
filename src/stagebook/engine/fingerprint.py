"""What decides whether a step would do the same again."""

from stagebook.definition.graph import PromptSpec, StageSpec
from stagebook.model.exchange import Request, content_hash


def of_computing(spec: StageSpec, read: bytes) -> bytes:
    """Fingerprint a computing step: what it read, its function's syntax tree (or its `version=`), its output's schema.

    Args:
        spec: The stage.
        read: Hash of everything that was read.
    """
    checks = [check.code_hash for check in spec.checks]
    return _hash(b"compute", spec.code_hash, spec.schema, *checks, read)


def of_prompt(spec: StageSpec, prompt: PromptSpec, request: Request) -> bytes:
    """Fingerprint a prompt's step: the rendered request (model, parameters and schema are in it) and its checks.

    The address is left out, so that a server moved elsewhere changes nothing; but not that of an endpoint of one's own,
    of which nothing else may be known.

    Args:
        spec: The stage.
        prompt: Its prompt.
        request: As it would be sent.
    """
    checks = [check.code_hash for check in spec.checks]
    model = f"{request.provider}:{request.model}".encode()
    own = (request.read_as,) if request.read_as else ()
    return _hash(b"prompt", model, (prompt.text_field or "").encode(), *checks, *own, request.body_hash)


def _hash(*parts: bytes) -> bytes:
    pieces: list[bytes] = []
    for part in parts:
        pieces += (len(part).to_bytes(8, "big"), part)
    return content_hash(b"".join(pieces))
