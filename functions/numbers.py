"""Whole numbers, as bodies and queries write them."""

import re

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,9}")


def whole_number(value: object) -> object:
    """Read digits in a text as the number they write: public scripts send `"number": "22"`.

    Digits alone, as JSON writes a number: no sign, blank, fraction, leading zero, nor digits of
    another script. A value that is no text is left to the field. Raises ValueError.
    """
    if not isinstance(value, str):
        return value
    if not _DECIMAL.fullmatch(value):
        raise ValueError(
            'must be a whole number, such as 22; as a text it has digits alone, such as "22"'
        )
    return int(value)
