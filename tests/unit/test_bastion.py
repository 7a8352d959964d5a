"""Azure Bastion as a source: which host, what the policy says, and the look-up at opening."""

from dataclasses import replace

import pytest

from shared.domain.bastion import DEVELOPER_PREFIX, BastionHost, BastionReach, choose_bastion
from shared.domain.errors import OutsidePolicyError, Reason
from shared.domain.model import AccessRequest, Conditions, Policy, PolicyVm, PortRule, Status
from shared.domain.policy import Asked, AskedPort, check_extension
from shared.firewalls.nsg.model import Access
from shared.ports import Machine, OutsideError
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import submission
from tests.world import ALICE, GROUP, NSG_SUBNET, POLICY, WEB, World

HOSTS = f"{GROUP}/providers/Microsoft.Network/bastionHosts"
OWN = BastionHost(f"{HOSTS}/own", "Standard", ("10.0.9.0/26",))
HUB = BastionHost(f"{HOSTS}/hub", "Standard", ("10.9.0.0/26",), is_peered=True)
SECOND = BastionHost(f"{HOSTS}/second", "Standard", ("10.9.1.0/26",), is_peered=True)
BASIC = replace(OWN, sku="Basic")
DEVELOPER = BastionHost(f"{HOSTS}/dev", "Developer", (DEVELOPER_PREFIX,))


def code(found: BastionHost | Reason) -> str:
    """Return the code of a refusal, or the name of the host."""
    return found.name if isinstance(found, BastionHost) else found.code


@pytest.mark.parametrize(
    ("hosts", "wanted", "port", "outcome"),
    [
        ((HUB, OWN), "bastion", 22, "own"),
        ((HUB,), "bastion", 22, "hub"),
        ((HUB, SECOND), "bastion", 22, "BastionAmbiguous"),
        ((HUB, SECOND), SECOND.id.upper(), 22, "second"),
        ((HUB,), OWN.id, 22, "BastionNotFound"),
        ((), "bastion", 22, "BastionNotFound"),
        ((BASIC,), "bastion", 3389, "own"),
        ((BASIC,), "bastion", 5986, "PortNotThroughBastion"),
        ((DEVELOPER,), "bastion", 8080, "PortNotThroughBastion"),
        ((OWN,), "bastion", 5986, "own"),
    ],
)
def test_the_nearest_host_is_chosen_or_the_refusal_names_its_reason(
    hosts: tuple[BastionHost, ...], wanted: str, port: int, outcome: str
) -> None:
    """A host in the VM's network comes first; none, several and other ports are refused."""
    assert code(choose_bastion(BastionReach(hosts), wanted, (port,), "source")) == outcome


def test_a_host_that_could_not_be_read_is_no_missing_host() -> None:
    """Where Azure could not be read, the refusal names the action and does not deny the host."""
    found = choose_bastion(BastionReach((), "needs x/read"), "bastion", (22,), "source")
    assert found == Reason("BastionNotReadable", "needs x/read", "source")


def world(*hosts: BastionHost, sources: tuple[str, ...] = ("*",), **conditions: object) -> World:
    """Return an app that governs SSH on a VM which some Bastion hosts reach."""
    made = World()
    made.bastions.known = BastionReach(hosts)
    rules = (PortRule(22, "TCP", sources), PortRule(3389, "TCP"))
    policy = Policy(POLICY, "westeurope", (PolicyVm(WEB, rules),))
    policy = replace(policy, conditions=Conditions(**conditions))  # type: ignore[arg-type]
    protection.put_policy(made.services, policy)
    made.work()
    return made


def ask(
    app: World, *ports: int, bastion: str = "bastion", source: str = "", vm: str = WEB
) -> AccessRequest:
    """Request access through Bastion, or from a source."""
    named = (source,) if source else ()
    length = app.services.limits.min_duration * 2
    asked = tuple(
        AskedPort(f"ports[{n}]", vm, port, named, duration=length, bastion=bastion)
        for n, port in enumerate(ports or (22,))
    )
    new = submission.NewRequest(Asked(asked, "because", "203.0.113.7"), ALICE, POLICY)
    return submission.submit(app.services, new)


def refusals(app: World, **asked: str) -> list[str]:
    """Return the codes with which a request is refused."""
    with pytest.raises(OutsidePolicyError) as caught:
        ask(app, **asked)
    return [reason.code for reason in caught.value.details]


def allowed_sources(app: World) -> set[tuple[str, ...]]:
    """Return the sources of every allow rule of ours on the subnet's security group."""
    return {rule.sources for rule in app.firewall.ours(NSG_SUBNET, Access.ALLOW)}


def test_the_rule_allows_exactly_the_prefix_of_the_bastion_subnet() -> None:
    """A request through Bastion opens to its subnet's prefix and to nothing else."""
    app = world(OWN)
    request = ask(app)
    app.work()
    assert app.status(request.id) is Status.INITIATED
    assert allowed_sources(app) == {OWN.prefixes}
    assert app.request(request.id).ports[0].bastion == OWN.id


def test_the_developer_address_is_allowed_for_bastion_alone() -> None:
    """Azure's platform address opens through a Developer host and never as a named source."""
    app = world(DEVELOPER)
    request = ask(app)
    app.work()
    assert app.status(request.id) is Status.INITIATED
    assert refusals(app, bastion="", source=DEVELOPER_PREFIX) == ["SourceNotAllowed"]


def test_only_through_bastion_refuses_every_other_source() -> None:
    """Under onlyThroughBastion a named source is refused, even the subnet's own prefix."""
    app = world(OWN, only_through_bastion=True)
    assert refusals(app, bastion="", source="203.0.113.7") == ["SourceNotBastion"]
    assert refusals(app, bastion="", source="10.0.9.0/26") == ["SourceNotBastion"]
    request = ask(app)
    app.work()
    assert app.status(request.id) is Status.INITIATED


def test_an_access_from_elsewhere_is_not_extended_under_only_through_bastion() -> None:
    """A condition that was set after the opening refuses a later end of another source."""
    app = world(OWN)
    request = ask(app)
    port = request.ports[0]
    policy = replace(app.policy(), conditions=Conditions(only_through_bastion=True))
    later = app.clock() + app.services.limits.min_duration * 3
    codes = [
        [reason.code for reason in check_extension(policy, request, [each], later)]
        for each in (port, replace(port, bastion=""))
    ]
    assert codes == [[], ["SourceNotBastion"]]


def test_what_the_policy_bounds_holds_for_bastion_too() -> None:
    """A wide subnet, the caller's own address only, and foreign sources refuse Bastion."""
    wide = replace(OWN, prefixes=("10.0.0.0/16",))
    assert refusals(world(wide)) == ["SourceTooWide"]
    assert refusals(world(OWN, own_address_only=True)) == ["SourceNotOwnAddress"]
    assert refusals(world(OWN, sources=("203.0.113.0/24",))) == ["SourceNotAllowed"]


def test_a_vm_without_bastion_or_outside_the_policy_is_refused() -> None:
    """No host, no such VM, and a VM that no policy lists are refused with their own reasons."""
    app = world()
    assert refusals(app) == ["BastionNotFound"]
    app.bastions.known = BastionReach((OWN,))
    del app.machines.machines[WEB.casefold()]
    assert refusals(app) == ["BastionNotFound"]
    assert refusals(app, vm=f"{WEB}-other") == ["VirtualMachineNotInPolicy"]


def test_a_host_that_is_gone_at_opening_fails_the_request() -> None:
    """The host is looked up again at opening: one that no longer reaches the VM opens nothing."""
    app = world(OWN)
    request = ask(app)
    app.bastions.known = BastionReach((HUB,))
    app.work()
    port = app.request(request.id).ports[0]
    assert port.status is Status.FAILED
    assert port.closing is not None
    assert "does not reach the VM" in port.closing.message
    assert not allowed_sources(app)


def test_a_subnet_that_moved_before_opening_opens_to_its_new_prefix() -> None:
    """The prefix at opening counts, not the one when the request was submitted."""
    app = world(OWN)
    request = ask(app)
    app.bastions.known = BastionReach((replace(OWN, prefixes=("10.0.8.0/26",)),))
    app.work()
    assert app.status(request.id) is Status.INITIATED
    assert allowed_sources(app) == {("10.0.8.0/26",)}


def test_a_failed_look_up_opens_nothing_and_is_tried_again() -> None:
    """Where Azure does not answer at opening, the port waits and opens once it does."""
    app = world(OWN)
    request = ask(app)
    app.bastions.error = OutsideError("503")
    app.deliver(app.queues.visible()[0])
    assert app.status(request.id) is Status.INITIATING
    assert not allowed_sources(app)
    app.bastions.error = None
    app.clock.advance(30)
    app.work()
    assert app.status(request.id) is Status.INITIATED


def test_a_port_from_an_address_opens_beside_one_through_bastion() -> None:
    """The look-up at opening leaves the other ports of the request as they are."""
    app = world(OWN)
    length = app.services.limits.min_duration * 2
    through = AskedPort("ports[0]", WEB, 22, (), duration=length, bastion="bastion")
    direct = AskedPort("ports[1]", WEB, 3389, ("203.0.113.7",), duration=length)
    new = submission.NewRequest(Asked((through, direct), "because", "203.0.113.7"), ALICE, POLICY)
    request = submission.submit(app.services, new)
    app.work()
    assert [port.status for port in app.request(request.id).ports] == [Status.INITIATED] * 2
    assert allowed_sources(app) == {OWN.prefixes, ("203.0.113.7",)}


def test_an_ec2_instance_stands_behind_no_bastion() -> None:
    """A machine of another cloud is refused before Azure is asked."""
    app = world(OWN)
    instance = (
        f"{GROUP}/providers/Microsoft.Security/securityConnectors/aws/securityentitydata/"
        "aws-ec2-instance-i-0123456789abcdef0-eu-west-1"
    )
    listed = PolicyVm(instance, (PortRule(22, "TCP"),))
    held = app.services.policies.get(POLICY)
    assert held is not None
    app.services.policies.replace(held, replace(held.policy, vms=(listed,)))
    assert refusals(app, vm=instance) == ["BastionNotFound"]


def test_a_machine_has_no_networks_unless_azure_names_them() -> None:
    """A machine of another cloud stands in no virtual network."""
    assert Machine(WEB, "", "linux", ()).networks == ()
