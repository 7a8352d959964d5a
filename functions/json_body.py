"""A JSON body, read strictly."""

import json
from typing import Any

from shared.domain.errors import InvalidInputError

MAX_BODY_BYTES = 1_048_576
MAX_DEPTH = 20


def read_json(body: bytes) -> Any:
    """Parse a JSON object, strictly: no duplicate members, no NaN, bounded size and depth."""
    if not body:
        raise InvalidInputError(
            "a JSON body is needed, with a Content-Length (a chunked body arrives empty)",
            code="MissingRequestBody",
        )
    if len(body) > MAX_BODY_BYTES:
        raise InvalidInputError(
            f"the body is larger than {MAX_BODY_BYTES} bytes", code="RequestBodyTooLarge"
        )
    try:
        parsed = json.loads(
            body.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        told = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInputError(f"the body is not JSON: {told}") from None
    if not isinstance(parsed, dict):
        raise InvalidInputError("the body must be a JSON object")
    _check_depth(parsed)
    return parsed


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member is given twice")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise InvalidInputError(f"the body is nested more than {MAX_DEPTH} levels deep")
    for child in value.values() if isinstance(value, dict) else value:
        if isinstance(child, (dict, list)):
            _check_depth(child, depth + 1)
