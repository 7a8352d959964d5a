"""Who speaks, and for whom: a relay carries a named person's message under both identities."""

from typing import Annotated

from pydantic import StringConstraints

from functions.calling import note_person
from functions.wire import OneLine, Wire
from shared.bootstrap import app
from shared.domain.model import Principal
from shared.domain.permissions import Action
from shared.use_cases.permission import enforce
from shared.use_cases.requests.decide import Caller

ObjectId = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
]


class PersonWire(Wire):
    """The person a relay speaks for."""

    object_id: ObjectId
    name: OneLine


def speaking_for(principal: Principal, person: PersonWire | None) -> Caller:
    """Return the person who acts, and the relay if one speaks for them.

    NB. Only a relay may name somebody, and the named person gets none of the relay's rights:
    what they ask for has to be theirs by Azure role.
    """
    if person is None:
        return Caller(principal)
    enforce(app().services, principal, Action.RELAY, app().settings.scopes[0])
    named = Principal(principal.tenant, person.object_id.lower(), person.name)
    note_person(named)
    return Caller(named, relayed_by=principal)
