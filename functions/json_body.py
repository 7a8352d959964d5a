"""A JSON body, read strictly."""

import codecs
import json
from collections.abc import Mapping
from email.message import Message
from typing import Any

from shared.domain.errors import InvalidInputError, UnsupportedMediaTypeError

MAX_BODY_BYTES = 1_048_576
MAX_DEPTH = 20
# The charsets that are read, and the codec of each. None declared: UTF-8, as JSON has it.
_CODECS = {"": "utf-8", "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii"}
_HOW = "Send the body as UTF-8; in PowerShell with -ContentType 'application/json; charset=utf-8'."
_NO_HEADERS: Mapping[str, str] = {}


def read_json(body: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> Any:
    """Parse a JSON object, strictly: no duplicate members, no NaN, bounded size and depth.

    Raises InvalidInputError, and UnsupportedMediaTypeError for an encoding that is declared and
    not read.
    """
    if not body:
        raise InvalidInputError(
            "a JSON body is needed, with a Content-Length (a chunked body arrives empty)",
            code="MissingRequestBody",
        )
    if len(body) > MAX_BODY_BYTES:
        raise InvalidInputError(
            f"the body is larger than {MAX_BODY_BYTES} bytes", code="RequestBodyTooLarge"
        )
    text = _decoded(body, headers)
    try:
        parsed = json.loads(text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        told = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise InvalidInputError(f"the body is not JSON: {told}") from None
    if not isinstance(parsed, dict):
        raise InvalidInputError("the body must be a JSON object")
    _check_depth(parsed)
    return parsed


def _decoded(body: bytes, headers: Mapping[str, str]) -> str:
    """Decode a body as it declares itself; a byte order mark of UTF-8 means nothing."""
    coding = headers.get("Content-Encoding", "").strip()
    if coding.lower() not in {"", "identity"}:
        raise UnsupportedMediaTypeError(
            f"the content encoding '{coding}' is not read here. Send the body uncompressed."
        )
    charset = _charset(headers.get("Content-Type", ""))
    codec = _CODECS.get(charset.lower())
    if codec is None:
        raise UnsupportedMediaTypeError(f"the charset '{charset}' is not read here. {_HOW}")
    if b"\0" in body[:4] or body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InvalidInputError(f"the body looks like UTF-16 or UTF-32. {_HOW}")
    try:
        return body.removeprefix(codecs.BOM_UTF8).decode(codec)
    except UnicodeDecodeError as error:
        wanted = "UTF-8" if codec == "utf-8" else "US-ASCII, as its charset says"
        told = f"the body is not {wanted}: byte 0x{body[error.start]:02X} at position {error.start}"
        raise InvalidInputError(f"{told}. {_HOW}") from None


def _charset(content_type: str) -> str:
    """Return the charset that a Content-Type declares; empty if it declares none."""
    message = Message()
    message["Content-Type"] = " ".join(content_type.split())
    found = message.get_param("charset", "")
    # RFC 2231 has a form of three parts: the charset of the value, a language, the value.
    text = found[-1] if isinstance(found, tuple) else found
    return str(text or "").strip().strip("'\"")


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
