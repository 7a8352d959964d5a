"""The provider's refusals of a network interface: told as a 400, and nothing is kept of it."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest

from local.arm.client import ArmClient
from local.tests.arm.place import NETWORK, SCOPE, WEB_NSG

NIC = f"{SCOPE}/{NETWORK}/networkInterfaces/web-1-nic"
WRONG: list[Any] = [None, True, 7, "x", [], {}, ["x"], [7], [{}], [None], {"id": 7}, {"id": []}]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Find every place in a body."""
    yield path
    if isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def changed(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return a body with something else in one place."""
    if not path:
        return value
    copied = copy.deepcopy(body)
    inner = copied
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return copied


def full(arm: ArmClient) -> Any:
    """Return an interface with everything in it that the simulator reads."""
    nic = arm.call("GET", NIC).body
    nic["properties"]["networkSecurityGroup"] = {"id": WEB_NSG}
    nic["properties"]["dnsSettings"] = {"dnsServers": ["10.0.0.53"]}
    nic["tags"] = {"team": "web"}
    return nic


def test_something_wrong_in_any_place_is_no_failure_of_the_service(arm: ArmClient) -> None:
    """Every place of a body, with everything that cannot stand there: taken, or a 400."""
    body = full(arm)
    statuses = set()
    for path in places(body):
        for wrong in WRONG:
            reply = arm.call("PUT", NIC, changed(body, path, wrong))
            assert reply.status in {200, 201, 400}, (path, wrong, reply.body)
            statuses.add(reply.status)
            assert arm.call("GET", NIC).status == 200
    assert {200, 400} <= statuses


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        ((), []),
        ((), None),
        (("properties",), "x"),
        (("properties", "ipConfigurations"), {}),
        (("properties", "ipConfigurations", 0), 7),
        (("properties", "ipConfigurations", 0, "properties"), []),
        (("properties", "ipConfigurations", 0, "properties", "subnet"), "x"),
        (("properties", "ipConfigurations", 0, "properties", "subnet", "id"), {}),
        (("properties", "ipConfigurations", 0, "properties", "subnet", "id"), WEB_NSG),
        (("properties", "ipConfigurations", 0, "properties", "privateIPAddress"), "10.0.0.400"),
        (("properties", "networkSecurityGroup"), "x"),
        (("properties", "dnsSettings"), []),
        (("properties", "dnsSettings", "dnsServers"), "10.0.0.53"),
        (("location",), []),
        (("tags",), ["x"]),
    ],
)
def test_what_is_refused_changes_nothing(arm: ArmClient, path: tuple[Any, ...], wrong: Any) -> None:
    """The interface is the one it was."""
    body = full(arm)
    del body["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"]
    if path[-1:] == ("privateIPAddress",):
        body["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"] = ""
    before = arm.call("GET", NIC).body
    reply = arm.call("PUT", NIC, changed(body, path, wrong))
    assert reply.status == 400
    assert reply.code
    assert arm.call("GET", NIC).body == before
