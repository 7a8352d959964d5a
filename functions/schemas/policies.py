"""Policies, as they are answered."""

from functions.schemas.base import (
    COUNT,
    DURATION,
    FLAG,
    ID,
    PORT,
    TEXT,
    Schema,
    list_of,
    object_of,
    one_of,
    or_null,
    paged,
    see,
)
from functions.schemas.requests import SOURCES
from shared.domain.model import (
    CloseBy,
    ExtensionApproval,
    PolicyState,
)

PORT_RULE = object_of(
    {
        "number": PORT,
        "protocol": one_of("TCP", "UDP", "*"),
        "maxRequestAccessDuration": DURATION,
    },
    SOURCES,
)
_CONDITIONS = object_of(
    {
        "justificationRequired": FLAG,
        "justificationPattern": TEXT,
        "widestSourcePrefixIpv4": or_null(COUNT),
        "widestSourcePrefixIpv6": or_null(COUNT),
        "ownAddressOnly": FLAG,
        "onlyThroughBastion": FLAG,
        "approversNeeded": COUNT,
        "extensionApproval": one_of(*(each.value for each in ExtensionApproval)),
        "approveExtensions": FLAG,
        "maxTotalDuration": DURATION,
        "approvalTimeout": DURATION,
        "flushConnections": FLAG,
        "closeBy": one_of(*(each.value for each in CloseBy)),
        "revokeForeignRules": FLAG,
    }
)
_POLICY_VM = object_of({"id": ID, "ports": list_of(PORT_RULE)}, {"publicIpAddress": TEXT})
_POLICY = object_of(
    {
        "kind": TEXT,
        "properties": object_of(
            {
                "virtualMachines": list_of(_POLICY_VM),
                "requests": list_of(see("Request")),
                "provisioningState": one_of(*(state.value for state in PolicyState)),
                "appendMode": FLAG,
            },
            {"provisioningError": TEXT, "conditions": _CONDITIONS},
        ),
        "id": ID,
        "name": TEXT,
        "type": TEXT,
        "location": TEXT,
    },
    {"etag": {**TEXT, "description": "In lists. One policy has it in the header ETag."}},
)

SCHEMAS: dict[str, Schema] = {"Policy": _POLICY, "PolicyList": paged(see("Policy"))}
