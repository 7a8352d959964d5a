"""Drafts of firewall policies, and what deploying one does."""

import copy

from local.arm import errors, ids, shapes
from local.arm.policies import (
    GROUP,
    POLICY,
    existing_policy,
    groups_of,
    tagged,
    tree_of,
    written_collection,
)
from local.arm.simulator import Answer, Call, Simulator
from local.arm.slow import bare_etag
from local.arm.slow_writes import NFV_PATH, begin, refuse_while_busy
from local.arm.store import Resource


def put_policy_draft(sim: Simulator, call: Call) -> Answer:
    """Make a draft: at once, with a copy of every group as it is applied now."""
    policy = existing_policy(sim, call.path.parent_id)
    copied = [copy.deepcopy(each) for each in groups_of(sim.store, policy["id"])]
    sim.store.slow.drafts.setdefault(ids.key(policy["id"]), copied)
    return _put_draft(sim, call, policy, f"{POLICY}/FirewallPolicyDrafts")


def put_group_draft(sim: Simulator, call: Call) -> Answer:
    """Change a group of a draft, at once."""
    group_id = call.path.parent_id
    policy = existing_policy(sim, group_id.rsplit("/", 2)[0])
    answer = _put_draft(sim, call, policy, f"{GROUP}/RuleCollectionGroupDrafts", group_id)
    groups = sim.store.slow.drafts.setdefault(ids.key(policy["id"]), [])
    others = [each for each in groups if not ids.same(each["id"], group_id)]
    drafted = copy.deepcopy(answer.body)
    drafted |= {"id": group_id, "type": GROUP, "name": ids.last_name(group_id)}
    drafted["properties"]["provisioningState"] = "Succeeded"
    sim.store.slow.drafts[ids.key(policy["id"])] = [*others, drafted]
    return answer


def _put_draft(
    sim: Simulator, call: Call, policy: Resource, draft_type: str, group_id: str = ""
) -> Answer:
    raw, _ = shapes.read_json(call.body)
    present = sim.store.get(call.path.resource_id)
    properties = dict(raw.get("properties") or {})
    if "ruleCollections" in properties:
        collections = [written_collection(each) for each in properties["ruleCollections"]]
        properties["ruleCollections"] = collections
    body: Resource = {
        "properties": properties,
        "id": call.path.resource_id,
        "name": ids.last_name(group_id) if group_id else policy["name"],
        "type": draft_type,
        "etag": bare_etag(),
        "location": policy["location"],
    }
    sim.store.add(body)
    return Answer(201 if present is None else 200, copy.deepcopy(body))


def get_draft(sim: Simulator, call: Call) -> Answer:
    """Return a draft."""
    found = sim.store.get(call.path.resource_id)
    if found is None:
        raise errors.child_not_found(call.path.resource_id)
    return tagged(found)


def deploy(sim: Simulator, call: Call) -> Answer:
    """Replace the entire applied policy by its draft; later changes are not preserved."""
    policy = existing_policy(sim, call.path.parent_id)
    refuse_while_busy(sim, call, *(each["id"] for each in tree_of(sim.store, policy["id"])))
    drafted = sim.store.slow.drafts.pop(ids.key(policy["id"]), [])
    kept = {ids.key(each["id"]) for each in drafted}
    for group in list(groups_of(sim.store, policy["id"])):
        if ids.key(group["id"]) not in kept:
            sim.store.remove(group["id"])
    for group in drafted:
        sim.store.add(group | {"etag": bare_etag()})
    headers = begin(sim, call, policy, path=NFV_PATH)
    headers["Location"] = headers["Azure-AsyncOperation"]  # the same address twice [recorded]
    return Answer(202, None, headers)
