"""The policies of one tree are written one at a time, so they share a lane."""

from typing import Any

from shared.domain.ids import key_of
from shared.firewalls.firewall_policy.wire import group_id
from tests import firewalls as hub
from tests.contract.provider.azure_firewall import finder_of
from tests.contract.provider.grounds_azure_firewall import SETTINGS, PolicyGround
from tests.contract.provider.subject import Subject

ROOT, MIDDLE, SIBLING = (f"{hub.HUB}/firewallPolicies/{name}" for name in ("root", "mid", "sib"))


def child_of(parent: str, policy_id: str) -> dict[str, Any]:
    """Return the body of a policy with a parent."""
    return hub.policy_body(policy_id, basePolicy={"id": parent})


def tree() -> PolicyGround:
    """Return a hub whose policy is a grandchild of a root, beside another child of that root."""
    ground = PolicyGround()
    ground.hub.edit(
        hub.policy_body(ROOT),
        child_of(ROOT, MIDDLE),
        child_of(ROOT, SIBLING),
        hub.policy_body(basePolicy={"id": MIDDLE}),
    )
    return ground


def lane(ground: PolicyGround, policy_id: str) -> str:
    """Return the lane of our group on a policy."""
    return ground.provider.lane(group_id(policy_id, SETTINGS))


def test_every_policy_of_a_tree_has_the_lane_of_its_root() -> None:
    """The root, a child, a grandchild and a sibling share one lane: the root policy."""
    ground = tree()
    lanes = {lane(ground, each) for each in (hub.POLICY, SIBLING, MIDDLE, ROOT)}
    assert lanes == {key_of(ROOT)}


def test_a_policy_alone_has_a_lane_of_its_own() -> None:
    """A policy without a parent is its own root."""
    assert lane(PolicyGround(), hub.POLICY) == key_of(hub.POLICY)


def test_the_lane_follows_a_policy_to_another_parent() -> None:
    """The next read of a policy that was given a parent tells its lane anew."""
    ground = PolicyGround()
    assert lane(ground, hub.POLICY) == key_of(hub.POLICY)
    ground.hub.edit(hub.policy_body(ROOT), hub.policy_body(basePolicy={"id": ROOT}))
    ground.provider.read(group_id(hub.POLICY, SETTINGS))
    assert lane(ground, hub.POLICY) == key_of(ROOT)


def test_a_tree_that_cannot_be_read_fails_no_close() -> None:
    """Without an answer the lane is the policy itself; the read that follows tells the root."""
    ground = tree()
    ground.hub.client.control("faults", {"faults": [{"kind": "serverError", "times": None}]})
    assert lane(ground, hub.POLICY) == key_of(hub.POLICY)
    ground.hub.client.control("faults", {"faults": []})
    ground.provider.read(group_id(hub.POLICY, SETTINGS))
    assert lane(ground, hub.POLICY) == key_of(ROOT)


def test_discovery_tells_the_same_lane(policy: Subject) -> None:
    """The provider serves a VM by the lane that its attachment names."""
    ground: Any = policy.ground
    ground.hub.edit(hub.policy_body(ROOT), hub.policy_body(basePolicy={"id": ROOT}))
    (found,) = finder_of(policy).attach_to_policies([hub.VM])[hub.VM]
    assert found.lane == ground.provider.lane(found.firewall_id) == key_of(ROOT)
