"""The schemas of dry runs."""

from functions.schemas.base import FLAG, ID, TEXT, Schema, list_of, object_of, or_null, see

REASON = object_of({"code": TEXT, "message": TEXT, "target": TEXT})
FIREWALL_CHANGE = object_of(
    {
        "id": ID,
        "put": list_of(object_of({"name": TEXT, "properties": {"type": "object"}})),
        "remove": list_of(TEXT),
        "blocked": list_of(object_of({"rule": TEXT, "reason": TEXT})),
    }
)
_DRY_RUN: Schema = {
    "dryRun": {"const": True},
    "allowed": FLAG,
    "reasons": list_of(REASON),
    "problems": list_of(REASON),
    "firewalls": list_of(FIREWALL_CHANGE),
}

SCHEMAS: dict[str, Schema] = {
    "PolicyDryRun": object_of({**_DRY_RUN, "policy": or_null(see("Policy"))}),
    "PolicyOrDryRun": {"anyOf": [see("Policy"), see("PolicyDryRun")]},
    "RequestDryRun": object_of({**_DRY_RUN, "request": or_null(see("Request"))}),
}
