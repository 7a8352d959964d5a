"""Which binding types a host knows: its own two triggers, and what an extension bundle brings."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

# The host has these without any extension.
BUILT_IN = frozenset({"http", "httpTrigger", "timerTrigger"})
# Microsoft.Azure.Functions.ExtensionBundle, version 4.
BUNDLED = frozenset(
    {
        *("blob", "blobTrigger", "queue", "queueTrigger", "table"),
        *("cosmosDB", "cosmosDBTrigger", "eventGrid", "eventGridTrigger"),
        *("eventHub", "eventHubTrigger", "serviceBus", "serviceBusTrigger"),
        *("kafka", "kafkaTrigger", "rabbitMQ", "rabbitMQTrigger", "sendGrid", "twilioSms"),
        *("signalR", "signalRConnectionInfo", "signalREndpoints", "signalRNegotiation"),
        *("signalRTrigger", "sql", "sqlTrigger", "warmupTrigger"),
        *("webPubSub", "webPubSubConnection", "webPubSubContext", "webPubSubTrigger"),
        *("activityTrigger", "durableClient", "entityTrigger", "orchestrationTrigger"),
        *("daprBinding", "daprBindingTrigger", "daprInvoke", "daprPublish", "daprSecret"),
        *("daprServiceInvocationTrigger", "daprState", "daprTopicTrigger"),
    }
)
_BUNDLE_IDS = frozenset(
    f"microsoft.azure.functions.extensionbundle{suffix}"
    for suffix in ("", ".preview", ".experimental")
)
_RANGE = re.compile(r"[\[(]\s*(\d+)(?:\.(?:\d+|\*)){0,3}\s*,\s*(\d+)(?:\.(?:\d+|\*)){0,3}\s*[\])]")
# A host of version 4 takes no older bundle.
_OLDEST_BUNDLE = 2


class BundleError(Exception):
    """The section `extensionBundle` of host.json cannot be used."""


def has_bundle(host_json: Mapping[str, Any]) -> bool:
    """Tell whether host.json names an extension bundle; raises BundleError if it names none that exists."""
    section = host_json.get("extensionBundle")
    if section is None:
        return False
    bundle = str(section.get("id", ""))
    if bundle.lower() not in _BUNDLE_IDS:
        raise BundleError(
            "The value of id property in extensionBundle section of host.json file is invalid "
            f"or missing: '{bundle}'."
        )
    _require_version(str(section.get("version", "")))
    return True


def binding_error(types: Iterable[str], *, bundle: bool) -> str:
    """Return why a function with these binding types is in error; empty if it is not.

    Both sentences are the real host's (WorkerFunctionDescriptorProvider).
    """
    known = {name.lower() for name in (BUILT_IN | BUNDLED if bundle else BUILT_IN)}
    missing = ", ".join(dict.fromkeys(name for name in types if name.lower() not in known))
    if not missing:
        return ""
    if bundle:
        return (
            f"The binding type(s) '{missing}' were not found in the configured extension bundle. "
            "Please ensure the type is correct and the correct version of extension bundle is "
            "configured"
        )
    return (
        f"The binding type(s) '{missing}' are not registered. "
        "Please ensure the type is correct and the binding extension is installed."
    )


def _require_version(version: str) -> None:
    found = _RANGE.fullmatch(version)
    if found is None or int(found[2]) <= max(_OLDEST_BUNDLE, int(found[1])):
        raise BundleError(
            "The value of version property in extensionBundle section of host.json file is "
            f"invalid or missing, or too old for this host: '{version}'."
        )
