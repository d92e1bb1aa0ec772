"""Who speaks: labels as they are printed, and one name for each person of an episode."""

import re
from collections import Counter
from collections.abc import Iterable

_HONORIFIC = frozenset(("dr", "prof", "professor", "mr", "mrs", "ms", "mx", "rev", "sir", "dame"))
_CREDENTIAL = re.compile(
    r"(?:ph\.?d|psy\.?d|m\.?d|d\.?o|r\.?n|m\.?a|m\.?s|m\.?sc|b\.?a|b\.?s|m\.?b\.?a|ed\.?d|j\.?d|m\.?p\.?h"
    r"|lcsw|lmft|lmhc|lpc|jr|sr|ii|iii)\.?",
)
_ASIDE = re.compile(r"\([^)]*\)")
_MIN_TOKENS_WITH_MIDDLE = 3


def person_key(label: str) -> str:
    """What stays of a label when titles, credentials, middle initials, capitals and asides are left out.

    >>> person_key("Mireille B. Reece, Psy.D") == person_key("MIREILLE REECE, PsyD")
    True
    """
    name = _ASIDE.sub(" ", label).split(",")[0].casefold()
    tokens = name.replace("\u2019", "'").split()
    while len(tokens) > 1 and tokens[0].rstrip(".") in _HONORIFIC:
        tokens = tokens[1:]
    while len(tokens) > 1 and _CREDENTIAL.fullmatch(tokens[-1]):
        tokens = tokens[:-1]
    if len(tokens) >= _MIN_TOKENS_WITH_MIDDLE:
        middle = [token for token in tokens[1:-1] if len(token.rstrip(".")) > 1]
        tokens = [tokens[0], *middle, tokens[-1]]
    return " ".join(token.rstrip(".") for token in tokens)


def one_name_each(labels: Iterable[str]) -> dict[str, str]:
    """Maps every printed label of an episode to the one name of its person: the label printed most often.

    A single name (`Adam`, `Dr. Reece`) is taken for the only person of the episode whose full name begins or ends so.
    """
    counted = Counter(labels)
    keys = {label: person_key(label) for label in counted}
    full = {key for key in keys.values() if " " in key}
    for label, key in keys.items():
        owners = [name for name in full if key in (name.split()[0], name.split()[-1])]
        if " " not in key and len(owners) == 1:
            keys[label] = owners[0]
    names: dict[str, str] = {}
    for key in dict.fromkeys(keys.values()):
        printed = [label for label in counted if keys[label] == key]
        complete = [label for label in printed if person_key(label) == key] or printed
        best = max(complete, key=lambda label: (counted[label], len(label)))
        names.update(dict.fromkeys(printed, best))
    return names
