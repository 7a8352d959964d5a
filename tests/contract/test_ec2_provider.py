"""The EC2 provider beyond the common contract and the fifteen properties."""

from dataclasses import replace

import pytest

from shared.domain.desired import Verdict
from tests.contract.ec2_scene import ALICE, BOB, ENI, GROUP, INSTANCE, Scene


def test_closing_tries_three_ways() -> None:
    """Where revoking and modifying are refused, the group goes off the interfaces."""
    scene = Scene()
    scene.block()
    key = scene.allow("r-1")
    scene.converge()
    scene.end(key)
    refusals = [
        {"kind": "refuse", "action": action, "times": None}
        for action in ("RevokeSecurityGroupIngress", "ModifySecurityGroupRules")
    ]
    scene.cloud.endpoint.faults.order(refusals)
    assert scene.converge().finding(key).agrees
    assert not scene.reaches()
    assert scene.cloud.region.interfaces[ENI].groups == [GROUP]


def test_a_close_that_is_refused_in_every_way_is_told() -> None:
    """An open port that cannot be closed is never called closed."""
    scene = Scene()
    key = scene.allow("r-1")
    scene.converge()
    scene.end(key)
    scene.cloud.endpoint.faults.order([{"kind": "refuse", "times": None}])
    finding = scene.converge().finding(key)
    assert scene.reaches()
    assert finding.verdict is Verdict.IMPOSSIBLE
    assert "UnauthorizedOperation" in finding.reason


def test_a_group_that_the_owner_attaches() -> None:
    """Without the app's right to attach, the finding gives the one command, and then agrees."""
    scene = Scene(attach=False)
    key = scene.block()
    finding = scene.converge().finding(key)
    own = scene.cloud.own_group(INSTANCE)
    assert own is not None
    assert finding.verdict is Verdict.IMPOSSIBLE
    command = f"--network-interface-id {ENI} --groups {GROUP} {own.id}"
    assert command in finding.reason
    scene.cloud.region.interfaces[ENI].groups.append(own.id)
    assert scene.converge().finding(key).agrees
    assert "ModifyNetworkInterfaceAttribute" not in scene.cloud.writes()


def test_a_detached_group_is_attached_again() -> None:
    """Drift: the group that someone took off the interface comes back."""
    scene = Scene()
    scene.block()
    key = scene.allow("r-1")
    scene.converge()
    scene.cloud.region.interfaces[ENI].groups.remove(scene.cloud.own_group(INSTANCE).id)  # type: ignore[union-attr]
    assert not scene.look().finding(key).agrees
    assert scene.converge().finding(key).agrees
    assert scene.reaches()


def test_foreign_rules_and_egress_in_our_group_are_removed() -> None:
    """Drift: the whole group is ours, so that a rule without a grant is an orphan."""
    scene = Scene()
    key = scene.block()
    scene.converge()
    own = scene.cloud.own_group(INSTANCE)
    assert own is not None
    scene.cloud.authorize(own.id, "tcp", 22, 22, "0.0.0.0/0")
    scene.cloud.authorize(own.id, "-1", -1, -1, "0.0.0.0/0", egress=True)
    assert scene.converge().finding(key).agrees
    assert own.rules == {}


def test_a_group_with_our_name_and_not_our_tags_is_not_ours() -> None:
    """Nothing is written to a group that bears our name alone."""
    scene = Scene()
    squatter = scene.cloud.add_group("sg-squatter", f"jit-test1-{INSTANCE}")
    scene.cloud.authorize("sg-squatter", "tcp", 22, 22, "0.0.0.0/0")
    key = scene.allow("r-1")
    plan = scene.converge()
    assert plan.finding(key).verdict is Verdict.IMPOSSIBLE
    assert "sg-squatter" in plan.finding(key).reason
    assert len(squatter.rules) == 1
    assert scene.cloud.writes() == []


@pytest.mark.parametrize("attach", [True, False])
def test_our_group_on_another_instance_opens_nothing_there(attach: bool) -> None:
    """A grant is not written while its group is also on an interface of another instance."""
    scene = Scene(attach=attach)
    scene.block()
    scene.converge()
    own = scene.cloud.own_group(INSTANCE)
    assert own is not None
    if not attach:
        scene.cloud.region.interfaces[ENI].groups.append(own.id)
    scene.cloud.add_instance("i-00000000000000002", ("eni-2", "10.0.1.5", [GROUP, own.id]))
    key = scene.allow("r-1")
    finding = scene.converge().finding(key)
    assert finding.agrees is attach
    assert attach or "eni-2" in finding.reason
    assert not scene.cloud.reaches("i-00000000000000002", ALICE)


def test_without_the_owner_s_tag_nothing_is_taken() -> None:
    """The policy alone is not enough: the owner's tag on the group decides as well."""
    scene = Scene(manage="")
    scene.cloud.authorize(GROUP, "tcp", 22, 22, "0.0.0.0/0")
    key = scene.block()
    _, plan = scene.converge_both()
    assert scene.reaches(BOB)
    assert "jit:manage=revoke" in plan.finding(key).reason


def test_without_the_policy_nothing_is_taken() -> None:
    """The owner's tag alone is not enough either."""
    scene = Scene()
    scene.cloud.authorize(GROUP, "tcp", 22, 22, "0.0.0.0/0")
    before = scene.foreign()
    key = scene.block(revoke=False)
    _, plan = scene.converge_both()
    assert scene.foreign() == before
    assert plan.finding(key).agrees


def test_a_policy_that_goes_back_to_report_restores() -> None:
    """Rules revoked in mode revoke are restored when the policy no longer asks for it."""
    scene = Scene()
    scene.cloud.authorize(GROUP, "tcp", 20, 25, "0.0.0.0/0")
    before = scene.foreign()
    key = scene.block()
    scene.converge_both()
    scene.blocks[key] = replace(scene.blocks[key], revoke_foreign=False)
    assert scene.converge(scene.theirs).finding(key).agrees
    assert scene.foreign() == before
    assert scene.blocks[key].memory == ""


def test_removal_dissolves_our_group() -> None:
    """After the removal neither the group nor its place on the interface is left."""
    scene = Scene()
    key = scene.block()
    scene.converge()
    scene.end(key)
    assert scene.converge().finding(key).agrees
    assert scene.cloud.own_group(INSTANCE) is None
    assert scene.cloud.region.interfaces[ENI].groups == [GROUP]


def test_a_group_that_is_the_last_on_its_interface_stays() -> None:
    """EC2 keeps at least one group on an interface: the removal is reported as impossible."""
    scene = Scene()
    key = scene.block()
    scene.converge()
    own = scene.cloud.own_group(INSTANCE)
    assert own is not None
    scene.cloud.region.interfaces[ENI].groups = [own.id]
    scene.end(key)
    finding = scene.converge().finding(key)
    assert finding.verdict is Verdict.IMPOSSIBLE
    assert "no other group" in finding.reason


def test_a_partial_removal_gives_back_only_what_no_block_needs() -> None:
    """Of two policies with other ports, removing one reopens its own port alone."""
    scene = Scene()
    scene.cloud.authorize(GROUP, "tcp", 20, 25, "0.0.0.0/0", text="wide")
    before = scene.foreign()
    first, second = scene.block(22), scene.block(24, policy="policy-2")
    scene.converge_both()
    assert not scene.reaches(BOB, 22)
    assert not scene.reaches(BOB, 24)
    scene.end(first)
    assert scene.converge(scene.theirs).finding(first).agrees
    assert scene.reaches(BOB, 22)
    assert not scene.reaches(BOB, 24)
    del scene.blocks[first]
    scene.end(second)
    scene.converge(scene.theirs)
    assert scene.foreign() == before


def test_what_does_not_fit_the_ledger_is_not_touched() -> None:
    """A rule whose record has no room in the ledger's tags stays as it is."""
    scene = Scene()
    tags = {f"key-{number}": "v" * 250 for number in range(49)}
    scene.cloud.authorize(GROUP, "tcp", 22, 22, "0.0.0.0/0", tags=tags)
    before = scene.foreign()
    key = scene.block()
    _, plan = scene.converge_both()
    assert scene.foreign() == before
    assert "ledger" in plan.finding(key).reason
    assert scene.blocks[key].memory == ""


def test_a_dry_run_warns_of_sessions_that_are_cut() -> None:
    """The rendered change of a world-open rule says that its sessions end."""
    scene = Scene()
    scene.cloud.authorize(GROUP, "tcp", 22, 22, "0.0.0.0/0")
    scene.block()
    scene.converge()
    (change,) = scene.look(scene.theirs).changes
    assert "cut at once" in scene.provider.render(change)["warning"]
