"""Names in Azure's paths: which characters they hold, and when two spellings are one name.

Resource groups may be called `FORMACIÓN` or `财务`. ARM compares names by code point after simple
upper-casing (.NET's OrdinalIgnoreCase): each character has at most one counterpart, and none
outside ASCII has one inside. So `ß` is not `ss`, the Turkish dotless i is not `i`, and the Kelvin
sign is not `k`. Two Unicode normal forms of one text are two names there, and here: names
are never normalised.
"""

import unicodedata
from functools import cache

MAX_NAME = 90
_PUNCTUATION = frozenset("_-.()")
# Letters, marks and decimal digits. Not other numbers, symbols, separators or controls.
_CATEGORIES = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd"})


def fold(text: str) -> str:
    """Return the form in which two spellings of one name are equal; the length stays."""
    return text.lower() if text.isascii() else "".join(map(_fold, text))


@cache
def _fold(letter: str) -> str:
    if letter.isascii():
        return letter.lower()
    upper = _simple(letter, letter.upper())
    lower = _simple(upper, upper.lower())
    # A lower-case form that is not the way back would make two names one.
    return lower if _simple(lower, lower.upper()) == upper else upper


def _simple(letter: str, mapped: str) -> str:
    """Return a letter's other case, or the letter where that is no single letter beyond ASCII."""
    return mapped if len(mapped) == 1 and not mapped.isascii() else letter


def is_name(text: str) -> bool:
    """Tell whether Azure takes a text as the name of a resource group or a policy."""
    return (
        0 < len(text) <= MAX_NAME
        and not text.endswith(".")
        and all(each in _PUNCTUATION or unicodedata.category(each) in _CATEGORIES for each in text)
    )


def cut(text: str, most: int) -> str:
    """Cut a text to a length as Azure counts it: in UTF-16, where some characters count twice."""
    units = text.encode("utf-16-le", "surrogatepass")[: 2 * most]
    return units.decode("utf-16-le", "ignore")
