"""A port really opens and closes: sshd and ssh, behind a packet filter that follows the groups."""

import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from tests.e2e.netns import GuardedVm, Namespaces, inside, tool, why_not
from tests.e2e.playing import SOURCE, Play, Site, until, utc

STRANGER = "198.51.100.9"
# How soon a client notices that nothing comes back any more, with some to spare.
CUT_WITHIN = 12.0


@pytest.fixture(scope="module", autouse=True)
def _namespaces_work() -> None:
    """Skip where network namespaces cannot be built."""
    reason = why_not()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def site(play: Play) -> Site:
    """Put a VM behind a group on its interface and one on its subnet."""
    return play.azure.build(on_subnet=True)


@pytest.fixture
def guarded(play: Play, site: Site, tmp_path: Path) -> Iterator[GuardedVm]:
    """Build the VM for real."""
    built = GuardedVm(play.azure.url, site.vm, site.addresses[0], tmp_path)
    try:
        yield built
    finally:
        built.close()


def protect(play: Play, site: Site, *, flush: bool = False) -> None:
    """Close the port of the VM, and say whether sessions end with their access."""
    conditions = {"flushConnections": flush}
    properties = {"virtualMachines": site.listed(22), "conditions": conditions}
    answer = play.admin.call("PUT", site.policy_id, {"kind": "Basic", "properties": properties})
    assert answer.status == 200, answer
    play.admin.wait_for_policy(site.policy_id)


def wait_for_the_end(play: Play, guarded: GuardedVm, location: str) -> None:
    """Follow the groups all the while until an access is over."""

    def is_over() -> bool:
        guarded.follow()
        return bool(play.alice.status(location)["status"] == "Revoked")

    until(is_over, "the access has ended", pause=0.05)
    guarded.follow()


def test_a_port_opens_for_one_person_and_closes_at_the_end(
    play: Play, site: Site, guarded: GuardedVm
) -> None:
    """Refused before, in while it is granted, refused after; who is in stays in, as in Azure."""
    requestor = guarded.person("requestor", SOURCE)
    stranger = guarded.person("stranger", STRANGER)
    # The rules that every group has let the own network in, so that only the policy keeps it out.
    network = IPv4Interface(f"{site.addresses[0]}/24").network
    neighbour = guarded.person("neighbour", str(network.network_address + 9 * 256 + 9))
    assert neighbour.knock(seconds=10).is_in
    assert requestor.knock().is_dropped

    protect(play, site)
    guarded.follow()
    assert neighbour.knock().is_dropped
    assert requestor.knock().is_dropped

    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=8)
    location = play.alice.initiate(site.policy_id, site.asked(endTimeUtc=utc(end)))
    play.alice.wait(location, "Initiated")
    guarded.follow()
    answer = requestor.knock(seconds=10)
    assert answer.is_in, answer
    assert answer.output.split()[::2] == [SOURCE, site.addresses[0]]
    session = requestor.enter()
    assert session.echoes()
    assert stranger.knock().is_dropped
    assert datetime.now(UTC) < end, "the machine is too slow for this test"

    wait_for_the_end(play, guarded, location)
    assert datetime.now(UTC) >= end
    assert requestor.knock().is_dropped
    assert session.echoes()
    assert not session.has_ended()


def test_a_policy_that_ends_sessions_cuts_them(play: Play, site: Site, guarded: GuardedVm) -> None:
    """With flushConnections in the policy, a session ends with its access; others live on."""
    protect(play, site, flush=True)
    one, other = guarded.person("staying", STRANGER), guarded.person("leaving", SOURCE)
    staying = play.alice.initiate(site.policy_id, site.asked(source=STRANGER, duration="PT1H"))
    play.alice.wait(staying, "Initiated")
    leaving = play.alice.initiate(site.policy_id, site.asked(duration="PT6S"))
    play.alice.wait(leaving, "Initiated")
    guarded.follow()
    stays, leaves = one.enter(), other.enter()
    assert stays.echoes()
    assert leaves.echoes()
    wait_for_the_end(play, guarded, leaving)
    until(leaves.has_ended, "the session is cut", seconds=CUT_WITHIN)
    assert "not responding" in leaves.errors()
    assert stays.echoes()
    assert not stays.has_ended()


def test_nothing_is_left_behind() -> None:
    """Processes of a namespace end with it, and this machine's own packet filter is as it was."""
    before = listed("nft", "list", "ruleset")
    with Namespaces() as namespaces:
        name = namespaces.add("one")
        namespaces.filter(name, "table inet guarded { chain one { ct mark 1 accept; }; }")
        running = subprocess.Popen(inside(name, "sleep", "60"))
        until(lambda: listed("ip", "netns", "pids", name).split(), "it runs in the namespace")
        assert "table inet guarded" in namespaces.run(name, "nft", "list", "ruleset")
    assert running.wait(10) == -signal.SIGKILL
    assert name not in listed("ip", "netns", "list")
    assert listed("nft", "list", "ruleset") == before


def listed(program: str, *rest: str) -> str:
    """Return what a command tells of this machine."""
    command = [tool(program) or program, *rest]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
