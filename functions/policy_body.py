"""The body of a policy PUT as a policy, or every line of it that is wrong."""

from collections.abc import Iterable

from functions.wire import ConditionsWire, PolicyVmWire, PolicyWire, PortRuleWire
from shared.domain.errors import InvalidInputError, Reason
from shared.domain.ids import key_of
from shared.domain.machine_ids import parse_machine_id
from shared.domain.model import ANY, Conditions, ExtensionApproval, Policy, PolicyVm, PortRule
from shared.domain.policy import Limits
from shared.domain.times import format_duration


def policy_of(policy_id: str, location: str, body: PolicyWire, limits: Limits) -> Policy:
    """Map a PUT to the domain; raises InvalidInputError with every line that is wrong."""
    reasons = [*_bad_vms(policy_id, body), *_bad_rules(body, limits), *_bad_widths(body, limits)]
    if reasons:
        first = reasons[0]
        raise InvalidInputError(f"{first.target}: {first.message}", details=tuple(reasons))
    vms = tuple(_policy_vm(vm) for vm in body.properties.virtual_machines)
    conditions = _conditions(body.properties.conditions)
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


def _conditions(wire: ConditionsWire | None) -> Conditions:
    if wire is None:
        return Conditions()
    asked = wire.approval_of_extensions
    return Conditions(
        justification_required=wire.justification_required,
        justification_pattern=wire.justification_pattern,
        widest_ipv4=wire.widest_source_prefix_ipv4 or 0,
        widest_ipv6=wire.widest_source_prefix_ipv6 or 0,
        own_address_only=wire.own_address_only,
        only_through_bastion=wire.only_through_bastion,
        approvers_needed=wire.approvers_needed,
        # What the version before this one reads: after a step back it still asks for approval.
        approve_extensions=asked is ExtensionApproval.AS_OPENING and wire.approvers_needed > 0,
        approval_timeout=wire.approval_timeout,
        flush_connections=wire.flush_connections,
        extension_approval=asked,
        max_total_duration=wire.max_total_duration,
        close_by=wire.close_by,
        revoke_foreign=wire.revoke_foreign_rules,
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
