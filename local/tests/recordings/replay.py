"""Play recorded exchanges with the real service against the simulator."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from local.arm import ids
from local.arm.client import ArmClient, Reply
from local.arm.deployments import PLAIN

RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings" / "nsg"
SETTLE_SECONDS = 10
GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
RULE = "microsoft.network/networksecuritygroups/securityrules"
NSG = "microsoft.network/networksecuritygroups"
NIC = "microsoft.network/networkinterfaces"
VM = "microsoft.compute/virtualmachines"
# What a body says that cannot be the same twice.
VOLATILE = {"etag", "resourceGuid", "internalDomainNameSuffix"}
# What the service owns in a resource, and a request does not say.
OWNED = {"etag", "id", "provisioningState", "resourceGuid", "defaultSecurityRules", "type"}
# The recorder hid the request bodies; for refusals the test's name tells what was wrong.
REFUSED: Mapping[str, Mapping[str, Any]] = {
    "destination_port_out_of_range": {"destinationPortRange": "66600"},
    "source_port_out_of_range": {"sourcePortRange": "66600"},
    "invalid_destination_address_prefix": {"destinationAddressPrefix": "10.0.0.0/42"},
    "invalid_source_address_prefix": {"sourceAddressPrefix": "10.0.0.0/42"},
    "rule_priority_under_range": {"priority": 99},
    "rule_priority_over_range": {"priority": 4097},
    "too_long_description": {"description": "x" * 141},
}
GOOD_RULE = {
    "protocol": "Tcp",
    "access": "Allow",
    "direction": "Inbound",
    "priority": 1500,
    "sourcePortRange": "*",
    "destinationPortRange": "80",
    "sourceAddressPrefix": "*",
    "destinationAddressPrefix": "*",
}


class Exchange:
    """One recorded request and its answer."""

    def __init__(self, recorded: Mapping[str, Any], case: str) -> None:
        self.case = case
        self.method: str = recorded["request"]["method"]
        uri = urlsplit(recorded["request"]["uri"])
        self.path = uri.path
        self.api_version = parse_qs(uri.query)["api-version"][0]
        answer = recorded["response"]
        self.status: int = answer["status"]
        self.headers = {name.lower(): value for name, value in answer["headers"].items()}
        self.body: Any = answer["body"] or None
        parsed = ids.parse(self.path)
        self.kind = parsed.type_key if parsed else ""
        self.is_list = parsed is not None and parsed.is_collection

    @property
    def label(self) -> str:
        """Name the exchange in a failure."""
        return f"{self.method} {self.path} ({self.status})"

    @property
    def is_simulated(self) -> bool:
        """Tell whether the simulator says that it knows this call."""
        if self.kind.startswith("microsoft.network/locations"):
            return True
        reads = self.kind.startswith(("microsoft.network/", VM)) and self.method == "GET"
        writes = self.kind in (NSG, RULE, NIC) or "/effective" in self.kind
        return reads or writes

    @property
    def is_deployment(self) -> bool:
        """Tell whether the simulator answers a write by the API's documentation alone."""
        is_group = not self.kind and "/resourcegroups/" in self.path.lower()
        return self.method in {"PUT", "DELETE"} and (is_group or self.kind in PLAIN)

    def request_body(self) -> Any:
        """Return what the hidden request must have said."""
        if self.method != "PUT":
            return None
        if self.status < 400:
            return without(self.body, OWNED)
        wrong = next(value for name, value in REFUSED.items() if name in self.case)
        return {"properties": {**GOOD_RULE, **wrong}}


def exchanges(file: Path) -> list[Exchange]:
    """Read the exchanges of a recording."""
    recorded = json.loads(file.read_text(encoding="utf-8"))
    return [Exchange(each, file.stem) for each in recorded["exchanges"]]


def without(value: Any, members: set[str]) -> Any:
    """Leave members out of a body, at any depth; references keep their id."""
    if isinstance(value, list):
        return [without(each, members) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"id"}:
        return value
    return {name: without(each, members) for name, each in value.items() if name not in members}


def masked(value: Any) -> Any:
    """Replace what cannot be the same twice by its name."""
    if isinstance(value, list):
        return [masked(each) for each in value]
    if isinstance(value, dict):
        return {name: name if name in VOLATILE else masked(each) for name, each in value.items()}
    return value


class Player:
    """Brings the simulator to where a recording stands, and plays its calls."""

    def __init__(self, client: ArmClient) -> None:
        self._client = client
        self._guids: dict[str, str] = {}
        self._seeded: set[str] = set()

    def start(self, played: list[Exchange]) -> None:
        """Begin with the resource groups of the recording and nothing in them."""
        scopes = {each.path.split("/providers/")[0] for each in played if each.kind}
        self._client.control(
            "reset",
            {"resources": [_placeholder(scope) for scope in scopes if "ourceGroups/" in scope]},
        )
        self._client.control("settings", {"settle": SETTLE_SECONDS})

    def play(self, exchange: Exchange) -> Reply:
        """Make the recorded call."""
        path = GUID.sub(lambda found: self._guids.get(found[0], found[0]), exchange.path)
        reply = self._client.call(
            exchange.method, path, exchange.request_body(), api_version=exchange.api_version
        )
        if "azure-asyncoperation" in reply.headers:
            self._guids[exchange.headers["x-ms-request-id"]] = reply.headers["x-ms-request-id"]
        return reply

    def is_unknown_operation(self, exchange: Exchange) -> bool:
        """Tell whether a poll belongs to a write that is not simulated."""
        guid = exchange.path.rsplit("/", 1)[-1]
        return "/operations/" in exchange.path and guid not in self._guids

    def arrange(self, exchange: Exchange, later: list[Exchange]) -> None:
        """Put in place what the recording takes for granted."""
        if exchange.kind == RULE:
            self._have_group(exchange.path.split("/securityRules")[0])
        for resource in _needed(exchange):
            self._have(resource)
        if not exchange.is_simulated:
            self._take_over(exchange, later)

    def _take_over(self, exchange: Exchange, later: list[Exchange]) -> None:
        """Bring about what a write outside the simulator's scope did."""
        if exchange.method == "DELETE":
            self._client.control("edit", {"remove": [exchange.path]})
        elif exchange.method == "PUT" and exchange.kind.startswith((VM, "microsoft.network")):
            settled = (each.body for each in later if each.path == exchange.path and each.body)
            self._client.control("edit", {"resources": [next(settled, exchange.body)]})
            self._seeded.add(ids.key(exchange.path))
        # A virtual machine's start fills in its network interfaces: read them afresh.
        self._seeded = {each for each in self._seeded if "/networkinterfaces/" not in each}

    def _have(self, resource: Mapping[str, Any]) -> None:
        key = ids.key(resource["id"])
        if key in self._seeded:
            return
        self._seeded.add(key)
        if "/securityrules/" in key:
            group_id = resource["id"].rsplit("/", 2)[0]
            self._client.control("edit", {"nsg": group_id, "put": [resource]})
        else:
            self._client.control("edit", {"resources": [resource]})

    def _have_group(self, group_id: str) -> None:
        if ids.key(group_id) not in self._seeded:
            self._seeded.add(ids.key(group_id))
            self._client.control(
                "edit", {"resources": [{"id": group_id, "location": "westcentralus"}]}
            )

    def note(self, exchange: Exchange) -> None:
        """Remember what a played write has brought about."""
        if exchange.method in ("PUT", "DELETE"):
            self._seeded.add(ids.key(exchange.path))


def _needed(exchange: Exchange) -> Iterator[Mapping[str, Any]]:
    """Yield the resources that must be there for a call to go as recorded."""
    body = exchange.body or {}
    if exchange.status >= 400 or not exchange.is_simulated:
        return
    if exchange.kind == NIC and not exchange.is_list:
        yield from _around_nic(body)
    if exchange.method == "GET":
        found = body.get("value", [body]) if exchange.is_list else [body]
        for each in found:
            if "id" in each:
                yield from _subnet_first(each)
                yield each
    elif exchange.method == "DELETE" or exchange.status == 200:
        return


def _subnet_first(resource: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "/subnets/" in resource["id"]:
        yield _vnet(resource["id"].split("/subnets/")[0], [])


def _around_nic(nic: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    properties = nic.get("properties", {})
    for configuration in properties.get("ipConfigurations", []):
        subnet = configuration["properties"]["subnet"]["id"]
        yield _vnet(subnet.split("/subnets/")[0], [subnet])
    group = properties.get("networkSecurityGroup")
    if group:
        yield {"id": group["id"], "location": nic["location"]}


def _vnet(vnet_id: str, subnets: list[str]) -> dict[str, Any]:
    return {
        "id": vnet_id,
        "type": "Microsoft.Network/virtualNetworks",
        "properties": {
            "addressSpace": {"addressPrefixes": ["10.0.0.0/8"]},
            "subnets": [
                {"id": each, "properties": {"addressPrefix": "10.0.0.0/16"}} for each in subnets
            ],
        },
    }


def _placeholder(scope: str) -> dict[str, Any]:
    return {
        "id": f"{scope}/providers/Microsoft.Network/routeTables/placeholder",
        "properties": {},
    }
