"""Writes to network security groups and their rules, with the lifecycle of the real service."""

import uuid
from collections.abc import Mapping
from typing import Any

from local.arm import errors, ids, shapes
from local.arm.nsg import NSG_TYPE, Change, Group, Rules, written_group, written_rule
from local.arm.operations import RESULT_PATH, STATUS_PATH, Operation, pause_headers
from local.arm.rule_sets import (
    check_conflicts,
    check_limits,
    check_references,
    difference,
    read_rules,
)
from local.arm.rules import RULE, Rule, read_rule, respelled
from local.arm.simulator import Answer, Call, Simulator
from local.arm.store import new_etag

PUT_GROUP, PUT_RULE = "PutNetworkSecurityGroupOperation", "PutSecurityRuleOperation"
DELETE_GROUP, DELETE_RULE = "DeleteNetworkSecurityGroupOperation", "DeleteSecurityRuleOperation"
# The first answers seen to carry Azure-AsyncNotification are of 2019-11-01, on creations only.
NOTIFIED_SINCE = "2019"

GROUP = shapes.Shape(
    "NetworkSecurityGroup",
    dict.fromkeys(("name", "id", "etag", "type", "location"), shapes.text)
    | {
        "tags": shapes.tags,
        "properties": shapes.Shape(
            "NetworkSecurityGroupProperties",
            {
                "securityRules": shapes.many(RULE),
                "flushConnection": shapes.boolean,
            }
            | dict.fromkeys(("provisioningState", "resourceGuid"), shapes.text)
            | dict.fromkeys(
                ("defaultSecurityRules", "networkInterfaces", "subnets", "flowLogs"),
                shapes.anything,
            ),
        ),
    },
)
TAGS = shapes.Shape("TagsObject", {"tags": shapes.tags})


def put_rule(sim: Simulator, call: Call) -> Answer:
    """Create or change one rule."""
    group = sim.store.group(call.path.parent_id)
    if group is None:
        raise errors.parent_not_found("networkSecurityGroups/securityRules", call.path.parent_id)
    raw, source = shapes.read_json(call.body)
    rule = read_rule(RULE(raw, "", source), call.path.names[-1], group.group_id)
    rule = respelled(rule) if sim.settings.normalise else rule
    base = _base(sim, group)
    present = base.get(rule.name.lower())
    _match_etag(call, group, exists=present is not None)
    if present is not None:
        rule = Rule(present.name, rule.properties)  # the first spelling of a name stays
    check_references(sim.store, [rule], base, group)
    others = [other for other in base.values() if other is not present]
    check_limits([*others, rule])
    check_conflicts([*others, rule])
    _admit(sim, call, group)
    if present is not None and present.properties == rule.properties:
        headers = _nothing_to_do(sim, call, group, PUT_RULE)
    else:
        headers = _begin(sim, call, group, PUT_RULE, {rule.name.lower(): rule})
    shown_rule = written_rule(group, rule, call.api_version)
    return _put_answer(call, shown_rule, headers, created=present is None)


def delete_rule(sim: Simulator, call: Call) -> Answer:
    """Remove one rule; one that is not there is a 204."""
    group = sim.store.group(call.path.parent_id)
    if group is None:
        raise errors.resource_not_found(NSG_TYPE, call.path.parent_id)
    name = call.path.names[-1].lower()
    exists = name in _base(sim, group)
    _match_etag(call, group, exists=exists)
    if not exists:
        return Answer(204)
    _admit(sim, call, group)
    headers = _begin(sim, call, group, DELETE_RULE, {name: None})
    return Answer(202, None, headers)


def put_group(sim: Simulator, call: Call) -> Answer:
    """Create or replace a whole group with its rules."""
    raw, source = shapes.read_json(call.body)
    body = GROUP(raw, "", source)
    present = sim.store.group(call.path.resource_id)
    _match_etag(call, present, exists=present is not None)
    group = present or _new_group(call, _location(body))
    _check_same_location(group, _location(body))
    given = body.get("properties", {})
    rules = read_rules(given.get("securityRules", []), group)
    if sim.settings.normalise:
        rules = {name: respelled(rule) for name, rule in rules.items()}
    check_references(sim.store, rules.values(), group.rules, group)
    _admit(sim, call, group)
    sim.store.groups[ids.key(group.group_id)] = group
    group.tags = body.get("tags")
    changes = difference(_base(sim, group), rules)
    flush = given.get("flushConnection")  # a PUT replaces: what it leaves out is gone
    if present is not None and not changes and flush == group.flush_connection:
        headers = _nothing_to_do(sim, call, group, PUT_GROUP)
    else:
        group.flush_connection = flush
        headers = _begin(sim, call, group, PUT_GROUP, changes)
    group.sort_rules(rules)
    return _put_answer(call, shown(sim, call, group), headers, created=present is None)


def patch_group(sim: Simulator, call: Call) -> Answer:
    """Replace the tags; Succeeded at once and without poll address [recorded]."""
    group = existing(sim, call)
    raw, source = shapes.read_json(call.body)
    body = TAGS(raw, "", source)
    _match_etag(call, group, exists=True)
    group.tags = body.get("tags")
    group.touch()
    return Answer(200, shown(sim, call, group))


def delete_group(sim: Simulator, call: Call) -> Answer:
    """Remove a whole group that is attached to nothing."""
    group = sim.store.group(call.path.resource_id)
    if group is None:
        return Answer(204)
    _match_etag(call, group, exists=True)
    users = [each for found in sim.store.attached(group.group_id).values() for each in found]
    if users:
        raise errors.provider(
            400,
            "InUseNetworkSecurityGroupCannotBeDeleted",
            f"Network security group {group.group_id} cannot be deleted because it is in use by "
            f"the following resources: {', '.join(users)}. In order to delete the Network "
            "security group, remove the association with the resource(s).",
        )
    _admit(sim, call, group)
    headers = _begin(sim, call, group, DELETE_GROUP, dict.fromkeys(group.rules))
    return Answer(202, None, headers)


def existing(sim: Simulator, call: Call) -> Group:
    """Return the group a path names, or refuse as the front door does."""
    group = sim.store.group(call.path.resource_id)
    if group is None:
        raise errors.resource_not_found(NSG_TYPE, call.path.resource_id)
    return group


def shown(sim: Simulator, call: Call, group: Group) -> dict[str, Any]:
    """Return a group as a read shows it now."""
    return written_group(group, sim.store.attached(group.group_id), call.api_version)


def _base(sim: Simulator, group: Group) -> Rules:
    """Return the rules a new write is judged against."""
    return group.without_pending() if sim.concurrency() == "supersede" else group.standing()


def _match_etag(call: Call, group: Group | None, *, exists: bool) -> None:
    given = call.if_match
    if given is None:
        return
    if group is None or not exists:
        raise errors.missing_for_match(call.path.resource_id)
    if given not in ("*", group.etag):
        raise errors.etag_mismatch(given, group.etag, call.path.resource_id)


def _admit(sim: Simulator, call: Call, group: Group) -> None:
    """Refuse a second write while the first is under way, where that is the mode."""
    if not group.pending:
        return
    under_way = group.pending[-1].operation
    if sim.concurrency() == "locked":
        raise errors.locked_by(under_way.name, under_way.operation_id, group.group_id)
    if sim.concurrency() == "conflict" or group.state == "Deleting":
        uri = under_way.uri(call.base_url, STATUS_PATH, call.api_version)
        raise errors.another_operation(uri)


def _begin(
    sim: Simulator, call: Call, group: Group, name: str, after: Mapping[str, Rule | None]
) -> dict[str, str]:
    """Start the operation, take the change, and return the headers of the answer."""
    operation = sim.start(call, name, group.location)
    if sim.concurrency() == "supersede":
        group.supersede_pending(operation)
    change = Change(
        operation,
        before={rule: group.rules.get(rule) for rule in after},
        after=after,
        whole=name == PUT_GROUP,
        removes_group=name == DELETE_GROUP,
        superseded=str(uuid.uuid4()) if "supersede" in call.faults else None,
    )
    group.accept(change)
    headers = _poll_headers(call, operation) | pause_headers(sim.settings.settle)
    if name in (DELETE_RULE, DELETE_GROUP):
        headers["Location"] = operation.uri(call.base_url, RESULT_PATH, call.api_version)
    return headers


def _nothing_to_do(sim: Simulator, call: Call, group: Group, name: str) -> dict[str, str]:
    """Answer a write without data-plane change: over at once, no Retry-After [recorded]."""
    group.touch()
    return _poll_headers(call, sim.at_once(call, name, group.location))


def _poll_headers(call: Call, operation: Operation) -> dict[str, str]:
    uri = operation.uri(call.base_url, STATUS_PATH, call.api_version)
    return {"Azure-AsyncOperation": uri}


def _put_answer(
    call: Call, body: dict[str, Any], headers: Mapping[str, str], *, created: bool
) -> Answer:
    told = created and call.api_version >= NOTIFIED_SINCE
    notified = {"Azure-AsyncNotification": "Enabled"} if told else {}
    return Answer(201 if created else 200, body, {**headers, **notified})


def _new_group(call: Call, location: str) -> Group:
    return Group(
        group_id=call.path.resource_id,
        name=call.path.names[-1],
        location=location,
        resource_guid=str(uuid.uuid4()),
        new_etag=new_etag,
    )


def _location(body: Mapping[str, Any]) -> str:
    if not body.get("location"):  # text from memory
        message = "The location property is required for this definition."
        raise errors.front_door(400, "LocationRequired", message)
    return str(body["location"]).replace(" ", "").lower()


def _check_same_location(group: Group, location: str) -> None:
    if group.location.replace(" ", "").lower() != location:  # text from memory
        raise errors.front_door(
            409,
            "InvalidResourceLocation",
            f"The resource '{group.name}' already exists in location '{group.location}' in "
            f"resource group '{ids.segment(group.group_id, 'resourceGroups')}'. A resource with "
            f"the same name cannot be created in location '{location}'. Please select a new "
            "resource name.",
        )
