"""Firewalls and rows of every type, for the properties of `wanted` and `plan`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from hypothesis import strategies as st

from shared.domain.model import LONGEST_GRANT, FirewallRows, Grant, Protection
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.firewalls.nsg.rules import Band, Plan, allow_rules, plan, wanted
from tests.fakes import NAMES, START
from tests.samples import MINUTE, OTHER_POLICY, grant, protection
from tests.world import DB, POLICY, WEB, vm_id

API = vm_id("api")
HEX = "0123456789ABCDEF"
# Each VM's own addresses, side by side so that prefixes collapse; the last is sometimes shared.
ADDRESSES = {
    WEB: ("10.0.0.4", "10.0.0.5", "2001:db8::4"),
    DB: ("10.0.0.6", "2001:db8::6"),
    API: ("10.0.0.7", "10.0.0.8"),
}
SOURCES = ("203.0.113.6", "203.0.113.7", "203.0.113.0/28", "2001:db8:9::7", "2001:db8:9::/64")
FOREIGN_PREFIXES = (
    *("*", "Any", "0.0.0.0/0", "::/0", "Internet", "VirtualNetwork", "AzureLoadBalancer"),
    *("10.0.0.0/8", "10.0.0.4", "10.0.0.5/32", "10.0.0.6/31", "2001:DB8::/32", "2001:db8:0::4"),
    *("203.0.113.0/24", "203.0.113.7", "2001:db8:9::/48", "Sql.WestEurope"),
)
FOREIGN_PORTS = ("*", "22", "3389", "20-30", "0-65535", "3390", "443", "22-22")
PROTOCOLS = ("*", "Tcp", "TCP", "udp", "Udp", "Icmp", "Esp", "Ah")

hashes = st.text(alphabet=HEX, min_size=32, max_size=32)
foreign_names = st.one_of(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    hashes.map(lambda text: f"SecurityCenter-JITRule_{text}"),  # Defender's
    st.builds(  # another deployment's, and names that almost look like ours
        lambda mark, deployment, end, text: f"SecurityCenter-JITRule{mark}{deployment}{end}{text}",
        st.sampled_from("-_"),
        st.sampled_from(("test2", "atest1", "test1a", "test1", "TEST1")),
        st.sampled_from(("-", "_", "-x-")),
        hashes,
    ),
).filter(lambda name: not NAMES.is_ours(name))
some_prefixes = st.lists(st.sampled_from(FOREIGN_PREFIXES), max_size=3).map(tuple)


@st.composite
def foreign_rules(draw: st.DrawFn) -> SecurityRule:
    """Make a rule of another writer, of every type that an NSG can hold."""
    to_group, from_group = draw(st.booleans()), draw(st.booleans())
    return SecurityRule(
        name=draw(foreign_names),
        access=draw(st.sampled_from(Access)),
        protocol=draw(st.sampled_from(PROTOCOLS)),
        sources=() if from_group else draw(some_prefixes),
        destinations=() if to_group else draw(some_prefixes),
        ports=draw(st.lists(st.sampled_from(FOREIGN_PORTS), min_size=1, max_size=3).map(tuple)),
        description=draw(st.sampled_from(("", "theirs", "JIT access request id1 until 2026"))),
        priority=draw(
            st.one_of(
                st.integers(100, 4096), st.integers(195, 210), st.integers(995, 1010),
                st.just(4096),
            )
        ),
        inbound=draw(st.integers(0, 4)) > 0,
        source_ports=draw(st.sampled_from((("*",), ("1024-65535",)))),
        unresolved_sources=from_group,
        unresolved_destinations=to_group,
    )  # fmt: skip


@st.composite
def protections(draw: st.DrawFn) -> Protection:
    """Make the protection of a VM, sometimes with another VM's address, sometimes removed."""
    vm = draw(st.sampled_from((WEB, DB, API, WEB.upper())))
    own = ADDRESSES.get(vm, ADDRESSES[WEB])
    listed = draw(st.lists(st.sampled_from(own), min_size=1, max_size=3, unique=True))
    if draw(st.integers(0, 9)) == 0:
        listed.append(draw(st.sampled_from(("10.0.0.4", "10.0.0.6"))))
    return protection(
        vm,
        *listed,
        ports=draw(st.sampled_from(((22,), (22, 3389), (3389, 22), ()))),
        policy_id=draw(st.sampled_from((POLICY, POLICY, OTHER_POLICY))),
        lifted=draw(st.integers(0, 9)) == 0,
    )


@st.composite
def grants(draw: st.DrawFn) -> Grant:
    """Make a grant, most often one that is wanted."""
    vm = draw(st.sampled_from((WEB, DB, API, WEB.upper())))
    own = ADDRESSES.get(vm, ADDRESSES[WEB])
    ends = (10 * MINUTE, 20 * MINUTE, LONGEST_GRANT, timedelta(0), timedelta(days=2), -MINUTE)
    return grant(
        "", vm,
        port=draw(st.sampled_from((22, 22, 3389))),
        protocol=draw(st.sampled_from(("TCP", "TCP", "*"))),
        sources=tuple(draw(st.lists(st.sampled_from(SOURCES), min_size=1, max_size=3))),
        addresses=tuple(draw(st.lists(st.sampled_from(own), min_size=1, unique=True))),
        policy_id=draw(st.sampled_from((POLICY, POLICY, POLICY.upper(), OTHER_POLICY))),
        requestor=draw(st.sampled_from(("tenant/alice-id", "tenant/bob-id"))),
        requested_at=START - draw(st.integers(0, 2)) * MINUTE,
        expires_at=START + draw(st.one_of(st.sampled_from(ends[:3]), st.sampled_from(ends))),
        sealed_at=draw(st.sampled_from((None, None, None, None, START))),
    )  # fmt: skip


@st.composite
def all_rows(draw: st.DrawFn) -> FirewallRows:
    """Make the rows of one firewall; each grant is of a request of its own."""
    held = draw(st.lists(grants(), max_size=6))
    numbered = tuple(replace(each, request_id=f"id{n}") for n, each in enumerate(held))
    every_vm = [protection(vm, *own) for vm, own in ADDRESSES.items()]
    if draw(st.booleans()):
        return FirewallRows(tuple(every_vm), numbered)
    return FirewallRows(tuple(draw(st.lists(protections(), max_size=4))), numbered)


def legal(rules: Sequence[SecurityRule]) -> list[SecurityRule]:
    """Keep of some rules what one NSG can hold: each name and each priority once."""
    kept: list[SecurityRule] = []
    names: set[str] = set()
    places: set[tuple[bool, int]] = set()
    for rule in rules:
        place = (rule.inbound, rule.priority)
        if rule.name.lower() not in names and place not in places:
            names.add(rule.name.lower())
            places.add(place)
            kept.append(rule)
    return kept


@dataclass(frozen=True)
class Situation:
    """A firewall as it was found, what it should hold, and where rules may stand."""

    present: tuple[SecurityRule, ...]
    rows: FirewallRows
    band: Band

    @property
    def want(self) -> tuple[SecurityRule, ...]:
        """Return the rules that ought to exist."""
        return wanted(self.rows, START, NAMES).rules

    @property
    def foreign(self) -> list[SecurityRule]:
        """Return everybody else's rules."""
        return foreign_of(self.present)

    def plan(self, present: Sequence[SecurityRule] | None = None) -> Plan:
        """Plan the firewall, as it was or as it is now."""
        return plan(self.present if present is None else present, self.want, NAMES, self.band)


def foreign_of(present: Sequence[SecurityRule]) -> list[SecurityRule]:
    """Keep everybody else's rules, in a fixed order."""
    found = (rule for rule in present if not NAMES.is_ours(rule.name))
    return sorted(found, key=lambda rule: rule.name)


EDITS: tuple[Callable[[SecurityRule], SecurityRule], ...] = (
    lambda rule: rule,
    lambda rule: rule,
    lambda rule: replace(rule, name=rule.name.upper()),
    lambda rule: replace(rule, description="until tomorrow"),
    lambda rule: replace(rule, sources=("*",)),
    lambda rule: replace(rule, destinations=("*",)),
    lambda rule: replace(rule, inbound=False),
    lambda rule: replace(rule, access=Access.DENY),
    lambda rule: replace(rule, access=Access.ALLOW),
    lambda rule: replace(rule, ports=("22-3389",)),
    lambda rule: replace(rule, protocol=rule.protocol.upper()),
)
bands = st.one_of(
    st.just(Band()),
    st.builds(
        lambda allows, denies, most: Band(200, 199 + allows, 1000, 999 + denies, most),
        st.integers(1, 8),
        st.integers(1, 8),
        st.integers(3, 24),
    ),
)


@st.composite
def situations(draw: st.DrawFn, band: st.SearchStrategy[Band] = bands) -> Situation:
    """Find a firewall with foreign rules, rules of ours right and wrong, and orphans."""
    held = draw(all_rows())
    here = draw(band)
    priorities = st.one_of(
        st.integers(here.allow_from - 2, here.allow_from + 12),
        st.integers(here.deny_from - 2, here.deny_from + 12),
        st.integers(100, 4096),
    )
    standing = [
        replace(draw(st.sampled_from(EDITS))(rule), priority=draw(priorities))
        for rule in wanted(held, START, NAMES).rules
        if draw(st.booleans())
    ]
    orphans = [
        replace(
            allow_rules(grant(f"gone{n}"), NAMES)[0],
            priority=draw(priorities),
            access=draw(st.sampled_from(Access)),
        )
        for n in range(draw(st.integers(0, 3)))
    ]
    theirs = draw(st.lists(foreign_rules(), max_size=5))
    mixed = draw(st.permutations([*standing, *orphans, *theirs]))
    return Situation(tuple(legal(mixed)[: here.most_rules]), held, here)


ROOMY = st.just(Band())
