"""A request as one caller sees it: its details or not, what the caller can do, the latest end."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from shared.domain.approval import check_approver, check_vote, pending
from shared.domain.disclosure import without_details
from shared.domain.model import AccessRequest, Policy, PortRequest, Principal
from shared.domain.permissions import Action
from shared.domain.policy import latest_end
from shared.domain.request import is_open
from shared.use_cases.parts import HasAuthorize, HasPolicies, HasScopes
from shared.use_cases.permission import CallerPermissions
from shared.use_cases.policies.apply import standing
from shared.use_cases.requests.decide import LatestEndParts, reasons_against_end
from shared.use_cases.requests.submit import parties_of


class ViewParts(LatestEndParts, HasAuthorize, HasPolicies, HasScopes, Protocol):
    """The parts for showing requests to a caller."""


class Ability(StrEnum):
    """An action that a caller can take on a request."""

    APPROVE = "approve"
    DENY = "deny"
    REVOKE = "revoke"
    EXTEND = "extend"


@dataclass(frozen=True)
class RequestView:
    """A request as it is shown to one caller."""

    request: AccessRequest
    can: tuple[Ability, ...] = ()
    latest_end: datetime | None = None


@dataclass
class Viewer:
    """A caller who looks at requests in one call; policies and permissions are read once."""

    services: ViewParts
    caller: Principal
    _policies: dict[str, Policy | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the memory of what the caller holds."""
        self.permissions = CallerPermissions(self.services, self.caller)

    def view(self, request: AccessRequest) -> RequestView:
        """Return a request as the caller sees it."""
        if request.is_final:
            return RequestView(self.disclose(request))
        latest = self._latest_end(request)
        return RequestView(self.disclose(request), tuple(self._abilities(request, latest)), latest)

    def disclose(self, request: AccessRequest) -> AccessRequest:
        """Return a request, without its details where the caller may not read them."""
        return request if self.sees_details(request) else without_details(request)

    def sees_details(self, request: AccessRequest) -> bool:
        """Tell whether the caller may read a request's reasons and addresses.

        The requestor, the app that carried the request and readers of the activity may; approvers
        and the apps that carry their decisions may where the request needs approval.
        """
        return (
            self.caller.key in parties_of(request)
            or self.permissions.holds(Action.READ_ACTIVITY, request.policy_id)
            or (_needs_approval(request) and self._decides(request))
        )

    def can_vote(self, request: AccessRequest) -> bool:
        """Tell whether a request awaits a decision that the caller can make."""
        approval = pending(request)
        return (
            approval is not None
            and self.services.clock() < approval.deadline
            and check_vote(request, self.caller).allowed
            and all(vote.approver.key != self.caller.key for vote in approval.votes)
            and self.permissions.holds_on_vms(Action.APPROVE, _vms(request.ports))
        )

    def _decides(self, request: AccessRequest) -> bool:
        relays = self.permissions.holds(Action.RELAY, self.services.scopes[0])
        is_approver = check_approver(self.caller).allowed and self.permissions.holds_on_vms(
            Action.APPROVE, _vms(request.ports)
        )
        return relays or is_approver

    def _abilities(self, request: AccessRequest, latest: datetime | None) -> Iterable[Ability]:
        if self.can_vote(request):
            yield from (Ability.APPROVE, Ability.DENY)
        if self._can_revoke(request):
            yield Ability.REVOKE
        if latest is not None and self._can_extend(request, latest):
            yield Ability.EXTEND

    def _can_revoke(self, request: AccessRequest) -> bool:
        live = [port for port in request.ports if not port.is_final and port.closing is None]
        mine = self.caller.key == request.requestor.key
        return bool(live) and (
            mine or self.permissions.holds_on_vms(Action.REVOKE, _vms(request.ports))
        )

    def _can_extend(self, request: AccessRequest, latest: datetime) -> bool:
        ports = self._open(request)
        policy = self._policy(request.policy_id)
        return (
            self.caller.key == request.requestor.key
            and request.extension is None
            and policy is not None
            and any(port.end_at is not None and port.end_at < latest for port in ports)
            and self.permissions.holds_on_vms(Action.INITIATE, _vms(ports))
            and not reasons_against_end(self.services, policy, request, ports, latest)
        )

    def _latest_end(self, request: AccessRequest) -> datetime | None:
        ports = self._open(request)
        policy = self._policy(request.policy_id) if ports else None
        if policy is None:
            return None
        return latest_end(policy, request, ports, self.services.limits, self.services.clock())

    def _open(self, request: AccessRequest) -> list[PortRequest]:
        now = self.services.clock()
        return [port for port in request.ports if is_open(port, now)]

    def _policy(self, policy_id: str) -> Policy | None:
        if policy_id not in self._policies:
            self._policies[policy_id] = standing(self.services.policies.get(policy_id))
        return self._policies[policy_id]


def _needs_approval(request: AccessRequest) -> bool:
    return bool(request.approval or request.extension or request.decided)


def _vms(ports: Iterable[PortRequest]) -> list[str]:
    return sorted({port.vm_id for port in ports})
