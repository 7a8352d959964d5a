"""Query parameters, and the links from one page of a list to the next."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import azure.functions as func

from functions.web import absolute
from shared.domain.errors import InvalidInputError

SKIP_TOKEN = "$skipToken"  # noqa: S105 - the name ARM's lists give it
_LONGEST_TOKEN = 2048
_IN_PATH = "/%!$&'()*+,;=:@-._~"  # what stands in a path as it is, what is encoded already included

Item = TypeVar("Item")


def query_of(req: func.HttpRequest, name: str) -> str:
    """Return a query parameter; ARM's names ignore letter case."""
    wanted = name.casefold()
    return next((value for key, value in req.params.items() if key.casefold() == wanted), "")


def is_dry_run(req: func.HttpRequest) -> bool:
    """Tell whether only an explanation is asked for.

    NB. A value other than true or false is refused: a misspelt dry run must not be real.
    """
    given = query_of(req, "dryRun").casefold()
    if given in {"", "false"}:
        return False
    if given != "true":
        raise InvalidInputError("dryRun must be true or false", code="InvalidQueryParameter")
    return True


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some items, and the key after which the rest begins; empty: no page follows."""

    items: list[Item]
    next: str = ""


def page_of(
    req: func.HttpRequest, items: Sequence[Item], key: Callable[[Item], str], *, most: int
) -> Page[Item]:
    """Cut the page that a request asks for out of a whole list.

    The next page begins after the last key, not at a position: what is added or removed in between
    hides nothing from the caller.
    """
    ordered = sorted(items, key=key)
    after = token_of(req)
    left = [item for item in ordered if key(item) > after] if after else ordered
    return Page(left[:most], key(left[most - 1]) if len(left) > most else "")


def token_of(req: func.HttpRequest) -> str:
    """Return the key after which the wanted page begins; raises InvalidInputError."""
    token = query_of(req, SKIP_TOKEN)
    if not token:
        return ""
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        return base64.b64decode(padded[:_LONGEST_TOKEN], altchars=b"-_", validate=True).decode()
    except ValueError:
        raise InvalidInputError(
            f"{SKIP_TOKEN} is not one that this service gave", code="InvalidSkipToken"
        ) from None


def link_to(req: func.HttpRequest, last: str) -> dict[str, str]:
    """Return the members beside `value`: none on the last page, as ARM has it."""
    return {"nextLink": next_link(req, last)} if last else {}


def next_link(req: func.HttpRequest, last: str) -> str:
    """Return the link to the page after a key: the same query, with a token."""
    parts = urlsplit(req.url)
    given = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in given if name.casefold() != SKIP_TOKEN.casefold()]
    token = base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")
    query = urlencode([*kept, (SKIP_TOKEN, token)], safe="$")
    return absolute(req, f"{quote(parts.path, safe=_IN_PATH)}?{query}")
