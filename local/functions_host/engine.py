"""Microsoft's worker engine: index an app, invoke its functions."""

import json
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import azure_functions_runtime as runtime
from azure_functions_runtime.bindings.datumdef import Datum
from azure_functions_runtime.native_invocation import invocation_request_native

TRIGGERS = ("httpTrigger", "queueTrigger", "timerTrigger")
OUTPUTS = ("http", "queue")

__all__ = ["OUTPUTS", "TRIGGERS", "Datum", "Engine", "Function", "IndexingError", "Outcome"]


class IndexingError(Exception):
    """The engine cannot make functions of the app's code."""


@dataclass(frozen=True)
class Function:
    """An indexed function: its trigger and its other bindings, as in function.json."""

    name: str
    function_id: str
    trigger: Mapping[str, Any]
    others: tuple[Mapping[str, Any], ...]

    @property
    def binding_types(self) -> tuple[str, ...]:
        """Return the types of all bindings, the trigger's first."""
        return tuple(str(binding["type"]) for binding in (self.trigger, *self.others))

    @property
    def outputs(self) -> tuple[Mapping[str, Any], ...]:
        """Return the output bindings."""
        return tuple(one for one in self.others if str(one["direction"]).upper() == "OUT")

    @property
    def trigger_type(self) -> str:
        """Return the trigger's type."""
        return str(self.trigger["type"])


@dataclass(frozen=True)
class Outcome:
    """The result of an invocation: output values, and the return value where there is one."""

    ok: bool
    returned: Datum | None = None
    outputs: tuple[tuple[str, Datum], ...] = ()
    error: str = ""


class Engine:
    """The engine, which is global to the process: one app per process."""

    async def index(self, app: Path) -> list[Function]:
        """Import the app's function_app.py and return its functions in the host's order."""
        if str(app) not in sys.path:
            sys.path.insert(0, str(app))
        runtime.start_threadpool_executor()
        answer = await runtime.worker_init_request(
            _request("worker_init_request", capabilities={}, function_app_directory=str(app))
        )
        if answer.result.exception:
            raise IndexingError(
                f"{answer.result.exception.message}\n{answer.result.exception.stack_trace}"
            )
        listed = await runtime.functions_metadata_request(_request("functions_metadata_request"))
        functions = [_function(found) for found in listed.function_metadata_results or ()]
        # The host sorts functions by name, ordinal and without regard to letter case
        # (FunctionMetadataManager); routes are then tried in this very order.
        return sorted(functions, key=lambda function: function.name.upper())

    async def invoke(
        self,
        function: Function,
        value: Datum,
        metadata: Mapping[str, Datum],
        *,
        invocation_id: str | None = None,
    ) -> Outcome:
        """Run the function once; an exception in it is an outcome, not an exception here."""
        ok, returned, outputs, error, _ = await invocation_request_native(
            invocation_id or str(uuid.uuid4()),
            function.function_id,
            [(function.trigger["name"], value)],
            dict(metadata),
        )
        return Outcome(ok, returned, tuple(outputs), error or "")


def _function(found: Any) -> Function:
    bindings = [json.loads(text) for text in found.raw_bindings]
    triggers = [binding for binding in bindings if str(binding["type"]).endswith("Trigger")]
    if len(triggers) != 1:
        raise IndexingError(f"function '{found.name}' has {len(triggers)} triggers, not one")
    others = tuple(binding for binding in bindings if binding is not triggers[0])
    return Function(found.name, found.function_id, triggers[0], others)


def _request(name: str, **fields: object) -> SimpleNamespace:
    return SimpleNamespace(
        request=SimpleNamespace(**{name: SimpleNamespace(**fields)}),
        properties={"host": "127.0.0.1", "protos": _PROTOS},
    )


class _Message(SimpleNamespace):
    """Stands in for a protobuf message: a bag of fields, None where not given."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


class _StatusResult(_Message):
    Success = 1
    Failure = 0


class _BindingInfo(_Message):
    out = 1
    inout = 2
    undefined = 0


_PROTOS = SimpleNamespace(
    StatusResult=_StatusResult,
    BindingInfo=_BindingInfo,
    WorkerInitResponse=_Message,
    WorkerMetadata=_Message,
    RpcException=_Message,
    RpcFunctionMetadata=_Message,
    RpcRetryOptions=_Message,
    FunctionMetadataResponse=_Message,
)
