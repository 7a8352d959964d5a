"""Machines, people, policies, rules and reasons whose names try to be markup."""

from dataclasses import dataclass, replace
from typing import Any

from tests.browser.settings import HOSTILE_PERSON, HOSTILE_REASON, LONG_PERSON, RTL_PERSON, protect
from tests.e2e.playing import POLICIES, Azure, Json, Play, Site

# A resource id takes no slash, so that no end tag can stand in one.
NAMES = {
    HOSTILE_PERSON: "<img src=x onerror=hit=1>",
    RTL_PERSON: "<b>\u05e9\u05e8\u05ea \u05e8\u05d0\u05e9\u05d9",
    LONG_PERSON: "n" * 78,
}
# The API takes letters of any script in a policy's name, and no markup.
POLICY_NAMES = ("plain", "\u05de\u05d3\u05d9\u05e0\u05d9\u05d5\u05ea", "p" * 80)
SSH_TO_ALL: Json = {
    "protocol": "Tcp",
    "access": "Allow",
    "direction": "Inbound",
    "priority": 100,
    "sourcePortRange": "*",
    "sourceAddressPrefix": "Internet",
    "destinationPortRange": "22",
    "destinationAddressPrefix": "*",
}


@dataclass(frozen=True)
class Hostile:
    """What the screens are to show as text."""

    sites: tuple[Site, ...]
    open: tuple[str, ...]  # ids of requests
    waiting: tuple[str, ...]
    ended: tuple[str, ...]
    exposed: Site
    unprotected: Site


def add_rule(azure: Azure, nsg: str, name: str, rule: Json) -> None:
    """Write a rule of another writer into a network security group."""
    rules: Any = azure.network.security_rules
    rules.begin_create_or_update(
        nsg.split("/")[4], nsg.split("/")[8], name, {"properties": rule}
    ).result()


def remove_rule(azure: Azure, nsg: str, name: str) -> None:
    """Remove a rule of another writer."""
    rules: Any = azure.network.security_rules
    rules.begin_delete(nsg.split("/")[4], nsg.split("/")[8], name).result()


def build_hostile(play: Play) -> Hostile:
    """Protect machines with such names; leave requests open, waiting and ended on them."""
    sites = _sites(play, 2, "")
    for site in sites:
        protect(play, site, 22, 3389)
    waiting_sites = _sites(play, 1, "w")
    for site in waiting_sites:
        protect(play, site, conditions={"approversNeeded": 1})
    return Hostile(
        sites,
        _requests(play, sites, 0, "Initiated"),
        _requests(play, waiting_sites, 0, "PendingApproval"),
        _ended(play, sites),
        protect(play, _named(play.azure.build(name="<u>bare"), "bare"), 22),
        play.azure.build(name="<s>free"),
    )


def _named(site: Site, policy: str) -> Site:
    return replace(site, policy_id=f"{POLICIES}/{policy}")


def _sites(play: Play, machines: int, suffix: str) -> tuple[Site, ...]:
    return tuple(
        _named(play.azure.build(machines, name=f"{name}{suffix}"), f"{policy}{suffix}")
        for name, policy in zip(NAMES.values(), POLICY_NAMES, strict=True)
    )


def _requests(play: Play, sites: Any, machine: int, status: str) -> tuple[str, ...]:
    """Let each person request one machine, with a reason that tries to be markup."""
    found = []
    for person, site in zip(NAMES, sites, strict=True):
        caller = play.person(person, "Jit.Request")
        asked = site.asked(site.vms[machine], duration="PT1H")
        location = caller.initiate(site.policy_id, asked, HOSTILE_REASON)
        found.append(str(caller.wait(location, status)["id"]))
    return tuple(found)


def _ended(play: Play, sites: Any) -> tuple[str, ...]:
    ids = _requests(play, sites, 1, "Initiated")
    with play.admin.client() as client:
        for each in ids:
            client.revoke_request(each, {"comment": HOSTILE_REASON})
    return ids
