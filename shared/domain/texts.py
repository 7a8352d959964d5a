"""Texts as a row keeps them: their length in bytes, and the same cut each time."""

import json
import re

# What one text may take in a row, in bytes: 1,024 characters of any script fit.
MAX_TEXT = 4096
MAX_NAME = 512
_CUT = "\u2026"
_ESCAPED = re.compile("[\x80-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


def as_json(value: object) -> str:
    """Write JSON with letters of any script as they are, and what is no letter escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if text.isascii() else _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def units_of(text: str) -> int:
    """Count the UTF-16 code units of a text; Table Storage counts two bytes for each."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def stored_bytes(text: str) -> int:
    """Return how many bytes a text takes in a row, its JSON escapes included."""
    return 2 * (units_of(as_json(text)) - 2)  # without the quotes


def shorten(text: str, most: int = MAX_TEXT) -> str:
    """Cut a text that takes more bytes in a row than it may; the same text is cut the same way."""
    if stored_bytes(text) <= most:
        return text
    kept, left = 0, most - stored_bytes(_CUT)
    while left >= (size := stored_bytes(text[kept])):
        kept, left = kept + 1, left - size
    return text[:kept] + _CUT if left >= 0 else ""
