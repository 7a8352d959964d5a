"""One network security group: its rules, what is settled of them, and writes on their way."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.arm.operations import Operation
from local.arm.rules import DEFAULT_RULES, Rule, normalised, written

NSG_TYPE = "Microsoft.Network/networkSecurityGroups"
Rules = dict[str, Rule]


@dataclass
class Change:
    """An accepted write: the rules before and after, until its operation ends."""

    operation: Operation
    before: Mapping[str, Rule | None]
    after: Mapping[str, Rule | None]
    whole: bool = False
    removes_group: bool = False
    superseded: str | None = None

    def ends_by(self, now: float) -> bool:
        """Tell whether the operation is over."""
        return now >= self.operation.ends_at


@dataclass
class Group:
    """A network security group.

    `rules` is what reads show; `settled` is what filters traffic, once operations have ended.
    """

    group_id: str
    name: str
    location: str
    resource_guid: str
    new_etag: Callable[[], str]
    tags: Mapping[str, str] | None = None
    flush_connection: bool | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    rules: Rules = field(default_factory=dict)
    settled: Rules = field(default_factory=dict)
    pending: list[Change] = field(default_factory=list)
    at_rest: str = "Succeeded"
    etag: str = ""
    is_removed: bool = False

    def __post_init__(self) -> None:
        self.etag = self.etag or self.new_etag()

    @property
    def state(self) -> str:
        """Return the provisioning state."""
        if any(change.removes_group for change in self.pending):
            return "Deleting"
        return "Updating" if self.pending else self.at_rest

    def sort_rules(self, names: Iterable[str]) -> None:
        """Bring the rules into the order of a PUT of the group, which reads keep [recorded]."""
        self.rules = {name: self.rules[name] for name in names} | self.rules

    def touch(self) -> None:
        """Change the etag, which every rule of the group shares [242 of 242 recorded]."""
        self.etag = self.new_etag()

    def rule_state(self, name: str) -> str:
        """Return the provisioning state of one rule.

        After a PUT of the group every rule reads Updating, the default ones and the unchanged
        ones too [recorded]; after a PUT of one rule, that rule.
        """
        for change in reversed(self.pending):
            if change.whole:
                return "Updating"
            if name.lower() in change.after:
                return "Deleting" if change.after[name.lower()] is None else "Updating"
        return "Succeeded"

    def default_rule_state(self) -> str:
        """Return the provisioning state of the default rules."""
        return "Updating" if any(change.whole for change in self.pending) else "Succeeded"

    def standing(self) -> Rules:
        """Return the rules that are not on their way out."""
        return {
            name: rule for name, rule in self.rules.items() if self.rule_state(name) != "Deleting"
        }

    def without_pending(self) -> Rules:
        """Return the rules as they would read had the writes on their way never come."""
        rules = dict(self.rules)
        for change in reversed(self.pending):
            _put_back(rules, change)
        return rules

    def accept(self, change: Change) -> None:
        """Take a write: reads show it at once, traffic meets it when it has settled."""
        for name, rule in change.after.items():
            if rule is not None:
                self.rules[name] = rule
            elif change.whole:
                self.rules.pop(name, None)
        self.pending.append(change)
        self.touch()

    def supersede_pending(self, by: Operation) -> None:
        """Cancel the writes on their way and undo them, last first."""
        for change in reversed(self.pending):
            change.operation.cancel(by.name, by.operation_id)
            _put_back(self.rules, change)
        self.pending.clear()

    def settle(self, now: float) -> None:
        """End the writes whose time has come, in the order of their coming."""
        while self.pending and self.pending[0].ends_by(now):
            change = self.pending.pop(0)
            if change.superseded is not None:
                change.operation.cancel(change.operation.name, change.superseded)
                _put_back(self.rules, change)
            else:
                self._take_effect(change)
            self.touch()

    def edit(self, put: Iterable[Rule], delete: Iterable[str]) -> None:
        """Change rules as a stranger would, settled at once."""
        for rule in put:
            self.rules[rule.name.lower()] = self.settled[rule.name.lower()] = rule
        for name in delete:
            self.rules.pop(name.lower(), None)
            self.settled.pop(name.lower(), None)
        self.touch()

    def _take_effect(self, change: Change) -> None:
        self.is_removed = change.removes_group
        for name, rule in change.after.items():
            if rule is not None:
                self.settled[name] = rule
                continue
            self.settled.pop(name, None)
            if self.rules.get(name) is change.before[name]:
                self.rules.pop(name, None)


def _put_back(rules: Rules, change: Change) -> None:
    for name, after in change.after.items():
        if rules.get(name) is not after:
            continue  # a later write owns it, or a DELETE has not taken it away yet
        before = change.before[name]
        if before is None:
            rules.pop(name, None)
        else:
            rules[name] = before


def rule_from(body: Mapping[str, Any]) -> Rule:
    """Take a rule as ARM returns it, without checking it."""
    kept = {key: value for key, value in body["properties"].items() if key != "provisioningState"}
    return Rule(body["name"], normalised(kept))


def read_group(body: Mapping[str, Any], new_etag: Callable[[], str], new_guid: str) -> Group:
    """Take a group from an estate: already settled, and not checked against the limits."""
    properties = dict(body.get("properties", {}))
    rules = {}
    for rule in properties.pop("securityRules", []):
        rules[rule["name"].lower()] = rule_from(rule)
    for derived in ("defaultSecurityRules", "networkInterfaces", "subnets"):
        properties.pop(derived, None)
    return Group(
        group_id=body["id"],
        name=body["id"].rsplit("/", 1)[-1],
        location=body.get("location", "westeurope"),
        resource_guid=properties.pop("resourceGuid", None) or new_guid,
        new_etag=new_etag,
        tags=body.get("tags"),
        at_rest=properties.pop("provisioningState", None) or "Succeeded",
        flush_connection=properties.pop("flushConnection", None),
        extra=properties,
        rules=rules,
        settled=dict(rules),
        etag=body.get("etag") or "",
    )


def written_rule(group: Group, rule: Rule, api_version: str) -> dict[str, Any]:
    """Return one rule as the provider writes it."""
    return written(rule, group.group_id, group.etag, group.rule_state(rule.name), api_version)


def written_defaults(group: Group, api_version: str) -> list[dict[str, Any]]:
    """Return the six default rules as the provider writes them."""
    state = group.default_rule_state()
    return [
        written(rule, group.group_id, group.etag, state, api_version, default=True)
        for rule in DEFAULT_RULES
    ]


def written_group(
    group: Group, attached: Mapping[str, list[str]], api_version: str
) -> dict[str, Any]:
    """Return a group as the provider writes it; empty back references are left out."""
    body: dict[str, Any] = {
        "name": group.name,
        "id": group.group_id,
        "etag": group.etag,
        "type": NSG_TYPE,
        "location": group.location,
    }
    if group.tags is not None:
        body["tags"] = dict(group.tags)
    properties: dict[str, Any] = {
        "provisioningState": group.state,
        "resourceGuid": group.resource_guid,
    }
    if group.flush_connection is not None:
        properties["flushConnection"] = group.flush_connection
    properties["securityRules"] = [
        written_rule(group, rule, api_version) for rule in group.rules.values()
    ]
    properties["defaultSecurityRules"] = written_defaults(group, api_version)
    for member in ("networkInterfaces", "subnets"):
        if attached.get(member):
            properties[member] = [{"id": resource_id} for resource_id in attached[member]]
    body["properties"] = properties | dict(group.extra)
    return body
