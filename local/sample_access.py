"""Policies and requests of every state on a running stack, for pictures of the page."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from jit_access.client import JitClient
from local.sign_in import SAMPLE_PEOPLE
from local.stack import Stack, StackError

Json = dict[str, Any]
SUBSCRIPTION = "/subscriptions/3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
SOURCE = "203.0.113.7"
_POLICY = "providers/Microsoft.Security/locations/westeurope/jitNetworkAccessPolicies"
_PATIENCE_SECONDS = 90.0
_PAUSE_SECONDS = 0.2


def vm_id(name: str, group: str = "app-rg") -> str:
    """Return the resource id of a VM of the sample estate."""
    return (
        f"{SUBSCRIPTION}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}"
    )


def policy_id(name: str, group: str = "app-rg") -> str:
    """Return the resource id of a policy."""
    return f"{SUBSCRIPTION}/resourceGroups/{group}/{_POLICY}/{name}"


def _port(number: int, longest: str) -> Json:
    return {
        "number": number,
        "protocol": "TCP",
        "allowedSourceAddressPrefix": "*",
        "maxRequestAccessDuration": longest,
    }


def _listed(group: str, longest: str, **ports: int) -> list[Json]:
    return [
        {"id": vm_id(name.replace("_", "-"), group), "ports": [_port(number, longest)]}
        for name, number in ports.items()
    ]


@dataclass
class SampleAccess:
    """Requests and decisions of the sample estate; `requests` are their ids by name."""

    stack: Stack
    requests: dict[str, str] = field(default_factory=dict)

    @cached_property
    def clients(self) -> Mapping[str, JitClient]:
        """Return the client of each person."""
        return {
            name: JitClient(self.stack.api, lambda n=name, r=roles: self.stack.token(n, r))  # type: ignore[misc]
            for name, roles in SAMPLE_PEOPLE.items()
        }

    def build(self) -> None:
        """Protect machines, and request access in every state."""
        listed = _listed("app-rg", "PT8H", web_1=22, web_2=22, db_1=22, open_1=22)
        self._protect("default", "app-rg", listed)
        needed: Json = {
            "approversNeeded": 1,
            "justificationRequired": True,
            "justificationPattern": "INC[0-9]{5,8}.*",
        }
        listed = _listed("ops-rg", "PT3H", jump_1=22, win_1=3389)
        self._protect("default", "ops-rg", listed, needed)
        self._request("revoked", "alice", "web-2", "INC20711: rotate the logs", "Initiated")
        self.clients["alice"].revoke_request(self.requests["revoked"])
        self._wait("revoked", "Revoked")
        self._request("open", "alice", "web-1", "INC20733: the disk of web-1 is full", "Initiated")
        self._request("bob's", "bob", "db-1", "INC20735: slow queries", "Initiated")
        reason = "INC20690: replace the certificate"
        self._request("denied", "alice", "win-1", reason, "PendingApproval", port=3389)
        comment = {"comment": "Use the maintenance window on Sunday."}
        self.clients["dave"].deny_request(self.requests["denied"], comment)
        reason = "INC20741: patch the jump host"
        self._request("waiting", "alice", "jump-1", reason, "PendingApproval")

    def change_policy(self, approvers: int) -> None:
        """Change the policy of the ops-rg group, as another administrator would."""
        held = self.clients["erin"].get_policy(policy_id("default", "ops-rg")).raw["properties"]
        conditions = {"approversNeeded": approvers, "justificationRequired": True}
        self._protect("default", "ops-rg", held["virtualMachines"], conditions)

    def close(self) -> None:
        """Close every client."""
        for client in self.clients.values():
            client.close()

    def _protect(
        self, name: str, group: str, vms: list[Json], conditions: Json | None = None
    ) -> None:
        policy = policy_id(name, group)
        properties = {"virtualMachines": vms, "conditions": conditions or {}}
        erin = self.clients["erin"]
        erin.put_policy(policy, {"kind": "Basic", "properties": properties})
        _until(
            lambda: erin.get_policy(policy).properties.provisioning_state == "Succeeded",
            f"{name} of {group} is applied",
        )

    def _request(
        self, key: str, person: str, vm: str, reason: str, status: str, *, port: int = 22
    ) -> None:
        group = "ops-rg" if vm in {"jump-1", "win-1"} else "app-rg"
        body = {
            "virtualMachine": vm_id(vm, group),
            "ports": [port],
            "duration": "PT3H" if key == "open" else "PT1H",
            "allowedSourceAddressPrefix": SOURCE,
            "justification": reason,
        }
        made = self.clients[person].request_access_short(body)
        self.requests[key] = made.value.id
        self._wait(key, status)

    def _wait(self, key: str, status: str) -> None:
        read = self.clients["erin"].get_request
        request = self.requests[key]
        _until(lambda: read(request).status == status, f"{key} is {status}")


def _until(question: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not question():
        if time.monotonic() > deadline:
            raise StackError(f"not within {_PATIENCE_SECONDS:.0f} s: {what}")
        time.sleep(_PAUSE_SECONDS)
