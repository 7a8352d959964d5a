"""The app's HTTP routes and the order in which the host tries them."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from local.functions_host.engine import Function
from local.functions_host.route_templates import RouteError, Template

log = logging.getLogger("functions_host")


@dataclass(frozen=True)
class Match:
    """A function and the route parameters as the caller wrote them."""

    function: Function
    parameters: Mapping[str, str]


class Router:
    """The app's routes in the order of the function names.

    The host sorts functions by name and ASP.NET's RouteCollection takes the first route that
    fits; there is no precedence of literals over parameters (azure-functions-host issues 3153,
    6062, 9876). So a catch-all must have the last name of all.
    """

    def __init__(self, functions: Sequence[Function], prefix: str) -> None:
        self._routes: list[_Route] = []
        for function in functions:
            if function.trigger_type == "httpTrigger":
                self._add(function, prefix)

    def match(self, method: str, path: str) -> Match | None:
        """Return the first function whose method and template fit."""
        for route in self._routes:
            # A method is one more route constraint: where it does not fit, the next route is
            # tried, and where none fits the answer is 404, never 405.
            if route.methods and method.upper() not in route.methods:
                continue
            parameters = route.template.match(path)
            if parameters is not None:
                return Match(route.function, parameters)
        return None

    def _add(self, function: Function, prefix: str) -> None:
        route = function.trigger.get("route") or function.name
        methods = function.trigger.get("methods") or ()
        try:
            template = Template.parse(f"{prefix}/{route}")
        except RouteError as error:
            # A route that is wrong takes only its own function away.
            log.error("Function '%s' has no route: %s", function.name, error)  # noqa: TRY400  one line tells it all
            return
        upper = frozenset(str(method).upper() for method in methods)
        self._routes.append(_Route(function, upper, template))


@dataclass(frozen=True)
class _Route:
    function: Function
    methods: frozenset[str]
    template: Template
