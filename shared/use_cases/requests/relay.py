"""Act for a person: a relay carries a named person's message under both identities."""

from shared.domain.model import Principal
from shared.domain.permissions import Action
from shared.use_cases.permission import enforce
from shared.use_cases.requests.decide import Caller
from shared.use_cases.services import Services


def act_for(services: Services, caller: Principal, person: Principal | None) -> Caller:
    """Return the person who acts, and the relay if one acts for them; raises NotPermittedError.

    NB. Only a relay may name a person, who gets none of the relay's rights: what the person
    requests has to be permitted by their own Azure role.
    """
    if person is None:
        return Caller(caller)
    enforce(services, caller, Action.RELAY, services.scopes[0])
    return Caller(person, relayed_by=caller)
