"""Act for a person: a relay carries a named person's message under both identities."""

from typing import Protocol

from shared.domain.model import Principal
from shared.domain.permissions import Action
from shared.use_cases.parts import HasScopes
from shared.use_cases.permission import PermissionParts, enforce
from shared.use_cases.requests.decide import Caller


class RelayParts(PermissionParts, HasScopes, Protocol):
    """The parts for acting for another principal."""


def act_for(services: RelayParts, caller: Principal, person: Principal | None) -> Caller:
    """Return the person who acts, and the relay if one acts for them; raises NotPermittedError.

    NB. Only a relay may name a person, who gets none of the relay's rights: what the person
    requests has to be permitted by their own Azure role.
    """
    if person is None:
        return Caller(caller)
    enforce(services, caller, Action.RELAY, services.scopes[0])
    return Caller(person, relayed_by=caller)
