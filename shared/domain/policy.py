"""Is this request within the policy? A decision that names every line it breaks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from ipaddress import IPv4Network

from shared.domain.bastion import DEVELOPER_PREFIX
from shared.domain.errors import Reason
from shared.domain.ids import key_of, name_of
from shared.domain.model import (
    ANY,
    AccessRequest,
    ExtensionApproval,
    Policy,
    PortRequest,
    PortRule,
)
from shared.domain.network import (
    canonical,
    covers,
    is_any,
    is_special,
    names_special,
    network,
    of_family,
)
from shared.domain.patterns import PatternError, compile_pattern
from shared.domain.times import format_duration, format_instant

MAX_PORTS = 100
MAX_SOURCES = 64
MAX_JUSTIFICATION = 1024
# All sources of a port together may be as wide as this many of the widest single prefix:
# otherwise many small prefixes would be one big one.
WIDEST_TOGETHER = 4
# The longest that a policy can let an access last with its extensions.
MAX_TOTAL_DURATION = timedelta(days=7)
USUAL_PORTS = {"linux": (22,), "windows": (3389, 5985, 5986)}


@dataclass(frozen=True)
class Limits:
    """The limits of every policy; set by the deployer of the app."""

    min_duration: timedelta = timedelta(minutes=5)
    max_duration: timedelta = timedelta(days=1)
    widest_ipv4: int = 24
    widest_ipv6: int = 48


@dataclass(frozen=True)
class AskedPort:
    """One port as it was asked for; `at` is where in the request it stands."""

    at: str
    vm_id: str
    number: int
    sources: tuple[str, ...]
    end_at: datetime | None = None
    duration: timedelta | None = None
    bastion: str = ""  # `bastion` or the id of a Bastion host, in place of sources
    refusal: Reason | None = None  # why no such host reaches the VM

    def length_at(self, now: datetime) -> timedelta:
        """Return how long the access lasts if it begins now."""
        if self.duration is not None:
            return self.duration
        return self.end_at - now if self.end_at else timedelta(0)


@dataclass(frozen=True)
class Asked:
    """A request as it was asked, before it is one."""

    ports: tuple[AskedPort, ...]
    justification: str | None = None
    caller_address: str = ""
    relayed: bool = False  # then that address is a relay's

    @classmethod
    def again(cls, request: AccessRequest, ports: Iterable[AskedPort]) -> "Asked":
        """Ask for ports as a request did that was taken in before."""
        return cls(
            tuple(ports),
            request.justification,
            request.source_address,
            relayed=request.relayed_by is not None,
        )


@dataclass(frozen=True)
class PolicyDecision:
    """Within the policy if nothing is broken."""

    broken: tuple[Reason, ...] = ()

    @property
    def allowed(self) -> bool:
        """Tell whether the request may go on."""
        return not self.broken


def check_request(policy: Policy, asked: Asked, limits: Limits, now: datetime) -> PolicyDecision:
    """Check a request against its policy and the deployment's limits, every line of it."""
    broken = list(_check_justification(policy, asked))
    seen: set[tuple[str, int]] = set()
    for port in asked.ports:
        rule, reasons = _find_rule(policy, port)
        broken += reasons
        if rule is not None:
            broken += _check_time(port, rule, limits, now)
            broken += _check_total(policy, port, port.length_at(now))
            broken += _check_sources(policy, port, rule, limits, asked)
        asked_for = (key_of(port.vm_id), port.number)
        if asked_for in seen:
            broken.append(
                Reason(
                    "DuplicatePort", f"port {port.number} is asked for twice on this VM", port.at
                )
            )
        seen.add(asked_for)
    return PolicyDecision(tuple(broken))


def _check_justification(policy: Policy, asked: Asked) -> Iterable[Reason]:
    text = (asked.justification or "").strip()
    conditions = policy.conditions
    if conditions.justification_required and not text:
        yield Reason(
            "JustificationRequired",
            f"policy '{policy.name}' asks for a justification",
            "justification",
        )
    elif conditions.justification_pattern and not matches_pattern(
        conditions.justification_pattern, text
    ):
        yield Reason(
            "JustificationPattern",
            f"the justification must match '{conditions.justification_pattern}'",
            "justification",
        )


def _find_rule(policy: Policy, port: AskedPort) -> tuple[PortRule | None, list[Reason]]:
    vm = policy.vm(port.vm_id)
    if vm is None:
        message = f"VM '{name_of(port.vm_id)}' is not in policy '{policy.name}'"
        return None, [Reason("VirtualMachineNotInPolicy", message, port.at)]
    rule = vm.port(port.number)
    if rule is None:
        listed = ", ".join(str(each.number) for each in vm.ports)
        message = (
            f"port {port.number} of VM '{name_of(port.vm_id)}' is not in policy '{policy.name}', "
            f"which lists {listed or 'no ports yet'}"
        )
        return None, [Reason("PortNotInPolicy", message, f"{port.at}.number")]
    return rule, []


def _check_time(port: AskedPort, rule: PortRule, limits: Limits, now: datetime) -> Iterable[Reason]:
    longest = min(rule.max_duration, limits.max_duration)
    field = "endTimeUtc" if port.duration is None else "duration"
    if port.duration is None and port.end_at is None:
        return
    length = port.length_at(now)
    target = f"{port.at}.{field}"
    if length <= timedelta(0):
        told = (
            "the end lies in the past" if field == "endTimeUtc" else "it must be longer than zero"
        )
        yield Reason("InvalidDuration", f"{told}; it is {format_instant(now)}", target)
    elif length < limits.min_duration and field == "duration":
        shortest = format_duration(limits.min_duration)
        yield Reason("DurationTooShort", f"the shortest duration is {shortest}", target)
    elif length > longest:
        message = f"the longest access to port {port.number} is {format_duration(longest)}"
        yield Reason("DurationTooLong", message, target)


def _check_total(policy: Policy, port: AskedPort, length: timedelta) -> Iterable[Reason]:
    """Hold a length to the policy's bound for an access with all its extensions."""
    longest = policy.conditions.max_total_duration
    if length > longest:
        field = "endTimeUtc" if port.duration is None else "duration"
        target = f"{port.at}.{field}" if port.at else field
        message = (
            f"maxTotalDuration of policy '{policy.name}' bounds an access with its extensions "
            f"to {format_duration(longest)}"
        )
        yield Reason("TotalDurationTooLong", message, target)


def check_extension(
    policy: Policy, request: AccessRequest, ports: Iterable[PortRequest], until: datetime
) -> Iterable[Reason]:
    """Check a later end of open ports against what bounds opening and extensions together."""
    for port in ports:
        if policy.conditions.only_through_bastion and not port.bastion:
            yield Reason("SourceNotBastion", _only_through_bastion(policy), "source")
        asked = AskedPort("", port.vm_id, port.port, port.sources, end_at=until)
        yield from _check_total(policy, asked, until - began_at(request, port))
        vm = policy.vm(port.vm_id)
        rule = vm.port(port.port) if vm else None
        if rule and common_protocol(port.protocol, rule.protocol) != port.protocol:
            yield Reason("ProtocolNotInPolicy", _other_protocol(port, rule), "protocol")


def began_at(request: AccessRequest, port: PortRequest) -> datetime:
    """Return when an access began: when a firewall was first seen open, else when it was asked."""
    seen = [front.opened_at for front in port.fronts or () if front.opened_at]
    return min(seen, default=request.requested_at)


def latest_end(
    policy: Policy,
    request: AccessRequest,
    ports: Iterable[PortRequest],
    limits: Limits,
    now: datetime,
) -> datetime | None:
    """Return the latest end that open ports can have by their policy; None: it lists them no more."""
    ends = []
    total = policy.conditions.max_total_duration
    for port in ports:
        vm = policy.vm(port.vm_id)
        rule = vm.port(port.port) if vm else None
        if rule is None:
            return None
        longest = min(rule.max_duration, limits.max_duration, total)
        ends.append(min(now + longest, began_at(request, port) + total))
    return min(ends).replace(microsecond=0) if ends else None


def approvals_for_extension(policy: Policy, request: AccessRequest) -> int:
    """Count the approvals that a longer end needs: those of the opening, by the policy of either time.

    An access that was opened by break-glass needs those of the policy: extending it is no emergency.
    """
    if policy.conditions.extension_approval is ExtensionApproval.NEVER:
        return 0
    opening = request.approval.needed if request.approval else 0
    return max(policy.conditions.approvers_needed, opening)


def narrow_protocol(policy: Policy, port: PortRequest) -> tuple[PortRequest, str]:
    """Narrow the protocol of what waited to what the policy allows now, or say why it cannot be."""
    vm = policy.vm(port.vm_id)
    rule = vm.port(port.port) if vm else None
    if rule is None:
        return port, ""
    common = common_protocol(port.protocol, rule.protocol)
    if not common:
        return port, _other_protocol(port, rule)
    return replace(port, protocol=common), ""


def common_protocol(asked: str, allowed: str) -> str:
    """Return the protocol that two protocols share; empty: none."""
    if allowed in {ANY, asked}:
        return asked
    return allowed if asked == ANY else ""


def _other_protocol(port: PortRequest, rule: PortRule) -> str:
    return (
        f"port {port.port} was asked for with protocol {port.protocol}, and the policy allows "
        f"{rule.protocol} by now"
    )


def _check_sources(
    policy: Policy, port: AskedPort, rule: PortRule, limits: Limits, asked: Asked
) -> Iterable[Reason]:
    if port.refusal:
        yield port.refusal
        return
    if port.bastion:
        yield from _check_bastion(policy, port, rule, limits)
        return
    target = f"{port.at}.allowedSourceAddressPrefix"
    if policy.conditions.only_through_bastion:
        yield Reason("SourceNotBastion", _only_through_bastion(policy), target)
    widest4, widest6 = _widest(policy, limits)
    for source in port.sources:
        problem = check_source(source, rule.sources, widest4, widest6)
        if problem:
            yield Reason("SourceNotAllowed", problem, target)
        elif policy.conditions.own_address_only and (problem := _not_own(source, asked)):
            yield Reason("SourceNotOwnAddress", f"policy '{policy.name}' {problem}", target)
    if problem := check_together(policy, port.sources, limits):
        yield Reason("SourcesTooWide", problem, target)


def _only_through_bastion(policy: Policy) -> str:
    return f'policy \'{policy.name}\' opens to Azure Bastion alone; send "source": "bastion"'


def _check_bastion(
    policy: Policy, port: AskedPort, rule: PortRule, limits: Limits
) -> Iterable[Reason]:
    """Check the prefixes of a Bastion's subnet. Azure's platform address is allowed here alone."""
    target = f"{port.at}.source"
    if policy.conditions.own_address_only:
        message = f"policy '{policy.name}' opens to the caller's own address only, not to Bastion"
        yield Reason("SourceNotOwnAddress", message, target)
    for source in port.sources:
        problem = check_source(source, (ANY,), *_widest(policy, limits))
        if problem and source != DEVELOPER_PREFIX:
            yield Reason("SourceTooWide", problem, target)
        elif not covers(rule.sources, source):
            message = f"'{source}' of Bastion is not within the sources that the policy allows"
            yield Reason("SourceNotAllowed", message, target)


def _widest(policy: Policy, limits: Limits) -> tuple[int, int]:
    return (
        max(policy.conditions.widest_ipv4, limits.widest_ipv4),
        max(policy.conditions.widest_ipv6, limits.widest_ipv6),
    )


def check_together(policy: Policy, sources: Sequence[str], limits: Limits) -> str:
    """Say that sources are together too wide; empty: they are not. Shared addresses count once."""
    widest4, widest6 = _widest(policy, limits)
    return _check_width(sources, 4, widest4) or _check_width(sources, 6, widest6)


def _not_own(source: str, asked: Asked) -> str:
    """Say why a source is not the address of who asks; empty if it is."""
    if asked.relayed:
        return (
            "opens only to one's own address, and a relay calls from its own, not from that of "
            "the person it speaks for; they have to ask themselves"
        )
    own = asked.caller_address
    if own and canonical((source,)) == canonical((own,)):
        return ""
    return f"opens only to your own address, {own or 'unknown'}"


def _check_width(sources: Sequence[str], family: int, widest: int) -> str:
    """Say that sources are together too wide; each alone has its own check."""
    nets = [net for each in of_family(sources, family) if (net := network(each)) is not None]
    longest = 32 if family == 4 else 128  # noqa: PLR2004 - the address families
    if sum(net.num_addresses for net in nets) <= WIDEST_TOGETHER * 2 ** (longest - widest):
        return ""
    return (
        f"the IPv{family} sources are together wider than {WIDEST_TOGETHER} prefixes of "
        f"/{widest}; ask for fewer"
    )


def check_source(source: str, allowed: Sequence[str], widest_ipv4: int, widest_ipv6: int) -> str:
    """Return the problem of a source prefix; empty: none."""
    if is_any(source):
        return f"'{source}' would open the port to any source; name an address or a prefix"
    net = network(source)
    if net is None or (source[:1].isalpha() and ":" not in source):
        return (
            f"'{source[:60]}' is not an IP address or prefix such as 203.0.113.7 or 203.0.113.0/28"
        )
    widest = widest_ipv4 if isinstance(net, IPv4Network) else widest_ipv6
    if net.prefixlen < widest:
        return f"'{source}' is too wide: the widest prefix that may be asked for is /{widest}"
    if not covers(allowed, source):
        return f"'{source}' is not within {', '.join(allowed[:8])}, which the policy allows"
    if is_special(net) and not names_special(allowed, net):
        return f"'{source}' is in a reserved range that no host has as its address"
    return ""


def matches_pattern(pattern: str, text: str) -> bool:
    """Match a whole text against a policy's pattern; a pattern that cannot be read fits nothing."""
    try:
        return compile_pattern(pattern).matches(text)
    except PatternError:
        return False
