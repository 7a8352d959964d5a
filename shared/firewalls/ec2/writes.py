"""Carry out the changes of a plan one by one. Each names a rule id, or a rule exactly."""

from collections.abc import Callable, Mapping
from typing import Any

from shared.domain.desired import Change, Plan
from shared.firewalls.ec2 import plan as own
from shared.firewalls.ec2 import taking
from shared.firewalls.ec2.ledger import Held, ledger_tags, tag_keys
from shared.firewalls.ec2.states import GroupState, InstanceState
from shared.firewalls.ec2.texts import Names
from shared.firewalls.ec2.wire import (
    CIDR4,
    CIDR6,
    DEPLOYMENT_TAG,
    EVERY_PROTOCOL,
    INSTANCE_TAG,
    LEDGER_TAG,
    Ec2Api,
    Ec2Error,
    Interface,
    Place,
    Reader,
    Rule,
    permission,
    rule_update,
    tag_specification,
)
from shared.ports import FirewallChangedError, RefusedError, SettlingError

_LAG_SECONDS = 2.0
_GROUP_LAGS = frozenset({"InvalidGroup.NotFound", "InvalidGroupId.NotFound"})
# What was to be done has been done: by an answer that was lost, or by another writer.
_DONE = frozenset(
    {
        "InvalidPermission.Duplicate",
        "InvalidPermission.NotFound",
        "InvalidSecurityGroupRuleId.NotFound",
        "InvalidGroup.Duplicate",
    }
)


class NotYetError(Exception):
    """A change waits for another one: the next round plans it again."""


class Writer:
    """Carries out changes in one place."""

    def __init__(self, api: Ec2Api, place: Place, names: Names) -> None:
        self._api = api
        self._place = place
        self._names = names
        self._created = ""  # the id of a group that this writer has just created
        self._verbs: Mapping[str, Callable[[Any, Change], None]] = {
            own.CREATE: self._create,
            own.PUT: self._put,
            own.REMOVE: self._remove,
            own.NEUTRALISE: self._modify,
            own.ATTACH: self._attach,
            own.DETACH: self._detach,
            own.DELETE: self._delete,
            taking.HOLD: self._hold,
            taking.PIECE: self._authorize_foreign,
            taking.NARROW: self._modify_foreign,
            taking.REVOKE: self._revoke_foreign,
            taking.TRIM: self._revoke_foreign,
            taking.RESTORE: self._restore,
            taking.RELEASE: self._release,
            taking.DELETE_LEDGER: self._delete_ledger,
        }

    def apply(self, state: InstanceState | GroupState, plan: Plan) -> None:
        """Carry out a plan's changes in their order; stop where one has to wait for a read."""
        for change in plan.changes:
            try:
                self._verbs[change.verb](state, change)
            except NotYetError:
                return
            except Ec2Error as error:
                self._raise_unless_done(change, error)

    def _raise_unless_done(self, change: Change, error: Ec2Error) -> None:
        if error.code in _DONE:
            if change.verb in {own.NEUTRALISE, taking.NARROW, own.CREATE}:
                # A duplicate of another rule, or a stale read: only a new plan knows.
                raise FirewallChangedError(str(error)) from error
            return
        if error.code in _GROUP_LAGS and self._created:
            raise SettlingError(
                "the new group is not known everywhere yet", retry_after=_LAG_SECONDS
            ) from error
        if error.code in _GROUP_LAGS:
            raise FirewallChangedError(str(error)) from error
        raise RefusedError(str(error), {change.id}) from error

    def _call(self, action: str, *, once: bool = False, **params: Any) -> Mapping[str, Any]:
        return self._api.call(self._place, action, params, once=once)

    # --- an instance's own group

    def _create(self, state: InstanceState, change: Change) -> None:
        """Create the group and remove the egress that every new group has."""
        tags = [(DEPLOYMENT_TAG, self._names.deployment), (INSTANCE_TAG, state.instance_id)]
        text = f"JIT access to {state.instance_id}. Written by deployment {self._names.deployment}."
        if not state.interfaces:
            raise NotYetError
        self._new_group(change.target, text, state.interfaces[0].vpc_id, tags)

    def _new_group(self, name: str, text: str, vpc_id: str, tags: list[tuple[str, str]]) -> None:
        answer = self._call(
            "CreateSecurityGroup",
            GroupName=name,
            Description=text,
            VpcId=vpc_id,
            TagSpecifications=tag_specification("security-group", tags),
        )
        self._created = str(answer["GroupId"])
        for source_type, source in ((CIDR4, "0.0.0.0/0"), (CIDR6, "::/0")):
            everywhere = Rule(EVERY_PROTOCOL, -1, -1, source_type, source, egress=True)
            self._revoke_new_egress(everywhere)

    def _revoke_new_egress(self, rule: Rule) -> None:
        try:
            self._call(
                "RevokeSecurityGroupEgress",
                GroupId=self._created,
                IpPermissions=[permission(rule)],
            )
        except Ec2Error as error:
            if error.code not in {"InvalidPermission.NotFound", *_GROUP_LAGS}:
                raise

    def _group_id(self, state: InstanceState) -> str:
        """Return the own group's id; without a group the change waits."""
        group_id = state.own.id if state.own is not None else self._created
        if not group_id:
            raise NotYetError
        return group_id

    def _put(self, state: InstanceState, change: Change) -> None:
        rule: Rule = change.body  # type: ignore[assignment]
        if rule.id:
            self._modify(state, change)
        else:
            self._authorize(self._group_id(state), rule)

    def _authorize(self, group_id: str, rule: Rule) -> None:
        params: dict[str, Any] = {"GroupId": group_id, "IpPermissions": [permission(rule)]}
        if rule.tags:
            params["TagSpecifications"] = tag_specification("security-group-rule", rule.tags)
        self._api.call(self._place, "AuthorizeSecurityGroupIngress", params)

    def _modify(self, state: InstanceState, change: Change) -> None:
        rule: Rule = change.body  # type: ignore[assignment]
        self._modify_in(self._group_id(state), rule)

    def _modify_in(self, group_id: str, rule: Rule) -> None:
        self._call(
            "ModifySecurityGroupRules", GroupId=group_id, SecurityGroupRules=[rule_update(rule)]
        )

    def _remove(self, state: InstanceState, change: Change) -> None:
        rule: Rule = change.body  # type: ignore[assignment]
        self._revoke(self._group_id(state), rule)

    def _revoke(self, group_id: str, rule: Rule) -> None:
        direction = "Egress" if rule.egress else "Ingress"
        self._call(
            f"RevokeSecurityGroup{direction}", GroupId=group_id, SecurityGroupRuleIds=[rule.id]
        )

    def _attach(self, state: InstanceState, change: Change) -> None:
        """Attach the group, once a read shows that it lets nothing out."""
        group_id = self._group_id(state)
        found = Reader(self._api, self._place).groups("group-id", [group_id])
        if not found or found[0].egress:
            raise NotYetError
        interface = self._read_interface(change.target)
        if not interface.has(group_id):
            self._replace_groups(interface, [*(each for each, _ in interface.groups), group_id])

    def _detach(self, state: InstanceState, change: Change) -> None:
        group_id = self._group_id(state)
        interface = self._read_interface(change.target)
        left = [each for each, _ in interface.groups if each != group_id]
        if not left:
            message = f"{interface.id} bears no other group; EC2 keeps at least one on it"
            raise Ec2Error("MissingParameter", message)
        if interface.has(group_id):
            self._replace_groups(interface, left)

    def _read_interface(self, interface_id: str) -> Interface:
        """Read an interface's list of groups right before it is written."""
        found = Reader(self._api, self._place).interfaces("network-interface-id", [interface_id])
        if not found:
            raise FirewallChangedError(f"{interface_id} no longer exists")
        return found[0]

    def _replace_groups(self, interface: Interface, groups: list[str]) -> None:
        """Replace the list. It has no condition, so that a repeated call could undo a change."""
        self._call(
            "ModifyNetworkInterfaceAttribute",
            once=True,
            NetworkInterfaceId=interface.id,
            Groups=groups,
        )

    def _delete(self, state: InstanceState, change: Change) -> None:
        del change
        self._call("DeleteSecurityGroup", GroupId=self._group_id(state))

    # --- a foreign group and its ledger

    def _hold(self, state: GroupState, change: Change) -> None:
        """Store a rule in the ledger's tags; parts of an older record go first."""
        held: Held = change.body  # type: ignore[assignment]
        tags = ledger_tags(held)
        ledger_id = self._ledger_id(state)
        stale = [key for key in tag_keys(state.ledger, held.id) if key not in tags]
        self._delete_tags(ledger_id, stale)
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        self._call("CreateTags", Resources=[ledger_id], Tags=listed)

    def _ledger_id(self, state: GroupState) -> str:
        """Return the ledger's id; create it where there is none."""
        if state.ledger is not None:
            return state.ledger.id
        if not self._created:
            group = state.group
            tags = [(DEPLOYMENT_TAG, self._names.deployment), (LEDGER_TAG, group.id)]
            text = f"JIT ledger of {group.id}: do not attach. Its tags hold rules to restore."
            self._new_group(self._names.ledger(group.id), text, group.vpc_id, tags)
        return self._created

    def _delete_tags(self, resource_id: str, keys: list[str]) -> None:
        if keys:
            self._call("DeleteTags", Resources=[resource_id], Tags=[{"Key": key} for key in keys])

    def _release(self, state: GroupState, change: Change) -> None:
        keys: list[str] = change.body  # type: ignore[assignment]
        if state.ledger is not None:
            self._delete_tags(state.ledger.id, keys)

    def _delete_ledger(self, state: GroupState, change: Change) -> None:
        del change
        if state.ledger is not None:
            self._call("DeleteSecurityGroup", GroupId=state.ledger.id)

    def _authorize_foreign(self, state: GroupState, change: Change) -> None:
        self._authorize(state.group.id, change.body)  # type: ignore[arg-type]

    def _modify_foreign(self, state: GroupState, change: Change) -> None:
        self._modify_in(state.group.id, change.body)  # type: ignore[arg-type]

    def _revoke_foreign(self, state: GroupState, change: Change) -> None:
        self._revoke(state.group.id, change.body)  # type: ignore[arg-type]

    def _restore(self, state: GroupState, change: Change) -> None:
        """Widen what is left of a rule in place, or add the rule again with description and tags."""
        rule: Rule = change.body  # type: ignore[assignment]
        if rule.id:
            self._modify_in(state.group.id, rule)
        else:
            self._authorize(state.group.id, rule)
