"""A grant that the product places lets its source in, and one that it refuses would not."""

import ipaddress
import re
from collections import Counter
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.arm.access import Flow
from shared.firewalls.nsg.model import SecurityRule
from shared.firewalls.nsg.rules import allow_rules
from tests.fakes import NAMES, START
from tests.judgement.cases import OWN, PORT, VM_ID, Case, cases
from tests.judgement.packets import source_ports
from tests.judgement.test_against_simulator import SETTINGS
from tests.samples import grant

# Of the Internet, of the VM's network, of a peered one, of a group; each in both families.
SOURCES = (
    "8.8.8.8", "203.0.113.7", "203.0.113.0/24", "10.20.7.7", "10.30.0.7", "10.20.2.5",
    "2001:db8:9::7", "fd00:20::77",
)  # fmt: skip


def allows(source: str) -> list[SecurityRule]:
    """Return the allow rules of a request from a source."""
    asked = grant(
        vm_id=VM_ID, sources=(source,), addresses=OWN, port=PORT, expires_at=START + timedelta(1)
    )
    return allow_rules(asked, NAMES)


def refusals(case: Case, want: list[SecurityRule]) -> list[tuple[str, str]]:
    """Place a grant on each group; return the groups that refuse it, each with its reason."""
    refused = []
    for group_id in case.groups:
        changes = case.plan(group_id, [*case.denies(group_id), *want])
        refused += [(group_id, changes.blocked[r.name]) for r in want if r.name in changes.blocked]
        case.carry_out(group_id, changes)
    return refused


def lets_in(case: Case, source: str) -> bool:
    """Ask the simulator whether a TCP packet from the first address of a source gets in."""
    address = ipaddress.ip_address(source.partition("/")[0])
    (to,) = (each for each in case.endpoints if each.address.version == address.version)
    return bool(case.evaluator.judge(Flow(address, to, PORT, "Tcp"))["allowed"])


def may_decide(case: Case, group_id: str, name: str, source: str) -> bool:
    """Tell whether a rule decides on a packet of the source, or names what is not resolved."""
    (rule,) = (each["properties"] for each in case.groups[group_id] if each["name"] == name)
    named = [
        str(rule.get(f"{side}AddressPrefix", "")).lower() for side in ("source", "destination")
    ]
    if any(tag.startswith(("sql", "azurecloud", "storage")) for tag in named):
        return True
    if case.twice and re.search(r"/(app|twice)'", str(rule), re.IGNORECASE):
        return True  # the VM's address is a member's as well as another's
    net = ipaddress.ip_network(source)
    return any(
        case.decides(
            group_id, name, Flow(ipaddress.ip_address(str(net[at])), to, PORT, "Tcp", source_port)
        )
        for to in case.endpoints
        for at in {0, 7 % net.num_addresses}
        for source_port in source_ports(case)
        if to.address.version == net.version
    )


@SETTINGS
@given(cases(first_denies=3), st.sampled_from(SOURCES))
def test_a_placed_grant_lets_its_source_in_and_a_refused_one_is_denied(
    case: Case, source: str
) -> None:
    """Placed on every group, the source gets in; a refusal names a rule that may deny it."""
    refused = refusals(case, allows(source))
    if not refused:
        assert lets_in(case, source)
    for group_id, reason in refused:
        found = re.match(r"rule '(.+)' \(priority \d+\) denies this port", reason)
        assert found, reason
        assert may_decide(case, group_id, found[1], source), reason


def test_grants_are_placed_and_refused_often_enough() -> None:
    """Each of the two answers is given in at least a quarter of the cases."""
    counted: Counter[bool] = Counter()

    @settings(
        max_examples=400, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(cases(first_denies=3), st.sampled_from(SOURCES))
    def count(case: Case, source: str) -> None:
        counted[bool(refusals(case, allows(source)))] += 1

    count()
    assert min(counted[True], counted[False]) >= 0.25 * sum(counted.values()), counted
