"""The state that the steps of a run share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jit_access.client import JitClient
from tools.live.names import Run
from tools.live.outside import NETWORK, Azd, Json, LiveError, Port, Rest, Token, wait_until

TokenFor = Callable[[str], Token]
_NSG_WAIT = 120.0


@dataclass(frozen=True)
class Target:
    """A cloud to run in: Azure, or the local stack."""

    arm: Rest
    graph: Rest
    token_for: TokenFor  # for an audience
    azd: Azd
    port: Port
    source: str = ""  # the address that asks; empty: the one that the app sees
    access: str = "PT5M"  # the shortest access that the app grants
    firewall_access: str = "PT15M"  # the shortest behind an Azure Firewall
    patience: float = 600.0  # seconds until a new role acts everywhere
    pause: float = 5.0  # seconds between two looks
    is_azure: bool = False


@dataclass
class Session:
    """One run under way: its names, its cloud, and what its steps found."""

    run: Run
    target: Target
    outputs: dict[str, str] = field(default_factory=dict)
    address: str = ""  # the VM's public address
    source: str = ""  # the address that asks for access

    @property
    def groups(self) -> tuple[str, str]:
        """Return the security groups in front of the VM, the subnet's first."""
        names = ("nsg-jit-subnet", "nsg-jit-interface")
        subnet, nic = (self.run.network("networkSecurityGroups", name) for name in names)
        return subnet, nic

    def client(self) -> JitClient:
        """Return a client of the deployed app."""
        token = self.target.token_for(self.outputs["JIT_API_AUDIENCE"])
        return JitClient(self.outputs["JIT_API_URL"], token, user_agent="jit-live")

    def put_group(self, group: str, body: Json, *, if_match: str = "") -> int:
        """Write a security group, wait until it has settled, and return the answer's status."""
        answer = self.target.arm.call("PUT", group, NETWORK, body, if_match=if_match)
        self.settled(group)
        return answer.status

    def settled(self, group: str) -> Json:
        """Read a security group until neither it nor a rule of it is being written."""
        found: Json = {}

        def has_settled() -> bool:
            nonlocal found
            found = self.target.arm.require("GET", group, NETWORK).body
            properties = found["properties"]
            states = {
                rule["properties"]["provisioningState"] for rule in properties["securityRules"]
            }
            return states | {properties["provisioningState"]} == {"Succeeded"}

        wait_until(has_settled, f"{group} settles", seconds=_NSG_WAIT, pause=self.target.pause)
        return found

    def rules_of_app(self, access: str) -> list[Json]:
        """Return the rules that bear the deployment's id, in both groups."""
        mark = self.outputs["JIT_DEPLOYMENT_ID"]
        return [
            rule["properties"]
            for group in self.groups
            for rule in self.settled(group)["properties"]["securityRules"]
            if f"-{mark}-" in rule["name"] or f"_{mark}_" in rule["name"]
            if rule["properties"]["access"] == access
        ]

    def wait(self, happened: Callable[[], bool], what: str, seconds: float) -> float:
        """Wait until something has happened; return the seconds it took, or raise LiveError."""
        return wait_until(happened, what, seconds=seconds, pause=self.target.pause)


def check(happened: object, otherwise: str) -> None:
    """Raise LiveError unless something happened."""
    if not happened:
        raise LiveError(otherwise)


def body_of(group: Json, **changes: Any) -> Json:
    """Return a security group as a write takes it: what was read, without what Azure computes."""
    rules = [
        {"name": rule["name"], "properties": {**rule["properties"]}}
        for rule in group["properties"]["securityRules"]
    ]
    for each in rules:
        each["properties"].pop("provisioningState", None)
    return {"location": group["location"], "properties": {"securityRules": rules}, **changes}
