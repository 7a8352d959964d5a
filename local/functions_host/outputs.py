"""Write what a function put into its queue output bindings."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from local.functions_host.config import resolve
from local.functions_host.engine import Datum, Function, Outcome
from local.functions_host.queue_listener import QueueWatcher
from local.functions_host.queues import Connections

_RETURN = "$return"


class Outputs:
    """The queue output bindings of the app."""

    def __init__(
        self, connections: Connections, settings: Mapping[str, str], watcher: QueueWatcher
    ) -> None:
        self._connections = connections
        self._settings = settings
        self._watcher = watcher

    async def write(self, function: Function, outcome: Outcome) -> None:
        """Send every output; the host does so after the function returned, all at once."""
        values = dict(outcome.outputs)
        if outcome.returned is not None:
            values[_RETURN] = outcome.returned
        queues = [binding for binding in function.outputs if binding["type"] == "queue"]
        await asyncio.gather(
            *(
                self._send(binding, values[binding["name"]])
                for binding in queues
                if binding["name"] in values
            )
        )

    async def _send(self, binding: Mapping[str, str], value: Datum) -> None:
        name = resolve(binding["queueName"], self._settings)
        connection = binding.get("connection") or "AzureWebJobsStorage"
        queue = self._connections.queue(connection, name)
        for message in _messages(value):
            await queue.send(message)
        self._watcher.notify(queue.name)


def _messages(value: Datum) -> list[str | bytes]:
    """Return the messages of one output value: each item of a JSON array is its own."""
    if value.value is None:
        return []
    if isinstance(value.value, bytes):
        return [value.value]
    text = value.value if isinstance(value.value, str) else json.dumps(value.value)
    # FunctionBinding.ReadAsEnumerable: a text in brackets or braces is read as JSON.
    if text.strip()[:1] + text.strip()[-1:] not in {"[]", "{}"}:
        return [text]
    value_read = json.loads(text)
    items = value_read if isinstance(value_read, list) else [value_read]
    return [_written(item) for item in items]


def _written(item: Any) -> str:
    """Write a JSON value as JToken.ToString() does: indented, a text without its quotes."""
    match item:
        case str():
            return item
        case None:
            return ""
        case bool():
            return str(item)
        case _:
            return json.dumps(item, indent=2, ensure_ascii=False)
