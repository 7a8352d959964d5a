"""JIT policies: which VMs are protected, and what may be requested on each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from shared.domain.ids import key_of, name_of
from shared.domain.times import format_duration

ANY = "*"
# No request waits longer for approval: app roles are read from its row, and get old there.
LONGEST_WAIT = timedelta(hours=8)


@dataclass(frozen=True)
class PortRule:
    """A policy's rule for one port of one VM."""

    number: int
    protocol: str = ANY  # TCP, UDP or *
    sources: tuple[str, ...] = (ANY,)
    max_duration: timedelta = timedelta(hours=3)
    sources_listed: bool = False  # whether the wire form was the plural field
    max_duration_text: str = ""  # as it was sent, where that is not how we write it


@dataclass(frozen=True)
class PolicyVm:
    """One VM of a policy and its port rules; no ports means the usual ones for its system."""

    id: str
    ports: tuple[PortRule, ...] = ()
    public_ip: str = ""

    def port(self, number: int) -> PortRule | None:
        """Find the rule for a port."""
        return next((rule for rule in self.ports if rule.number == number), None)


class PolicyState(StrEnum):
    """How far a policy has been applied."""

    UPDATING = "Updating"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETING = "Deleting"


class ExtensionApproval(StrEnum):
    """When an extension needs approval."""

    AS_OPENING = "asOpening"  # where the opening did
    NEVER = "never"


class CloseBy(StrEnum):
    """The meaning of an access's end: its close begins then, or it has ended by then."""

    BEGIN = "begin"
    END = "end"


@dataclass(frozen=True)
class Conditions:
    """A policy's conditions besides Defender's fields; the defaults ask for nothing.

    NB. `approve_extensions` is written for the version before this one, which reads it, and is
    not read here: a row without `extension_approval` means asOpening, whatever it says.
    """

    justification_required: bool = False
    justification_pattern: str = ""
    widest_ipv4: int = 0  # shortest prefix length that may be asked for; 0: the deployment's
    widest_ipv6: int = 0
    own_address_only: bool = False
    only_through_bastion: bool = False
    approvers_needed: int = 0
    approve_extensions: bool = False
    approval_timeout: timedelta = timedelta(hours=1)
    flush_connections: bool = False
    extension_approval: ExtensionApproval = ExtensionApproval.AS_OPENING
    max_total_duration: timedelta = timedelta(days=1)  # of an access with all its extensions
    close_by: CloseBy = CloseBy.BEGIN
    revoke_foreign: bool = False  # take foreign rules away where their owner agrees (EC2)

    @property
    def time_to_approve(self) -> timedelta:
        """Return how long an approval is waited for; older rows may hold more than is allowed."""
        return min(self.approval_timeout, LONGEST_WAIT)


# Each condition as changes of a policy name and show it. A new condition needs a line here.
CONDITIONS_BY_NAME: Mapping[str, Callable[[Conditions], object]] = {
    "approversNeeded": lambda c: c.approvers_needed,
    "extensionApproval": lambda c: c.extension_approval.value,
    "maxTotalDuration": lambda c: format_duration(c.max_total_duration),
    "approvalTimeout": lambda c: format_duration(c.time_to_approve),
    "justificationRequired": lambda c: str(c.justification_required).lower(),
    "justificationPattern": lambda c: c.justification_pattern,
    "widestSourcePrefixIpv4": lambda c: c.widest_ipv4 or "",
    "widestSourcePrefixIpv6": lambda c: c.widest_ipv6 or "",
    "ownAddressOnly": lambda c: str(c.own_address_only).lower(),
    "onlyThroughBastion": lambda c: str(c.only_through_bastion).lower(),
    "flushConnections": lambda c: str(c.flush_connections).lower(),
    "closeBy": lambda c: c.close_by.value,
    "revokeForeignRules": lambda c: str(c.revoke_foreign).lower(),
}


@dataclass(frozen=True)
class Policy:
    """Which VMs are protected, and what may be asked for on each."""

    id: str
    location: str
    vms: tuple[PolicyVm, ...]
    state: PolicyState = PolicyState.UPDATING
    kind: str = "Basic"
    conditions: Conditions = field(default_factory=Conditions)
    error: str = ""

    @property
    def name(self) -> str:
        """Return the policy's own name."""
        return name_of(self.id)

    def vm(self, vm_id: str) -> PolicyVm | None:
        """Find a VM of the policy."""
        key = key_of(vm_id)
        return next((vm for vm in self.vms if key_of(vm.id) == key), None)
