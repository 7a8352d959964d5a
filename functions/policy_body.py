"""The body of a policy PUT: its fields, and the policy it stands for."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from functions.conditions import ConditionsWire, conditions_of
from functions.wire import DurationText, OneSource, PortNumber, Prefix, Protocol, VmId, Wire
from shared.domain.errors import InvalidInputError, Reason
from shared.domain.ids import key_of
from shared.domain.machine_ids import parse_machine_id
from shared.domain.model import ANY, Policy, PolicyVm, PortRule
from shared.domain.policy import MAX_PORTS, Limits
from shared.domain.times import format_duration, parse_duration

MAX_VMS = 500


class PortRuleWire(OneSource):
    """A policy's rule for a port."""

    number: PortNumber
    protocol: Protocol
    max_request_access_duration: DurationText
    mapped_port: PortNumber | None = None  # answered for a request; chosen by the firewall alone

    @property
    def max_duration(self) -> timedelta:
        """Return the longest access as a length."""
        return parse_duration(self.max_request_access_duration)


class PolicyVmWire(Wire):
    """One VM of a policy."""

    id: VmId
    ports: list[PortRuleWire] | None = Field(None, max_length=MAX_PORTS)
    public_ip_address: Prefix | None = None


class PolicyPropertiesWire(Wire):
    """A policy's content; what the service adds is accepted back and ignored."""

    virtual_machines: list[PolicyVmWire] = Field(max_length=MAX_VMS)
    conditions: ConditionsWire | None = None
    requests: Any = None
    provisioning_state: Any = None
    provisioning_error: Any = None
    append_mode: Any = None

    @model_validator(mode="after")
    def _no_append(self) -> "PolicyPropertiesWire":
        if self.append_mode:
            # It is not documented. Replacing the list where the caller meant to add to it would
            # leave machines unprotected.
            raise ValueError("appendMode is answered and never set; a PUT replaces the list")
        return self


class PolicyWire(Wire):
    """The body of a policy PUT."""

    properties: PolicyPropertiesWire
    kind: Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{1,64}$")] | None = None
    id: Any = None
    name: Any = None
    type: Any = None
    location: Any = None
    etag: Any = None


def policy_of(policy_id: str, location: str, body: PolicyWire, limits: Limits) -> Policy:
    """Map a PUT to the domain; raises InvalidInputError with every line that is wrong."""
    reasons = [*_bad_vms(policy_id, body), *_bad_rules(body, limits), *_bad_widths(body, limits)]
    if reasons:
        first = reasons[0]
        raise InvalidInputError(f"{first.target}: {first.message}", details=tuple(reasons))
    vms = tuple(_policy_vm(vm) for vm in body.properties.virtual_machines)
    conditions = conditions_of(body.properties.conditions)
    return Policy(policy_id, location, vms, kind=body.kind or "Basic", conditions=conditions)


def _policy_vm(vm: PolicyVmWire) -> PolicyVm:
    rules = tuple(_port_rule(rule) for rule in vm.ports or ())
    return PolicyVm(vm.id, rules, vm.public_ip_address or "")


def _port_rule(rule: PortRuleWire) -> PortRule:
    longest = rule.max_duration
    sent = rule.max_request_access_duration
    return PortRule(
        rule.number,
        rule.protocol,
        rule.sources or (ANY,),
        longest,
        rule.allowed_source_address_prefixes is not None,
        "" if sent == format_duration(longest) else sent,
    )


def _bad_vms(policy_id: str, body: PolicyWire) -> Iterable[Reason]:
    subscription = policy_id.split("/")[2].lower()
    seen: set[str] = set()
    for number, vm in enumerate(body.properties.virtual_machines):
        at = f"properties.virtualMachines[{number}].id"
        if parse_machine_id(vm.id).subscription != subscription:
            yield Reason("InvalidSubscription", "must be in the path's subscription", at)
        if key_of(vm.id) in seen:
            yield Reason("DuplicateVirtualMachine", "this VM is named twice", at)
        seen.add(key_of(vm.id))


def _bad_rules(body: PolicyWire, limits: Limits) -> Iterable[Reason]:
    shortest, longest = limits.min_duration, limits.max_duration
    for v, vm in enumerate(body.properties.virtual_machines):
        seen: set[int] = set()
        for p, rule in enumerate(vm.ports or ()):
            at = f"properties.virtualMachines[{v}].ports[{p}]"
            if not shortest <= rule.max_duration <= longest:
                message = f"must be from {format_duration(shortest)} to {format_duration(longest)}"
                yield Reason("InvalidDuration", message, f"{at}.maxRequestAccessDuration")
            if rule.number in seen:
                message = "this port is listed twice on the VM; use protocol * for both"
                yield Reason("DuplicatePort", message, f"{at}.number")
            seen.add(rule.number)


def _bad_widths(body: PolicyWire, limits: Limits) -> Iterable[Reason]:
    """Find a policy that would let wider sources in than the deployment does."""
    wire = body.properties.conditions
    if wire is None:
        return
    for asked, widest, family in (
        (wire.widest_source_prefix_ipv4, limits.widest_ipv4, "Ipv4"),
        (wire.widest_source_prefix_ipv6, limits.widest_ipv6, "Ipv6"),
    ):
        if asked is not None and asked < widest:
            target = f"properties.conditions.widestSourcePrefix{family}"
            message = f"this installation lets no policy go wider than /{widest}"
            yield Reason("SourceTooWide", message, target)
