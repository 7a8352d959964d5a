"""Firewall policies, their rule collection groups, and drafts."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from local.arm import errors, ids, shapes
from local.arm.firewall_bodies import (
    check_names,
    check_priority,
    check_rules,
    check_translations,
    policy_key,
    public_addresses,
)
from local.arm.firewalls import FIREWALLS, meaning, read_body
from local.arm.reads import page
from local.arm.simulator import Answer, Call, JsonNull, Simulator
from local.arm.slow import Resources, bare_etag
from local.arm.slow_writes import (
    NFV_PATH,
    begin,
    let_others_write,
    match_etag,
    operation_of,
    refuse_while_busy,
    result_headers,
)
from local.arm.store import Resource, Store

POLICY = "Microsoft.Network/FirewallPolicies"
GROUP = f"{POLICY}/RuleCollectionGroups"
POLICIES = "microsoft.network/firewallpolicies"
GROUPS = f"{POLICIES}/rulecollectiongroups"
MAX_GROUPS = 60
SIZED_SINCE = "2021"  # sizes and ETag headers are in the answers of 2022, not of 2020 [recorded]
_NAT, _FILTER = "FirewallPolicyNatRuleCollection", "FirewallPolicyFilterRuleCollection"
_FILLED: Mapping[str, Mapping[str, Any]] = {
    "NatRule": dict.fromkeys(
        ("sourceAddresses", "sourceIpGroups", "destinationAddresses", "destinationPorts"), ()
    ),
    "NetworkRule": {
        "ipv6Rule": False,
        "sourceAddresses": (),
        "sourceIpGroups": (),
        "destinationAddresses": (),
        "destinationIpGroups": (),
        "destinationFqdns": (),
        "destinationPorts": (),
    },
    "ApplicationRule": {
        "protocols": (),
        "fqdnTags": (),
        "webCategories": (),
        "targetFqdns": (),
        "targetUrls": (),
        "terminateTLS": False,
        "sourceAddresses": (),
        "destinationAddresses": (),
        "sourceIpGroups": (),
        "httpHeadersToInsert": (),
    },
}


# --- policies


def put_policy(sim: Simulator, call: Call) -> Answer:
    """Create or replace a policy; its etag is final at once [recorded]."""
    given = read_body(call)
    present = sim.store.get(call.path.resource_id)
    match_etag(sim, call, present)
    refuse_while_busy(sim, call, call.path.resource_id)
    properties = dict(given.get("properties") or {})
    for owned in ("size", "childPolicies", "ruleCollectionGroups", "firewalls"):
        properties.pop(owned, None)
    kept = {"sku": {"tier": "Standard"}, "threatIntelMode": "Alert"} | properties
    body: Resource = {
        "properties": {**kept, "provisioningState": "Updating"},
        "id": present["id"] if present else call.path.resource_id,
        "name": call.path.names[-1],
        "type": POLICY,
        "etag": bare_etag(),
        "location": given["location"],
    }
    if given.get("tags") is not None:
        body["tags"] = given["tags"]
    headers = begin(sim, call, body, path=NFV_PATH)
    return Answer(
        201 if present is None else 200, shown_policy(sim.store, body, call.api_version), headers
    )


def get_policy(sim: Simulator, call: Call) -> Answer:
    """Return one policy."""
    return tagged(
        shown_policy(sim.store, existing_policy(sim, call.path.resource_id), call.api_version),
        call.api_version,
    )


def list_policies(sim: Simulator, call: Call) -> Answer:
    """List the policies of a subscription or a resource group."""
    scope = ids.key(call.path.scope) + "/"
    found = [each for each in sim.store.of_type(POLICIES) if ids.key(each["id"]).startswith(scope)]
    return page(sim, call, [shown_policy(sim.store, each, call.api_version) for each in found])


def delete_policy(sim: Simulator, call: Call) -> Answer:
    """Remove a policy that no firewall uses; 200 without a body [recorded]."""
    present = sim.store.get(call.path.resource_id)
    if present is None:
        return Answer(204)
    refuse_while_busy(sim, call, call.path.resource_id)
    if list(firewalls_of(sim.store, present["id"])):  # code and text ours
        raise errors.provider(
            400, "FirewallPolicyInUse", f"Firewall Policy {present['name']} is in use."
        )
    for group in list(groups_of(sim.store, present["id"])):
        sim.store.remove(group["id"])
    sim.store.remove(present["id"])
    return Answer(200)


def shown_policy(store: Store, policy: Resource, api_version: str) -> Resource:
    """Return a policy as the provider writes it, with references back."""
    size = {"size": "0.001289368 MB"} if api_version >= SIZED_SINCE else {}
    properties = {
        **size,
        "childPolicies": [{"id": each["id"]} for each in children_of(store, policy["id"])],
        "ruleCollectionGroups": [{"id": each["id"]} for each in groups_of(store, policy["id"])],
        "firewalls": [{"id": each["id"]} for each in firewalls_of(store, policy["id"])],
        **copy.deepcopy(policy["properties"]),
    }
    return {**policy, "properties": properties}


def groups_of(store: Store, policy_id: str) -> Iterator[Resource]:
    """Return the groups of a policy."""
    start = ids.key(policy_id) + "/rulecollectiongroups/"
    yield from (each for each in store.of_type(GROUPS) if ids.key(each["id"]).startswith(start))


def firewalls_of(store: Store, policy_id: str) -> Iterator[Resource]:
    """Return the firewalls that a policy is attached to."""
    key = ids.key(policy_id)
    yield from (each for each in store.of_type(FIREWALLS) if policy_key(each) == key)


def children_of(store: Store, policy_id: str) -> Iterator[Resource]:
    """Return the policies that inherit from one."""
    key = ids.key(policy_id)
    yield from (each for each in store.of_type(POLICIES) if base_key(each) == key)


def base_key(policy: Mapping[str, Any]) -> str:
    """Return the key of the policy that one inherits from; empty: none."""
    return ids.key((policy["properties"].get("basePolicy") or {}).get("id", ""))


def tree_of(store: Store, policy_id: str) -> list[Resource]:
    """Return every policy whose writes exclude each other: the root's descendants."""
    root = store.get(policy_id)
    while root is not None and base_key(root):
        root = store.get(base_key(root))
    found, waiting = [], [root] if root else []
    while waiting:
        found.append(each := waiting.pop())
        waiting += children_of(store, each["id"])
    return found


# --- rule collection groups


def put_group(sim: Simulator, call: Call) -> Answer:
    """Create or replace a group; one that equals the stored one is answered by null [quoted]."""
    raw, _ = shapes.read_json(call.body)
    let_others_write(sim, call)
    policy = existing_policy(sim, call.path.parent_id)
    present = sim.store.get(call.path.resource_id)
    match_etag(sim, call, present)
    tree = tree_of(sim.store, policy["id"])
    refuse_while_busy(sim, call, call.path.resource_id, *(each["id"] for each in tree))
    body = written_group(call, raw, policy, present)
    check_group(sim.store, policy, body)
    if present is not None and meaning(body) == meaning(present) and _settled(present):
        return Answer(200, JsonNull() if sim.switches.null_when_equal else present)
    attached = [each for one in tree for each in firewalls_of(sim.store, one["id"])]
    headers = begin(
        sim, call, body, path=NFV_PATH, judge=_judge(policy), also=_keys(policy, *attached)
    )
    stored = sim.store.get(body["id"]) or body
    return Answer(201 if present is None else 200, copy.deepcopy(stored), headers)


def delete_group(sim: Simulator, call: Call) -> Answer:
    """Remove a group: 202 with the group as body [recorded]; one that is gone is a 204."""
    policy = existing_policy(sim, call.path.parent_id)
    present = sim.store.get(call.path.resource_id)
    if present is None:
        return Answer(204)
    match_etag(sim, call, present)
    tree = tree_of(sim.store, policy["id"])
    refuse_while_busy(sim, call, call.path.resource_id, *(each["id"] for each in tree))
    shown = copy.deepcopy(present)
    attached = [each for one in tree for each in firewalls_of(sim.store, one["id"])]
    headers = begin(
        sim,
        call,
        present,
        path=NFV_PATH,
        removes=True,
        judge=_judge(policy),
        also=_keys(policy, *attached),
        result=JsonNull(),
    )
    headers |= result_headers(call, operation_of(sim, present["id"]))
    return Answer(202, shown, headers)


def get_group(sim: Simulator, call: Call) -> Answer:
    """Return one group."""
    existing_policy(sim, call.path.parent_id)
    found = sim.store.get(call.path.resource_id)
    if found is None:
        raise errors.child_not_found(call.path.resource_id)
    return tagged(found)


def list_groups(sim: Simulator, call: Call) -> Answer:
    """List the groups of a policy."""
    policy = existing_policy(sim, call.path.parent_id)
    return page(sim, call, groups_of(sim.store, policy["id"]))


def written_group(
    call: Call, given: Mapping[str, Any], policy: Resource, present: Resource | None
) -> Resource:
    """Return a group as the provider writes it; unknown members are kept."""
    properties = dict(given.get("properties") or {})
    for owned in ("size", "provisioningState"):
        properties.pop(owned, None)
    collections = [
        written_collection(each) for each in properties.pop("ruleCollections", None) or ()
    ]
    body: Resource = {
        "properties": {
            "size": f"{0.0013 + 0.0004 * len(collections):.9f} MB",
            "priority": properties.pop("priority", None),
            "ruleCollections": collections,
            "provisioningState": "Updating",
            **properties,
        },
        "id": present["id"] if present else call.path.resource_id,
        "name": call.path.names[-1],
        "type": GROUP,
        "etag": bare_etag(),
        "location": policy["location"],
    }
    return body | {k: v for k, v in given.items() if k not in body}


def written_collection(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule collection as the provider writes it."""
    rules = [_rule(each) for each in given.get("rules") or ()]
    action = dict(given.get("action") or {})
    if str(action.get("type", "")).lower() == "dnat":
        action["type"] = "Dnat"  # as it comes back [recorded]
    return {**given, "action": action, "rules": rules}


def _rule(given: Mapping[str, Any]) -> dict[str, Any]:
    filled = _FILLED.get(str(given.get("ruleType")), {})
    kept = {name: list(v) if isinstance(v, tuple) else v for name, v in filled.items()}
    return kept | {name: value for name, value in given.items() if value is not None}


def check_group(store: Store, policy: Resource, body: Resource) -> None:
    """Refuse what the provider refuses; codes are ours unless said otherwise."""
    properties = body["properties"]
    collections = properties["ruleCollections"]
    check_names("group", [body["name"]])
    check_priority(body["name"], properties["priority"])
    check_names("collection", [each.get("name", "") for each in collections])
    for each in collections:
        check_priority(each["name"], each.get("priority"))
        check_names("rule", [rule.get("name", "") for rule in each["rules"]])
    others = [each for each in groups_of(store, policy["id"]) if each["name"] != body["name"]]
    if len(others) >= MAX_GROUPS:
        raise errors.provider(
            400, "FirewallPolicyRuleCollectionGroupLimit", f"More than {MAX_GROUPS} groups."
        )
    translations = _rules(collections, "NatRule")
    check_rules(store, translations, _rules(collections, "NetworkRule"), "ipProtocols")
    public: frozenset[str] = frozenset()
    for firewall in firewalls_of(store, policy["id"]):
        public |= public_addresses(store, firewall)
    for other in others:
        translations += _rules(other["properties"].get("ruleCollections") or [], "NatRule")
    check_translations(translations, public, "ipProtocols")


def _rules(collections: list[Any], rule_type: str) -> list[Mapping[str, Any]]:
    return [
        rule for each in collections for rule in each["rules"] if rule.get("ruleType") == rule_type
    ]


def _judge(policy: Resource) -> Any:
    def judge(store: Resources) -> Mapping[str, Any] | None:
        """Fail the write while a firewall of the policy is faulted (quoted)."""
        assert isinstance(store, Store)  # noqa: S101
        faulted = [
            each
            for each in firewalls_of(store, policy["id"])
            if each["properties"]["provisioningState"] == "Failed"
        ]
        if not faulted:
            return None
        return {
            "code": "FirewallPolicyUpdateFailed",
            "message": f"Put on Firewall Policy {policy['name']} Failed with {len(faulted)} "
            "faulted referenced firewalls",
            "details": [],
        }

    return judge


def _keys(*resources: Resource) -> tuple[str, ...]:
    return tuple(ids.key(each["id"]) for each in resources)


def _settled(body: Resource) -> bool:
    return bool(body["properties"]["provisioningState"] == "Succeeded")


def existing_policy(sim: Simulator, policy_id: str) -> Resource:
    """Return a policy, or refuse as the front door does."""
    found = sim.store.get(policy_id)
    if found is None:
        raise errors.resource_not_found("Microsoft.Network/firewallPolicies", policy_id)
    return found


def tagged(body: Resource, api_version: str = SIZED_SINCE) -> Answer:
    """Answer a read with the ETag header that newer versions send."""
    etag = str(body["etag"])
    if api_version < SIZED_SINCE:
        return Answer(200, body)
    return Answer(200, body, {"ETag": etag if etag.startswith("W/") else f'"{etag}"'})
