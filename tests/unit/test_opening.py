"""Opening what was asked for: what is looked at once more, and what each port then gets."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.model import (
    AccessRequest,
    Attachment,
    CloseReason,
    PolicyState,
    Principal,
    Status,
)
from shared.domain.permissions import Action, Decision
from shared.domain.policy import Asked, AskedPort
from shared.firewalls.nsg.model import Access
from shared.ports import Machine, OutsideError
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import open as opening
from shared.use_cases.requests import submit as access
from tests.fakes import NAMES, START
from tests.world import ALICE, DB, NSG_NIC, NSG_SUBNET, POLICY, SOURCE, WEB, World


@pytest.fixture
def world() -> World:
    """Protect both VMs."""
    made = World()
    made.protect()
    return made


def ask(world: World, *ports: tuple[str, int], minutes: float = 10) -> AccessRequest:
    """Ask for ports of VMs until a given end, in one request; no worker has seen it yet."""
    end_at = START + timedelta(minutes=minutes)
    asked = tuple(AskedPort("", vm, port, (SOURCE,), end_at=end_at) for vm, port in ports)
    new_request = access.PolicyRequest(world.policy(), Asked(asked, "because", SOURCE), ALICE)
    return access.request_access(world.services, new_request)


def opened_ports(world: World, nsg: str) -> list[str]:
    """Return the ports that rules of ours leave open."""
    return sorted(rule.ports[0] for rule in world.firewall.ours(nsg, Access.ALLOW))


def test_a_message_about_an_unknown_request_opens_nothing(world: World) -> None:
    """It is told, and does not come back."""
    before = [dict(table.rows) for table in world.tables.all()]
    world.queues.send_request("x-y")
    world.work()
    assert [dict(table.rows) for table in world.tables.all()] == before
    assert world.telemetry.named("jit.request.unknown") == [{"request": "x-y"}]
    assert not world.queues.waiting


def test_a_poison_message_about_an_unknown_request_ends_nothing(world: World) -> None:
    """There is nothing to end, and no requestor to notify."""
    opening.fail_request(world.services, "x-y", "it could not be opened")
    world.pass_time(1)
    assert world.services.requests.get("x-y") is None


def test_what_waited_past_its_end_is_over_before_it_opened(world: World) -> None:
    """No rule is written for it."""
    request = ask(world, (WEB, 22), minutes=5)
    world.clock.advance(5 * 60)
    writes = world.firewall.writes.total()
    world.work()
    port = world.request(request.id).ports[0]
    assert port.closing is not None
    assert (port.status, port.closing.reason) == (Status.REVOKED, CloseReason.EXPIRED)
    assert (port.fronts, world.firewall.writes.total()) == (None, writes)


def test_a_permission_that_cannot_be_checked_opens_nothing_yet(world: World) -> None:
    """The message comes back, and the request opens once the permission can be read."""

    def unknown(principal: Principal, action: Action, scope: str) -> Decision:
        del principal, action, scope
        return Decision(False, ("the role assignments could not be read",), failed_check=True)

    request = world.ask(work=False)
    known = world.services
    world.services = replace(known, authorize=unknown)
    with pytest.raises(OutsideError, match="could not be read"):
        opening.open_access(world.services, request.id)
    assert world.status(request.id) is Status.INITIATING
    assert opened_ports(world, NSG_NIC) == []
    world.services = known
    world.work()
    assert world.status(request.id) is Status.INITIATED


def test_a_permission_lost_on_one_vm_keeps_the_other_open(world: World) -> None:
    """Each VM of a request is judged by itself."""

    def not_the_database(principal: Principal, action: Action, scope: str) -> Decision:
        del principal, action
        return Decision(scope != DB, ("role revoked",))

    request = ask(world, (WEB, 22), (DB, 22))
    world.services = replace(world.services, authorize=not_the_database)
    world.work()
    web, database = world.request(request.id).ports
    assert (web.status, database.status) == (Status.INITIATED, Status.FAILED)
    assert database.closing is not None
    assert database.closing.message == "no longer permitted: role revoked"
    (rule,) = world.firewall.ours(NSG_SUBNET, Access.ALLOW)
    assert rule.destinations == ("10.0.0.4",)


def test_two_ports_of_a_vm_open_together(world: World) -> None:
    """On every firewall in front of it, behind one deny."""
    request = ask(world, (WEB, 22), (WEB, 3389))
    world.work()
    assert [port.status for port in world.request(request.id).ports] == [Status.INITIATED] * 2
    for nsg in (NSG_NIC, NSG_SUBNET):
        assert opened_ports(world, nsg) == ["22", "3389"]


def test_what_opens_in_its_last_minute_is_closed_at_its_very_second(world: World) -> None:
    """Even where no sweep runs before its end."""
    request = ask(world, (WEB, 22), minutes=5)
    world.clock.advance(4.5 * 60)
    world.work()
    assert world.status(request.id) is Status.INITIATED
    world.pass_time(0.5, sweeping=False)
    assert world.clock() == START + timedelta(minutes=5)
    assert opened_ports(world, NSG_NIC) == opened_ports(world, NSG_SUBNET) == []
    assert world.request(request.id).ports[0].closed_at == world.clock()


def test_what_the_policy_no_longer_allows_is_not_opened(world: World) -> None:
    """Though it did when it was asked for; the reason is the policy's."""
    request = ask(world, (WEB, 3389))
    world.queues.waiting.clear()
    world.protect(ports=(22,))
    opening.open_access(world.services, request.id)
    port = world.request(request.id).ports[0]
    assert port.closing is not None
    assert (port.status, "3389" in port.closing.message) == (Status.FAILED, True)
    assert opened_ports(world, NSG_NIC) == []


NOWHERE = "no network security group stands in front of the VM, so there is nothing to open"


@pytest.mark.parametrize(
    ("machine", "why"),
    [
        (None, "the VM does not exist"),
        (Machine(WEB, "", "linux", (), unreadable="a floating IP"), "a floating IP"),
        (Machine(WEB, "", "linux", ()), NOWHERE),
        (
            Machine(WEB, "", "linux", (Attachment(NSG_NIC, ("2001:db8::4",)),)),
            f"VM 'web' has no address of the family of {SOURCE} (it has 2001:db8::4)",
        ),
    ],
)
def test_a_vm_that_cannot_be_opened_fails_with_its_reason(
    world: World, machine: Machine | None, why: str
) -> None:
    """And the other VM of the request opens."""
    request = ask(world, (WEB, 22), (DB, 22))
    find = world.machines.find

    def changed(vm_id: str) -> Machine | None:
        return machine if vm_id == WEB else find(vm_id)

    world.machines.find = changed  # type: ignore[method-assign]
    world.work()
    web, database = world.request(request.id).ports
    assert (web.status, database.status) == (Status.FAILED, Status.INITIATED)
    assert web.closing is not None
    assert web.closing.message == why


def test_a_vm_that_cannot_be_read_keeps_no_other_waiting(world: World) -> None:
    """The other opens at once; this one when the message comes back."""
    request = ask(world, (WEB, 22), (DB, 22))
    find = world.machines.find

    def failing(vm_id: str) -> Machine | None:
        if vm_id == WEB:
            raise OutsideError("away")
        return find(vm_id)

    world.machines.find = failing  # type: ignore[method-assign]
    world.work()
    fates = [port.status for port in world.request(request.id).ports]
    assert fates == [Status.INITIATING, Status.INITIATED]
    world.machines.find = find  # type: ignore[method-assign]
    world.clock.advance(10)
    world.work()
    assert world.request(request.id).ports[0].status is Status.INITIATED


@pytest.mark.parametrize("lost", ["row", "address"])
def test_no_grant_opens_without_its_deny(world: World, lost: str) -> None:
    """A protection that is not there, or is of another address, is written first."""
    (held,) = world.services.rows.read(NSG_NIC).protections
    if lost == "row":
        world.services.rows.delete_protection(held)
    else:
        world.services.rows.put_protection(replace(held, addresses=("10.0.0.9",)))
    request = world.ask()
    assert world.status(request.id) is Status.INITIATED
    (after,) = world.services.rows.read(NSG_NIC).protections
    assert (after.addresses, after.proven) == (("10.0.0.4",), True)


def test_an_address_of_two_vms_opens_for_neither(world: World) -> None:
    """The request fails with the reason, and nothing is open on either firewall."""
    world.machines.add(DB, Attachment(NSG_SUBNET, ("10.0.0.4",)))
    protection.apply_policy(world.services, POLICY)
    request = world.ask()
    world.pass_time(1)
    port = world.request(request.id).ports[0]
    assert port.status is Status.FAILED
    assert port.closing is not None
    assert "also belongs to 'db'" in port.closing.message
    assert opened_ports(world, NSG_NIC) == opened_ports(world, NSG_SUBNET) == []


def test_an_address_that_a_second_vm_gets_later_is_closed(world: World) -> None:
    """An access that is open ends, with the reason, once another protected VM has its address."""
    request = world.ask()
    assert world.status(request.id) is Status.INITIATED
    world.machines.add(DB, Attachment(NSG_SUBNET, ("10.0.0.4",)))
    protection.apply_policy(world.services, POLICY)
    world.pass_time(1)
    port = world.request(request.id).ports[0]
    assert port.closing is not None
    assert "also belongs to 'db'" in port.closing.message
    assert opened_ports(world, NSG_SUBNET) == []


def test_an_address_without_a_firewall_is_told_on_the_policy(world: World) -> None:
    """The VM's other addresses are closed; the policy does not state more."""
    front = Attachment(NSG_SUBNET, ("10.0.0.5",))
    bare = Machine(DB, "westeurope", "linux", (front,), bare_addresses=("10.1.0.5",))
    world.machines.machines[DB.casefold()] = bare
    protection.apply_policy(world.services, POLICY)
    policy = world.policy()
    assert policy.state is PolicyState.FAILED
    assert policy.error.endswith("in front of its address 10.1.0.5")
    assert len(world.firewall.ours(NSG_SUBNET, Access.DENY)) == 2


def test_a_deny_that_has_no_place_is_told_on_the_policy() -> None:
    """A firewall that refuses it for good: the policy fails with that reason."""
    world = World()
    world.firewall.whole = False
    world.firewall.refuse[NAMES.deny(DB, 4)] = "RequestDisallowedByPolicy"
    policy = world.protect(WEB, DB)
    assert policy.state is PolicyState.FAILED
    assert "RequestDisallowedByPolicy" in policy.error
    assert [rule.destinations for rule in world.firewall.ours(NSG_SUBNET)] == [("10.0.0.4",)]
