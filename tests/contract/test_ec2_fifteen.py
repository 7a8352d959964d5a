"""The properties that EC2 asks of a provider; test 15 is in contract/aws/test_sts.py."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.desired import Verdict, block_key
from shared.ports import OutsideError, ThrottledError
from tests.contract.ec2_scene import ALICE, BOB, ENI, GROUP, INSTANCE, Scene, firewall_of
from tests.contract.provider.grounds import KilledError


def test_01_two_users_behind_one_nat_address_share_a_rule() -> None:
    """Of two grants for one source, port and protocol, closing the first keeps access."""
    scene = Scene()
    first, second = scene.allow("r-1"), scene.allow("r-2", minutes=90)
    scene.converge()
    assert scene.own_rules() == [("tcp", 22, 22, f"{ALICE}/32")]
    scene.end(first)
    assert scene.converge().finding(first).agrees
    assert scene.reaches()
    scene.end(second)
    assert scene.converge().finding(second).agrees
    assert not scene.reaches()


def test_02_a_lost_answer_ends_with_one_rule() -> None:
    """A lost answer makes the SDK's own retry a duplicate, which is read, not refused."""
    scene = Scene()
    scene.block()
    scene.converge()
    key = scene.allow("r-1")
    scene.cloud.endpoint.faults.order([{"kind": "dropAfter", "action": "Authorize.*"}])
    assert scene.converge().finding(key).agrees
    assert scene.own_rules() == [("tcp", 22, 22, f"{ALICE}/32")]
    assert not scene.refused


def test_03_an_authorize_that_lands_after_the_close_goes_within_the_grace() -> None:
    """A rule that appears once its grant is closed is an orphan, and the next converge removes it."""
    scene = Scene()
    scene.block()
    scene.converge()
    key = scene.allow("r-1")
    scene.cloud.endpoint.faults.order(
        [{"kind": "lateWrite", "action": "Authorize.*", "seconds": 600}]
    )
    observed = scene.provider.read(scene.firewall)
    scene.provider.apply(observed, scene.provider.plan(observed, scene.desired(scene.firewall)))
    scene.end(key)
    assert scene.converge().finding(key).agrees
    assert not scene.reaches()
    scene.cloud.clock.advance(601)
    scene.provider.read(scene.firewall)
    assert scene.reaches()
    assert scene.provider.pace.grace > timedelta(seconds=601)
    assert scene.converge().finding(key).agrees
    assert not scene.reaches()


def test_04_a_timeout_at_the_list_write_is_never_resent() -> None:
    """After a lost answer the interface's list is read anew: another writer's change stays."""
    scene = Scene()
    scene.cloud.add_group("sg-quarantine")
    scene.block()
    scene.cloud.endpoint.faults.order([{"kind": "dropBefore", "action": "ModifyNetwork.*"}])
    observed = scene.provider.read(scene.firewall)
    plan = scene.provider.plan(observed, scene.desired(scene.firewall))
    with pytest.raises(OutsideError):
        scene.provider.apply(observed, plan)
    calls = [each["action"] for each in scene.cloud.endpoint.log]
    assert calls.count("ModifyNetworkInterfaceAttribute") == 1
    scene.cloud.region.interfaces[ENI].groups = ["sg-quarantine"]
    scene.converge()
    own = scene.cloud.own_group(INSTANCE)
    assert own is not None
    assert scene.cloud.region.interfaces[ENI].groups == ["sg-quarantine", own.id]


def test_05_a_sixth_group_is_unsupported_and_named() -> None:
    """Without a free slot the interface is named, and nothing is replaced on it."""
    scene = Scene()
    groups = [GROUP, *(f"sg-{number}" for number in range(4))]
    for each in groups[1:]:
        scene.cloud.add_group(each)
    scene.cloud.region.interfaces[ENI].groups = list(groups)
    key = scene.block()
    finding = scene.converge().finding(key)
    assert finding.verdict is Verdict.IMPOSSIBLE
    assert "SecurityGroupsPerInterfaceLimitExceeded" in finding.reason
    assert any(ENI in change for change in scene.refused)
    assert scene.cloud.region.interfaces[ENI].groups == groups


def test_06_protecting_leaves_egress_as_it_was() -> None:
    """The attached group lets nothing out: the set of egress rules on the interface is the same."""
    scene = Scene()
    scene.cloud.authorize(GROUP, "tcp", 443, 443, "10.0.0.0/8", egress=True)
    scene.block()
    scene.converge()
    egress = [
        rule.identity.source
        for group_id in scene.cloud.region.interfaces[ENI].groups
        for rule in scene.cloud.rules(group_id, egress=True)
    ]
    assert egress == ["10.0.0.0/8"]


def test_07_every_protocol_is_tcp_and_udp_and_never_all() -> None:
    """A grant for `*` is two rules; none is for protocol -1."""
    scene = Scene()
    scene.allow("r-1", protocol="*")
    scene.converge()
    assert {rule[0] for rule in scene.own_rules()} == {"tcp", "udp"}


@pytest.mark.parametrize("call", range(1, 12))
def test_08_wider_rules_are_split_and_restored_whatever_call_is_the_last(call: int) -> None:
    """0-65535 and 20-25 lose port 22 alone, and come back exactly, after a crash at any call."""
    scene = Scene()
    scene.cloud.authorize(GROUP, "tcp", 0, 65_535, "10.1.0.0/16", tags={"team": "a"})
    scene.cloud.authorize(GROUP, "tcp", 20, 25, "0.0.0.0/0", text="SSH & mail")
    before = scene.foreign()
    key = scene.block()
    scene.converge()
    _crash(scene, call)
    scene.converge(scene.theirs)
    assert not scene.reaches(BOB)
    assert scene.reaches(BOB, 21)
    assert scene.reaches(BOB, 23)
    assert scene.reaches("10.1.2.3", 65_535)
    assert not scene.reaches("10.1.2.3", 22)
    scene.end(key)
    _crash(scene, call)
    scene.converge(scene.theirs)
    assert scene.foreign() == before
    assert scene.provider.read(scene.theirs).own == ()


def _crash(scene: Scene, call: int) -> None:
    """Kill the worker before its n-th write."""
    left = [call]

    def count(action: str) -> None:
        left[0] -= not action.startswith(("Describe", "Assume"))
        if not left[0]:
            raise KilledError

    scene.cloud.before_call = count
    try:
        scene.converge(scene.theirs)
    except KilledError:
        pass
    finally:
        scene.cloud.before_call = lambda _action: None


def test_09_a_rule_for_every_protocol_is_untouched_and_exposed() -> None:
    """A -1 rule has no exact complement: it stays, and the exposure names its source."""
    scene = Scene()
    scene.cloud.authorize(GROUP, "-1", -1, -1, "203.0.113.0/24")
    before = scene.foreign()
    key = scene.block()
    _, plan = scene.converge_both()
    assert scene.foreign() == before
    assert plan.finding(key).verdict is Verdict.IMPOSSIBLE
    (opening,) = scene.provider.exposures(scene.provider.read(scene.firewall), scene.blocks[key])
    assert (opening.sources, opening.ours) == (("203.0.113.0/24",), False)


def test_10_a_group_with_an_ungoverned_interface_is_untouched() -> None:
    """A shared group is narrowed only once every interface in it is governed."""
    scene = Scene()
    scene.cloud.authorize(GROUP, "tcp", 22, 22, "0.0.0.0/0")
    scene.cloud.add_instance("i-00000000000000002", ("eni-2", "10.0.1.5", [GROUP]))
    before = scene.foreign()
    key = scene.block()
    _, plan = scene.converge_both()
    assert scene.foreign() == before
    assert "eni-2" in plan.finding(key).reason
    other = replace(scene.blocks[key], key=block_key("policy-1", "i-00000000000000002"))
    scene.blocks[other.key] = other
    scene.converge(firewall_of("i-00000000000000002"))
    assert scene.converge(scene.theirs).finding(key).agrees
    assert not scene.reaches(BOB)


def test_11_restoring_keeps_description_and_tags_and_a_duplicate_ends_well() -> None:
    """A rule that its owner has put back meanwhile is as good as restored."""
    scene = Scene()
    scene.cloud.authorize(GROUP, "tcp", 22, 22, "0.0.0.0/0", text="SSH", tags={"team": "a"})
    before = scene.foreign()
    key = scene.block()
    scene.converge_both()
    assert not scene.reaches(BOB)
    scene.end(key)
    plan = scene.look(scene.theirs)
    (change,) = [each for each in plan.changes if each.verb == "restore"]
    observed = scene.provider.read(scene.theirs)
    scene.cloud.endpoint.faults.order([{"kind": "dropAfter", "action": "Authorize.*"}])
    scene.provider.apply(observed, plan.only({change.id}))
    assert scene.converge(scene.theirs).finding(key).agrees
    assert scene.foreign() == before


def test_12_the_61st_rule_blocks_one_grant_and_ipv6_still_fits() -> None:
    """The limit of a family concerns the grants beyond it alone."""
    scene = Scene()
    for number in range(60):
        scene.allow(f"r-{number:02}", f"198.51.100.{number}")
    scene.converge()
    late = scene.allow("r-99", ALICE)
    v6 = scene.allow("s-1", "2001:db8:1::1", addresses=("2001:db8:9::4",))
    plan = scene.converge()
    assert plan.finding(late).verdict is Verdict.IMPOSSIBLE
    assert "limit of 60" in plan.finding(late).reason
    assert plan.finding(v6).agrees
    assert sum(1 for finding in plan.findings.values() if finding.agrees) == 61


def test_13_throttled_for_two_hours_it_closes_afterwards() -> None:
    """Every call that is throttled says so, and the close succeeds once the quota is back."""
    scene = Scene()
    key = scene.allow("r-1")
    scene.converge()
    scene.end(key)
    scene.cloud.endpoint.faults.order([{"kind": "throttle", "action": ".*", "times": None}])
    for _ in range(3):
        with pytest.raises(ThrottledError) as caught:
            scene.converge()
        assert caught.value.retry_after > 0
        scene.cloud.clock.advance(40 * 60)
    assert scene.reaches()
    scene.cloud.endpoint.faults.order([])
    assert scene.converge().finding(key).agrees
    assert not scene.reaches()


def test_14_with_lost_tables_grants_go_and_held_rules_come_back_from_the_ledger() -> None:
    """A held rule stays held without rows, is adopted again, and is restored by the removal."""
    scene = Scene()
    scene.cloud.authorize(GROUP, "tcp", 20, 25, "0.0.0.0/0", text="SSH", tags={"team": "a"})
    before = scene.foreign()
    scene.block()
    scene.allow("r-1")
    scene.converge_both()
    scene.allows.clear()
    scene.blocks.clear()
    assert set(scene.provider.find_ours("")) == {scene.firewall, scene.theirs}
    own, theirs = scene.converge_both()
    assert not scene.reaches()
    assert not scene.reaches(BOB)
    assert len(theirs.strays) == 1
    assert own.strays
    key = scene.block()
    scene.converge_both()
    assert scene.blocks[key].memory
    scene.end(key)
    assert scene.converge(scene.theirs).finding(key).agrees
    assert scene.foreign() == before
