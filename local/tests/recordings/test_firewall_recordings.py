"""The simulator answers for firewalls, policies and routes as the real service was recorded to."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from local.arm import ids
from local.arm.client import ArmClient, Reply
from local.tests.arm.place import Clock

RECORDINGS = Path(__file__).parents[4] / "shared" / "recordings" / "firewall"
FILES = sorted(each for each in RECORDINGS.glob("*.json") if each.name != "errors.json")
SETTLE_SECONDS = 10
GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# What cannot be the same twice, and what no request of a recording tells.
VOLATILE = {"etag", "size", "resourceGuid", "changeNumber"}
HEADERS = {"azure-asyncoperation", "azure-asyncnotification", "location", "etag"}
PLAYED = (
    "microsoft.network/azurefirewalls",
    "microsoft.network/firewallpolicies",
    "microsoft.network/ipgroups",
    "microsoft.network/routetables",
    "microsoft.network/locations",
)

pytestmark = pytest.mark.skipif(
    not FILES, reason="the recordings of the real service are not beside the repository"
)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_exchanges_are_answered_as_recorded(file: Path, client: ArmClient, clock: Clock) -> None:
    """Every recorded call on firewalls, policies, groups and routes gets the recorded answer."""
    exchanges = json.loads(file.read_text(encoding="utf-8"))["exchanges"]
    player = Player(client, clock, exchanges)
    played = 0
    for at, exchange in enumerate(exchanges):
        if _resource_type(exchange).startswith(PLAYED) and not player.is_foreign_operation(
            exchange
        ):
            player.arrange(at)
            reply = player.play(exchange)
            assert_same(reply, exchange)
            played += 1
    assert played > 2


class Player:
    """Brings the simulator to where a recording stands, and plays its calls."""

    def __init__(self, client: ArmClient, clock: Clock, exchanges: list[Any]) -> None:
        self._client = client
        self._clock = clock
        self._exchanges = exchanges
        self._guids: dict[str, str] = {}
        self._known: set[str] = set()
        scopes = {_path(each).split("/providers/")[0] for each in exchanges}
        found = [
            {"id": f"{s}/providers/Microsoft.Network/none/n", "properties": {}} for s in scopes
        ]
        client.control("reset", {"resources": found})
        client.control("settings", {"settle": SETTLE_SECONDS})

    def arrange(self, at: int) -> None:
        """Put in place what the recording takes for granted before a call."""
        exchange = self._exchanges[at]
        body = exchange["response"]["body"] or {}
        if _succeeded(exchange):
            self._clock.now += SETTLE_SECONDS
        for subnet in re.findall(r'"id": "(/[^"]+/subnets/[^"]+)"', json.dumps(body)):
            self._have_subnet(subnet)
        if exchange["request"]["method"] == "GET":
            for resource in body.get("value", [body] if "id" in body else []):
                self._have(resource, at)

    def play(self, exchange: Mapping[str, Any]) -> Reply:
        """Make the recorded call."""
        request = exchange["request"]
        path = GUID.sub(lambda found: self._guids.get(found[0], found[0]), _path(exchange))
        version = parse_qs(urlsplit(request["uri"]).query)["api-version"][0]
        reply = self._client.call(request["method"], path, request.get("body"), api_version=version)
        self._known.add(ids.key(_path(exchange)))
        theirs = _headers(exchange).get("azure-asyncoperation")
        if theirs and "azure-asyncoperation" in reply.headers:
            old, new = GUID.findall(urlsplit(theirs).path), reply.headers["x-ms-request-id"]
            self._guids[old[-1]] = new
        return reply

    def is_foreign_operation(self, exchange: Mapping[str, Any]) -> bool:
        """Tell whether a poll belongs to a write that is not simulated."""
        guid = _path(exchange).rsplit("/", 1)[-1]
        return "perations/" in _path(exchange) and guid not in self._guids

    def _have(self, resource: Mapping[str, Any], at: int) -> None:
        """Have a resource that no played call made, or that another call changed since."""
        known = ids.key(resource["id"]) in self._known
        state = resource.get("properties", {}).get("provisioningState")
        if not known or (state == "Succeeded" and self._differs(resource, at)):
            self._client.control("edit", {"resources": [resource]})
            self._known.add(ids.key(resource["id"]))

    def _differs(self, resource: Mapping[str, Any], at: int) -> bool:
        """Tell whether a call that was cut from the recording changed a resource."""
        key = ids.key(resource["id"])
        before = [each for each in self._exchanges[:at] if ids.key(_path(each)) == key]
        if not before or before[-1]["request"]["method"] != "GET":
            return "routeTables" in resource["id"] and resource["properties"]["routes"] == []
        return bool(before[-1]["response"]["body"]["etag"] != resource["etag"])

    def _have_subnet(self, subnet_id: str) -> None:
        vnet = subnet_id.rpartition("/subnets/")[0]
        key = ids.key(subnet_id)
        if key in self._known:
            return
        self._known.add(key)
        present = self._client.call("GET", vnet).body or {}
        subnets = present.get("properties", {}).get("subnets", [])
        table = next(
            (
                {"routeTable": {"id": _path(each)}}
                for each in self._exchanges
                if "/routeTables/" in _path(each)
            ),
            {},
        )
        is_firewalls = subnet_id.endswith("/AzureFirewallSubnet")
        prefix = "10.0.0.0/24" if is_firewalls else f"10.0.{len(subnets) + 1}.0/24"
        subnets.append({"id": subnet_id, "properties": {"addressPrefix": prefix, **table}})
        space = {"addressPrefixes": ["10.0.0.0/16"]}
        network = {
            "id": vnet,
            "type": "Microsoft.Network/virtualNetworks",
            "properties": {"addressSpace": space, "subnets": subnets},
        }
        self._client.control("edit", {"resources": [network]})


def assert_same(reply: Reply, exchange: Mapping[str, Any]) -> None:
    """Assert that an answer equals the recorded one in all that matters."""
    request, recorded = exchange["request"], exchange["response"]
    label = f"{request['method']} {_path(exchange)} ({recorded['status']})"
    assert reply.status == recorded["status"], (label, reply.body)
    if _is_foreign_list(exchange):
        assert isinstance(reply.body["value"], list)
        return
    assert differences(masked(reply.body), masked(recorded["body"])) == [], label
    theirs = _headers(exchange)
    assert set(reply.headers) & HEADERS == set(theirs) & HEADERS, label
    for name in ("azure-asyncoperation", "location"):
        if name in theirs:
            assert _shape(reply.headers[name]) == _shape(theirs[name]), (label, name)
    if "retry-after" in theirs:
        assert reply.headers["retry-after"] == theirs["retry-after"], label
    if "etag" in theirs:
        assert reply.headers["etag"].strip('"') == str(reply.body["etag"]).strip('"')
        assert theirs["etag"].startswith("W/") == reply.headers["etag"].startswith("W/")


def differences(mine: Any, theirs: Any, path: str = "") -> list[str]:
    """Return where two bodies differ."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        names = sorted({*mine, *theirs})
        return [
            found
            for name in names
            for found in differences(mine.get(name), theirs.get(name), f"{path}.{name}")
        ]
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        return [
            found
            for at, (one, other) in enumerate(zip(mine, theirs, strict=True))
            for found in differences(one, other, f"{path}[{at}]")
        ]
    return [] if mine == theirs else [f"{path}: {mine!r}, recorded {theirs!r}"]


def masked(value: Any) -> Any:
    """Replace what cannot be the same twice by its name."""
    if isinstance(value, list):
        return [masked(each) for each in value]
    if isinstance(value, dict):
        hidden = VOLATILE | ({"address", "privateIPAddress"} if "publicIPs" in value else set())
        return {
            name: name if name in hidden else masked(_counted(name, each))
            for name, each in value.items()
        }
    return value


def _counted(name: str, value: Any) -> Any:
    """Replace the public addresses of a hub, which Azure chooses, by their number."""
    return {**value, "addresses": len(value["addresses"])} if name == "publicIPs" else value


def _is_foreign_list(exchange: Mapping[str, Any]) -> bool:
    """Tell whether a list holds what other tests of the recorded subscription made."""
    path = _path(exchange)
    return path.endswith("/firewallPolicies") and "/resourceGroups/" not in path


def _path(exchange: Mapping[str, Any]) -> str:
    return str(urlsplit(exchange["request"]["uri"]).path)


def _resource_type(exchange: Mapping[str, Any]) -> str:
    parsed = ids.parse(_path(exchange))
    return parsed.type_key if parsed else ""


def _headers(exchange: Mapping[str, Any]) -> dict[str, str]:
    return {name.lower(): value for name, value in exchange["response"]["headers"].items()}


def _succeeded(exchange: Mapping[str, Any]) -> bool:
    body = exchange["response"]["body"] or {}
    state = (body.get("properties") or {}).get("provisioningState") if "properties" in body else ""
    is_read = exchange["request"]["method"] == "GET"
    return body.get("status") == "Succeeded" or (is_read and state == "Succeeded")


def _shape(address: str) -> str:
    """Return a poll address without host, guids and signature."""
    parts = urlsplit(address)
    version = parse_qs(parts.query)["api-version"][0]
    return GUID.sub("GUID", f"{parts.path}?api-version={version}")
