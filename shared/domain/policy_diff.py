"""The difference between two versions of a policy: a digest of each, and the fields that differ."""

from dataclasses import replace

from shared.domain.ids import digest, key_of
from shared.domain.model import CONDITIONS_BY_NAME, Policy, PolicyVm, PortRule
from shared.domain.policy import USUAL_PORTS
from shared.domain.times import format_duration

MAX_CHANGES = 8000  # characters of the text that lists the fields
_MAX_VALUE = 300
_NONE = "none"


def digest_of(policy: Policy | None) -> str:
    """Return a digest of what a policy says; empty for a policy that does not exist."""
    if policy is None:
        return ""
    return digest(*(part for field in _fields(policy).items() for part in field))


def etag_of(policy: Policy) -> str:
    """Return the entity tag of a policy: it changes when what the policy says changes.

    How far the policy has been applied, and the requests under it, are no part of it.
    """
    return f'"{digest_of(policy)}"'


def differences(old: Policy | None, new: Policy | None) -> tuple[str, ...]:
    """List the fields that differ: conditions first, then VMs removed, changed and added."""
    before, after = (_fields(policy) if policy else {} for policy in (old, new))
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    ordered = sorted(changed, key=lambda name: (name.startswith("virtual"), name in after))
    return tuple(
        f"{name}: {_shown(before.get(name))} -> {_shown(after.get(name))}" for name in ordered
    )


def summed_up(lines: tuple[str, ...]) -> str:
    """Join the fields that differ to one text of bounded size, which says how many it leaves out."""
    text, left = "", len(lines)
    for line in lines:
        longer = f"{text}; {line}" if text else line
        if len(longer) > MAX_CHANGES:
            return f"{text}; and {left} more"
        text, left = longer, left - 1
    return text


def with_known_ports(new: Policy, old: Policy | None) -> Policy:
    """Fill in the usual ports of a VM that is named without any, where they stood before."""
    return replace(new, vms=tuple(_with_known_ports(vm, old) for vm in new.vms))


def _with_known_ports(vm: PolicyVm, old: Policy | None) -> PolicyVm:
    before = old.vm(vm.id) if old else None
    if vm.ports or before is None or before.ports not in _usual():
        return vm
    return replace(vm, ports=before.ports)


def _usual() -> list[tuple[PortRule, ...]]:
    every = tuple(sorted(sum(USUAL_PORTS.values(), ())))
    return [tuple(PortRule(number) for number in ports) for ports in (*USUAL_PORTS.values(), every)]


def _fields(policy: Policy) -> dict[str, str]:
    fields = {"kind": policy.kind}
    for name, read in CONDITIONS_BY_NAME.items():
        fields[f"conditions.{name}"] = str(read(policy.conditions))
    for vm in sorted(policy.vms, key=lambda each: key_of(each.id)):
        fields |= _vm_fields(vm)
    return fields


def _vm_fields(vm: PolicyVm) -> dict[str, str]:
    name = f"virtualMachines[{key_of(vm.id)}]"
    fields = {name: "listed"}
    if vm.public_ip:
        fields[f"{name}.publicIpAddress"] = vm.public_ip
    for rule in sorted(vm.ports, key=lambda each: each.number):
        fields[f"{name}.ports[{rule.number}]"] = _rule(rule)
    return fields


def _rule(rule: PortRule) -> str:
    sources = ", ".join(rule.sources)
    return f"{rule.protocol} for {format_duration(rule.max_duration)} from {sources}"


def _shown(value: str | None) -> str:
    if not value:
        return _NONE
    return value if len(value) <= _MAX_VALUE else f"{value[: _MAX_VALUE - 3]}..."
