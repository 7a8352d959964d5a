"""Policies, as they are answered."""

from functions.conditions import CONDITIONS
from functions.schemas.base import (
    DURATION,
    FLAG,
    ID,
    PORT,
    TEXT,
    Schema,
    list_of,
    object_of,
    one_of,
    paged,
    see,
)
from functions.schemas.requests import SOURCES
from shared.domain.model import (
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
            {"provisioningError": TEXT, "conditions": CONDITIONS},
        ),
        "id": ID,
        "name": TEXT,
        "type": TEXT,
        "location": TEXT,
    },
    {"etag": {**TEXT, "description": "In lists. One policy has it in the header ETag."}},
)

SCHEMAS: dict[str, Schema] = {"Policy": _POLICY, "PolicyList": paged(see("Policy"))}
