"""The summary of a request, in bounded lines that approvers decide by."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.domain.summary import MAX_LINES, spoken, summarize
from tests.fakes import START
from tests.functions.web_app import AS_ADMIN, AS_ALICE, HOST, WebApp, asking, policy_body
from tests.unit.approving import asking as asking_people
from tests.world import POLICY, SOURCE, World


@pytest.fixture
def web() -> WebApp:
    """Serve a fresh world."""
    return WebApp(World())


def test_a_line_names_the_vm_its_group_and_everything_that_opens() -> None:
    """VM, resource group, port, protocol, sources, and the length or the end."""
    request = asking_people(1).ask()
    (port,) = request.ports
    assert summarize(request) == (
        f"web (resource group app): port 22, TCP, from {SOURCE}, for 10 minutes",
    )
    ending = replace(port, duration=None, end_at=START + timedelta(hours=1), protocol="*")
    mark, line = summarize(replace(request, ports=(ending,), break_glass=True))
    assert mark == "opened by break-glass, without approval"
    assert line.endswith(f"port 22, any protocol, from {SOURCE}, until 2026-11-22T15:00:00Z")


def test_lines_and_their_number_are_bounded() -> None:
    """Many ports and many sources are counted past the bound."""
    request = asking_people(1).ask()
    (port,) = request.ports
    wide = replace(port, sources=tuple(f"2001:db8:{number:x}::/48" for number in range(64)))
    lines = summarize(replace(request, ports=(wide,) * 50))
    assert len(lines) == MAX_LINES
    assert lines[-1] == "and 31 more"
    assert "and 56 more" in lines[0]
    assert max(map(len, lines)) <= 400


def test_the_answer_shows_the_summary_while_people_are_awaited(web: WebApp) -> None:
    """An approver who reads the request sees what the mail says."""
    web.call("PUT", POLICY, policy_body(conditions={"approversNeeded": 1}), who=AS_ADMIN)
    web.world.work()
    location = web.call("POST", f"{POLICY}/initiate", asking(), who=AS_ALICE).headers["Location"]
    told = web.call("GET", location.removeprefix(HOST), who=AS_ADMIN).json
    assert told["approval"]["summary"] == [
        "web (resource group app): port 22, TCP, from 203.0.113.7, for 1 hour"
    ]


@pytest.mark.parametrize(
    ("length", "told"),
    [
        (timedelta(minutes=30), "30 minutes"),
        (timedelta(hours=1), "1 hour"),
        (timedelta(hours=1, minutes=30), "1 hour 30 minutes"),
        (timedelta(days=2, seconds=1), "2 days 1 second"),
        (timedelta(0), "0 seconds"),
    ],
)
def test_a_duration_is_written_as_people_say_it(length: timedelta, told: str) -> None:
    """Approvers read no ISO 8601: units with nothing in them are left out."""
    assert spoken(length) == told
