"""Health, the caller and the cloud, as they are answered."""

from functions.schemas.base import (
    COUNT,
    DURATION,
    FLAG,
    ID,
    TEXT,
    Schema,
    list_of,
    object_of,
    one_of,
    or_null,
)
from shared.domain.permissions import Action

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
_HEALTH: Schema = {
    "type": "object",
    "properties": {"status": one_of("Healthy", "Degraded", "Unhealthy")},
    "required": ["status"],
}

SCHEMAS: dict[str, Schema] = {
    "Document": {"type": "object", "required": ["openapi", "paths"]},
    "CloudMetadata": {
        "anyOf": [_CLOUD, {**list_of(_CLOUD), "minItems": 1, "maxItems": 1}, _FIRST_CLOUD]
    },
    "Health": _HEALTH,
    "Me": _ME,
}
