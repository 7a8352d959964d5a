"""The metadata that a queue message carries into an invocation."""

import json
from collections.abc import Mapping
from typing import Any

from local.functions_host.engine import Datum
from local.functions_host.queues import Message


def queue_metadata(message: Message) -> dict[str, Datum]:
    """Return the message's metadata, overridden by its own top-level JSON properties.

    The trap of python-library#49 and nodejs-library#459: the host merges the properties of a
    JSON payload over the metadata, without regard to letter case. A payload's `id` replaces
    the message id, and a `dequeueCount` that is no number fails the invocation.
    """
    metadata = {
        "QueueTrigger": Datum(message.text, "string"),
        "Id": Datum(message.id, "string"),
        "PopReceipt": Datum(message.pop_receipt, "string"),
        "DequeueCount": Datum(json.dumps(message.dequeue_count), "json"),
        "InsertionTime": Datum(json.dumps(message.inserted_at.isoformat()), "json"),
        "ExpirationTime": Datum(json.dumps(message.expires_at.isoformat()), "json"),
        "NextVisibleTime": Datum(json.dumps(message.next_visible_at.isoformat()), "json"),
    }
    spelling = {name.lower(): name for name in metadata}
    for name, value in _properties(message.text).items():
        known = spelling.setdefault(name.lower(), name)
        metadata[known] = value
    return metadata


def _properties(text: str) -> dict[str, Datum]:
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        return {}  # no JSON, or too deep for the host as well
    if not isinstance(payload, Mapping):
        return {}
    data = ((name, _datum(value)) for name, value in payload.items())
    return {name: datum for name, datum in data if datum is not None}


def _datum(value: Any) -> Datum | None:
    # Utility.ApplyBindingData in the host: arrays and null are left out, objects stay JSON,
    # everything else becomes a string, written as .NET writes it.
    match value:
        case None | list():
            return None
        case dict():
            return Datum(json.dumps(value, separators=(",", ":")), "json")
        case bool() | str():
            return Datum(str(value), "string")
        case _:
            return Datum(json.dumps(value), "string")
