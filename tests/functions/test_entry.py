"""Where to connect to: answers name the entry of a firewall, and ignore it when it is sent back."""

from dataclasses import replace
from typing import Any

import pytest

from shared.domain.desired import Entry
from shared.domain.model import Front, PortRequest
from shared.domain.request import begin_opening, change_ports, entry_of, mark_open
from tests.fakes import START
from tests.functions.web_app import AS_ADMIN, AS_ALICE, HOST, WebApp, asking, policy_body
from tests.unit.test_lifecycle import ASKED, ATTACHMENTS
from tests.world import NSG_NIC, NSG_SUBNET, POLICY, WEB, World

ENTRY = Entry("198.51.100.20", 20_000)
INITIATE = f"{POLICY}/initiate"


@pytest.fixture
def web() -> WebApp:
    """Serve a fresh world with a policy."""
    web = WebApp(World())
    web.call("PUT", POLICY, policy_body(), who=AS_ADMIN)
    web.world.work()
    return web


def with_entry(port: PortRequest) -> PortRequest:
    """Return a port request whose second firewall has an entry."""
    outer, inner = port.fronts or ()
    seen = replace(inner, entry_address=ENTRY.address, entry_port=ENTRY.port)
    return replace(port, fronts=(outer, seen))


def test_a_firewall_that_is_seen_open_stores_its_entry() -> None:
    """A later sight without an entry keeps it; a firewall without one has none."""
    opening = begin_opening(ASKED, ATTACHMENTS, START)
    assert entry_of(opening) is None
    assert entry_of(ASKED) is None
    seen = mark_open(mark_open(opening, NSG_NIC, START), NSG_SUBNET, START, ENTRY)
    assert entry_of(seen) == ENTRY
    assert entry_of(mark_open(seen, NSG_SUBNET, START)) == ENTRY
    assert seen.fronts == (
        Front(NSG_NIC, ("10.0.0.4",), START),
        Front(NSG_SUBNET, ("10.0.0.4",), START, entry_address=ENTRY.address, entry_port=ENTRY.port),
    )


def test_answers_name_the_entry_of_a_port(web: WebApp) -> None:
    """Both the short form's answer and a policy's requests carry Defender's two fields."""
    taken = web.call("POST", INITIATE, asking(), who=AS_ALICE)
    location = taken.headers["Location"].removeprefix(HOST)
    web.world.work()
    before = web.call("GET", location, who=AS_ALICE).json["virtualMachines"][0]["ports"][0]
    assert not {"publicIpAddress", "mappedPort"} & before.keys()
    web.world.services.requests.change(
        location.rpartition("/")[2], lambda held: change_ports(held, with_entry)
    )
    asked = web.call("GET", location, who=AS_ALICE).json
    listed = web.call("GET", POLICY, who=AS_ADMIN).json["properties"]["requests"][0]
    for answer in (asked, listed):
        port = answer["virtualMachines"][0]["ports"][0]
        assert (port["publicIpAddress"], port["mappedPort"]) == (ENTRY.address, ENTRY.port)


def test_what_get_gave_can_be_sent_back_by_put(web: WebApp) -> None:
    """A policy with requests that have entries, and ports with a mapped port, is taken back."""
    web.call("POST", INITIATE, asking(), who=AS_ALICE)
    web.world.work()
    (request,) = web.world.services.requests.newest(POLICY, 10)
    web.world.services.requests.change(request.id, lambda held: change_ports(held, with_entry))
    given = web.call("GET", POLICY, who=AS_ADMIN).json
    for vm in given["properties"]["virtualMachines"]:
        vm["publicIpAddress"] = ENTRY.address
        for port in vm["ports"]:
            port["mappedPort"] = ENTRY.port
    taken = web.call("PUT", POLICY, given, who=AS_ADMIN)
    assert taken.status == 200, taken.text
    assert "mappedPort" not in taken.json["properties"]["virtualMachines"][0]["ports"][0]


@pytest.mark.parametrize("mapped", [20_000, "20000", 0])
def test_initiate_ignores_the_entry_that_a_caller_sends(web: WebApp, mapped: Any) -> None:
    """A mapped port and a public address on the VM or port neither fail nor choose anything."""
    body = asking(mappedPort=mapped, publicIpAddress=ENTRY.address)
    body["virtualMachines"][0]["publicIpAddress"] = ENTRY.address
    taken = web.call("POST", INITIATE, body, who=AS_ALICE)
    assert taken.status == 202, taken.text
    port = taken.json["virtualMachines"][0]["ports"][0]
    assert not {"publicIpAddress", "mappedPort"} & port.keys()


@pytest.mark.parametrize("mapped", [-1, 65_536, "x", 22.5, True, [1]])
def test_a_mapped_port_that_is_no_port_is_refused(web: WebApp, mapped: Any) -> None:
    """The field is ignored, and its type is checked as in a policy."""
    refused = web.call("POST", INITIATE, asking(mappedPort=mapped), who=AS_ALICE)
    assert refused.status == 400
    assert refused.json["error"]["details"][0]["target"].endswith("mappedPort")


def test_the_entry_is_no_part_of_what_a_call_says(web: WebApp) -> None:
    """A call that is sent again with an entry is the same call."""
    sent = {"Repeatability-Request-ID": "one"}
    first = web.call("POST", INITIATE, asking(WEB), who=AS_ALICE, headers=sent)
    again = web.call("POST", INITIATE, asking(WEB, mappedPort=2222), who=AS_ALICE, headers=sent)
    assert (first.status, again.status) == (202, 202), again.text
    assert first.headers["Location"] == again.headers["Location"]
