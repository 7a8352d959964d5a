"""Security groups in the ARM simulator, and the closer's workflow run against them on one clock."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.arm.simulator import Settings
from tests.logic_apps.engine import Answer, Call, Clock, Engine, Run
from tests.logic_apps.parts import Transport
from tests.logic_apps.people import WORKFLOWS

Json = dict[str, Any]
SUBSCRIPTION = "/subscriptions/3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
GROUP = f"{SUBSCRIPTION}/resourceGroups/app-rg"
ELSEWHERE = f"{SUBSCRIPTION}/resourceGroups/other-rg"
START = datetime(2026, 11, 22, 12, tzinfo=UTC)
MARK = "j0123456789a"
GRACE_MINUTES = 15
GRACE = timedelta(minutes=GRACE_MINUTES)
INTERVAL = timedelta(minutes=5)
IDENTITY = "/identities/closer"


def definition() -> Json:
    """Read the closer as it is deployed: with the identity it runs as."""
    text = (WORKFLOWS / "closer.json").read_text(encoding="utf-8")
    found: Json = json.loads(text.replace("{closerIdentity}", IDENTITY))
    return found


def rule(name: str, text: str = "", *, priority: int = 200, access: str = "Allow") -> Json:
    """Write a security rule as ARM lists it."""
    return {
        "name": name,
        "properties": {
            "description": text,
            "protocol": "Tcp",
            "sourcePortRange": "*",
            "sourceAddressPrefix": "203.0.113.7",
            "destinationPortRange": "22",
            "destinationAddressPrefix": "10.0.0.4",
            "access": access,
            "priority": priority,
            "direction": "Inbound",
        },
    }


def closer(
    arm_url: str,
    transport: Transport,
    *,
    scopes: Iterable[str],
    clock: Clock,
    start: datetime,
    mark: str = MARK,
) -> Engine:
    """Make the engine for the closer as the deployment configures it."""
    return Engine(
        definition(),
        {
            "armUrl": arm_url,
            "audience": "https://management.azure.com/",
            "scopes": list(scopes),
            "deploymentId": mark,
            "graceMinutes": GRACE_MINUTES,
        },
        transport,
        token=lambda _, identity: f"local:{identity}",
        clock=clock,
        start=start,
    )


def send(arm: ArmClient, call: Call) -> Answer:
    """Send a call of the workflow to the simulator, and nowhere else."""
    parts = urlsplit(call.url)
    assert f"{parts.scheme}://{parts.netloc}" == arm.url
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    reply = arm.call(call.method, target, call.body, headers=call.headers)
    try:
        body = reply.body
    except ValueError:
        body = reply.content.decode()
    return Answer(reply.status, body, reply.headers)


def _empty(within: str) -> Json:
    """Make a security group without rules: the estate implies the resource group around it."""
    return {
        "id": f"{within}/providers/Microsoft.Network/networkSecurityGroups/empty-nsg",
        "name": "empty-nsg",
        "type": "Microsoft.Network/networkSecurityGroups",
        "location": "westeurope",
        "properties": {"securityRules": []},
    }


class Cloud:
    """The simulator on the clock of the workflow; it counts from START."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.server = ArmServer(
            {"resources": [_empty(within) for within in (GROUP, ELSEWHERE)]},
            settings=Settings(settle=2.0),
            clock=lambda: START.timestamp() + self.clock.now,
        )
        self.arm = ArmClient(self.server.url, token="local:test")
        self.calls: list[Call] = []
        self.carry: Transport = self.send

    def reset(self) -> None:
        """Go back to the start: no rules, no faults, no calls."""
        self.clock.now = 0.0
        self.arm.control("reset")
        self.calls.clear()
        self.carry = self.send

    def stop(self) -> None:
        """Stop the simulator."""
        self.arm.close()
        self.server.stop()

    def put(self, nsg: str, rules: Iterable[Json], *, within: str = GROUP) -> str:
        """Make a security group with its rules, and return its id."""
        group = f"{within}/providers/Microsoft.Network/networkSecurityGroups/{nsg}"
        numbered = [
            {**each, "properties": {**each["properties"], "priority": 100 + index}}
            for index, each in enumerate(rules)
        ]
        body = {"location": "westeurope", "properties": {"securityRules": numbered}}
        assert self.arm.call("PUT", group, body).status == 201
        self.clock.sleep(60)
        return group

    def rules(self, group: str) -> set[str]:
        """Name the rules that a group holds now."""
        found = self.arm.call("GET", group).body["properties"]["securityRules"]
        return {each["name"] for each in found}

    def faults(self, *wanted: Mapping[str, Any]) -> None:
        """Order faults that strike the closer alone."""
        self.arm.control("faults", {"faults": [{"caller": "closer", **each} for each in wanted]})

    def close(self, *, scopes: Iterable[str] = (GROUP,)) -> Run:
        """Run the closer once; the end of the run is the clock's."""
        engine = closer(
            self.server.url, self._carried, scopes=scopes, clock=self.clock, start=START
        )
        return engine.run()

    def at(self, moment: datetime) -> None:
        """Let time pass until a moment."""
        self.clock.now = max(self.clock.now, (moment - START).total_seconds())

    def _carried(self, call: Call) -> Answer:
        """Note a call, and have it carried as the test wants it."""
        self.calls.append(call)
        return self.carry(call)

    def send(self, call: Call) -> Answer:
        """Send a call of the workflow to the simulator."""
        return send(self.arm, call)
