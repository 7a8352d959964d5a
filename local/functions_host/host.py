"""The functions host: listeners for every function of one app."""

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from local.functions_host.config import HostConfig, resolve
from local.functions_host.engine import (
    OUTPUTS,
    TRIGGERS,
    Datum,
    Engine,
    Function,
    IndexingError,
    Outcome,
)
from local.functions_host.extensions import binding_error
from local.functions_host.http_messages import request_path, to_datum, to_response
from local.functions_host.logs import Invocations, LogLevels, WorkerRecords
from local.functions_host.outputs import Outputs
from local.functions_host.queue_listener import QueueListener, QueueWatcher, poison_queue_name
from local.functions_host.queues import Connections, Message
from local.functions_host.routes import Router
from local.functions_host.schedule import Schedule
from local.functions_host.timer_listener import StatusFile, Timer, TimerListener
from local.functions_host.trigger_metadata import queue_metadata

log = logging.getLogger("functions_host")

_RESTART_AFTER = timedelta(seconds=1)
_MESSAGE_LIFE = timedelta(days=7)


class _Listener(Protocol):
    async def run(self) -> None: ...

    async def stop(self) -> None: ...


class FunctionsHost:
    """One app: indexed once, listened for until stopped."""

    def __init__(self, app: Path, settings: Mapping[str, str], state: Path) -> None:
        self._app = app
        self._settings = settings
        self._state = state
        self._config = HostConfig.load(app, settings)
        self._engine = Engine()
        self._watcher = QueueWatcher()
        self._connections = Connections(settings, self._config.queues.message_encoding)
        self._outputs = Outputs(self._connections, settings, self._watcher)
        self._router = Router([], "")
        self._listeners: dict[str, _Listener] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._invocations = Invocations()
        self.records = WorkerRecords(self._invocations, LogLevels(self._config.log_levels))
        self.functions: dict[str, Function] = {}
        self.errors: dict[str, str] = {}

    async def start(self) -> None:
        """Index the app and start its listeners; a broken app is a running host without any."""
        try:
            found = await self._engine.index(self._app)
            self.errors = self._functions_in_error(found)
        except IndexingError as error:
            log.error("The app cannot be indexed, so it has no functions: %s", error)  # noqa: TRY400  the trace is in the text
            return
        enabled = [function for function in found if not self._is_disabled(function)]
        self.functions = {function.name.lower(): function for function in enabled}
        running = [function for function in enabled if function.name.lower() not in self.errors]
        self._router = Router(running, self._config.route_prefix)
        for function in running:
            self._listen(function)
        for name, sentence in self.errors.items():
            log.error("The '%s' function is in error: %s", self.functions[name].name, sentence)

    def runnable(self, name: str) -> Function | None:
        """Return the function of this name; None if there is none, or if it is in error."""
        return None if name.lower() in self.errors else self.functions.get(name.lower())

    def _functions_in_error(self, found: Iterable[Function]) -> dict[str, str]:
        """Return a sentence for each function whose extension is missing.

        Raises IndexingError if a function needs an extension that this host does not stand in for.
        """
        errors = {}
        for function in found:
            if self._is_disabled(function):
                continue
            error = binding_error(function.binding_types, bundle=self._config.bundle)
            if error:
                errors[function.name.lower()] = error
            else:
                _require_known(function)
        return errors

    async def drain(self, grace: timedelta) -> None:
        """Take no more messages and ticks, and finish what is at hand within the grace."""
        stopping = [asyncio.create_task(one.stop()) for one in self._listeners.values()]
        stopping += [task for task in self._tasks if task.get_name() == "by hand"]
        if stopping:
            _, unfinished = await asyncio.wait(stopping, timeout=grace.total_seconds())
            if unfinished:
                log.warning("Stopped with work unfinished; the queues bring it again")

    def close(self) -> None:
        """Let go of everything."""
        for task in self._tasks:
            task.cancel()
        self._connections.close()

    async def serve(self, request: Request) -> Response:
        """Answer an HTTP request by the function whose route fits, 404 where none does."""
        path = request_path(request)
        if "\0" in path:
            return Response(status_code=400)  # as Kestrel does
        match = self._router.match(request.method, path)
        if match is None:
            return self._unmatched(path)
        value = await to_datum(request, path, match.parameters)
        outcome = await self._invoke(match.function, value, {})
        return to_response(outcome.returned) if outcome.ok else Response(status_code=500)

    def _unmatched(self, path: str) -> Response:
        if path != "/":
            return Response(status_code=404)
        # HomepageMiddleware: the root that no function takes is the host's own page.
        if self._settings.get("AzureWebJobsDisableHomepage", "").lower() == "true":
            return Response(status_code=204)
        return Response("Your Functions app is up and running", media_type="text/html")

    def invoke_by_hand(self, function: Function, text: str) -> None:
        """Run a queue or timer function now, as POST /admin/functions/<name> does."""
        if function.trigger_type == "queueTrigger":
            work = self._run_queue(function, _handmade(text))
        else:
            listener = self._listeners.get(function.name)
            payload = listener.payload() if isinstance(listener, TimerListener) else "{}"
            work = self._run_timer(function, payload)
        self._spawn(_ignore_result(work), name="by hand")

    def _listen(self, function: Function) -> None:
        try:
            if function.trigger_type == "queueTrigger":
                self._listeners[function.name] = self._queue_listener(function)
            elif function.trigger_type == "timerTrigger":
                self._listeners[function.name] = self._timer_listener(function)
            else:
                return
        except Exception:
            # One listener that cannot be started never keeps the others from starting.
            log.exception("The listener for function '%s' was unable to start", function.name)
            return
        self._spawn(self._supervise(function.name, self._listeners[function.name]))

    def _queue_listener(self, function: Function) -> QueueListener:
        connection = function.trigger.get("connection") or "AzureWebJobsStorage"
        queue = self._connections.queue(
            connection, resolve(function.trigger["queueName"], self._settings)
        )
        poison = poison_queue_name(queue.name)

        async def execute(message: Message) -> bool:
            return await self._run_queue(function, message)

        return QueueListener(
            queue,
            self._connections.queue(connection, poison) if poison else None,
            self._config.queues,
            execute,
            self._watcher,
        )

    def _timer_listener(self, function: Function) -> TimerListener:
        trigger = function.trigger

        async def execute(payload: str) -> bool:
            return await self._run_timer(function, payload)

        timer = Timer(
            Schedule(resolve(trigger["schedule"], self._settings)),
            run_on_startup=bool(trigger.get("runOnStartup")),
            use_monitor=trigger.get("useMonitor") is not False,
        )
        kept = StatusFile(self._state / "timers" / f"{function.name}.json")
        return TimerListener(timer, kept, execute)

    async def _supervise(self, name: str, listener: _Listener) -> None:
        while True:
            try:
                await listener.run()
            except Exception:
                log.exception("The listener for function '%s' failed and starts again", name)
                await asyncio.sleep(_RESTART_AFTER.total_seconds())
            else:
                return

    async def _run_queue(self, function: Function, message: Message) -> bool:
        if message.binding_error:
            log.error(
                "Exception while executing function: Functions.%s. Exception binding parameter "
                "'%s'. %s",
                function.name,
                function.trigger["name"],
                message.binding_error,
            )
            return False
        value = Datum(message.text, "string")
        return (await self._invoke(function, value, queue_metadata(message))).ok

    async def _run_timer(self, function: Function, payload: str) -> bool:
        return (await self._invoke(function, Datum(payload, "json"), {})).ok

    async def _invoke(
        self, function: Function, value: Datum, metadata: Mapping[str, Datum]
    ) -> Outcome:
        invocation_id = str(uuid.uuid4())
        began = time.monotonic()
        category = {"category": f"Function.{function.name}"}
        log.info("Executing 'Functions.%s' (Id=%s)", function.name, invocation_id, extra=category)
        with self._invocations.running(invocation_id, function.name):
            outcome = await self._engine.invoke(
                function, value, metadata, invocation_id=invocation_id
            )
        if outcome.ok:
            outcome = await self._with_outputs(function, outcome)
        log.log(
            logging.INFO if outcome.ok else logging.ERROR,
            "Executed 'Functions.%s' (%s, Id=%s, Duration=%dms)%s",
            function.name,
            "Succeeded" if outcome.ok else "Failed",
            invocation_id,
            (time.monotonic() - began) * 1000,
            f": {outcome.error}" if outcome.error else "",
            extra=category,
        )
        return outcome

    async def _with_outputs(self, function: Function, outcome: Outcome) -> Outcome:
        # After the function returned and before anybody hears of it: a failing output fails
        # the invocation although its body ran.
        try:
            await self._outputs.write(function, outcome)
        except Exception as error:
            log.exception("An output of 'Functions.%s' could not be written", function.name)
            return Outcome(ok=False, error=f"output binding: {error!r}")
        return outcome

    def _is_disabled(self, function: Function) -> bool:
        setting = self._settings.get(f"AzureWebJobs.{function.name}.Disabled", "")
        return setting.lower() in ("true", "1")

    def _spawn(self, work: Coroutine[Any, Any, None], *, name: str = "listener") -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _require_known(function: Function) -> None:
    """Raise IndexingError if a function has bindings that this host cannot run."""
    others = [str(binding["type"]) for binding in function.others]
    inputs = len(function.others) - len(function.outputs)
    if function.trigger_type in TRIGGERS and not inputs and set(others) <= set(OUTPUTS):
        return
    raise IndexingError(
        f"function '{function.name}' has bindings this host does not know: "
        f"{', '.join(function.binding_types)}; it knows one trigger ({', '.join(TRIGGERS)}) "
        f"and the outputs {', '.join(OUTPUTS)}"
    )


async def _ignore_result(work: Awaitable[bool]) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await work


def _handmade(text: str) -> Message:
    now = datetime.now(UTC)
    return Message(
        id=str(uuid.uuid4()),
        content=text,
        text=text,
        is_decoded=True,
        pop_receipt="",
        dequeue_count=0,
        inserted_at=now,
        expires_at=now + _MESSAGE_LIFE,
        next_visible_at=now,
    )
