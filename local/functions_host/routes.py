"""HTTP routes: ASP.NET route templates and the order in which the host tries them."""

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from local.functions_host.engine import Function

_PARAMETER = re.compile(
    r"\{(?P<stars>\*{0,2})(?P<name>[^:=?{}]+)(?P<constraints>(?::[^=?{}]+(?:\{[^}]*\})?)*)"
    r"(?:=(?P<default>[^?{}]*))?(?P<optional>\?)?\}"
)


class RouteError(Exception):
    """A route template that ASP.NET would refuse, or that this host does not know."""


@dataclass(frozen=True)
class Match:
    """A function and the route parameters as the caller wrote them."""

    function: Function
    parameters: Mapping[str, str]


class Router:
    """The app's routes in the order of the function names.

    The host sorts functions by name and ASP.NET's RouteCollection takes the first route that
    matches; there is no precedence of literals over parameters (functions-host issues 3153,
    6062, 9876). So a catch-all must have the last name of all.
    """

    def __init__(self, functions: Sequence[Function], prefix: str) -> None:
        self._routes = [
            _Route.of(function, prefix) for function in functions if function.kind == "httpTrigger"
        ]

    def match(self, method: str, path: str) -> Match | None:
        """Return the first function whose method and template fit."""
        segments = _segments(path)
        for route in self._routes:
            # A method is one more route constraint: where it does not fit, the next route is
            # tried, and where none fits the answer is 404, never 405.
            if route.allows(method) and (parameters := route.parameters(segments)) is not None:
                return Match(route.function, parameters)
        return None


@dataclass(frozen=True)
class _Route:
    function: Function
    methods: frozenset[str]
    template: tuple["_Segment", ...]

    @classmethod
    def of(cls, function: Function, prefix: str) -> "_Route":
        route = function.trigger.get("route") or function.name
        methods = function.trigger.get("methods") or ()
        template = f"{prefix}/{route}" if prefix else route
        return cls(
            function,
            frozenset(str(method).upper() for method in methods),
            tuple(_Segment.of(text) for text in template.strip("/").split("/") if text),
        )

    def allows(self, method: str) -> bool:
        return not self.methods or method.upper() in self.methods

    def parameters(self, path: Sequence[str]) -> dict[str, str] | None:
        found: dict[str, str] = {}
        for index, segment in enumerate(self.template):
            if segment.is_catch_all:
                rest = "/".join(path[index:])
                return found | {segment.names[0]: rest} if segment.accepts(rest) else None
            values = segment.match(path[index] if index < len(path) else None)
            if values is None:
                return None
            found |= values
        return found if len(path) <= len(self.template) else None


@dataclass(frozen=True)
class _Segment:
    pattern: re.Pattern[str]
    names: tuple[str, ...] = ()
    is_catch_all: bool = False
    is_optional: bool = False
    constraints: tuple[tuple[str, Callable[[str], bool]], ...] = ()

    @classmethod
    def of(cls, text: str) -> "_Segment":
        pieces, constraints, position = [], [], 0
        names: list[str] = []
        optional = catch_all = False
        for found in _PARAMETER.finditer(text):
            pieces.append(re.escape(text[position : found.start()]))
            pieces.append(f"(?P<p{len(names)}>.+?)")
            names.append(found["name"])
            optional, catch_all = bool(found["optional"]), bool(found["stars"])
            if found["default"] is not None:
                raise RouteError(f"default values are not known here: '{text}'")
            constraints += [
                (found["name"], _constraint(wanted))
                for wanted in re.findall(
                    r":((?:[^:({]|\([^)]*\)|\{[^}]*\})+)", found["constraints"]
                )
            ]
            position = found.end()
        pieces.append(re.escape(text[position:]))
        if "{" in text[position:]:
            raise RouteError(f"not a route segment: '{text}'")
        pattern = re.compile("".join(pieces), re.IGNORECASE | re.DOTALL)
        return cls(pattern, tuple(names), catch_all, optional, tuple(constraints))

    def match(self, text: str | None) -> dict[str, str] | None:
        """Return the parameters of a segment that fits."""
        if not text:
            return {} if self.is_optional else None
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        values = dict(zip(self.names, found.groups(), strict=True))
        return values if all(test(values[name]) for name, test in self.constraints) else None

    def accepts(self, rest: str) -> bool:
        return all(test(rest) for _, test in self.constraints)


def _constraint(text: str) -> Callable[[str], bool]:
    name, _, argument = text.partition("(")
    argument = argument.removesuffix(")")
    simple: dict[str, Callable[[str], bool]] = {
        "int": _is_int,
        "long": _is_int,
        "bool": lambda value: value.lower() in ("true", "false"),
        "guid": _is_guid,
        "alpha": lambda value: re.fullmatch("[A-Za-z]*", value) is not None,
        "required": bool,
    }
    if name in simple:
        return simple[name]
    if name == "length" and "," not in argument:
        return lambda value: len(value) == int(argument)
    if name == "minlength":
        return lambda value: len(value) >= int(argument)
    if name == "maxlength":
        return lambda value: len(value) <= int(argument)
    if name == "regex":
        pattern = re.compile(argument, re.IGNORECASE)
        return lambda value: pattern.search(value) is not None
    raise RouteError(f"the route constraint '{text}' is not known here")


def _is_int(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", text) is not None


def _is_guid(text: str) -> bool:
    try:
        uuid.UUID(text.strip("{}()"))
    except ValueError:
        return False
    return True


def _segments(path: str) -> list[str]:
    # PathTokenizer: one trailing slash does not count, an empty segment inside does.
    trimmed = path.removeprefix("/").removesuffix("/")
    return trimmed.split("/") if trimmed else []
