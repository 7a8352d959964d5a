"""The whole app with a VM behind a hub firewall: its policy, classic rules or an IP group."""

import json
from datetime import timedelta
from typing import Any

import pytest

from shared.domain.audit import Operation
from shared.domain.model import CloseBy, PolicyState, Status
from shared.ports import OutsideError
from shared.use_cases.policies import apply as protection
from shared.use_cases.reports.machines import Category
from shared.use_cases.reports.machines import report as machines_report
from shared.use_cases.timers import health
from shared.use_cases.timers.reconcile import reconcile
from tests import firewalls as hub
from tests.behind_hub import (
    ALICE,
    BOB,
    FIREWALL_TYPES,
    GROUP,
    OURS,
    POLICY,
    VM,
    VPN,
    WRITE,
    HubWorld,
)
from tests.functions.web_app import AS_ALICE, WebApp, token
from tests.world import BOB as BOB_PERSON

MINUTE = timedelta(minutes=1)
AS_READER = token("rita", "Jit.Read")


@pytest.fixture(params=FIREWALL_TYPES)
def world(request: pytest.FixtureRequest) -> HubWorld:
    """Protect the VM behind one type of firewall."""
    made = HubWorld(request.param)
    made.protect_vm()
    return made


@pytest.fixture
def behind_policy() -> HubWorld:
    """Protect the VM behind a firewall with a policy."""
    made = HubWorld()
    made.protect_vm()
    return made


class HubApp(WebApp):
    """The triggers over a hub world."""

    def __init__(self, world: HubWorld) -> None:
        super().__init__(world)
        self.settings = world.app.settings
        self.inventory = world.app.inventory


# --- opening and closing -----------------------------------------------------------------------


def test_an_access_opens_for_one_address_and_closes(world: HubWorld) -> None:
    """The VM is unreachable, opened for one address, unreachable for another, and closed again."""
    assert world.policy().state is PolicyState.SUCCEEDED
    assert not world.reaches(ALICE)
    request = world.ask(VM, minutes=30)
    world.pass_time(8)
    assert world.status(request.id) is Status.INITIATED
    assert world.reaches(ALICE)
    assert not world.reaches(BOB)
    world.pass_time(30)
    assert world.status(request.id) is Status.REVOKED
    assert not world.reaches(ALICE)
    assert not health.report(world.services).problems


def test_an_access_is_initiated_once_firewall_and_security_group_are_confirmed(
    world: HubWorld,
) -> None:
    """While the firewall's write is under way the request is Initiating, though the NSG is open."""
    request = world.ask(VM, minutes=30)
    world.pass_time(1)
    fronts = {f.firewall_id: f.opened_at for f in world.request(request.id).ports[0].fronts or ()}
    assert fronts[hub.NSG] is not None
    assert fronts[world.firewall_id] is None
    assert world.status(request.id) is Status.INITIATING
    world.pass_time(4)
    assert world.status(request.id) is Status.INITIATED


def test_the_opening_is_seen_soon_after_the_write_has_settled(world: HubWorld) -> None:
    """A firewall is read every ten seconds after a write, not after the longest write there is."""
    began = world.clock()
    request = world.ask(VM, minutes=30)
    world.pass_time(6)
    opened_at = world.request(request.id).ports[0].opened_at
    assert opened_at is not None
    assert opened_at - began <= WRITE + timedelta(seconds=30)


def test_the_security_group_sees_the_firewalls_subnet_in_place_of_a_public_source(
    world: HubWorld,
) -> None:
    """The requestor's own address never stands in the NSG."""
    world.ask(VM, minutes=30)
    world.pass_time(6)
    assert world.nsg_sources() == [hub.FIREWALL_PREFIX]


def test_a_private_source_is_let_through_as_it_is(behind_policy: HubWorld) -> None:
    """A private source reaches the VM's own address, and the NSG sees that source."""
    request = behind_policy.ask(VM, source=VPN, minutes=30)
    behind_policy.pass_time(6)
    assert behind_policy.status(request.id) is Status.INITIATED
    assert behind_policy.nsg_sources() == [VPN]
    assert behind_policy.reaches(VPN)


def test_of_two_requestors_on_one_port_the_first_ends_alone(world: HubWorld) -> None:
    """The first one's end closes the first by the firewall's proof and leaves the second."""
    first = world.ask(VM, minutes=20)
    second = world.ask(VM, who=BOB_PERSON, source=BOB, minutes=60)
    world.pass_time(10)
    assert world.reaches(ALICE)
    assert world.reaches(BOB)
    world.pass_time(11)  # the end has passed, and the firewall's write is under way
    assert world.status(first.id) is Status.INITIATED
    world.pass_time(7)
    assert world.status(first.id) is Status.REVOKED
    assert not world.reaches(ALICE)
    assert world.reaches(BOB)
    assert world.nsg_sources() == [hub.FIREWALL_PREFIX]
    world.pass_time(40)
    assert world.status(second.id) is Status.REVOKED
    assert not world.reaches(BOB)
    assert world.nsg_sources() == []


def test_a_close_waits_for_a_busy_firewall_and_is_never_reported_early(world: HubWorld) -> None:
    """Another writer's ten minutes delay the close; meanwhile it is reported and not believed."""
    request = world.ask(VM, minutes=20)
    world.pass_time(19)
    busy = {"policy": hub.POLICY}.get(world.firewall_type, world.firewall_id)
    world.switch(busy={"id": busy, "seconds": 14 * 60})
    world.pass_time(13)
    assert world.status(request.id) is Status.INITIATED
    assert world.nsg_sources() == []
    assert "overdue" in " ".join(health.report(world.services).problems)
    world.pass_time(8)
    assert world.status(request.id) is Status.REVOKED
    assert not world.reaches(ALICE)


def test_an_access_whose_rows_are_lost_is_found_in_the_hub_and_closed(world: HubWorld) -> None:
    """Reconciling lists the hub's subscription, which is in no scope of VMs."""
    world.ask(VM, minutes=60)
    world.pass_time(8)
    for table in (world.tables.firewalls, world.tables.policies, world.tables.due):
        table.rows.clear()
    world.queues.waiting.clear()
    assert ALICE in json.dumps(world.get(world.firewall_id))
    reconcile(world.services)
    world.pass_time(8)
    assert ALICE not in json.dumps(world.get(world.firewall_id))
    assert not world.reaches(ALICE)


# --- what a slow firewall asks of an access ----------------------------------------------------


def test_an_access_shorter_than_the_firewall_takes_is_refused(world: HubWorld) -> None:
    """The shortest access is a decision with its reason, in a request and in its dry run."""
    body = {"virtualMachine": VM, "ports": [22], "duration": "PT10M"}
    body |= {"allowedSourceAddressPrefix": ALICE}
    for path in ("/api/requests", "/api/requests?dryRun=true"):
        answer = HubApp(world).call("POST", path, body, who=AS_ALICE)
        assert "DurationTooShort" in answer.text
        assert "the shortest access to VM 'web-1' is PT15M" in answer.text


def test_an_end_that_comes_too_soon_is_refused(behind_policy: HubWorld) -> None:
    """An end is held to the shortest access as a duration is."""
    end = (behind_policy.clock() + 10 * MINUTE).isoformat()
    body = {"virtualMachine": VM, "ports": [22], "endTimeUtc": end}
    answer = HubApp(behind_policy).call(
        "POST", "/api/requests", body | {"allowedSourceAddressPrefix": ALICE}, who=AS_ALICE
    )
    assert answer.status == 400
    assert "endTimeUtc" in answer.text


def test_an_access_that_is_too_short_fails_where_its_firewall_was_not_known() -> None:
    """Before the policy is applied nothing tells the firewall; opening finds it and says why."""
    world = HubWorld()
    world.switch(duration=0.0)
    world.protect_vm(wait=0)
    row = world.services.policies.vm_row(POLICY, VM)
    if row is not None:
        world.services.policies.delete_vm(row)
    request = world.ask(VM, minutes=10)
    port = world.request(request.id).ports[0]
    assert port.status is Status.FAILED
    assert port.closing is not None
    assert "the shortest access to VM 'web-1' is PT15M" in port.closing.message


def test_close_by_end_has_closed_at_the_end() -> None:
    """Where the policy asks for it, the close begins so early that it has ended at the end."""
    world = HubWorld()
    world.protect_vm(close_by=CloseBy.END)
    request = world.ask(VM, minutes=30)
    world.pass_time(8)
    port = world.request(request.id).ports[0]
    assert port.end_at is not None
    assert port.closes_at == port.end_at - 7 * MINUTE
    world.pass_time((port.end_at - world.clock()) / MINUTE)
    assert world.status(request.id) is Status.REVOKED
    assert not world.reaches(ALICE)
    events = [event for _, event in world.services.activity.on(world.clock())]
    late = [event.lateness_seconds for event in events if event.operation == Operation.CLOSED]
    assert late == [0.0, 0.0]


def test_close_by_end_is_stated_in_the_answer() -> None:
    """The answer tells when the close begins; such an access lasts at least as long as that takes."""
    world = HubWorld()
    world.protect_vm(close_by=CloseBy.END)
    request = world.ask(VM, minutes=30)
    world.pass_time(6)
    app = HubApp(world)
    answer = app.call("GET", f"/api/requests/{request.id}", who=AS_READER)
    port = answer.json["virtualMachines"][0]["ports"][0]
    assert port["closeBeginsTimeUtc"] < port["endTimeUtc"]
    body = {"virtualMachine": VM, "ports": [22], "duration": "PT20M"}
    short = app.call(
        "POST", "/api/requests", body | {"allowedSourceAddressPrefix": ALICE}, who=AS_ALICE
    )
    assert "is PT22M, of which closing takes PT7M" in short.text


def test_close_by_end_follows_an_extension() -> None:
    """A later end moves the close with it; it still has ended at the new end."""
    world = HubWorld()
    world.protect_vm(close_by=CloseBy.END)
    request = world.ask(VM, minutes=30)
    world.pass_time(8)
    until = world.clock() + 60 * MINUTE
    body = {"endTimeUtc": until.isoformat()}
    HubApp(world).call("POST", f"/api/requests/{request.id}/extend", body, who=AS_ALICE)
    world.pass_time(50)
    assert world.reaches(ALICE)
    world.pass_time((until - world.clock()) / MINUTE)
    assert world.status(request.id) is Status.REVOKED
    assert not world.reaches(ALICE)


# --- answers -----------------------------------------------------------------------------------


def test_the_answers_name_the_entry(world: HubWorld) -> None:
    """The short form, the policy and its requests carry Defender's mappedPort and publicIpAddress."""
    app = HubApp(world)
    port = 20_022 if world.firewall_type == "ip_group" else 20_000
    request = world.ask(VM, minutes=30)
    world.pass_time(6)
    short = app.call("GET", f"/api/requests/{request.id}", who=AS_READER).json
    (opened,) = short["virtualMachines"][0]["ports"]
    assert (opened["publicIpAddress"], opened["mappedPort"]) == (hub.PUBLIC_ADDRESS, port)
    assert opened["connectTo"] == f"{hub.PUBLIC_ADDRESS} port {port}"
    policy = app.call("GET", f"{POLICY}?api-version=2020-01-01", who=AS_READER).json["properties"]
    assert policy["virtualMachines"][0]["publicIpAddress"] == hub.PUBLIC_ADDRESS
    (listed,) = policy["requests"][0]["virtualMachines"][0]["ports"]
    assert listed["mappedPort"] == port
    assert "connectTo" not in listed


def test_a_repeated_initiate_with_the_answered_fields_is_accepted(behind_policy: HubWorld) -> None:
    """The fields of a policy's answer can be sent back to initiate."""
    world = behind_policy
    world.ask(VM, minutes=30)
    world.pass_time(6)
    end = (world.clock() + 60 * MINUTE).isoformat()
    port = {"number": 22, "allowedSourceAddressPrefix": ALICE, "endTimeUtc": end}
    port["mappedPort"] = 20_000
    body = {"virtualMachines": [{"id": VM, "ports": [port]}]}
    answer = HubApp(world).call("POST", f"{POLICY}/initiate", body, who=AS_ALICE)
    assert answer.status == 202


# --- machines ----------------------------------------------------------------------------------


def judged(world: HubWorld) -> tuple[Category, str]:
    """Return where the VM stands and why."""
    world.clock.advance(30)  # the lists that tell what stands before a VM are read anew
    vars(world.app).pop("inventory", None)
    scope = f"/subscriptions/{hub.SUBSCRIPTION}"
    (report,) = machines_report(world.services, world.app.inventory, [scope]).machines
    return report.category, report.reason


def fresh(**settings: Any) -> HubWorld:
    """Return a protected VM behind a policy, whose paths are read each time."""
    world = HubWorld(**settings)
    world.protect_vm()
    finder: Any = world.services.firewalls.read_notes.__self__  # type: ignore[attr-defined]
    finder.seconds = lambda: world.clock().timestamp()
    return world


def test_a_vm_behind_a_known_firewall_is_configured() -> None:
    """A default-denying firewall and a denying NSG leave nothing open."""
    assert judged(fresh())[0] is Category.CONFIGURED


def test_a_firewall_that_does_not_answer_makes_its_vm_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The report names the firewall and does not fail."""
    world = fresh()

    def read(_provider: object, _firewall_id: str) -> None:
        raise OutsideError("503 from ARM")

    provider = world.services.firewalls.of(world.firewall_id)
    monkeypatch.setattr(type(provider), "read", read)
    assert judged(world) == (Category.UNKNOWN, "'jit-test1' did not answer: 503 from ARM")


def test_a_foreign_translation_that_the_security_group_lets_in_is_exposed() -> None:
    """A translation of others that meets an allow of ours makes the VM Exposed, by name."""
    world = fresh()
    world.ask(VM, minutes=60)
    world.pass_time(6)
    foreign = hub.nat_rule("theirs", 2222, sourceAddresses=["198.51.100.0/24"])
    theirs = {"id": f"{hub.POLICY}/ruleCollectionGroups/theirs", "name": "theirs"}
    world.edit({**theirs, **hub.group(foreign)})
    category, reason = judged(world)
    assert category is Category.EXPOSED
    assert "theirs" in reason


def test_a_next_hop_that_is_no_firewall_makes_a_vm_unknown() -> None:
    """A load balancer or another appliance as next hop is named."""
    world = fresh()
    world.edit(hub.table("10.0.0.99"))
    category, reason = judged(world)
    assert category is Category.UNKNOWN
    assert "10.0.0.99" in reason
    assert "spoke-routes" in reason


def test_a_deallocated_firewall_makes_a_vm_unsupported() -> None:
    """A firewall that translates to the VM and cannot be written is named with the reason."""
    world = fresh()
    hub_firewall = hub.firewall(virtualHub={"id": f"{hub.HUB}/virtualHubs/one"})
    world.edit(hub_firewall)
    category, reason = judged(world)
    assert category is Category.UNSUPPORTED
    assert "Virtual WAN hub" in reason


def test_a_public_address_behind_the_firewalls_route_is_asymmetric() -> None:
    """The reason says that the VM's own public address is not usable."""
    world = fresh()
    own = f"{hub.NET}/publicIPAddresses/web-1-ip"
    nic = hub.nic(publicIPAddress={"id": own})
    for entry in nic["properties"]["ipConfigurations"]:
        entry["id"] = f"{hub.NIC}/ipConfigurations/{entry['name']}"
    world.edit(hub.public_address(own, "20.9.9.9"), nic)
    category, reason = judged(world)
    assert category is Category.CONFIGURED
    assert "asymmetric" in reason
    assert "20.9.9.9" in reason


def test_a_firewall_that_is_being_written_makes_a_vm_unknown() -> None:
    """While a write is under way it is unknown which rules count; other VMs are reported."""
    world = fresh()
    world.switch(busy={"id": hub.POLICY, "seconds": 600})
    category, reason = judged(world)
    assert category is Category.UNKNOWN
    assert "is being written" in reason


def test_a_policy_is_applied_once_a_busy_firewall_has_settled() -> None:
    """A policy over a VM whose firewall is being written waits, and succeeds then."""
    world = HubWorld()
    world.switch(busy={"id": hub.POLICY, "seconds": 240})
    assert world.protect_vm(wait=2).state is PolicyState.UPDATING
    world.pass_time(4)
    assert world.policy().state is PolicyState.SUCCEEDED


# --- what is chosen ----------------------------------------------------------------------------


def test_an_ip_group_is_preferred_and_opens_its_own_port_alone() -> None:
    """Where a rule names an IP group of ours no policy is written; other ports are refused."""
    world = HubWorld("ip_group")
    world.protect_vm(ports=(22, 3389))
    opened = world.ask(VM, 22, minutes=30)
    other = world.ask(VM, 3389, minutes=30)
    world.pass_time(6)
    assert next(f.firewall_id for f in world.request(opened.id).ports[0].fronts or ()) == GROUP
    assert world.get(OURS) is None
    refused = world.request(other.id).ports[0]
    assert refused.status is Status.FAILED
    assert refused.closing is not None
    assert "cannot be opened by this app" in refused.closing.message


def test_classic_rules_outside_the_named_scopes_are_never_written() -> None:
    """A firewall that no classic scope names is read for exposure; requests are refused."""
    world = HubWorld("classic", firewall_classic_scopes=())
    world.protect_vm()
    before = world.get(hub.FIREWALL)
    request = world.ask(VM, minutes=30)
    world.pass_time(6)
    port = world.request(request.id).ports[0]
    assert port.status is Status.FAILED
    assert world.get(hub.FIREWALL) == before


def test_without_firewall_scopes_no_firewall_is_read() -> None:
    """An installation without firewall scopes has security groups alone, as before."""
    world = HubWorld(firewall_scopes=())
    world.protect_vm()
    assert [each.label for each in world.services.firewalls] == ["network security group"]
    request = world.ask(VM, minutes=10)
    assert world.status(request.id) is Status.INITIATED
    assert world.nsg_sources() == [ALICE]


def test_mapped_ports_come_from_the_range_of_the_settings() -> None:
    """Each grant gets a port of its own from the range; one grant too many fails with the reason."""
    world = HubWorld(firewall_ports="21000-21000")
    world.protect_vm()
    first = world.ask(VM, minutes=60)
    second = world.ask(VM, who=BOB_PERSON, source=BOB, minutes=60)
    world.pass_time(12)
    front = (world.request(first.id).ports[0].fronts or ())[0]
    assert front.entry_port == 21_000
    refused = world.request(second.id).ports[0]
    assert refused.status is Status.FAILED
    assert refused.closing is not None
    assert "no port from 21000 to 21000 is free" in refused.closing.message


def test_the_limit_of_translations_is_told_in_health_before_it_is_hit() -> None:
    """From 225 of 250 translations and public addresses health warns, whichever worker reads it."""
    world = fresh()
    rules = [hub.nat_rule(f"r{n}", 3000 + n) for n in range(230)]
    theirs = {"id": f"{hub.POLICY}/ruleCollectionGroups/theirs", "name": "theirs"}
    world.edit({**theirs, **hub.group(*rules)})
    reconcile(world.services)
    for provider in world.services.firewalls:
        getattr(provider, "_warnings", {}).clear()
    warnings = " ".join(health.report(world.services).warnings)
    assert "231 of 250 translations and public addresses are in use" in warnings
    world.edit({**theirs, **hub.group(*rules[:10])})
    reconcile(world.services)
    reconcile(world.services)
    assert "of 250" not in " ".join(health.report(world.services).warnings)


def test_a_policy_that_is_exposed_waits_for_a_busy_firewall() -> None:
    """Whether a foreign translation leaves a port open is judged once the firewall has settled."""
    world = HubWorld()
    world.protect_vm()
    foreign = hub.nat_rule("theirs", 2222, sourceAddresses=["198.51.100.0/24"])
    theirs = {"id": f"{hub.POLICY}/ruleCollectionGroups/theirs", "name": "theirs"}
    world.edit({**theirs, **hub.group(foreign)})
    reconcile(world.services)
    world.switch(busy={"id": hub.POLICY, "seconds": 120})
    protection.apply_policy(world.services, POLICY)
    assert [m.kind for m in world.queues.waiting if m.kind == "policy"] == ["policy"]
    assert world.policy().state is PolicyState.SUCCEEDED


def test_a_message_that_cannot_be_sent_leaves_a_busy_firewall_to_the_sweep() -> None:
    """Polling only makes work prompt: without it the sweep sees that the write has settled."""
    world = HubWorld()
    world.protect_vm()
    request = world.ask(VM, minutes=30, work=False)

    def fail(*_: object, **__: object) -> None:
        raise OutsideError("the queue is away")

    world.queues.send_firewall = fail  # type: ignore[method-assign]
    world.pass_time(8)
    assert world.status(request.id) is Status.INITIATED
    world.pass_time(30)
    assert world.status(request.id) is Status.REVOKED
    assert not world.reaches(ALICE)


def test_a_firewall_takes_as_many_grants_as_its_type() -> None:
    """The lower of the type's limit and the installation's counts; an unknown type has the latter."""
    services = HubWorld().services
    assert services.capacity(GROUP) == 40
    assert services.capacity(hub.NSG) == 750
    assert services.capacity("unknown:one") == services.most_grants


def test_a_long_write_is_polled_by_one_message_at_a_time() -> None:
    """Sweeps that meet the same write of minutes add no messages to the one that polls it."""
    world = HubWorld()
    world.protect_vm()
    world.ask(VM, minutes=20)
    world.pass_time(19)
    world.switch(busy={"id": hub.POLICY, "seconds": 20 * 60})
    world.pass_time(10)
    polls = [m for m in world.queues.waiting if m.kind == "firewall" and m.subject == OURS]
    assert len(polls) <= 2
