"""Health while a policy has failed or a governed port stands open, and once it is mended."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.domain.model import Attachment, PolicyState
from shared.firewalls.nsg.model import Access, SecurityRule
from shared.ports import Machine, OutsideError
from shared.use_cases.policies import apply as protection
from shared.use_cases.policies import findings
from shared.use_cases.policies.findings import FindingType
from shared.use_cases.reports.machines import Category
from shared.use_cases.reports.machines import report as machines_report
from shared.use_cases.timers import health as watch
from shared.use_cases.timers.reconcile import reconcile
from tests.functions.web_app import AS_READER, MemoryInventory, WebApp
from tests.world import DB, NSG_NIC, NSG_SUBNET, POLICY, WEB, World, vm_id


def allow(name: str, priority: int, *sources: str, port: str = "22") -> SecurityRule:
    """Make a rule of another writer that lets sources in."""
    return SecurityRule(
        name, Access.ALLOW, "Tcp", sources or ("*",), ("*",), (port,), priority=priority
    )


LAST = SecurityRule("last", Access.ALLOW, "*", ("*",), ("*",), ("*",), priority=4096)


@pytest.fixture
def world() -> World:
    """Prove that If-Match is honoured, and let the sweep run, so that nothing else is amiss."""
    made = World()
    made.firewall.probe = lambda: "honoured"  # type: ignore[method-assign]
    made.probe.run()
    made.sweep()
    return made


def verdict(world: World) -> str:
    """Return what anybody is told of the app's health."""
    world.sweep()
    return str(WebApp(world).call("GET", "/api/health").json["status"])


def warnings(world: World) -> str:
    """Return what an auditor is told besides."""
    return "; ".join(WebApp(world).call("GET", "/api/health", who=AS_READER).json["warnings"])


def mend_rule(world: World) -> None:
    """Delete the rule, and let reconciling look again."""
    world.firewall.edit(NSG_SUBNET, remove=["open-ssh"])
    reconcile(world.services)


def mend_by_put(world: World) -> None:
    """Delete the rule, and PUT the policy again."""
    world.firewall.edit(NSG_SUBNET, remove=["open-ssh"])
    world.protect(DB)


def mend_by_leaving_out(world: World) -> None:
    """PUT a policy that no longer lists the machine."""
    world.protect(WEB)


def mend_by_deleting(world: World) -> None:
    """Delete the policy."""
    protection.delete_policy(world.services, POLICY)
    world.work()


EXPOSURE_MENDED: list[Callable[[World], None]] = [
    mend_rule, mend_by_put, mend_by_leaving_out, mend_by_deleting,
]  # fmt: skip


def test_nothing_wrong_is_healthy(world: World) -> None:
    """A policy that is applied, and access that was asked for, leave the app healthy."""
    world.protect()
    assert verdict(world) == "Healthy"
    world.ask(DB)
    reconcile(world.services)
    assert verdict(world) == "Healthy"


@pytest.mark.parametrize(
    "rule",
    [allow("open-ssh", 300), allow("open-ssh", 999, "Internet"),
     allow("open-ssh", 100, "203.0.113.0/24"), allow("open-ssh", 500, port="*")],
    ids=["any", "tag", "prefix", "every port"],
)  # fmt: skip
@pytest.mark.parametrize("mend", EXPOSURE_MENDED)
def test_an_open_governed_port_degrades_health_until_it_is_mended(
    world: World, rule: SecurityRule, mend: Callable[[World], None]
) -> None:
    """The rule, its group, the machine and the policy are named, and what to do."""
    world.firewall.edit(NSG_SUBNET, rule)
    world.protect(DB)
    assert world.policy().state is PolicyState.SUCCEEDED
    assert verdict(world) == "Degraded"
    told = warnings(world)
    for named in (
        "governed ports stand open on 1 VM",
        "'open-ssh'",
        "'subnet-nsg'",
        "'db'",
        POLICY,
    ):
        assert named in told
    assert "GET /api/machines" in told
    mend(world)
    assert verdict(world) == "Healthy"
    assert "open-ssh" not in warnings(world)


def test_a_port_that_another_writer_opens_later_is_found_by_reconciling(world: World) -> None:
    """No PUT is needed for health to tell of it."""
    world.protect()
    assert verdict(world) == "Healthy"
    world.firewall.edit(NSG_NIC, allow("open-ssh", 300))
    world.firewall.edit(NSG_SUBNET, allow("open-ssh", 300))
    reconcile(world.services)
    assert verdict(world) == "Degraded"
    assert "governed ports stand open on 2 VMs" in warnings(world)


def test_what_one_firewall_lets_in_and_another_stops_is_not_open(world: World) -> None:
    """A port is open only where every firewall in front of the VM lets the same source in."""
    world.firewall.edit(NSG_NIC, allow("open-ssh", 300))
    world.protect(WEB)
    assert verdict(world) == "Healthy"


@pytest.mark.parametrize("rules", [(), (allow("open-ssh", 300),), (LAST,)])
def test_health_and_the_machines_give_one_answer(
    world: World, rules: tuple[SecurityRule, ...]
) -> None:
    """Where the list of machines says Exposed, health is not Healthy, and the other way round."""
    world.firewall.edit(NSG_SUBNET, *rules)
    world.protect(DB)
    reports = machines_report(
        world.services, MemoryInventory(world), world.services.scopes
    ).machines
    exposed = any(each.category is Category.EXPOSED for each in reports)
    assert bool(findings.read_findings(world.services, FindingType.EXPOSED)) is exposed
    assert (verdict(world) == "Healthy") is (not exposed)


def no_place(world: World) -> None:
    """Leave no priority for the deny rule."""
    world.firewall.edit(NSG_SUBNET, LAST)


def no_machine(world: World) -> None:
    """Delete the machine."""
    world.machines.machines.clear()


def no_firewall(world: World) -> None:
    """Take the security group away from the machine."""
    world.machines.add(DB)


def mended(world: World) -> None:
    """Put everything as it should be, and let reconciling look again."""
    world.firewall.edit(NSG_SUBNET, remove=["last"])
    world.machines.add(DB, Attachment(NSG_SUBNET, ("10.0.0.5",)))
    reconcile(world.services)
    world.work()


@pytest.mark.parametrize("spoil", [no_place, no_machine, no_firewall])
def test_a_failed_policy_degrades_health_until_it_is_mended(
    world: World, spoil: Callable[[World], None]
) -> None:
    """The policy and its error are named, and what to do."""
    spoil(world)
    world.protect(DB)
    assert world.policy().state is PolicyState.FAILED
    assert verdict(world) == "Degraded"
    told = warnings(world)
    assert "1 policy has failed" in told
    assert POLICY in told
    assert world.policy().error in told
    mended(world)
    assert world.policy().state is PolicyState.SUCCEEDED
    assert verdict(world) == "Healthy"


def test_a_failed_policy_that_is_deleted_degrades_nothing(world: World) -> None:
    """A deleted policy needs no repair."""
    no_machine(world)
    world.protect(DB)
    mend_by_deleting(world)
    assert verdict(world) == "Healthy"


def test_a_policy_that_could_not_be_applied_degrades_health(world: World) -> None:
    """Its message came to the poison queue; the next reconciliation mends it."""
    find = world.machines.find

    def failing(vm_id: str) -> Machine | None:
        raise OutsideError(f"ARM does not answer for {vm_id}")

    world.machines.find = failing  # type: ignore[method-assign]
    world.protect(DB)
    world.pass_time(2)
    assert world.policy().state is PolicyState.FAILED
    assert verdict(world) == "Degraded"
    assert "in several attempts" in warnings(world) or "could not be applied" in warnings(world)
    world.machines.find = find  # type: ignore[method-assign]
    reconcile(world.services)
    assert verdict(world) == "Healthy"


def test_an_unread_vm_takes_no_finding_back(world: World) -> None:
    """Where one VM cannot be read, a port that was found open counts as open."""
    world.firewall.edit(NSG_SUBNET, allow("open-ssh", 300))
    world.protect(DB)
    find = world.machines.find

    def failing(vm_id: str) -> Machine | None:
        raise OutsideError(f"ARM does not answer for {vm_id}")

    world.machines.find = failing  # type: ignore[method-assign]
    reconcile(world.services)
    assert findings.read_findings(world.services, FindingType.EXPOSED)
    world.machines.find = find  # type: ignore[method-assign]


def test_a_busy_firewall_takes_no_finding_back(world: World) -> None:
    """Where another worker holds the lease, nothing is known anew."""
    world.firewall.edit(NSG_SUBNET, allow("open-ssh", 300))
    world.protect(DB)
    world.firewall.edit(NSG_SUBNET, remove=["open-ssh"])
    now = world.clock()
    lease = world.services.rows.take_lease(NSG_SUBNET, "other", now, now + timedelta(seconds=30))
    assert lease is not None
    protection.apply_policy(world.services, POLICY)
    assert findings.read_findings(world.services, FindingType.EXPOSED)
    world.services.rows.drop_lease(lease, now)
    world.pass_time(1)
    assert not findings.read_findings(world.services, FindingType.EXPOSED)


def test_a_group_that_is_gone_takes_no_finding_back(world: World) -> None:
    """A firewall that is not there proves nothing about a port."""
    world.firewall.edit(NSG_SUBNET, allow("open-ssh", 300))
    world.protect(DB)
    del world.firewall.groups[next(k for k in world.firewall.groups if "subnet" in k)]
    reconcile(world.services)
    assert findings.read_findings(world.services, FindingType.EXPOSED)


def test_a_policy_whose_row_is_gone_leaves_no_finding(world: World) -> None:
    """A message about a policy that is not there clears what was found of it."""
    findings.note_finding(world.services, findings.Finding(FindingType.FAILED, POLICY, "x"))
    protection.apply_policy(world.services, POLICY)
    assert verdict(world) == "Healthy"


def test_a_finding_is_written_and_told_once(world: World) -> None:
    """Reconciling finds it again and again; when it began is kept where it changes."""
    world.firewall.edit(NSG_SUBNET, allow("open-ssh", 300))
    world.protect(DB)
    [key] = [key for key in world.tables.firewalls.rows if key[0] == "findings"]
    first = world.tables.firewalls.rows[key]
    world.clock.advance(900)
    reconcile(world.services)
    assert world.tables.firewalls.rows[key] == first
    assert len(world.telemetry.named("jit.policy.exposed")) == 1
    world.firewall.edit(NSG_SUBNET, allow("open-rdp", 299, port="3389"))
    world.firewall.edit(NSG_SUBNET, remove=["open-ssh"])
    reconcile(world.services)
    second = world.tables.firewalls.rows[key]
    assert "open-rdp" in str(second.values["text"])
    assert second.values["since"] == first.values["since"]


def test_health_reads_a_bounded_number_of_rows(world: World) -> None:
    """However many policies have failed, health stays cheap and its text short."""
    for number in range(300):
        policy = f"{POLICY}{number}"
        for finding_type in FindingType:
            findings.note_finding(
                world.services, findings.Finding(finding_type, policy, "why " * 1000, number)
            )
    before = world.tables.firewalls.rows_read
    health = watch.report(world.services)
    assert world.tables.firewalls.rows_read - before <= 2 * findings.MOST_READ + 10
    assert sum(map(len, health.warnings)) < 4000
    assert "100 policies have failed" in health.warnings[0]


def test_each_vm_of_a_policy_counts(world: World) -> None:
    """The number of machines is told, and one of them by name."""
    for number in range(3):
        world.machines.add(vm_id(f"vm{number}"), Attachment(NSG_SUBNET, (f"10.0.0.{10 + number}",)))
    world.firewall.edit(NSG_SUBNET, allow("open-ssh", 300))
    world.protect(*(vm_id(f"vm{number}") for number in range(3)))
    assert "on 3 VMs" in warnings(world)
