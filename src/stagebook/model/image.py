"""A picture as a value: a field of a model or a whole output, shown to a model where a template writes it."""

import base64
import binascii
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, PrivateAttr, SerializationInfo, SerializerFunctionWrapHandler
from pydantic import model_serializer as serializer
from pydantic import model_validator as validator

from stagebook.model.errors import InputError
from stagebook.model.exchange import content_hash

MediaType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
"""What the providers take: Anthropic's `Base64ImageSource`, which is also OpenAI's list ("Images and vision")."""

IN_TEXT: Final = "in text"
"""Serialization context in which an image is only named: nobody wants its base64 between the words of a prompt."""


class Image(BaseModel):
    """A picture, by its file or with its bytes.

    `Image.from_file("page.png")` or `Image.from_bytes(data)`; in an input's JSON its path is enough.
    A file is read when it is first named, and again when a model is shown it: it must not have changed in between.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    media_type: MediaType
    """What it is, found out from its first bytes."""
    content_hash: str
    """Hash of its bytes (see `content_hash`), in hexadecimal: two pictures are the same if this is."""
    path: str | None = None
    """Its file, absolute; None where the bytes are in `data`."""
    data: str | None = None
    """Its bytes in base64; None where they are in a file."""

    _encoded: str | None = PrivateAttr(default=None)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Name a file; it stays where it is.

        Raises:
            InputError: It cannot be read, or is no picture.
        """
        try:
            return cls.model_validate(_of_file(Path(path)))
        except ValueError as error:
            raise InputError(str(error)) from error

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Take the bytes along.

        Raises:
            InputError: They are no picture.
        """
        try:
            encoded = base64.b64encode(data).decode()
            return cls.model_validate({**_told(data, "the data"), "data": encoded})
        except ValueError as error:
            raise InputError(str(error)) from error

    def base64(self) -> str:
        """Give its bytes in base64, as all providers take them.

        Raises:
            InputError: Its file is gone, or another picture is in it.
        """
        if self.data is not None:
            return self.data
        if self._encoded is None:
            path = Path(self.path or "")
            try:
                found = path.read_bytes()
            except OSError as error:
                raise InputError(f"the picture {path} cannot be read: {error.strerror}; put it back") from error
            if _hash(found) != self.content_hash:
                raise InputError(f"the picture {path} has changed since the run read it; put the old one back")
            self._encoded = base64.b64encode(found).decode()
        return self._encoded

    @validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        """Find out what was not said: a path alone, or base64 alone, is enough."""
        if isinstance(given, str | Path):
            return _of_file(Path(given))
        if not isinstance(given, dict) or "content_hash" in given:
            return given
        if given.get("path") is not None:
            return _of_file(Path(given["path"]))
        if isinstance(given.get("data"), str):
            try:
                raw = base64.b64decode(given["data"], validate=True)
            except binascii.Error as error:
                raise ValueError(f"the data of an image is no base64: {error}") from error
            return {**_told(raw, "the data"), "data": given["data"]}
        return given

    @serializer(mode="wrap")
    def _written(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> Any:
        return f"[{self.media_type}]" if info.context == IN_TEXT else handler(self)


def _of_file(path: Path) -> dict[str, str]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"the picture {path} cannot be read: {error.strerror}") from error
    return {**_told(data, str(path)), "path": str(path.absolute())}


def _told(data: bytes, where: str) -> dict[str, str]:
    return {"media_type": _media_type(data, where), "content_hash": _hash(data)}


def _hash(data: bytes) -> str:
    return content_hash(data).hex()


def _media_type(data: bytes, where: str) -> MediaType:
    """Tell a picture by its first bytes (the signatures of PNG, JPEG, GIF and RIFF/WebP)."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    raise ValueError(f"{where} is no picture that models can be shown; make it one of {', '.join(get_args(MediaType))}")
