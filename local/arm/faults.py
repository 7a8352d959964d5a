"""Faults on order: what Azure does on a bad day."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from local.arm import errors, ids
from local.arm.errors import ArmError
from local.arm.quotas import operation_of
from local.arm.simulator import Call

ALWAYS = -1
WRITES = "PUT|PATCH|DELETE"
WHOLE_NSG = "/networkSecurityGroups/[^/]+$"
# The methods and paths a fault strikes unless told otherwise.
DEFAULT_METHODS = {
    "locked": WRITES,
    "conflict": WRITES,
    "precondition": WRITES,
    "supersede": WRITES,
    "ignoreIfMatch": WRITES,
    "notTaken": WRITES,
    "policyDenied": "PUT",
    "scopeLocked": "DELETE",
    "linkedAuthorizationFailed": "PUT",
}
DEFAULT_PATHS = {"policyDenied": WHOLE_NSG}
# Faults that do not answer: they change how the call is carried out.
MANNERS = (
    "supersede",
    "ignoreIfMatch",
    "notTaken",
    "latency",
    "dropBefore",
    "dropAfter",
)


@dataclass
class Fault:
    """One fault: what it strikes, how often, and how."""

    kind: str
    method: str
    path: str
    times: int
    skip: int
    caller: str
    options: Mapping[str, Any]

    def strikes(self, call: Call) -> bool:
        """Tell whether this call is struck, and count it."""
        if self.times == 0 or not self._is_meant(call):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times != ALWAYS:
            self.times -= 1
        return True

    def shown(self) -> dict[str, Any]:
        """Return the fault as the control API shows it."""
        return {
            "kind": self.kind,
            "method": self.method,
            "path": self.path,
            "times": None if self.times == ALWAYS else self.times,
            "skip": self.skip,
            "caller": self.caller,
            **self.options,
        }

    def _is_meant(self, call: Call) -> bool:
        if self.kind == "ignoreIfMatch" and "if-match" not in call.headers:
            return False
        return (
            re.fullmatch(self.method, call.method, re.IGNORECASE) is not None
            and re.search(self.path, call.raw_path, re.IGNORECASE) is not None
            and re.search(self.caller, call.caller, re.IGNORECASE) is not None
        )


@dataclass(frozen=True)
class Strike:
    """The effect of the faults on one call."""

    manners: frozenset[str] = frozenset()
    latency: float = 0.0
    error: ArmError | None = None
    faults: tuple[str, ...] = ()


class Faults:
    """The faults on order, first come first struck."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    def order(self, wanted: Iterable[Mapping[str, Any]]) -> None:
        """Replace the faults; ValueError tells what is wrong with one."""
        self._faults = [read_fault(each) for each in wanted]

    def shown(self) -> list[dict[str, Any]]:
        """Return what is still on order."""
        return [fault.shown() for fault in self._faults if fault.times != 0]

    def strike(self, call: Call) -> Strike:
        """Return what befalls a call: every manner that is meant, and the first error."""
        manners: set[str] = set()
        faults: list[str] = []
        latency = 0.0
        for fault in self._faults:
            if not fault.strikes(call):
                continue
            faults.append(fault.kind)
            if fault.kind == "latency":
                latency += float(fault.options.get("seconds", 1.0))
            if fault.kind not in MANNERS:
                error = ERRORS[fault.kind](call, fault.options)
                return Strike(frozenset(manners), latency, error, tuple(faults))
            manners.add(fault.kind)
        return Strike(frozenset(manners), latency, None, tuple(faults))


def read_fault(given: Mapping[str, Any]) -> Fault:
    """Read one fault as the control API takes it."""
    options = dict(given)
    fault_type = options.pop("kind", None)
    if fault_type not in (*MANNERS, *ERRORS):
        raise ValueError(
            f"'kind' {fault_type!r} is none of {', '.join(sorted((*MANNERS, *ERRORS)))}"
        )
    times = options.pop("times", 1)
    fault = Fault(
        kind=fault_type,
        method=options.pop("method", None) or DEFAULT_METHODS.get(fault_type, ".*"),
        path=options.pop("path", None) or DEFAULT_PATHS.get(fault_type, ""),
        times=ALWAYS if times is None else int(times),
        skip=int(options.pop("skip", 0)),
        caller=options.pop("caller", None) or "",
        options=options,
    )
    for pattern in (fault.method, fault.path, fault.caller):
        re.compile(pattern)
    return fault


def _subscription(call: Call) -> str:
    return ids.segment(call.raw_path, "subscriptions") or ""


def _action(call: Call) -> str:
    verb = {"DELETE": "delete", "GET": "read", "POST": "action"}.get(call.method, "write")
    return f"{call.path.full_type}/{verb}"


def _throttle(call: Call, options: Mapping[str, Any]) -> ArmError:
    """Refuse for a quota: the network provider's, or ARM's own with `"by": "arm"`."""
    wait = int(options.get("retryAfter", 1))
    if options.get("by", "network") == "arm":
        operation = operation_of(call.method)[:-1]
        return errors.arm_throttled(_subscription(call), operation, call.caller, wait)
    return errors.network_throttled(_subscription(call), wait)


def _locked(call: Call, options: Mapping[str, Any]) -> ArmError:
    del options
    return errors.locked_by("PutSecurityRuleOperation", call.request_id, call.path.resource_id)


def _conflict(call: Call, options: Mapping[str, Any]) -> ArmError:
    del options
    place = f"/subscriptions/{_subscription(call)}/providers/Microsoft.Network/locations/westeurope"
    return errors.another_operation(f"{call.base_url}{place}/operations/{call.request_id}")


def _precondition(call: Call, options: Mapping[str, Any]) -> ArmError:
    del options
    given = call.headers.get("if-match", "*")
    return errors.etag_mismatch(given, f'W/"{call.request_id}"', call.path.resource_id)


def _policy_denied(call: Call, options: Mapping[str, Any]) -> ArmError:
    """Refuse as Azure Policy does (wording of dmauser/opnazure#34)."""
    name = options.get("policy", "nsg-rules-by-policy-only")
    scope = f"/subscriptions/{_subscription(call)}/providers/Microsoft.Authorization"
    identifiers = [
        {
            "policyAssignment": {"name": name, "id": f"{scope}/policyAssignments/{name}"},
            "policyDefinition": {"name": name, "id": f"{scope}/policyDefinitions/{name}"},
        }
    ]
    return errors.front_door(
        403,
        "RequestDisallowedByPolicy",
        f"Resource '{call.path.names[-1]}' was disallowed by policy. Policy identifiers: "
        f"'{json.dumps(identifiers, separators=(',', ':'))}'.",
    )


def _scope_locked(call: Call, options: Mapping[str, Any]) -> ArmError:
    """Refuse as a management lock does (wording of azure-cli#16958)."""
    scope = options.get("scope", call.path.scope)
    return errors.front_door(
        409,
        "ScopeLocked",
        f"The scope '{call.raw_path}' cannot perform delete operation because following "
        f"scope(s) are locked: '{scope}'. Please remove the lock and try again.",
    )


def _linked_authorization(call: Call, options: Mapping[str, Any]) -> ArmError:
    """Refuse a write for a resource it links to (wording of planetary-computer-hub#25)."""
    action = options.get("action", "Microsoft.Network/applicationSecurityGroups/join/action")
    linked = options.get("linked", f"{call.path.scope}/providers/Microsoft.Network/linked")
    return errors.front_door(
        403,
        "LinkedAuthorizationFailed",
        f"The client '{call.caller}' with object id '{call.caller}' has permission to perform "
        f"action '{_action(call)}' on scope '{call.raw_path}'; however, it does not have "
        f"permission to perform action '{action}' on the linked scope(s) '{linked}' or the "
        "linked scope(s) are invalid.",
    )


def _server_error(call: Call, options: Mapping[str, Any]) -> ArmError:
    del call
    status = int(options.get("status", 503))
    code = {500: "InternalServerError", 503: "ServiceUnavailable", 504: "GatewayTimeout"}
    return errors.front_door(status, code.get(status, "ServerError"), "An error occurred.")


ERRORS: Mapping[str, Callable[[Call, Mapping[str, Any]], ArmError]] = {
    "throttle": _throttle,
    "locked": _locked,
    "conflict": _conflict,
    "precondition": _precondition,
    "policyDenied": _policy_denied,
    "scopeLocked": _scope_locked,
    "linkedAuthorizationFailed": _linked_authorization,
    "serverError": _server_error,
}
