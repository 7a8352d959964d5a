"""ASP.NET route templates: which paths they fit, and the parameters they take from one."""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_PARAMETER = re.compile(
    r"\{(?P<stars>\*{0,2})(?P<name>[^:=?{}]+)(?P<constraints>(?::[^=?{}]+(?:\{[^}]*\})?)*)"
    r"(?P<default>=[^?{}]*)?(?P<optional>\?)?\}"
)
_CONSTRAINT = re.compile(r":((?:[^:({]|\([^)]*\)|\{[^}]*\})+)")
_CALL = re.compile(r"(\w+)(?:\((.*)\))?")

_Test = Callable[[str], bool]


class RouteError(Exception):
    """A route template that ASP.NET would refuse, or that this host does not know."""


@dataclass(frozen=True)
class Template:
    """A route template, compared without regard to letter case."""

    segments: tuple["_Segment", ...]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """Return the template of a text like `items/{name:alpha}/{*rest}`."""
        return cls(tuple(_segment(piece) for piece in text.strip("/").split("/") if piece))

    def match(self, path: str) -> dict[str, str] | None:
        """Return the parameters, as the caller wrote them, of a path that fits."""
        found: dict[str, str] = {}
        given = _pieces(path)
        for index, segment in enumerate(self.segments):
            if segment.is_catch_all:
                rest = segment.match_rest(path.removeprefix("/").split("/")[index:])
                return None if rest is None else found | rest
            values = segment.match(given[index] if index < len(given) else "")
            if values is None:
                return None
            found |= values
        return found if len(given) <= len(self.segments) else None


@dataclass(frozen=True)
class _Segment:
    pattern: re.Pattern[str]
    names: tuple[str, ...]
    tests: tuple[tuple[str, _Test], ...]
    is_catch_all: bool
    is_optional: bool

    def match(self, text: str) -> dict[str, str] | None:
        if not text:
            return {} if self.is_optional else None
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        return self._accepted(dict(zip(self.names, found.groups(), strict=True)))

    def match_rest(self, pieces: list[str]) -> dict[str, str] | None:
        # A catch-all keeps a trailing slash; where nothing is left there is no such parameter.
        rest = "/".join(pieces)
        return self._accepted({self.names[0]: rest} if rest else {})

    def _accepted(self, values: dict[str, str]) -> dict[str, str] | None:
        fits = all(test(values[name]) for name, test in self.tests if name in values)
        return values if fits else None


def _segment(text: str) -> _Segment:
    parameters = list(_PARAMETER.finditer(text))
    literals = _PARAMETER.sub("\0", text)
    if "{" in literals or "}" in literals:
        raise RouteError(f"not a route segment: '{text}'")
    if any(parameter["default"] for parameter in parameters):
        raise RouteError(f"default values are not known here: '{text}'")
    pattern = re.escape(literals).replace(re.escape("\0"), "(.+?)")
    return _Segment(
        pattern=re.compile(pattern, re.IGNORECASE | re.DOTALL),
        names=tuple(parameter["name"] for parameter in parameters),
        tests=tuple(
            (parameter["name"], _constraint(wanted))
            for parameter in parameters
            for wanted in _CONSTRAINT.findall(parameter["constraints"])
        ),
        is_catch_all=any(parameter["stars"] for parameter in parameters),
        is_optional=any(parameter["optional"] for parameter in parameters),
    )


def _constraint(text: str) -> _Test:
    call = _CALL.fullmatch(text)
    if call is None or call[1] not in _CONSTRAINTS:
        raise RouteError(f"the route constraint '{text}' is not known here")
    make, argument = _CONSTRAINTS[call[1]], call[2] or ""
    try:
        return make(argument)
    except (ValueError, re.error) as error:
        raise RouteError(f"not a route constraint: '{text}'") from error


def _length(argument: str) -> _Test:
    exact = int(argument)
    return lambda value: len(value) == exact


def _min_length(argument: str) -> _Test:
    least = int(argument)
    return lambda value: len(value) >= least


def _max_length(argument: str) -> _Test:
    most = int(argument)
    return lambda value: len(value) <= most


def _regex(argument: str) -> _Test:
    pattern = re.compile(argument, re.IGNORECASE)
    return lambda value: pattern.search(value) is not None


def _is_int(value: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", value) is not None


def _is_guid(value: str) -> bool:
    try:
        uuid.UUID(value.strip("{}()"))
    except ValueError:
        return False
    return True


_CONSTRAINTS: Mapping[str, Callable[[str], _Test]] = {
    "int": lambda _: _is_int,
    "long": lambda _: _is_int,
    "guid": lambda _: _is_guid,
    "alpha": lambda _: lambda value: re.fullmatch("[A-Za-z]*", value) is not None,
    "bool": lambda _: lambda value: value.lower() in ("true", "false"),
    "length": _length,
    "minlength": _min_length,
    "maxlength": _max_length,
    "regex": _regex,
}


def _pieces(path: str) -> list[str]:
    # PathTokenizer: one trailing slash does not count, an empty segment inside does.
    trimmed = path.removeprefix("/").removesuffix("/")
    return trimmed.split("/") if trimmed else []
