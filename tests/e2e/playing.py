"""The scene of the end-to-end tests: people who call the app, VMs of a test's own, and Azure.

Azure is looked at through Microsoft's own client, never through the app's adapters.
"""

import http.client
import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

from azure.mgmt.network import NetworkManagementClient

from jit_access.client import JitClient, Limits
from local.arm.client import ArmClient
from local.stack import Stack
from shared.adapters.arm_clients import LocalName, network_client
from shared.domain.ids import RuleNames

T = TypeVar("T")
Json = dict[str, Any]
Rules = dict[str, Json]
SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
APP_RG = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app-rg"
NETWORK = f"{APP_RG}/providers/Microsoft.Network"
POLICIES = f"{APP_RG}/providers/Microsoft.Security/locations/westeurope/jitNetworkAccessPolicies"
SOURCE = "203.0.113.7"
ELSEWHERE = "203.0.113.8"
# Generous: it is met only when something is wrong.
PATIENCE = 90.0
_PAUSE = 0.1
_numbers = itertools.count(1)
# The names that carry the stack's own deployment id (local/app_settings.py).
NAMES = RuleNames("SecurityCenter-JITRule", "local1")


def until(
    question: Callable[[], T | None], what: str, *, seconds: float = PATIENCE, pause: float = _PAUSE
) -> T:
    """Ask until the answer is a true one, and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(pause)
    return answer


def stopwatch() -> Callable[[], float]:
    """Start to measure, and return what tells the seconds since."""
    began = time.monotonic()
    return lambda: time.monotonic() - began


def ending_in(least: float, pace: float, times: float = 2.0) -> datetime:
    """Choose an end that is not before the opening on a busy machine.

    `pace` is the seconds that something like it has just taken.
    """
    wait = timedelta(seconds=math.ceil(least + times * pace))
    return datetime.now(UTC).replace(microsecond=0) + wait


def utc(at: datetime) -> str:
    """Write an instant as endTimeUtc."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Answer:
    """An answer of the app."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        """Return the body's JSON."""
        return json.loads(self.content)


@dataclass(frozen=True)
class Caller:
    """A caller with a token, or without."""

    url: str
    token: str = field(default="", repr=False)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Call the app; bytes are sent as they are, anything else as JSON."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json", **(headers or {})}
        if self.token:
            given["Authorization"] = f"Bearer {self.token}"
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        try:
            path = path.removeprefix(self.url)
            connection.request(method, path, None if body is None else content, given)
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, names, answer.read())
        finally:
            connection.close()

    def client(self) -> JitClient:
        """Return the typed client as this caller uses it: a failure is not hidden by a retry."""
        return JitClient(self.url, lambda: self.token, limits=Limits(retries=0))

    def put_policy(self, policy_id: str, vms: Iterable[Json]) -> None:
        """PUT a policy and wait until it is applied."""
        with self.client() as client:
            client.put_policy(
                policy_id, {"kind": "Basic", "properties": {"virtualMachines": list(vms)}}
            )
        self.wait_for_policy(policy_id)

    def wait_for_policy(self, policy_id: str, state: str = "Succeeded") -> Json:
        """Wait until a policy stands still."""

        def settled() -> Json | None:
            with self.client() as client:
                policy = client.get_policy(policy_id)
            return policy.raw if policy.properties.provisioning_state != "Updating" else None

        policy = until(settled, f"{policy_id} is applied")
        assert policy["properties"]["provisioningState"] == state, policy["properties"]
        return policy

    def initiate(self, policy_id: str, vms: Iterable[Json], justification: str = "because") -> str:
        """Ask for access, and return where to hear of it."""
        body = {"virtualMachines": list(vms), "justification": justification}
        with self.client() as client:
            return client.request_access(policy_id, body).location

    def status(self, location: str) -> Json:
        """Hear what became of a request."""
        with self.client() as client:
            return client.poll(location).request.raw

    def wait(self, location: str, status: str, *, seconds: float = PATIENCE) -> Json:
        """Wait for a status; another final one is an error."""

        def reached() -> Json | None:
            told = self.status(location)
            over = {"Revoked", "Failed", "Denied"} - {status}
            assert told["status"] not in over, told
            return told if told["status"] == status else None

        return until(reached, f"{location} is {status}", seconds=seconds)


@dataclass(frozen=True)
class Site:
    """Some VMs of a test's own, behind network security groups of its own."""

    policy_id: str
    vms: tuple[str, ...]
    addresses: tuple[str, ...]
    nic_nsg: str
    subnet_nsg: str
    pace: float = 0.0  # the seconds that protecting them took

    @property
    def vm(self) -> str:
        """Return the first VM."""
        return self.vms[0]

    @property
    def nsgs(self) -> tuple[str, ...]:
        """Return the groups in front of each VM."""
        return tuple(each for each in (self.nic_nsg, self.subnet_nsg) if each)

    def listed(self, *ports: int, vms: Iterable[str] = (), **rule: Any) -> list[Json]:
        """Write the VMs as a policy lists them."""
        wanted = {"protocol": "TCP", "allowedSourceAddressPrefix": "*", **rule}
        wanted.setdefault("maxRequestAccessDuration", "PT3H")
        numbers = [{"number": port, **wanted} for port in ports or (22,)]
        return [{"id": vm, "ports": numbers} for vm in vms or self.vms]

    def asked(self, vm: str = "", port: int = 22, source: str = SOURCE, **end: str) -> list[Json]:
        """Write one port of a VM as an initiate asks for it."""
        wanted = {"number": port, "allowedSourceAddressPrefix": source, **end}
        return [{"id": vm or self.vm, "ports": [wanted]}]


class Azure:
    """The simulated cloud, seen from outside the app."""

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def network(self) -> NetworkManagementClient:
        """Return Microsoft's own client, as a caller that only reads."""
        client: NetworkManagementClient = network_client(
            self.url, LocalName("watcher"), SUBSCRIPTION
        )
        return client

    def rules(self, nsg_id: str) -> Rules:
        """Read the rules of a group by name, as the client gives them."""
        group, name = nsg_id.split("/")[4], nsg_id.split("/")[8]
        found = self.network.network_security_groups.get(group, name)
        return {str(rule.name): rule.as_dict()["properties"] for rule in found.security_rules or ()}

    def ours(self, nsg_id: str, access: str = "") -> Rules:
        """Read the app's rules of a group."""
        return {
            name: rule
            for name, rule in self.rules(nsg_id).items()
            if NAMES.is_ours(name) and access in {"", rule["access"]}
        }

    def foreign(self, nsg_id: str) -> Rules:
        """Read everybody else's rules of a group, without the state of a write on its way."""
        return {
            name: {key: value for key, value in rule.items() if key != "provisioningState"}
            for name, rule in self.rules(nsg_id).items()
            if not NAMES.is_ours(name)
        }

    def allowed(self, vm: str, port: int = 22, source: str = SOURCE) -> bool:
        """Tell whether an address reaches a port of a VM now."""
        return bool(self.ask("access", vm=vm, port=port, source=source)["allowed"])

    def writes(self, nsg_id: str) -> list[Json]:
        """Return the writes to a group and its rules so far."""
        calls: list[Json] = self.ask("log")["calls"]
        return [
            call
            for call in calls
            if call["method"] != "GET" and call["path"].casefold().startswith(nsg_id.casefold())
        ]

    def control(self, name: str, given: Json) -> Any:
        """Post to one of the simulator's controls."""
        client = ArmClient(self.url)
        try:
            return client.control(name, given)
        finally:
            client.close()

    def ask(self, name: str, **query: object) -> Any:
        """Ask one of the simulator's controls."""
        client = ArmClient(self.url)
        try:
            return client.ask(name, **query)
        finally:
            client.close()

    def order(self, *faults: Json) -> None:
        """Put faults on order in place of those before."""
        self.control("faults", {"faults": list(faults)})

    def build(self, vms: int = 1, *, on_subnet: bool = False) -> Site:
        """Put VMs there, behind a group on their interfaces and, if asked, one on the subnet."""
        number = next(_numbers)
        name = f"e2e-{number}"
        nic_nsg = f"{NETWORK}/networkSecurityGroups/{name}-nic-nsg"
        subnet_nsg = f"{NETWORK}/networkSecurityGroups/{name}-subnet-nsg" if on_subnet else ""
        subnet = f"{NETWORK}/virtualNetworks/{name}/subnets/one"
        addresses = tuple(f"10.{100 + number}.0.{4 + each}" for each in range(vms))
        ids = tuple(
            f"{APP_RG}/providers/Microsoft.Compute/virtualMachines/{name}-{each}"
            for each in range(vms)
        )
        groups = [_group(each) for each in (nic_nsg, subnet_nsg) if each]
        network = _network(subnet, f"10.{100 + number}.0.0/16", subnet_nsg)
        nics = [
            _nic(f"{NETWORK}/networkInterfaces/{name}-{each}", address, subnet, nic_nsg)
            for each, address in enumerate(addresses)
        ]
        machines = [_vm(vm, nic["id"]) for vm, nic in zip(ids, nics, strict=True)]
        self.control("edit", {"resources": [*groups, network, *nics, *machines]})
        return Site(f"{POLICIES}/{name}", ids, addresses, nic_nsg, subnet_nsg)


def _group(nsg_id: str) -> Json:
    foreign = {
        "protocol": "Tcp",
        "access": "Allow",
        "direction": "Inbound",
        "priority": 310,
        "description": "The shop",
        "sourcePortRange": "*",
        "sourceAddressPrefix": "Internet",
        "destinationPortRange": "443",
        "destinationAddressPrefix": "*",
    }
    return {
        "id": nsg_id,
        "type": "Microsoft.Network/networkSecurityGroups",
        "location": "westeurope",
        "tags": {"owner": "shop"},
        "properties": {"securityRules": [{"name": "allow-https", "properties": foreign}]},
    }


def _network(subnet_id: str, prefix: str, nsg_id: str) -> Json:
    subnet = {"addressPrefix": prefix, "provisioningState": "Succeeded"}
    guarded = {"networkSecurityGroup": {"id": nsg_id}} if nsg_id else {}
    name = subnet_id.rpartition("/")[2]
    return {
        "id": subnet_id.partition("/subnets/")[0],
        "type": "Microsoft.Network/virtualNetworks",
        "location": "westeurope",
        "properties": {
            "addressSpace": {"addressPrefixes": [prefix]},
            "subnets": [{"name": name, "id": subnet_id, "properties": {**subnet, **guarded}}],
        },
    }


def _nic(nic_id: str, address: str, subnet_id: str, nsg_id: str) -> Json:
    properties = {
        "privateIPAddress": address,
        "privateIPAddressVersion": "IPv4",
        "subnet": {"id": subnet_id},
        "primary": True,
    }
    ip = {"name": "one", "id": f"{nic_id}/ipConfigurations/one", "properties": properties}
    return {
        "id": nic_id,
        "type": "Microsoft.Network/networkInterfaces",
        "location": "westeurope",
        "properties": {"ipConfigurations": [ip], "networkSecurityGroup": {"id": nsg_id}},
    }


def _vm(vm_id: str, nic_id: str) -> Json:
    return {
        "id": vm_id,
        "type": "Microsoft.Compute/virtualMachines",
        "location": "westeurope",
        "properties": {
            "storageProfile": {"osDisk": {"osType": "Linux"}},
            "networkProfile": {"networkInterfaces": [{"id": nic_id}]},
        },
    }


@dataclass(frozen=True)
class Play:
    """A running stack and the people and places around it."""

    stack: Stack
    azure: Azure

    @property
    def admin(self) -> Caller:
        """Return a caller with every permission."""
        return self.person("carol", "Jit.Admin", "Jit.Request")

    @property
    def alice(self) -> Caller:
        """Return a requestor."""
        return self.person("alice", "Jit.Request", "Jit.Read")

    def person(self, name: str, *roles: str) -> Caller:
        """Return a caller with roles."""
        return Caller(self.stack.api, self.stack.token(name, roles))

    def bearer(self, token: str) -> Caller:
        """Return the caller that holds a token."""
        return Caller(self.stack.api, token)

    def protected(self, vms: int = 1, *, on_subnet: bool = False, ports: int = 22) -> Site:
        """Put VMs there and protect them."""
        site = self.azure.build(vms, on_subnet=on_subnet)
        taken = stopwatch()
        self.admin.put_policy(site.policy_id, site.listed(ports))
        return replace(site, pace=taken())
