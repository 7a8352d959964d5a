"""The caller's own report: identity, actions at each scope, and limits."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from shared.domain.errors import UnavailableError
from shared.domain.model import Principal
from shared.domain.permissions import Action
from shared.store.codec import UnreadableRowError
from shared.store.live import Reserved
from shared.use_cases.parts import HasAuthorize, HasRequests, HasTelemetry, HasWorkers
from shared.use_cases.permission import refuse

MOST_SCOPES = 10  # scopes that one call looks at: each may cost reads of role assignments


class MeParts(HasAuthorize, HasRequests, HasTelemetry, HasWorkers, Protocol):
    """The parts for describing a caller."""


@dataclass(frozen=True)
class HeldActions:
    """The actions that a caller holds at a scope."""

    scope: str
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class Me:
    """A caller's permissions, and the number of ports open or waiting for the caller."""

    held: tuple[HeldActions, ...]
    ports: int


def describe_caller(services: MeParts, caller: Principal, scopes: Iterable[str]) -> Me:
    """Return a caller's permissions at some scopes, and the number of the caller's ports.

    Raises TooManyRequestsError at the bound of role reads, and UnavailableError where a check
    cannot be made: an action that is held must not look as if it were not.
    """
    held = tuple(
        HeldActions(scope, _actions(services, caller, scope))
        for scope in list(scopes)[:MOST_SCOPES]
    )
    reserved, _ = services.requests.live_rows.reserved_ports(caller.key)
    ports = services.workers(lambda each: _ports_held(services, each), reserved.values())
    return Me(held, sum(ports))


def _ports_held(services: HasRequests, reserved: Reserved) -> int:
    """Return the ports that a request takes; none once it has ended and is still listed."""
    try:
        stored = services.requests.get(reserved.request_id)
    except UnreadableRowError:
        return reserved.ports
    return 0 if stored and stored.request.is_final else reserved.ports


def _actions(services: MeParts, caller: Principal, scope: str) -> tuple[Action, ...]:
    return tuple(action for action in Action if _is_held(services, caller, action, scope))


def _is_held(services: MeParts, caller: Principal, action: Action, scope: str) -> bool:
    decision = services.authorize(caller, action, scope)
    if decision.retry_after:
        refuse(services, caller, action, scope, decision)
    if decision.failed_check:
        raise UnavailableError(f"What you hold cannot be told now: {'; '.join(decision.reasons)}")
    return decision.allowed
