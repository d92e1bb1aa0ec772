"""Text that can be sent and kept."""

import re
from typing import Final

_SURROGATES: Final = re.compile("[\ud800-\udfff]")
"""Halves of characters: nothing that is sent can hold them."""


def whole(text: str) -> str:
    """Put U+FFFD in place of halves of characters."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)
