"""An EC2 instance through the whole app: governed, opened, closed, restored, reported."""

import json

import pytest

from shared.domain.machine_ids import instance_arn
from shared.domain.model import Conditions, Policy, PolicyState, PolicyVm, PortRule, Status
from shared.firewalls.registry import Registry
from shared.ports import Listed
from shared.use_cases.policies import apply as protection
from shared.use_cases.reports.machines import Category, report
from shared.use_cases.timers.reconcile import reconcile
from tests import firewalls as hub
from tests.aws_cloud import ACCOUNT, CONNECTOR, REGION
from tests.behind_hub import POLICY as HUB_POLICY
from tests.behind_hub import HubWorld
from tests.ec2_world import (
    GROUP,
    INSTANCE,
    INSTANCE_ID,
    SUBSCRIPTION,
    Ec2World,
    add_ec2,
    ask_for,
)
from tests.world import SOURCE

STRANGER = "198.51.100.23"
ARN = instance_arn(ACCOUNT, REGION, INSTANCE_ID)


class NothingInAzure:
    """Lists without a VM."""

    def read(self, places: tuple[str, ...]) -> Listed:
        """Return nothing."""
        del places
        return Listed()


@pytest.fixture
def world() -> Ec2World:
    """Run an app with an AWS account."""
    return Ec2World()


def test_an_instance_is_closed_opened_for_one_address_closed_and_restored(world: Ec2World) -> None:
    """In mode revoke the whole life leaves the owner's rules as they were, text and tags too."""
    before = world.theirs()
    assert world.reaches(STRANGER)
    assert world.govern(INSTANCE).state is PolicyState.SUCCEEDED
    assert not world.reaches()
    request = world.ask_for(INSTANCE)
    assert world.request(request.id).ports[0].status is Status.INITIATED
    assert world.reaches()
    assert not world.reaches(STRANGER)
    world.pass_time(12)
    assert world.request(request.id).ports[0].status is Status.REVOKED
    assert not world.reaches()
    assert world.govern(minutes=3).state is PolicyState.SUCCEEDED
    assert world.reaches(STRANGER)
    assert world.theirs() == before
    assert world.cloud.own_group(INSTANCE_ID) is None


def test_in_mode_report_foreign_rules_stay_and_are_told(world: Ec2World) -> None:
    """Without the policy's condition nothing foreign changes, and the instance is Exposed."""
    before = world.theirs()
    world.govern(INSTANCE, revoke=False)
    assert world.theirs() == before
    (found,) = report(world.services, NothingInAzure(), [f"/subscriptions/{SUBSCRIPTION}"]).machines
    assert (found.machine.id, found.category) == (INSTANCE, Category.EXPOSED)
    assert "leaves port 22 open" in found.reason


def test_an_instance_in_no_policy_is_listed(world: Ec2World) -> None:
    """The machines report holds the instances of the configured regions, with their system."""
    (found,) = report(world.services, NothingInAzure(), [f"/subscriptions/{SUBSCRIPTION}"]).machines
    assert found.machine.id == INSTANCE
    assert (found.machine.location, found.machine.system) == (REGION, "linux")
    assert found.category is Category.NOT_CONFIGURED


def test_a_region_that_does_not_answer_is_named_and_the_rest_is_reported(world: Ec2World) -> None:
    """A governed instance there is Unknown by account and region; the report does not fail."""
    world.govern(INSTANCE)
    world.cloud.endpoint.faults.order([{"kind": "throttle", "action": ".*", "times": None}])
    found = report(world.services, NothingInAzure(), [f"/subscriptions/{SUBSCRIPTION}"])
    (told,) = found.unanswered
    assert f"AWS account {ACCOUNT} did not answer in region {REGION}" in told
    (machine,) = found.machines
    assert (machine.machine.id, machine.category) == (INSTANCE, Category.UNKNOWN)
    assert machine.reason == told
    other = report(world.services, NothingInAzure(), [f"/subscriptions/{SUBSCRIPTION}/x"])
    assert other.machines == []


def test_a_region_that_falls_silent_after_it_was_listed_is_named(world: Ec2World) -> None:
    """Interfaces that cannot be read leave the instances of that region Unknown, not the report."""
    world.cloud.endpoint.faults.order(
        [{"kind": "throttle", "action": "DescribeNetworkInterfaces", "times": None}]
    )
    found = report(world.services, NothingInAzure(), [f"/subscriptions/{SUBSCRIPTION}"])
    assert found.unanswered == ()
    (machine,) = found.machines
    assert machine.category is Category.UNKNOWN
    assert f"AWS account {ACCOUNT} did not answer in region {REGION}" in machine.reason


def test_an_instance_whose_groups_do_not_answer_is_unknown(world: Ec2World) -> None:
    """A firewall that is found and cannot be read makes its instance Unknown, by name."""
    world.govern(INSTANCE)
    world.cloud.endpoint.faults.order(
        [{"kind": "throttle", "action": "DescribeSecurityGroupRules", "times": None}]
    )
    (found,) = report(world.services, NothingInAzure(), [f"/subscriptions/{SUBSCRIPTION}"]).machines
    assert found.category is Category.UNKNOWN
    assert "did not answer" in found.reason


def test_an_arn_means_the_instance_of_the_accounts_connector(world: Ec2World) -> None:
    """The short form takes it; the request names the instance as its policy does."""
    world.govern(INSTANCE)
    request = world.ask_for(ARN, policy_id="")
    assert request.ports[0].vm_id == INSTANCE
    assert world.request(request.id).ports[0].status is Status.INITIATED
    other = instance_arn("210987654321", REGION, INSTANCE_ID)
    assert world.services.firewalls.machine_id(other) == other
    assert world.services.firewalls.machine_id(INSTANCE) == INSTANCE


def test_without_accounts_no_machine_is_renamed_or_listed() -> None:
    """A registry without providers of other clouds leaves ids alone and lists nothing."""
    registry = Registry(())
    assert registry.machine_id(ARN) == ARN
    assert registry.machines(SUBSCRIPTION).machines == ()


def test_where_the_owner_attaches_a_grant_waits_for_the_group(world: Ec2World) -> None:
    """Until the owner has attached the group, a request fails with the command to run."""
    world = Ec2World(attach=False)
    policy = world.govern(INSTANCE)
    assert policy.state is PolicyState.FAILED
    assert "aws ec2 modify-network-interface-attribute" in policy.error


def test_after_lost_tables_an_administrator_restores_by_putting_and_deleting(
    world: Ec2World,
) -> None:
    """A revoked rule stays revoked without rows, until a policy is put again and then deleted."""
    before = world.theirs()
    world.govern(INSTANCE)
    for table in ("policies", "requests", "firewalls", "due"):
        getattr(world.tables, table).rows.clear()
    reconcile(world.services)
    world.pass_time(3)
    assert not world.reaches(STRANGER)
    assert world.govern(INSTANCE).state is PolicyState.SUCCEEDED
    assert not world.reaches(STRANGER)
    world.govern(minutes=3)
    assert world.theirs() == before


def test_what_others_change_is_mended(world: Ec2World) -> None:
    """A reconcile takes a new world-open rule away and closes what was edited by hand."""
    world.govern(INSTANCE)
    world.cloud.authorize(GROUP, "tcp", 20, 25, "0.0.0.0/0", text="again")
    assert world.reaches(STRANGER)
    reconcile(world.services)
    world.pass_time(3)
    assert not world.reaches(STRANGER)


def add_plain_vm(world: HubWorld) -> str:
    """Put a VM there that stands behind a group alone: in the spoke, without the route."""
    nsg, nic, vm = (
        json.loads(_moved(json.dumps(each))) for each in (hub.nsg(), hub.nic(), hub.machine())
    )
    subnet = {
        "id": _moved(hub.SUBNET),
        "type": "Microsoft.Network/virtualNetworks/subnets",
        "properties": {"addressPrefix": "10.1.1.0/24"},
    }
    nic["properties"]["ipConfigurations"][0]["id"] = f"{nic['id']}/ipConfigurations/ipconfig1"
    world.edit(subnet, nsg, nic, vm)
    return _moved(hub.VM)


def _moved(text: str) -> str:
    """Write the plain VM's names and address in place of the other's."""
    return (
        text.replace("web-1", "plain-1")
        .replace("web-nsg", "plain-nsg")
        .replace("subnets/web", "subnets/plain")
        .replace(hub.VM_ADDRESS, "10.1.1.4")
    )


def govern(world: HubWorld, *vms: str) -> None:
    """PUT one policy over machines behind firewalls of all types, and let it be applied."""
    listed = tuple(PolicyVm(vm, (PortRule(22, "TCP"),)) for vm in vms)
    conditions = Conditions(revoke_foreign=True)
    policy = Policy(HUB_POLICY, "westeurope", listed, conditions=conditions)
    protection.put_policy(world.services, policy)
    world.pass_time(10)
    assert world.policy().state is PolicyState.SUCCEEDED, world.policy().error


def test_one_policy_over_three_types_of_firewall_opens_and_closes_all() -> None:
    """A VM behind groups, a VM behind a hub firewall and an instance: one request, one sweep."""
    world = HubWorld()
    cloud = add_ec2(world)
    assert SUBSCRIPTION == hub.SUBSCRIPTION
    assert CONNECTOR.startswith(f"/subscriptions/{hub.SUBSCRIPTION}")
    plain = add_plain_vm(world)
    govern(world, hub.VM, plain, INSTANCE)
    assert not cloud.reaches(INSTANCE_ID, SOURCE)
    request = ask_for(world, hub.VM, plain, INSTANCE, minutes=40, policy_id=world.policy().id)
    world.pass_time(10)
    assert {p.status for p in world.request(request.id).ports} == {Status.INITIATED}
    assert cloud.reaches(INSTANCE_ID, SOURCE)
    assert world.reaches(SOURCE)
    world.queues.waiting.clear()
    world.clock.advance(45 * 60)
    world.sweep()
    world.pass_time(10, sweeping=False)
    assert {p.status for p in world.request(request.id).ports} == {Status.REVOKED}
    assert not cloud.reaches(INSTANCE_ID, SOURCE)
    assert not world.reaches(SOURCE)
