"""Reports, as they are answered: VMs, audit events, health, the caller and the cloud."""

from functions.schemas.base import (
    COUNT,
    DURATION,
    FLAG,
    ID,
    INSTANT,
    PORT,
    TEXT,
    Schema,
    list_of,
    object_of,
    one_of,
    or_null,
    paged,
)
from functions.schemas.policies import PORT_RULE
from shared.domain.audit import Operation
from shared.domain.permissions import Action
from shared.use_cases.reports.machines import Category, State

_AUDIENCES = {"loginEndpoint": TEXT, "audiences": {**list_of(TEXT), "minItems": 1}}
_CLOUD = object_of(
    {
        "name": TEXT,
        "resourceManager": TEXT,
        "portal": TEXT,
        "authentication": object_of({**_AUDIENCES, "tenant": TEXT, "identityProvider": TEXT}),
        "graph": TEXT,
        "graphAudience": TEXT,
        "microsoftGraphResourceId": TEXT,
        "media": TEXT,
        "batch": TEXT,
        "sqlManagement": TEXT,
        "gallery": TEXT,
        "vmImageAliasDoc": TEXT,
        "suffixes": object_of(
            dict.fromkeys(("storage", "sqlServerHostname", "keyVaultDns", "acrLoginServer"), TEXT)
        ),
    }
)
_FIRST_CLOUD = object_of(
    {
        "galleryEndpoint": TEXT,
        "graphEndpoint": TEXT,
        "portalEndpoint": TEXT,
        "graphAudience": TEXT,
        "authentication": object_of(_AUDIENCES),
    }
)
_ME = object_of(
    {
        "name": TEXT,
        "objectId": TEXT,
        "tenantId": TEXT,
        "isApp": FLAG,
        "address": or_null(TEXT),
        "permissions": list_of(
            object_of(
                {"scope": ID, "actions": list_of(one_of(*(action.value for action in Action)))}
            )
        ),
        "limits": object_of(
            {
                "minDuration": DURATION,
                "maxDuration": DURATION,
                "widestSourcePrefixIpv4": COUNT,
                "widestSourcePrefixIpv6": COUNT,
                "portsPerRequest": COUNT,
                "openPorts": COUNT,
                "openPortsAllowed": COUNT,
            }
        ),
    }
)
_MACHINE = object_of(
    {
        "id": ID,
        "location": TEXT,
        "system": or_null(TEXT),
        "privateIpAddresses": list_of(TEXT),
        "category": one_of(*(category.value for category in Category)),
        "reason": TEXT,
        "exposedBy": list_of(
            object_of(
                {"firewall": ID, "rule": TEXT, "port": PORT, "sources": list_of(TEXT)},
                {"priority": COUNT},
            )
        ),
        "recommendation": object_of(
            {"state": one_of(*(state.value for state in State)), "reason": TEXT}
        ),
        "policies": list_of(ID),
        "ports": list_of(PORT_RULE),
        "firewalls": list_of(ID),
        "bastions": or_null(
            list_of(object_of({"id": ID, "name": TEXT, "sku": TEXT, "enableTunneling": FLAG}))
        ),
        "lastAccess": or_null(INSTANT),
        "lastRequestor": or_null(TEXT),
    }
)
_ACTIVITY = object_of(
    {"time": INSTANT, "operation": one_of(*(each.value for each in Operation))},
    {
        **dict.fromkeys(
            (
                *("principal", "principalName", "onBehalfOf", "relayedBy", "requestId"),
                *("virtualMachine", "firewall", "policyId", "sourceAddress", "reason"),
                *("authorizedBy", "oldDigest", "newDigest", "changes"),
            ),
            TEXT,
        ),
        "port": PORT,
        "latenessSeconds": {"type": "number"},
    },
)
_HEALTH: Schema = {
    "type": "object",
    "properties": {"status": one_of("Healthy", "Degraded", "Unhealthy")},
    "required": ["status"],
}

_MACHINES: Schema = object_of(
    {"value": list_of(_MACHINE)},
    {"nextLink": {"type": "string", "format": "uri"}, "unanswered": list_of(TEXT)},
)

SCHEMAS: dict[str, Schema] = {
    "ActivityList": paged(_ACTIVITY),
    "Document": {"type": "object", "required": ["openapi", "paths"]},
    "CloudMetadata": {
        "anyOf": [_CLOUD, {**list_of(_CLOUD), "minItems": 1, "maxItems": 1}, _FIRST_CLOUD]
    },
    "Health": _HEALTH,
    "Me": _ME,
    "MachineList": _MACHINES,
}
