"""The whole app with an EC2 instance: beside VMs of Azure, or beside a VM behind a hub firewall."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from shared.domain.machine_ids import defender_id
from shared.domain.model import (
    AccessRequest,
    Conditions,
    Policy,
    PolicyVm,
    PortRule,
)
from shared.domain.policy import Asked, AskedPort
from shared.firewalls.ec2.provider import Ec2Provider
from shared.firewalls.registry import Registry
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import submission
from tests.aws_cloud import CONNECTOR, DEPLOYMENT, REGION, AwsCloud, accounts
from tests.world import ALICE, SOURCE, World

INSTANCE_ID, GROUP, ADDRESS = "i-0a1b2c3d4e5f60001", "sg-0a1b2c3d4e5f60001", "10.0.1.4"
INSTANCE = defender_id(CONNECTOR, INSTANCE_ID, REGION)
SUBSCRIPTION = CONNECTOR.split("/")[2]
POLICY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app-rg/providers/Microsoft.Security"
    "/locations/eu-central-1/jitNetworkAccessPolicies/aws"
)


def add_ec2(world: World, *, attach: bool = True) -> AwsCloud:
    """Give an app an AWS account with one instance, whose owner lets SSH in from everywhere."""
    cloud = AwsCloud(world.clock)
    cloud.add_group(GROUP, tags={"jit:manage": "revoke"})
    cloud.authorize(GROUP, "tcp", 22, 22, "0.0.0.0/0", text="SSH", tags={"team": "platform"})
    cloud.add_instance(INSTANCE_ID, ("eni-0a1b2c3d4e5f60001", ADDRESS, [GROUP]))
    known = accounts(attach=attach)
    ec2 = Ec2Provider(cloud.api(attach=attach), known, DEPLOYMENT)
    before = world.services.firewalls
    assert isinstance(before, Registry)
    world.services = replace(
        world.services,
        scopes=(*world.services.scopes, f"/subscriptions/{SUBSCRIPTION}"),
        firewalls=replace(
            before,
            providers=(*before.providers, ec2),
            list_machines=ec2.machines,
            name_machine=known.defender_id_of,
        ),
    )
    return cloud


class Ec2World(World):
    """The app of the other tests, with an AWS account beside."""

    def __init__(self, *, attach: bool = True) -> None:
        super().__init__()
        self.cloud = add_ec2(self, attach=attach)

    def govern(self, *vms: str, revoke: bool = True, minutes: float = 1) -> Policy:
        """PUT a policy over machines and let it be applied."""
        listed = tuple(PolicyVm(vm, (PortRule(22, "TCP"),)) for vm in vms)
        conditions = Conditions(revoke_foreign=revoke)
        policy = Policy(POLICY, REGION, listed, conditions=conditions)
        protection.put_policy(self.services, policy)
        self.pass_time(minutes)
        return protection.get_policy(self.services, POLICY)

    def ask_for(self, *vms: str, minutes: float = 10, policy_id: str = POLICY) -> AccessRequest:
        """Ask for SSH to some machines, as the API does."""
        return ask_for(self, *vms, minutes=minutes, policy_id=policy_id)

    def reaches(self, source: str = SOURCE) -> bool:
        """Tell whether SSH from a source reaches the instance."""
        return self.cloud.reaches(INSTANCE_ID, source)

    def theirs(self) -> set[Any]:
        """Return the owner's rules, ids apart."""
        return {(r.identity, r.description, *r.tags.items()) for r in self.cloud.rules(GROUP)}


def ask_for(world: World, *vms: str, minutes: float, policy_id: str) -> AccessRequest:
    """Ask for SSH to some machines, as the API does."""
    length = timedelta(minutes=minutes)
    ports = tuple(
        AskedPort(f"ports[{at}]", vm, 22, (SOURCE,), duration=length) for at, vm in enumerate(vms)
    )
    asked = Asked(ports, "because", SOURCE)
    request = submission.submit(
        world.services, submission.NewRequest(asked, ALICE, policy_id=policy_id)
    )
    world.work()
    return world.request(request.id)
