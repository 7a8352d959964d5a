"""Read policies with their newest requests, as far as a caller may see them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shared.domain.disclosure import without_details
from shared.domain.model import AccessRequest, Policy, Principal
from shared.domain.permissions import Action
from shared.use_cases.parts import HasAuthorize, HasPolicies, HasRequests, HasTelemetry
from shared.use_cases.permission import CallerPermissions, PermissionParts, enforce
from shared.use_cases.policies.apply import get_policy, list_policies
from shared.use_cases.requests.submit import parties_of
from shared.use_cases.requests.view import Viewer, ViewParts

LISTED_REQUESTS = 100

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
    """Policies that a caller may read, and what hides the details of their requests."""

    policies: tuple[Policy, ...]
    disclose: Disclose


def read_policy(
    services: PolicyReadParts, caller: Principal, policy_id: str
) -> tuple[Policy, list[AccessRequest]]:
    """Return a policy and its newest requests; raises NotPermittedError, then NotFoundError."""
    enforce(services, caller, Action.READ, policy_id)
    viewer = Viewer(services, caller)
    policy = get_policy(services, policy_id)
    return policy, newest_requests(services, policy, viewer.disclose)


def read_policies(
    services: PolicyListParts, caller: Principal, scope: PolicyScope
) -> ShownPolicies:
    """Return the policies of a scope; raises NotPermittedError."""
    enforce(services, caller, Action.READ, scope.id)
    found = list_policies(services, scope.subscription, scope.group, scope.location)
    return ShownPolicies(tuple(found), _disclosure(services, caller, scope.id))


def newest_requests(
    services: HasRequests, policy: Policy, disclose: Disclose
) -> list[AccessRequest]:
    """Return the newest requests of a policy that the caller may read, newest first."""
    return [disclose(each) for each in services.requests.newest(policy.id, LISTED_REQUESTS)]


def _disclosure(services: HasAuthorize, caller: Principal, scope: str) -> Disclose:
    """Return what hides details in a list: permission is checked once, at the list's scope."""
    if CallerPermissions(services, caller).holds(Action.READ_ACTIVITY, scope):
        return lambda request: request
    return lambda request: (
        request if caller.key in parties_of(request) else without_details(request)
    )
