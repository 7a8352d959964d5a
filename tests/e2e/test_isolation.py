"""One caller, one row or one neighbour delays no other close, on the real stack."""

import http.client
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from local.arm.client import ArmClient
from tests.conftest import SETTLE_SECONDS
from tests.e2e.playing import Answer, Json, Play, ending_in, until, utc

PORTS = tuple(range(2000, 2080))
EMOJI = "\N{LOCK}" * 870
NEIGHBOUR_PAUSE, NEIGHBOUR_SETTLE = 2.0, 4.0


def asked(vm: str, *ports: int, **end: str) -> Json:
    """Write several ports of one VM as an initiate asks for them."""
    rule = {"allowedSourceAddressPrefix": "203.0.113.7", **end}
    return {"id": vm, "ports": [{"number": port, **rule} for port in ports]}


def test_eighty_ports_and_a_long_comment_keep_nothing_open(play: Play) -> None:
    """A revoked request that is as large as one may be closes, and so does another person's."""
    site = play.azure.build(2)
    play.admin.put_policy(site.policy_id, site.listed(*PORTS))
    end = ending_in(25, site.pace, times=4)
    # Callers of this test's own: what other tests hold counts against those they share.
    owner, other = play.person("owen", "Jit.Request"), play.person("bob", "Jit.Request")
    theirs = other.initiate(site.policy_id, [asked(site.vms[1], 2000, endTimeUtc=utc(end))])
    large = owner.initiate(
        site.policy_id,
        [
            asked(site.vms[0], *PORTS, duration="PT1H"),
            asked(site.vms[1], 2001, 2002, duration="PT1H"),
        ],
    )
    owner.wait(large, "Initiated")
    other.wait(theirs, "Initiated")
    answer = owner.call("POST", f"{large}/revoke", {"comment": EMOJI})
    assert answer.status == http.client.OK, answer
    owner.wait(large, "Revoked")
    assert not play.azure.allowed(site.vms[0], 2000)
    other.wait(theirs, "Revoked", seconds=90)
    assert play.azure.ours(site.nic_nsg, "Allow") == {}


def test_a_callers_limit_holds_for_calls_at_the_same_time(play: Play) -> None:
    """Of twelve calls for a hundred ports each, all at once, one is taken and eleven are 429."""
    site = play.azure.build(2)
    ports = tuple(range(3000, 3050))
    play.admin.put_policy(site.policy_id, site.listed(*ports))
    caller = play.person("dora", "Jit.Request")
    body = {
        "virtualMachines": [asked(vm, *ports, duration="PT1H") for vm in site.vms],
        "justification": "all of them",
    }
    barrier = threading.Barrier(12)

    def ask(_: int) -> Answer:
        barrier.wait()
        return caller.call("POST", f"{site.policy_id}/initiate", body)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(12)))
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [202, *[429] * 11]
    (taken,) = [answer for answer in answers if answer.status == http.client.ACCEPTED]
    caller.wait(taken.headers["location"], "Initiated")
    assert len(play.azure.ours(site.nic_nsg, "Allow")) == 100
    ended = caller.call("POST", f"{taken.headers['location']}/revoke", {})
    assert ended.status == http.client.OK
    caller.wait(taken.headers["location"], "Revoked")
    again = caller.initiate(site.policy_id, [asked(site.vm, 3000, duration="PT1H")])
    caller.wait(again, "Initiated")


@contextmanager
def neighbour(play: Play, nsg_id: str) -> Iterator[None]:
    """Have another writer change its own rule on a group every two seconds."""
    rule = {
        "protocol": "Tcp",
        "access": "Allow",
        "direction": "Inbound",
        "priority": 4000,
        "sourcePortRange": "*",
        "sourceAddressPrefix": "Internet",
        "destinationPortRange": "443",
        "destinationAddressPrefix": "*",
    }
    over = threading.Event()

    def write() -> None:
        client = ArmClient(play.azure.url, "local:neighbour")
        while not over.wait(NEIGHBOUR_PAUSE):
            body = {"properties": {**rule, "description": datetime.now(UTC).isoformat()}}
            client.call("PUT", f"{nsg_id}/securityRules/theirs", body)
        client.close()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.fixture
def _slow_azure(play: Play) -> Iterator[None]:
    play.azure.control("settings", {"settle": NEIGHBOUR_SETTLE})
    yield
    play.azure.control("settings", {"settle": SETTLE_SECONDS})


def test_a_neighbour_who_never_pauses_delays_no_other_close(
    play: Play, request: pytest.FixtureRequest
) -> None:
    """On every other group accesses close within 3 s and a write; on its own, all the same."""
    busy, quiet = play.protected(), play.protected()
    end = ending_in(20, max(busy.pace, quiet.pace))
    on_both = [
        play.alice.initiate(site.policy_id, site.asked(endTimeUtc=utc(end)))
        for site in (busy, quiet)
    ]
    for location in on_both:
        play.alice.wait(location, "Initiated")
    request.getfixturevalue("_slow_azure")
    with neighbour(play, busy.nic_nsg):
        until(lambda: datetime.now(UTC) >= end, "the end has come", seconds=90, pause=0.05)
        until(lambda: not play.azure.allowed(quiet.vm), "the other group is closed", seconds=45)
        late = (datetime.now(UTC) - end).total_seconds()
        until(lambda: not play.azure.allowed(busy.vm), "its own group is closed", seconds=90)
    assert late <= 3 + NEIGHBOUR_SETTLE + quiet.pace
    for location in on_both:
        play.alice.wait(location, "Revoked", seconds=90)
