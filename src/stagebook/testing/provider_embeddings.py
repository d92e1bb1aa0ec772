"""The fake provider's embeddings, in OpenAI's format: texts that share words have vectors that lie near each other."""

import re
from hashlib import blake2b
from typing import Final, NamedTuple

import orjson

from stagebook.testing.provider_request import Rejection, count_tokens

DIMENSIONS: Final = 64
"""Numbers in a vector."""
_MOST_TEXTS: Final = 2048
"""OpenAI's limit for one request."""
_WORDS: Final = re.compile(r"\w+")


class EmbeddingRequest(NamedTuple):
    """What was asked for."""

    model: str
    texts: tuple[str, ...]

    @property
    def input_tokens(self) -> int:
        """Estimated tokens of all texts."""
        return sum(map(count_tokens, self.texts))


def read_embeddings(body: bytes) -> EmbeddingRequest | Rejection:
    """Read a request's body; the error that is answered where it is none (400)."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        return Rejection(400, f"We could not parse the JSON body of your request: {error}.")
    if not isinstance(data, dict) or not isinstance(data.get("model"), str):
        return Rejection(400, "you must provide a model parameter")
    given = data.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not 0 < len(texts) <= _MOST_TEXTS:
        return Rejection(400, f"'input' must be a text or a list of 1 to {_MOST_TEXTS}.", param="input")
    if not all(isinstance(text, str) and text for text in texts):
        return Rejection(400, "'$.input' is invalid: every text must be a string that is not empty.", param="input")
    return EmbeddingRequest(data["model"], tuple(texts))


def write_embeddings(request: EmbeddingRequest) -> bytes:
    """Write the answer."""
    data = [
        {"object": "embedding", "index": index, "embedding": vector_of(text)}
        for index, text in enumerate(request.texts)
    ]
    usage = {"prompt_tokens": request.input_tokens, "total_tokens": request.input_tokens}
    return orjson.dumps({"object": "list", "data": data, "model": request.model, "usage": usage})


def vector_of(text: str) -> list[float]:
    """Count a text's words, each in the place that its hash says, scaled to length 1 (feature hashing)."""
    vector = [0.0] * DIMENSIONS
    for word in _WORDS.findall(text.lower()) or [text]:
        vector[blake2b(word.encode(), digest_size=2).digest()[0] % DIMENSIONS] += 1.0
    length = sum(number * number for number in vector) ** 0.5
    return [number / length for number in vector]
