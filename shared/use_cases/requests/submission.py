"""Submit an access request: permission first, then the policy, then its conditions."""

from dataclasses import dataclass, replace
from typing import Protocol

from shared.domain.model import AccessRequest, Principal
from shared.domain.policy import Asked
from shared.use_cases.parts import (
    HasAuthorize,
    HasBastions,
    HasFirewalls,
    HasMachines,
    HasPolicies,
    HasTelemetry,
)
from shared.use_cases.policies.apply import get_policy
from shared.use_cases.requests.bastion import BastionParts, with_bastion_sources
from shared.use_cases.requests.idempotency import Repeat
from shared.use_cases.requests.submit import (
    PolicyRequest,
    SubmitParts,
    enforce_initiate,
    policy_covering,
    request_access,
)


class CoveringParts(BastionParts, HasAuthorize, HasFirewalls, HasPolicies, HasTelemetry, Protocol):
    """The parts for finding the policy of a request."""


class SubmissionParts(SubmitParts, HasBastions, HasFirewalls, HasMachines, Protocol):
    """The parts for submitting a request."""


@dataclass(frozen=True)
class NewRequest:
    """An access request before its policy is read; without `policy_id` the VM's policy is found.

    The last three fields are how it looked on the wire, where clients compare that.
    """

    asked: Asked
    requestor: Principal
    policy_id: str = ""
    relayed_by: Principal | None = None
    break_glass: bool = False
    repeat: Repeat | None = None
    end_texts: tuple[str, ...] = ()
    sources_listed: tuple[bool, ...] = ()
    sources_given: tuple[bool, ...] = ()


def submit(services: SubmissionParts, new: NewRequest) -> AccessRequest:
    """Check, store and queue a request.

    Raises NotPermittedError, then NotFoundError, then OutsidePolicyError; nothing is stored then.
    """
    return request_access(services, with_policy(services, new))


def with_policy(services: CoveringParts, new: NewRequest) -> PolicyRequest:
    """Find the policy of a request. A caller without permission learns nothing about it."""
    new = _with_ids_of_policies(services, new)
    enforce_initiate(services, new.requestor, new.asked, break_glass=new.break_glass)
    ports = new.asked.ports
    policy_id = new.policy_id or policy_covering(
        services, ports[0].vm_id, [port.number for port in ports]
    )
    policy = get_policy(services, policy_id)
    return PolicyRequest(
        policy,
        with_bastion_sources(services, policy, new.asked),
        new.requestor,
        end_texts=new.end_texts,
        sources_listed=new.sources_listed,
        sources_given=new.sources_given,
        relayed_by=new.relayed_by,
        break_glass=new.break_glass,
        repeat=new.repeat,
    )


def _with_ids_of_policies(services: HasFirewalls, new: NewRequest) -> NewRequest:
    """Name each machine as policies do: the ARN of an instance becomes Defender's form."""
    name = services.firewalls.machine_id
    ports = tuple(replace(port, vm_id=name(port.vm_id)) for port in new.asked.ports)
    return replace(new, asked=replace(new.asked, ports=ports))
