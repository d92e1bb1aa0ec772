"""Where a JSON value ends, found by its brackets in chunks of bytes, whatever its size and depth."""

import re

_BETWEEN = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
"""Whatever holds no bracket: whole strings, and what stands between them."""
_IN_STRING = re.compile(rb"(?:[^\"\\]++|\\.)*+", re.DOTALL)
_QUOTE, _BACKSLASH = b'"\\'
_OPENING = frozenset(b"{[")


class Balance:
    """Counts the brackets of one value that begins with `{`, `[` or a quote, over as many chunks as it takes.

    It keeps three facts between chunks, no bytes: a value of any size is passed over in constant memory.
    """

    def __init__(self) -> None:
        self.depth = 0
        self._in_string = False
        self._escaped = False

    def end(self, data: bytes, start: int) -> int:
        """Go on through the next bytes.

        Args:
            data: Bytes that hold what follows upon the last call's.
            start: Where in them to go on.

        Returns:
            The place after the value's last byte, or -1 where it goes on beyond these bytes.
        """
        at, size = start, len(data)
        while at < size:
            if self._in_string:
                at = self._rest_of_string(data, at)
                if self._in_string:
                    return -1
            elif data[at] == _QUOTE and self.depth == 0:
                self._in_string, at = True, at + 1
                continue
            if self.depth == 0 and at > start:
                return at
            at = self._to_bracket(data, at)
            if at >= size or self._in_string:
                continue
            self.depth += 1 if data[at] in _OPENING else -1
            at += 1
            if self.depth <= 0:
                return at
        return -1

    def _to_bracket(self, data: bytes, at: int) -> int:
        found = _BETWEEN.match(data, at)
        at = found.end() if found else at
        if at < len(data) and data[at] == _QUOTE:  # a string that does not end in these bytes
            self._in_string = True
            at += 1
        return at

    def _rest_of_string(self, data: bytes, at: int) -> int:
        if self._escaped:
            self._escaped, at = False, at + 1
        found = _IN_STRING.match(data, at)
        at = found.end() if found else at
        if at >= len(data):
            return at
        if data[at] == _BACKSLASH:  # its partner is in the next chunk
            self._escaped = True
            return len(data)
        self._in_string = False
        return at + 1
