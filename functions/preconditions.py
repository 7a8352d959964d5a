"""The headers by which a caller says which policy a write expects to replace."""

import re

import azure.functions as func

from shared.domain.errors import InvalidInputError
from shared.use_cases.policies.manage import Precondition

_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e]{0,128}")')
_MOST_TAGS = 20


def precondition_of(req: func.HttpRequest) -> Precondition:
    """Read If-Match and If-None-Match; raises InvalidInputError for what is not understood.

    A condition that is not understood is refused: a write must not go ahead without it.
    """
    not_existing = req.headers.get("If-None-Match", "").strip()
    if not_existing not in {"", "*"}:
        raise _malformed("If-None-Match is honoured with '*' only")
    return Precondition(_tags(req.headers.get("If-Match", "").strip()), bool(not_existing))


def _tags(text: str) -> tuple[str, ...]:
    """Read the entity tags of If-Match. A weak tag counts as its strong form, as in ARM."""
    if not text:
        return ()
    if text == "*":
        return ("*",)
    found = [_TAG.fullmatch(each.strip()) for each in text.split(",", _MOST_TAGS)]
    tags = tuple(each[1] for each in found if each)
    if len(tags) != len(found):
        raise _malformed("If-Match must be '*' or entity tags such as \"0A1B\"")
    return tags


def _malformed(message: str) -> InvalidInputError:
    return InvalidInputError(message, code="InvalidPrecondition")
