"""Several identities share the calls to ARM, each in a quota of its own."""

import pytest

from local.arm.client import ArmClient
from shared.adapters.arm import ArmReader
from shared.adapters.arm_clients import (
    Identity,
    LocalName,
    arm_client,
    identity_by_place,
    network_client,
)
from shared.bootstrap import App
from shared.domain.identities import Identities
from shared.ports import ThrottledError
from shared.settings import read_settings

SUBSCRIPTION = "3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/app-rg"
VERSION = "2024-05-01"


@pytest.fixture
def shared(arm: ArmClient) -> Identity:
    """Share calls between two identities, named a and b."""
    named = {name: LocalName(name) for name in ("", "a", "b")}
    return identity_by_place(arm.url, named, Identities(("a", "b")).choose)


def _callers(arm: ArmClient) -> dict[str, set[str]]:
    """Return who called about each path."""
    callers: dict[str, set[str]] = {}
    for each in arm.ask("log")["calls"]:
        callers.setdefault(each["path"].split("?")[0], set()).add(each["caller"])
    return callers


def test_each_resource_is_read_and_written_by_one_identity(
    arm: ArmClient, shared: Identity
) -> None:
    """Both of Azure's clients choose alike, and together the two identities share the calls."""
    reader = ArmReader(arm_client(arm.url, shared))
    groups = list(
        reader.list(f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups", VERSION)
    )
    network = network_client(arm.url, shared, SUBSCRIPTION)
    for group in groups:
        reader.get(group["id"], VERSION)
        network.network_security_groups.get("app-rg", group["name"])
    seen = {path: who for path, who in _callers(arm).items() if path.count("/") == 8}
    assert len(seen) == len(groups) > 3
    assert {len(who) for who in seen.values()} == {1}
    assert set().union(*seen.values()) == {"a", "b"}


def test_two_identities_read_twice_as_much(arm: ArmClient, shared: Identity) -> None:
    """Two identities read on where the quota of one stops."""
    arm.control("quotas", {"enabled": True})

    def reads(identity: Identity) -> int:
        reader = ArmReader(arm_client(arm.url, identity))
        for count in range(1_000):
            try:
                reader.get(
                    f"{GROUP}/providers/Microsoft.Network/publicIPAddresses/p{count}", VERSION
                )
            except ThrottledError:
                return count
        raise AssertionError("never throttled")

    assert reads(shared) > 1.5 * reads(LocalName("alone"))


def test_the_app_calls_as_the_identities_that_the_setting_names(
    arm: ArmClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`JIT_NETWORK_CLIENT_IDS` replaces the usual identity for VMs and firewalls."""
    one = "11111111-0000-4000-8000-000000000000"
    for name, value in {
        "JIT_DEPLOYMENT_ID": "test1",
        "JIT_TENANT_ID": one,
        "JIT_AUDIENCE": "api://jit",
        "JIT_SCOPES": GROUP,
        "JIT_ARM_URL": arm.url,
        "JIT_NETWORK_CLIENT_IDS": one,
    }.items():
        monkeypatch.setenv(name, value)
    App(read_settings()).inventory.read((GROUP,))
    assert {each["caller"] for each in arm.ask("log")["calls"]} == {f"network:{one}"}
