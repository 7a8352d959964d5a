"""Read policies with their newest requests, as far as a caller may see them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shared.domain.disclosure import without_details
from shared.domain.ids import key_of
from shared.domain.model import AccessRequest, Policy, PolicyState, Principal
from shared.domain.permissions import Action
from shared.use_cases.parts import HasAuthorize, HasPolicies, HasRequests, HasTelemetry
from shared.use_cases.permission import CallerPermissions, PermissionParts, enforce
from shared.use_cases.policies.apply import get_policy
from shared.use_cases.requests.submit import parties_of
from shared.use_cases.requests.view import Viewer, ViewParts

LISTED_REQUESTS = 100
_VMS_IN_ONE = 10  # a policy that lists more counts as several, so that a page stays small
_CHUNKS = 10  # reads for one page, each of one row more than fills it; the next goes on from there

Disclose = Callable[[AccessRequest], AccessRequest]


class PolicyListParts(PermissionParts, HasPolicies, Protocol):
    """The parts for listing policies for a caller."""


class PolicyReadParts(ViewParts, HasRequests, HasTelemetry, Protocol):
    """The parts for showing one policy to a caller."""


@dataclass(frozen=True)
class PolicyScope:
    """The subscription whose policies are listed, narrowed by resource group and location."""

    subscription: str
    group: str = ""
    location: str = ""

    @property
    def id(self) -> str:
        """Return the id of the scope at which a caller needs permission."""
        scope = f"/subscriptions/{self.subscription}"
        return f"{scope}/resourceGroups/{self.group}" if self.group else scope


@dataclass(frozen=True)
class ShownPolicies:
    """A page of policies, what hides the details of their requests, and where the rest begins."""

    policies: tuple[Policy, ...]
    disclose: Disclose
    next: str = ""  # the key of the last policy; empty: no page follows


def read_policy(
    services: PolicyReadParts, caller: Principal, policy_id: str
) -> tuple[Policy, list[AccessRequest]]:
    """Return a policy and its newest requests; raises NotPermittedError, then NotFoundError."""
    enforce(services, caller, Action.READ, policy_id)
    viewer = Viewer(services, caller)
    policy = get_policy(services, policy_id)
    return policy, newest_requests(services, policy, viewer.disclose)


def read_policies(
    services: PolicyListParts,
    caller: Principal,
    scope: PolicyScope,
    *,
    after: str = "",
    top: int = 50,
) -> ShownPolicies:
    """Return one page of the policies of a scope, those after a key; raises NotPermittedError."""
    enforce(services, caller, Action.READ, scope.id)
    found, following = _page(services, scope, after, top)
    return ShownPolicies(tuple(found), _disclosure(services, caller, scope.id), following)


def _page(
    services: HasPolicies, scope: PolicyScope, after: str, top: int
) -> tuple[list[Policy], str]:
    """Read policies until a page is full, no row is left or enough rows were looked at."""
    taken: list[Policy] = []
    vms = 0
    for _ in range(_CHUNKS):
        read, after = services.policies.page(
            scope.subscription, scope.group, after=after, limit=top + 1
        )
        for policy in (each for each in read if _is_listed(each, scope)):
            vms += max(_VMS_IN_ONE, len(policy.vms))
            if taken and vms > top * _VMS_IN_ONE:
                return taken, key_of(taken[-1].id)
            taken.append(policy)
        if not after:
            break
    return taken, after


def _is_listed(policy: Policy, scope: PolicyScope) -> bool:
    """Tell whether a list shows a policy: it is in the location, and not being deleted."""
    located = not scope.location or key_of(policy.location) == key_of(scope.location)
    return located and policy.state is not PolicyState.DELETING


def newest_requests(
    services: HasRequests, policy: Policy, disclose: Disclose
) -> list[AccessRequest]:
    """Return the newest requests of a policy that the caller may read, newest first."""
    return [disclose(each) for each in services.requests.newest(policy.id, LISTED_REQUESTS)]


def _disclosure(services: HasAuthorize, caller: Principal, scope: str) -> Disclose:
    """Return the function that hides a list's details; permission is checked once, at its scope."""
    if CallerPermissions(services, caller).holds(Action.READ_ACTIVITY, scope):
        return lambda request: request
    return lambda request: (
        request if caller.key in parties_of(request) else without_details(request)
    )
