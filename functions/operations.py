"""Operations of the API: each is declared once, beside its handler.

A declaration registers the handler's route, and is what the OpenAPI document says of it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import azure.functions as func

from functions.web import JSON, Handler, handled
from functions.wire import Wire

Register = Callable[[Handler], Any]


@dataclass(frozen=True)
class Answer:
    """An answer that is no refusal: its body by media type, as the name of a schema."""

    description: str
    contents: Mapping[str, str] = field(default_factory=dict)
    has_etag: bool = False


@dataclass(frozen=True)
class Operation:
    """One route and method. The function is named like the operation, unless `function` is set."""

    method: str
    path: str
    name: str
    summary: str
    answers: Mapping[int, Answer]
    parameters: tuple[str, ...] = ()
    body: type[Wire] | None = None
    body_required: bool = True
    needs_token: bool = True
    description: str = ""
    tag: str = "JIT API"
    function: str = ""


_declared: list[Operation] = []


def declared_operations() -> tuple[Operation, ...]:
    """Return the operations of every trigger that has been imported, in that order."""
    return tuple(_declared)


def json_answer(description: str, schema: str, *, has_etag: bool = False) -> Answer:
    """Describe an answer in JSON."""
    return Answer(description, {JSON: schema}, has_etag)


REQUEST_STATUS = {200: json_answer("The request as it stands now.", "RequestStatus")}


def declare(blueprint: func.Blueprint, operation: Operation) -> Register:
    """Register a handler under the route of an operation, and the operation for the document."""

    def register(handler: Handler) -> Any:
        _declared.append(operation)
        route = blueprint.route(
            operation.path.removeprefix("/"), methods=[operation.method.upper()]
        )
        return blueprint.function_name(operation.function or operation.name)(
            route(handled(handler))
        )

    return register
