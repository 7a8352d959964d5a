"""How the EC2 provider finds instances, reads every page, and signs in."""

from dataclasses import replace

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from shared.adapters.aws import identity_token
from shared.domain.machine_ids import Ec2Instance, parse_machine_id
from shared.firewalls.ec2.discovery import list_machines
from shared.ports import Machine, OutsideError, RefusedError
from tests.aws_cloud import CONNECTOR, REGION, VPC, accounts, permission
from tests.contract.ec2_scene import ENI, GROUP, INSTANCE, Scene, firewall_of


def instance(vm_id: str) -> Machine:
    """Describe an instance as the use cases do before its provider is asked."""
    return Machine(vm_id, location="", system="", attachments=())


def test_attachments_come_from_two_lists_for_a_region() -> None:
    """Instances in both id forms: their own group opens, a consenting owner's group closes."""
    scene = Scene()
    scene.cloud.add_group("sg-plain")
    scene.cloud.region.interfaces[ENI].groups.append("sg-plain")
    scene.cloud.endpoint.log.clear()
    found = scene.provider.attach([instance(scene.firewall), instance("/subscriptions/x")])
    own, theirs = found[scene.firewall]
    assert (own.firewall_id, own.opens, own.addresses) == (scene.firewall, True, ("10.0.1.4",))
    assert (theirs.firewall_id, theirs.opens, theirs.closes) == (scene.theirs, False, True)
    assert found["/subscriptions/x"] == ()
    described = [e["action"] for e in scene.cloud.endpoint.log if e["service"] == "ec2"]
    assert described == ["DescribeNetworkInterfaces", "DescribeSecurityGroups"]


def test_an_unconfigured_account_is_an_error() -> None:
    """An instance of an account or region that the settings do not name has no known firewalls."""
    scene = Scene()
    other = scene.firewall.replace("eu-central-1", "us-east-1")
    with pytest.raises(OutsideError, match="configured"):
        scene.provider.attach([instance(other)])


def test_an_answer_cut_short_is_an_error() -> None:
    """A page that fails makes the whole read fail: absence is never concluded from it."""
    scene = Scene()
    scene.cloud.simulator.page_size = 1
    scene.cloud.add_instance(
        "i-00000000000000001", (ENI, "10.0.1.4", [GROUP]), ("eni-2", "10.0.1.5", [GROUP])
    )
    scene.cloud.endpoint.faults.order(
        [{"kind": "serverError", "action": "DescribeNetwork.*", "skip": 1, "times": 3}]
    )
    with pytest.raises(OutsideError):
        scene.provider.read(scene.firewall)


def test_every_page_is_read() -> None:
    """With pages of one item each, every interface bears the group."""
    scene = Scene()
    scene.cloud.add_instance(INSTANCE, (ENI, "10.0.1.4", [GROUP]), ("eni-2", "10.0.1.5", [GROUP]))
    scene.cloud.simulator.page_size = 1
    scene.block()
    scene.converge()
    own = scene.cloud.own_group(INSTANCE)
    assert own is not None
    assert all(own.id in i.groups for i in scene.cloud.region.interfaces.values())


def test_many_grants_on_one_rule_keep_the_end_uncut() -> None:
    """However many requests share a rule, its text fits and tells the latest end."""
    scene = Scene()
    keys = [scene.allow(f"request-{number:04}", minutes=number) for number in range(1, 80)]
    plan = scene.converge()
    assert all(plan.finding(key).agrees for key in keys)
    (own,) = [each for each in scene.provider.read(scene.firewall).own if each.opens]
    assert own.until == scene.allows[keys[-1]].until
    (rule,) = scene.cloud.rules(scene.cloud.own_group(INSTANCE).id)  # type: ignore[union-attr]
    assert len(rule.description) <= 255
    scene.end(keys[0])
    assert scene.converge().finding(keys[0]).agrees


def test_a_new_group_that_is_not_known_everywhere_yet_is_waited_for() -> None:
    """A group's id may be unknown for a while after its creation: that settles."""
    scene = Scene()
    key = scene.allow("r-1")
    scene.cloud.endpoint.faults.order([{"kind": "lateWrite", "action": "Create.*", "seconds": 4}])
    assert scene.converge().finding(key).agrees
    assert len([g for g in scene.cloud.region.groups.values() if g.vpc_id == VPC]) == 2


def test_a_refusal_names_its_change() -> None:
    """A refused write blames the one change that it was."""
    scene = Scene()
    scene.allow("r-1")
    observed = scene.provider.read(scene.firewall)
    plan = scene.provider.plan(observed, scene.desired(scene.firewall))
    scene.cloud.endpoint.faults.order([{"kind": "refuse", "action": "Create.*"}])
    with pytest.raises(RefusedError) as caught:
        scene.provider.apply(observed, plan)
    assert {each.partition(" ")[0] for each in caught.value.changes} == {"create"}


def test_a_detached_group_with_a_rule_to_close_is_not_closed_yet() -> None:
    """While a rule could still be removed, a group that is off the interface proves no close."""
    scene = Scene()
    key = scene.allow("r-1")
    scene.converge()
    scene.end(key)
    scene.cloud.region.interfaces[ENI].groups = [GROUP]
    assert not scene.look().finding(key).agrees
    assert scene.converge().finding(key).agrees
    assert scene.own_rules() == []


def test_a_failed_exchange_of_tokens_is_an_outage() -> None:
    """Without a token of Entra ID, nothing is known of the firewall."""

    class Broken:
        def get_token(self, *_: str, **__: object) -> object:
            raise ClientAuthenticationError("the identity endpoint does not answer")

    scene = Scene()
    token = identity_token(Broken(), "api://aws")  # type: ignore[arg-type]
    provider = replace(scene.provider, api=scene.cloud.api(token=token))
    with pytest.raises(OutsideError, match="identity endpoint"):
        provider.read(scene.firewall)


def test_the_identity_s_token_is_asked_for_the_audience() -> None:
    """The token's scope is the configured audience, and the token is passed on as it is."""

    class Identity:
        def get_token(self, *scopes: str, **_: object) -> AccessToken:
            return AccessToken("token for " + scopes[0], 0)

    assert identity_token(Identity(), "api://aws")() == "token for api://aws/.default"


def test_machines_of_the_configured_regions_are_listed() -> None:
    """Each instance is listed with both of its ids, its name and its system."""
    scene = Scene()
    scene.cloud.region.instances[INSTANCE].tags = {"Name": "web"}
    scene.cloud.add_instance("i-00000000000000002", ("eni-2", "10.0.1.5", [GROUP]))
    scene.cloud.region.instances["i-00000000000000002"].platform = "windows"
    scene.cloud.region.instances["i-00000000000000002"].state = "terminated"
    (account,) = accounts().listed
    (machine,) = list_machines(scene.provider.api, account, account.regions[0])
    assert (machine.name, machine.system, machine.arn) == ("web", "linux", scene.firewall)
    assert parse_machine_id(machine.id) == Ec2Instance(
        machine.id, INSTANCE, REGION, connector=CONNECTOR
    )


def test_ids_of_other_types_are_not_owned() -> None:
    """The registry leaves everything but ARNs of EC2 to other providers."""
    provider = Scene().provider
    assert provider.owns(firewall_of(INSTANCE))
    assert provider.owns(firewall_of("x").replace("instance/x", "security-group/sg-1"))
    assert not provider.owns("/subscriptions/x/networkSecurityGroups/y")
    assert not provider.owns("arn:aws:ec2:eu-central-1:123456789012:volume/vol-1")


def test_what_limits_the_provider_is_told() -> None:
    """Accounts in which the owner attaches groups are named."""
    assert Scene().provider.warnings() == ()
    assert "123456789012" in Scene(attach=False).provider.warnings()[0]


def test_the_helper_writes_what_owners_write() -> None:
    """The scene's permissions are those of EC2's own API."""
    assert permission("tcp", 1, 2, "pl-0001")["PrefixListIds"][0]["PrefixListId"] == "pl-0001"
