"""The whole life of an access, as Microsoft's own network client sees it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from tests.e2e.playing import (
    APP_RG,
    ELSEWHERE,
    NAMES,
    NETWORK,
    POLICIES,
    SOURCE,
    SUBSCRIPTION,
    Azure,
    Json,
    Play,
    Rules,
    Site,
    ending_in,
    stopwatch,
    until,
    utc,
)

SOURCE_6 = "2001:db8::7"
OPS_RG = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/ops-rg"
# VMs of the estate, and their addresses behind each group: on the interface, on the subnet, on
# both, two interfaces, two families, foreign rules in the way, Defender's own rules beside ours.
SHAPES: dict[str, dict[str, tuple[str, ...]]] = {
    "db-1": {"data-nsg": ("10.0.2.4",)},
    "app-1": {"app-1-nsg": ("10.0.3.4",), "apps-subnet-nsg": ("10.0.3.4",)},
    "router-1": {"router-inside-nsg": ("10.0.5.4",), "router-outside-nsg": ("10.0.1.6",)},
    "edge-6": {"edge-nsg": ("10.0.6.4", "fd00:10:0:6::4")},
    "legacy-1": {"legacy-nsg": ("10.0.1.7",)},
    "open-1": {"open-nsg": ("10.0.1.8",)},
    "strict-1": {"strict-nsg": ("10.0.1.10",)},
    "asg-1": {"asg-nsg": ("10.0.1.11",)},
    "guarded-1": {"guarded-nsg": ("10.0.1.9",)},
}
USUAL = {"guarded-1": {"3389", "5985", "5986"}}
ASKED = ("app-1", "router-1", "edge-6", "legacy-1", "guarded-1")


def vm(name: str) -> str:
    """Return the id of a VM of the estate."""
    return f"{APP_RG}/providers/Microsoft.Compute/virtualMachines/{name}"


def nsg(name: str) -> str:
    """Return the id of a group of the estate."""
    return f"{NETWORK}/networkSecurityGroups/{name}"


NSGS = tuple(nsg(name) for behind in SHAPES.values() for name in behind)


def family(address: str) -> int:
    """Tell the family of an address."""
    return 6 if ":" in address else 4


def values(rule: Json, name: str) -> set[str]:
    """Return what a rule holds in a singular or a plural field."""
    one = rule.get(name)
    plural = f"{name}es" if name.endswith("x") else f"{name}s"
    return {*([one] if one else []), *rule.get(plural, [])}


@contextmanager
def watching(azure: Azure, *nsg_ids: str) -> Iterator[None]:
    """Look at foreign rules all the while, and fail if any was ever another."""
    before = {each: azure.foreign(each) for each in nsg_ids}
    seen: list[tuple[str, Rules]] = []
    over = threading.Event()
    looks = 0

    def look() -> None:
        nonlocal looks
        watcher = Azure(azure.url)
        while not over.is_set():
            for each in nsg_ids:
                now = watcher.foreign(each)
                if now != before[each]:
                    seen.append((each, now))
            looks += 1
            over.wait(0.05)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert looks > 3
    assert not seen
    assert {each: azure.foreign(each) for each in nsg_ids} == before


def check_denies(azure: Azure) -> None:
    """Hold the standing denies to what the policy says: one per VM, family and group."""
    for name, behind in SHAPES.items():
        for group, addresses in behind.items():
            rules = azure.ours(nsg(group))
            assert {rule["access"] for rule in rules.values()} == {"Deny"}
            assert len(rules) == len({family(address) for address in addresses})
            told = [values(rule, "destinationAddressPrefix") for rule in rules.values()]
            assert set().union(*told) == set(addresses)
            for rule in rules.values():
                assert values(rule, "destinationPortRange") == USUAL.get(name, {"22"})
                assert values(rule, "sourceAddressPrefix") == {"*"}
                assert (rule["protocol"], rule["direction"]) == ("*", "Inbound")
                assert 1000 <= rule["priority"] <= 4096
                assert name in rule["description"]


def check_allows(azure: Azure, end: str, request_id: str) -> None:
    """Hold the openings to what was asked for: one rule per grant, family and group."""
    for name, behind in SHAPES.items():
        for group, addresses in behind.items():
            rules = list(azure.ours(nsg(group), "Allow").values())
            if name not in ASKED:
                assert rules == []
                continue
            assert len(rules) == len(addresses)
            for rule in rules:
                (source,) = values(rule, "sourceAddressPrefix")
                (address,) = values(rule, "destinationAddressPrefix")
                assert address in addresses
                assert source == (SOURCE if family(address) == 4 else SOURCE_6)
                assert values(rule, "destinationPortRange") == {port_of(name)}
                assert (rule["direction"], rule["sourcePortRange"]) == ("Inbound", "*")
                assert 200 <= rule["priority"] < 1000
                assert end in rule["description"]
                assert request_id in rule["description"]
                assert len(rule["description"]) <= 140


def port_of(name: str) -> str:
    """Return the port that is asked for on a VM."""
    return "3389" if name in USUAL else "22"


def test_an_access_from_the_policy_to_its_end(play: Play) -> None:
    """Deny after the PUT, allow after initiate, none after the end; foreign rules as ever."""
    azure, admin, alice = play.azure, play.admin, play.alice
    policy_id = f"{POLICIES}/life"
    before = {each: azure.rules(each) for each in NSGS}
    with watching(azure, *NSGS):
        taken = stopwatch()
        admin.put_policy(policy_id, [{"id": vm(name)} for name in SHAPES])
        check_denies(azure)
        assert not azure.allowed(vm("app-1"))

        end = ending_in(4, taken())
        location = alice.initiate(
            policy_id,
            [
                {
                    "id": vm(name),
                    "ports": [
                        {
                            "number": int(port_of(name)),
                            "allowedSourceAddressPrefixes": [SOURCE, SOURCE_6],
                            "endTimeUtc": utc(end),
                        }
                    ],
                }
                for name in ASKED
            ],
        )
        told = alice.wait(location, "Initiated")
        assert datetime.now(UTC) < end, "the machine is too slow for this test"
        check_allows(azure, utc(end), told["id"])
        for name in ASKED:
            assert azure.allowed(vm(name), int(port_of(name)))
            assert not azure.allowed(vm(name), int(port_of(name)), ELSEWHERE)
        assert azure.allowed(vm("edge-6"), 22, SOURCE_6)
        assert not azure.allowed(vm("db-1"))

        alice.wait(location, "Revoked", seconds=30)
        assert datetime.now(UTC) >= end
        assert all(not azure.ours(each, "Allow") for each in NSGS)
        check_denies(azure)
        for name in ASKED:
            assert not azure.allowed(vm(name), int(port_of(name)))

        assert admin.call("DELETE", policy_id).status in {200, 202}
        until(lambda: not any(azure.ours(each) for each in NSGS), "the denies are gone")
    assert {each: azure.rules(each) for each in NSGS}.keys() == before.keys()
    assert [list(azure.rules(each)) for each in NSGS] == [list(rules) for rules in before.values()]


def test_a_vm_behind_two_groups_is_closed_open_closed(play: Play) -> None:
    """No, yes, no, by the cloud's own evaluation of both groups; open only when both are."""
    azure, alice = play.azure, play.alice
    site = play.protected(on_subnet=True)
    assert len(site.nsgs) == 2
    assert not azure.allowed(site.vm)
    end = ending_in(2, site.pace)
    location = alice.initiate(site.policy_id, site.asked(endTimeUtc=utc(end)))
    told = alice.wait(location, "Initiated")
    assert azure.allowed(site.vm)
    assert not azure.allowed(site.vm, source=ELSEWHERE)
    assert not azure.allowed(site.vm, port=3389)
    assert [len(azure.ours(each, "Allow")) for each in site.nsgs] == [1, 1]
    (port,) = told["virtualMachines"][0]["ports"]
    assert port["statusReason"] == "UserRequested"
    told = alice.wait(location, "Revoked")
    assert not azure.allowed(site.vm)
    assert [len(azure.ours(each, "Allow")) for each in site.nsgs] == [0, 0]
    assert told["virtualMachines"][0]["ports"][0]["statusReason"] == "Expired"


def test_it_closes_within_seconds_of_its_end(play: Play) -> None:
    """The end is not the next minute's: a delayed message brings it at its second."""
    azure, alice = play.azure, play.alice
    site = play.protected()
    end = ending_in(2, site.pace)
    location = alice.initiate(site.policy_id, site.asked(endTimeUtc=utc(end)))
    alice.wait(location, "Initiated")
    assert azure.allowed(site.vm)
    until(lambda: not azure.allowed(site.vm), "the port is closed")
    assert timedelta(0) <= datetime.now(UTC) - end < timedelta(seconds=6)
    alice.wait(location, "Revoked")


def test_the_newest_request_replaces_the_one_before(play: Play) -> None:
    """Asking again for the same is one opening with the new end, never closed in between."""
    azure, alice = play.azure, play.alice
    site = play.protected()
    first = alice.initiate(site.policy_id, site.asked(duration="PT1H"))
    alice.wait(first, "Initiated")
    closed: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            if not azure.allowed(site.vm):
                closed.append(time.monotonic())
            over.wait(0.02)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        second = alice.initiate(site.policy_id, site.asked(duration="PT2H"))
        alice.wait(second, "Initiated")
        told = alice.wait(first, "Revoked")
    finally:
        over.set()
        thread.join()
    assert told["virtualMachines"][0]["ports"][0]["statusReason"] == "NewerRequestInitiated"
    assert len(azure.ours(site.nic_nsg, "Allow")) == 1
    assert not closed


def test_several_ports_end_each_at_its_own_time(play: Play) -> None:
    """One request, two ports, two ends: each rule goes by itself."""
    azure, admin, alice = play.azure, play.admin, play.alice
    site: Site = azure.build()
    taken = stopwatch()
    admin.put_policy(site.policy_id, site.listed(22, 3389))
    end = utc(ending_in(2, taken()))
    ports = [
        {"number": 22, "allowedSourceAddressPrefix": SOURCE, "endTimeUtc": end},
        {"number": 3389, "allowedSourceAddressPrefix": SOURCE, "duration": "PT1H"},
    ]
    location = alice.initiate(site.policy_id, [{"id": site.vm, "ports": ports}])
    alice.wait(location, "Initiated")
    assert azure.allowed(site.vm, 22)
    until(lambda: not azure.allowed(site.vm, 22), "the first port is closed")
    assert azure.allowed(site.vm, 3389)
    assert alice.status(location)["status"] == "Initiated"


def test_names_carry_our_deployment(play: Play) -> None:
    """Every rule that the app adds can be told from Defender's and from another installation's."""
    site = play.protected()
    assert all(NAMES.is_ours(name) for name in play.azure.ours(site.nic_nsg))
    assert len(play.azure.rules(site.nic_nsg)) == 2
