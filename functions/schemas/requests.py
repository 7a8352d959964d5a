"""Requests, as they are answered."""

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
    see,
)
from shared.domain.model import (
    CloseReason,
    FirewallState,
    Status,
)
from shared.use_cases.requests.view import Ability

# One or the other: whichever was sent.
SOURCES: Schema = {
    "allowedSourceAddressPrefix": TEXT,
    "allowedSourceAddressPrefixes": list_of(TEXT),
}
_PORT_REQUEST = object_of(
    {
        "number": PORT,
        "status": one_of(*(status.value for status in Status)),
        "statusReason": one_of("UserRequested", *(reason.value for reason in CloseReason)),
    },
    {
        **SOURCES,
        "endTimeUtc": INSTANT,
        "duration": DURATION,
        "closeBeginsTimeUtc": INSTANT,
        "publicIpAddress": TEXT,
        "mappedPort": PORT,
        "error": object_of({"code": TEXT, "message": TEXT}),
    },
)
_PORT_STATUS: Schema = {
    **_PORT_REQUEST,
    "properties": {
        **_PORT_REQUEST["properties"],
        "bastion": ID,
        "connectTo": TEXT,
        "firewalls": list_of(
            object_of(
                {
                    "id": TEXT,
                    "name": TEXT,
                    "state": one_of(*(state.value for state in FirewallState)),
                    "reason": or_null(TEXT),
                    "openedAt": or_null(INSTANT),
                    "closedAt": or_null(INSTANT),
                }
            )
        ),
    },
    "required": [*_PORT_REQUEST["required"], "firewalls"],
}
_REQUEST: Schema = {
    "virtualMachines": list_of(object_of({"id": ID, "ports": list_of(_PORT_REQUEST)})),
    "startTimeUtc": INSTANT,
    "requestor": TEXT,
}
_DECISION = object_of(
    {"approver": TEXT, "approved": FLAG, "at": INSTANT, "comment": TEXT},
)
_STATUS = object_of(
    {
        "id": TEXT,
        "status": one_of(*(status.value for status in Status)),
        "policyId": ID,
        **_REQUEST,
        "virtualMachines": list_of(object_of({"id": ID, "ports": list_of(_PORT_STATUS)})),
        "requestorObjectId": TEXT,
        "can": list_of(one_of(*(ability.value for ability in Ability))),
        "latestEndTimeUtc": or_null(INSTANT),
        "openedAt": or_null(INSTANT),
        "closedAt": or_null(INSTANT),
    },
    {
        "justification": TEXT,
        "breakGlass": FLAG,
        "relayedBy": TEXT,
        "approval": object_of(
            {
                "needed": COUNT,
                "agreed": COUNT,
                "deadline": INSTANT,
                "decisions": list_of(_DECISION),
                "summary": list_of(TEXT),
            },
            {"endTimeUtc": INSTANT},
        ),
    },
)

SCHEMAS: dict[str, Schema] = {
    "Request": object_of(_REQUEST, {"justification": TEXT}),
    "RequestList": paged(see("RequestStatus")),
    "RequestStatus": _STATUS,
}
