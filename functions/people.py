"""Callers and relays: a relay carries a named person's message under both identities."""

from typing import Annotated

from pydantic import StringConstraints

from functions.calling import note_person
from functions.wire import OneLine, Wire
from shared.bootstrap import app
from shared.domain.model import Principal
from shared.use_cases.requests.decide import Caller
from shared.use_cases.requests.relay import act_for

ObjectId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
]


class PersonWire(Wire):
    """The person a relay speaks for."""

    object_id: ObjectId
    name: OneLine


def speaking_for(principal: Principal, person: PersonWire | None) -> Caller:
    """Return the person who acts, and the relay if one speaks for them."""
    named = Principal(principal.tenant, person.object_id.lower(), person.name) if person else None
    acting = act_for(app().services, principal, named)
    if named is not None:
        note_person(named)
    return acting
