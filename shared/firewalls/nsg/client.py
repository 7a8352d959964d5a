"""Network security groups through Microsoft's own client: read settled, write guarded.

How an NSG answers is in docs/architecture.md; the recordings behind it are named there.
"""

import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from azure.core.exceptions import AzureError, HttpResponseError
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.network.models import NetworkSecurityGroup

from shared.adapters.arm_clients import retry_after
from shared.adapters.shared_reads import SharedReads
from shared.domain.ids import RuleNames, is_within, key_of, parse_id
from shared.firewalls.nsg.application_groups import Membership, names_groups
from shared.firewalls.nsg.model import NSG_TYPE, Access, SecurityRule, Snapshot
from shared.firewalls.nsg.rules import Plan, in_order
from shared.firewalls.nsg.settling import SettleTimes
from shared.firewalls.nsg.wire import changed_group, foreign_part, read_rule, write_rule
from shared.ports import (
    FirewallChangedError,
    FirewallRefusedError,
    OutsideError,
    SettlingError,
    Sleep,
    ThrottledError,
)

_UNSETTLED = frozenset({"Updating", "Deleting", "Creating"})
# A worker that waits for a group waits at most a fifth too long, and reads count against a quota. A
# group that others keep busy for longer than it takes to settle is left to a message.
_SHORTEST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS, _SETTLE_SECONDS = 0.25, 1.0, 10.0
_LOOK_AGAIN_SECONDS = 2.0
_OVERSHOOT = 1 / 5
_GONE = frozenset({"ResourceNotFound", "ResourceGroupNotFound", "NotFound"})
_LOCKED = frozenset({"RetryableErrorDueToAnotherOperation", "ReferencedResourceNotProvisioned"})
_TRY_AGAIN = frozenset({"SecurityRuleConflict", "AnotherOperationInProgress", "Canceled"})
_IMPOSSIBLE_ETAG = 'W/"00000000-0000-0000-0000-000000000000"'


class NetworkSecurityGroups:
    """The NSG kind of firewall. It keeps no state but how long writes took to settle."""

    def __init__(
        self,
        client: Callable[[str], NetworkManagementClient],
        names: RuleNames,
        sleep: Sleep,
        *,
        whole_writes: Callable[[], bool],
        probe_nsg: str = "",
        membership: Callable[[str], Membership | None] | None = None,
    ) -> None:
        self.settle_times = SettleTimes()
        self.looks = SharedReads()
        self._client = client
        self._names = names
        self._sleep = sleep
        self._whole_writes = whole_writes
        self._probe_nsg = probe_nsg
        self._membership = membership

    def read(self, firewall_id: str) -> Snapshot:
        """Read a settled snapshot.

        The SDK's poller sleeps 30 s where the service names no delay, and a Succeeded operation
        may still be superseded: so we read until the group says it has settled. The first look
        at a group that we have written comes after what its last write took.
        """
        waited = self.settle_times.first_look(firewall_id)
        if waited:
            self._sleep(waited)
        looks = 0
        while True:
            looks += 1
            try:
                raw = self._get(firewall_id)
            except HttpResponseError as error:
                if error.status_code == 404 and _code(error) in _GONE:  # noqa: PLR2004 - HTTP
                    return Snapshot(firewall_id, (), exists=False)
                told = _translated(error)
                # A read that is refused proves nothing, and there is no change to blame for it.
                refused = isinstance(told, FirewallRefusedError)
                raise OutsideError(str(told)) if refused else told from error
            except AzureError as error:
                raise OutsideError(str(error)) from error
            if _is_settled(raw):
                self.settle_times.note_settled(firewall_id, looks=looks)
                return self._snapshot(firewall_id, raw)
            if waited >= _SETTLE_SECONDS:
                raise SettlingError(
                    f"{firewall_id} is still updating after {waited:.0f} s",
                    retry_after=_LOOK_AGAIN_SECONDS,
                    snapshot=self._snapshot(firewall_id, raw),
                )
            pause = min(max(waited * _OVERSHOOT, _SHORTEST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)
            self._sleep(pause)
            waited += pause

    def look(self, firewall_id: str) -> tuple[dict[str, Any], Snapshot | None]:
        """Read a group once, as it is; its snapshot comes along where that can be planned from.

        A group that is being written cannot, nor one whose rules need a list of interfaces.
        Callers at the same time share a read that begins after they have asked.
        """
        try:
            raw = self.looks.read(key_of(firewall_id), lambda: self._get(firewall_id))
        except HttpResponseError as error:
            told = _translated(error)
            raise told if isinstance(told, OutsideError) else OutsideError(str(told)) from error
        except AzureError as error:
            raise OutsideError(str(error)) from error
        if not _is_settled(raw) or names_groups(raw["properties"]["securityRules"]):
            return raw, None
        return raw, self._snapshot(firewall_id, raw)

    def _snapshot(self, firewall_id: str, raw: dict[str, Any]) -> Snapshot:
        rules = self._rules(raw, firewall_id)
        flushes = raw["properties"].get("flushConnection") is True
        return Snapshot(firewall_id, rules, raw["etag"], flushes_connections=flushes, raw=raw)

    def _rules(self, raw: dict[str, Any], firewall_id: str) -> tuple[SecurityRule, ...]:
        """Read the rules; interfaces are listed only where an application security group is named.

        A list that fails leaves the groups unresolved: it must not keep a rule from being closed.
        """
        listed = raw["properties"]["securityRules"]
        membership = None
        if self._membership is not None and names_groups(listed):
            with suppress(OutsideError):
                membership = self._membership(parse_id(firewall_id, NSG_TYPE).subscription)
        return tuple(read_rule(rule, membership) for rule in listed)

    def write(self, snapshot: Snapshot, plan: Plan) -> None:
        """Carry out a plan in one whole write, or its first change as a child write.

        Closing tries every write: what one write is refused for, another may do, and
        at last a rule that cannot be removed is turned into a Deny.
        """
        self._write(snapshot, plan)
        self.settle_times.note_write(snapshot.firewall_id)

    def _write(self, snapshot: Snapshot, plan: Plan) -> None:
        whole = self._whole_writes()
        if whole and (plan.size > 1 or plan.flush_connections):
            try:
                return self._put_group(snapshot, plan)
            except FirewallRefusedError as refusal:
                if refusal.rule_name or not (plan.put or plan.remove):
                    raise
        first = in_order(plan, snapshot.rules)[0]
        try:
            self._write_child(snapshot, first)
        except FirewallRefusedError as refusal:
            if not isinstance(first, str):
                raise
            self._close_by_another_write(snapshot, first, refusal, whole=whole)

    def list_with_our_rules(self, scopes: Sequence[str]) -> list[str]:
        """Find every NSG in the scopes that holds a rule of ours."""
        found = set()
        for scope in scopes:
            try:
                for group in self._listed(scope):
                    ours = any(
                        self._names.is_ours(r.name or "") for r in group.security_rules or ()
                    )
                    if ours and group.id and is_within(group.id, scope):
                        found.add(group.id)
            except HttpResponseError as error:
                if error.status_code != 404 or _code(error) not in _GONE:  # noqa: PLR2004 - HTTP
                    raise _translated(error) from error
            except AzureError as error:
                raise OutsideError(str(error)) from error
        return sorted(found)

    def _listed(self, scope: str) -> Iterable[NetworkSecurityGroup]:
        """List where the app has rights: it may hold them on a resource group only."""
        _, _, subscription, *rest = scope.split("/")
        groups = self._client(subscription).network_security_groups
        return groups.list(rest[1]) if len(rest) > 1 else groups.list_all()

    def writes_whole(self) -> bool:
        """Tell whether guarded whole writes are allowed and proven."""
        return self._whole_writes()

    def probe(self) -> str:
        """Ask on an empty group of our own whether If-Match is honoured.

        The etag that is sent cannot match. Only a 412 is a yes; an accepted write is a no.
        """
        if not self._probe_nsg:
            return "unknown"
        try:
            snapshot = self.read(self._probe_nsg)
            if not snapshot.exists:
                return "unknown"
            self._put_group(replace(snapshot, version=_IMPOSSIBLE_ETAG), Plan())
        except FirewallChangedError as error:
            return "honoured" if "412" in error.args else "unknown"
        except (FirewallRefusedError, OutsideError):
            return "unknown"  # no answer is no reason to keep a rule from being written
        return "ignored"

    def _get(self, firewall_id: str) -> dict[str, Any]:
        """Read a group as ARM describes it; streamed, or the SDK would make a model of every rule."""
        nsg = parse_id(firewall_id, NSG_TYPE)
        raw: dict[str, Any] = self._client(nsg.subscription).network_security_groups.get(
            *(nsg.group, nsg.name),
            stream=True,
            cls=lambda answer, _stream, _headers: json.loads(answer.http_response.read()),
        )  # type: ignore[assignment]
        return raw

    def _put_group(self, snapshot: Snapshot, plan: Plan) -> None:
        """Replace the whole group, if it is still the one that was read."""
        nsg = parse_id(snapshot.firewall_id, NSG_TYPE)
        before: dict[str, Any] = snapshot.raw  # type: ignore[assignment]
        body = changed_group(before, plan)
        if foreign_part(body, self._names, plan) != foreign_part(before, self._names, plan):
            raise OutsideError("a whole write would have changed what is not ours; not sent")
        groups = self._client(nsg.subscription).network_security_groups
        self._send(
            lambda: groups.begin_create_or_update(
                nsg.group,
                nsg.name,
                _content(body),
                headers={"If-Match": snapshot.version},
                polling=False,
            ),
            [rule.name for rule in plan.put],
        )

    def _write_child(self, snapshot: Snapshot, change: SecurityRule | str) -> None:
        """Put or delete one rule; where it exists, only as it was read."""
        nsg = parse_id(snapshot.firewall_id, NSG_TYPE)
        rules = self._client(nsg.subscription).security_rules
        name = change if isinstance(change, str) else change.name
        exists = any(rule.name.lower() == name.lower() for rule in snapshot.rules)
        headers = {"If-Match": snapshot.version} if exists else {}
        if isinstance(change, str):
            self._send(
                lambda: rules.begin_delete(
                    nsg.group, nsg.name, name, headers=headers, polling=False
                ),
                [name],
                alone=True,
            )
        else:
            self._send(
                lambda: rules.begin_create_or_update(
                    nsg.group,
                    nsg.name,
                    name,
                    _content(write_rule(change)),
                    headers=headers,
                    polling=False,
                ),
                [name],
                alone=True,
            )

    def _close_by_another_write(
        self, snapshot: Snapshot, name: str, refusal: FirewallRefusedError, *, whole: bool
    ) -> None:
        if whole:
            try:
                return self._put_group(snapshot, Plan(remove=(name,)))
            except FirewallRefusedError as also_refused:
                refusal.add_note(f"as a whole write: {also_refused.code}: {also_refused}")
        rule = next(rule for rule in snapshot.rules if rule.name == name)
        if rule.access is Access.ALLOW:
            self._write_child(snapshot, _as_deny(rule))
        raise refusal

    def _send(
        self, write: Callable[[], object], rule_names: list[str], *, alone: bool = False
    ) -> None:
        try:
            write()
        except HttpResponseError as error:
            raise _translated(error, rule_names, alone=alone) from error
        except AzureError as error:
            raise OutsideError(str(error)) from error


def _content(body: dict[str, Any]) -> io.BytesIO:
    """Send exactly what was built: no model of the SDK may add to it or leave anything out."""
    return io.BytesIO(json.dumps(body).encode())


def _as_deny(rule: SecurityRule) -> SecurityRule:
    """Turn an allow of ours that cannot be removed into its opposite, where it stands."""
    return SecurityRule(
        name=rule.name,
        access=Access.DENY,
        protocol=rule.protocol,
        sources=rule.sources,
        destinations=rule.destinations,
        ports=rule.ports,
        description="JIT access: closed; this rule could not be removed",
        priority=rule.priority,
    )


def _is_settled(raw: dict[str, Any]) -> bool:
    states = [
        rule["properties"].get("provisioningState") for rule in raw["properties"]["securityRules"]
    ]
    return _UNSETTLED.isdisjoint([raw["properties"].get("provisioningState"), *states])


def _code(error: HttpResponseError) -> str:
    return (error.error.code if error.error else "") or ""


def _codes(error: HttpResponseError) -> set[str]:
    details = (error.error.details if error.error else None) or []
    return {_code(error), *(detail.code or "" for detail in details)}


def _translated(
    error: HttpResponseError, rule_names: Sequence[str] = (), *, alone: bool = False
) -> Exception:
    """Say in the use cases' words what an answer of ARM or the network provider means."""
    status, codes, text = error.status_code or 0, _codes(error), error.message
    if status == 412 or codes & _TRY_AGAIN or codes & _LOCKED:  # noqa: PLR2004 - HTTP
        return FirewallChangedError(text, str(status))
    if status == 429:  # noqa: PLR2004 - HTTP
        headers = getattr(error.response, "headers", {})
        return ThrottledError(text, retry_after=retry_after(headers.get("Retry-After"), text))
    if status == 409 and "ScopeLocked" not in codes:  # noqa: PLR2004 - HTTP
        return FirewallChangedError(text)
    if status == 404 and rule_names:  # noqa: PLR2004 - HTTP
        return FirewallChangedError(text)
    if status in {400, 403, 409}:
        blamed = rule_names[0] if alone else _named(text, rule_names)
        return FirewallRefusedError(_said(error), code=_code(error), rule_name=blamed)
    return OutsideError(f"{status} {_code(error)}: {text}")


def _said(error: HttpResponseError) -> str:
    """Return the service's own sentence: a person reads it as the reason of a failed request."""
    return (error.error.message if error.error else "") or error.message


def _named(text: str, rule_names: Sequence[str]) -> str:
    """Find the rule that an error about a whole write names; it may be about the group itself."""
    return next((name for name in rule_names if re.search(rf"{re.escape(name)}\b", text)), "")
