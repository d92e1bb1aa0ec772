"""Text as the word pieces that BERT's uncased models read (Devlin et al. 2019; Wu et al. 2016 for the pieces)."""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Final

_LONGEST_WORD: Final = 100
"""A longer word is unknown as a whole."""
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Co", "Cs"})
_CONTINUED: Final = "##"
_IDEOGRAPHS: Final = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
"""Ranges of characters that are words of their own, as the models' own tokenizer has them."""


class WordPieces:
    """Cuts texts into the longest pieces that a vocabulary has.

    Args:
        vocabulary: Piece -> number; it has `[CLS]`, `[SEP]` and `[UNK]`.
        most: Numbers of one text at most, the first and the last included; what is longer is cut off.
    """

    def __init__(self, vocabulary: Mapping[str, int], most: int) -> None:
        self._vocabulary = vocabulary
        self._first, self._last, self._unknown = (vocabulary[name] for name in ("[CLS]", "[SEP]", "[UNK]"))
        self._most = most

    def numbers(self, text: str) -> list[int]:
        """The pieces' numbers, between the numbers of beginning and end."""
        found = [self._first]
        for word in _words(text):
            found += self._pieces(word)
            if len(found) >= self._most:
                break
        return [*found[: self._most - 1], self._last]

    def _pieces(self, word: str) -> list[int]:
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        pieces: list[int] = []
        start = 0
        while start < len(word):
            prefix = _CONTINUED if start else ""
            for end in range(len(word), start, -1):
                number = self._vocabulary.get(prefix + word[start:end])
                if number is not None:
                    pieces.append(number)
                    start = end
                    break
            else:
                return [self._unknown]
        return pieces


def _words(text: str) -> Iterator[str]:
    """Words and single marks, in lower case and without accents."""
    word: list[str] = []
    for character in _plain(text):
        if character.isspace() or _is_alone(character):
            if word:
                yield "".join(word)
                word = []
            if not character.isspace():
                yield character
        else:
            word.append(character)
    if word:
        yield "".join(word)


def _plain(text: str) -> Iterator[str]:
    for character in unicodedata.normalize("NFD", text).lower():
        category = unicodedata.category(character)
        if character in "\t\n\r":
            yield " "
        elif category != "Mn" and category not in _INVISIBLE and character != "\ufffd":
            yield character


def _is_alone(character: str) -> bool:
    if character.isascii():
        return character.isprintable() and not character.isalnum() and character != " "
    if unicodedata.category(character)[0] == "P":
        return True
    return any(low <= ord(character) <= high for low, high in _IDEOGRAPHS)
