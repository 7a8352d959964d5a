"""One account: its regions, and the calls on them, in the shape of botocore's arguments."""

import copy
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from local.aws import groups, machines, rules
from local.aws.errors import AwsError, throttled
from local.aws.estate import read_region
from local.aws.filtering import page
from local.aws.values import Ids, Json, Region

Params = Mapping[str, Any]
Write = Callable[[Region, Ids, Params], Json]
Read = Callable[[Region, Params], list[Json]]

WRITES: Mapping[str, Write] = {
    "CreateSecurityGroup": groups.create,
    "DeleteSecurityGroup": groups.delete,
    "CreateTags": groups.create_tags,
    "DeleteTags": groups.delete_tags,
    "AuthorizeSecurityGroupIngress": partial(rules.authorize, egress=False),
    "AuthorizeSecurityGroupEgress": partial(rules.authorize, egress=True),
    "RevokeSecurityGroupIngress": partial(rules.revoke, egress=False),
    "RevokeSecurityGroupEgress": partial(rules.revoke, egress=True),
    "ModifySecurityGroupRules": rules.modify,
    "ModifyNetworkInterfaceAttribute": machines.modify_interface,
}
READS: Mapping[str, tuple[str, Read]] = {
    "DescribeSecurityGroups": ("SecurityGroups", groups.describe),
    "DescribeSecurityGroupRules": ("SecurityGroupRules", rules.describe),
    "DescribeNetworkInterfaces": ("NetworkInterfaces", machines.describe_interfaces),
    "DescribeInstances": ("Reservations", machines.describe_instances),
}
ACTIONS = frozenset({*WRITES, *READS})
NOT_SIMULATED = "NotSimulated"
# Calls a second and calls at once, for each action of an account in a region (AWS documentation).
_RATES = {
    "Describe": (20.0, 100),
    "ModifyNetworkInterfaceAttribute": (5.0, 100),
    "CreateTags": (10.0, 100),
}
_HISTORY = 50


@dataclass(frozen=True)
class Late:
    """A write that was answered and has not been carried out."""

    at: float
    region: str
    action: str
    params: Params
    ids: tuple[str, ...]


class Simulator:
    """The account."""

    def __init__(self, estate: Mapping[str, Any], clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.page_size = 0  # the most items of a page; 0: as many as were asked for
        self.throttles = False
        self.load(estate)

    def load(self, estate: Mapping[str, Any]) -> None:
        """Replace everything by an estate."""
        self.account = str(estate["account"])
        self.ids = Ids()
        self.regions = {
            name: read_region(name, self.account, given, self.ids)
            for name, given in estate["regions"].items()
        }
        self._late: list[Late] = []
        self._history: deque[tuple[float, dict[str, Region]]] = deque(maxlen=_HISTORY)
        self._buckets: dict[tuple[str, str], tuple[float, float]] = {}
        self.keeps_history = False

    def call(
        self,
        region: str,
        action: str,
        params: Params,
        *,
        stale: float = 0.0,
        late: float = 0.0,
    ) -> Json:
        """Carry out a call; a stale read shows what was, a late write is answered before it is."""
        self.settle()
        if action not in ACTIONS:
            raise AwsError(NOT_SIMULATED, f"{action} is not simulated", 501)
        if region not in self.regions:
            raise AwsError("AuthFailure", f"the region {region} is not enabled", 401)
        self._spend(region, action)
        if action in READS:
            return self._read(self._as_of(stale)[region], action, params)
        if params.get("DryRun"):
            WRITES[action](copy.deepcopy(self.regions[region]), Ids(), params)
            raise AwsError(
                "DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412
            )
        if late:
            return self._write_late(region, action, params, late)
        self._remember()
        return WRITES[action](self.regions[region], self.ids, params)

    def settle(self) -> None:
        """Carry out the late writes whose time has come; one that no longer fits is lost."""
        due = [each for each in self._late if each.at <= self.clock()]
        for each in sorted(due, key=lambda late: late.at):
            self._late.remove(each)
            self._remember()
            self.ids.told.extend(each.ids)
            try:
                WRITES[each.action](self.regions[each.region], self.ids, each.params)
            except AwsError:
                continue
            finally:
                self.ids.told.clear()

    def _write_late(self, region: str, action: str, params: Params, seconds: float) -> Json:
        """Answer a write from a copy, and carry it out later with the ids that were told."""
        before = len(self.ids.minted)
        answer = WRITES[action](copy.deepcopy(self.regions[region]), self.ids, params)
        minted = tuple(self.ids.minted[before:])
        at = self.clock() + seconds
        self._late.append(Late(at, region, action, copy.deepcopy(dict(params)), minted))
        return answer

    def _read(self, region: Region, action: str, params: Params) -> Json:
        member, read = READS[action]
        items, token = page(read(region, params), params, self.page_size)
        return {member: items, **({"NextToken": token} if token else {})}

    def _remember(self) -> None:
        if self.keeps_history:
            self._history.append((self.clock(), copy.deepcopy(self.regions)))

    def _as_of(self, seconds: float) -> dict[str, Region]:
        """Return what a read that lags by some seconds shows: the state before later writes."""
        limit = self.clock() - seconds
        for at, regions in self._history:
            if seconds and at >= limit:
                return regions
        return self.regions

    def _spend(self, region: str, action: str) -> None:
        """Take one call from the action's bucket, where throttling is on."""
        if not self.throttles:
            return
        rate, burst = next(
            (found for name, found in _RATES.items() if action.startswith(name)), (5.0, 50)
        )
        left, since = self._buckets.get((region, action), (float(burst), self.clock()))
        left = min(float(burst), left + (self.clock() - since) * rate)
        if left < 1:
            raise throttled()
        self._buckets[(region, action)] = (left - 1, self.clock())


def actions() -> Iterable[str]:
    """Return the names of the simulated EC2 actions."""
    return sorted(ACTIONS)
