"""When Azure refuses or the host dies: an end with a reason, or the work is taken up again."""

from datetime import UTC, datetime, timedelta

import pytest
from azure.data.tables import TableClient, TableServiceClient

from shared.adapters.tables import AzureTable
from shared.store.due import DueRows
from tests.e2e.playing import Json, Play, Site, ending_in, until, utc
from tests.fakes import MemoryTelemetry

# What ends in the poison queue has been tried five times, with four converges' patience each.
POISONED = 60.0


def port_of(told: Json) -> Json:
    """Return the one port of a request."""
    (port,) = told["virtualMachines"][0]["ports"]
    return dict(port)


def nothing_is_open(play: Play, site: Site) -> bool:
    """Tell whether no group holds an opening and no caller gets through."""
    return not play.azure.allowed(site.vm) and not any(
        play.azure.ours(each, "Allow") for each in site.nsgs
    )


def test_an_opening_that_is_refused_ends_failed(play: Play) -> None:
    """A rule that Azure Policy forbids is told as such; nothing stays open, on no group."""
    site = play.protected(on_subnet=True)
    name = site.subnet_nsg.rpartition("/")[2]
    refusal = {"kind": "policyDenied", "method": "PUT", "path": f"/{name}", "times": None}
    play.azure.order(refusal)
    location = play.alice.initiate(site.policy_id, site.asked(duration="PT1H"))
    told = play.alice.wait(location, "Failed")
    message = port_of(told)["error"]["message"]
    assert "was disallowed by policy" in message
    assert "\n" not in message
    until(lambda: nothing_is_open(play, site), "nothing is open")


def test_an_opening_that_never_works_is_poison_and_ends_failed(play: Play) -> None:
    """Tried again and again in vain, the request ends with a reason a person understands."""
    site = play.protected()
    number = site.vm.rpartition("/")[2]
    fault = {"kind": "serverError", "method": "GET", "path": f"/virtualMachines/{number}$"}
    play.azure.order({**fault, "times": None})
    location = play.alice.initiate(site.policy_id, site.asked(duration="PT1H"))
    told = play.alice.wait(location, "Failed", seconds=POISONED)
    assert port_of(told)["error"]["message"]
    assert nothing_is_open(play, site)
    tries = [
        call
        for call in play.azure.ask("log")["calls"]
        if call.get("faults") and call["path"].endswith(f"/virtualMachines/{number}")
    ]
    assert len(tries) == 5
    play.azure.order()
    again = play.alice.initiate(site.policy_id, site.asked(duration="PT1H"))
    play.alice.wait(again, "Initiated")


def test_one_vm_that_fails_keeps_no_other_closed(play: Play) -> None:
    """Two VMs in one request, one of them gone: the other opens, and the first says why."""
    site = play.protected(2)
    play.azure.control("edit", {"remove": [site.vms[0]]})
    asked = [*site.asked(site.vms[0], duration="PT1H"), *site.asked(site.vms[1], duration="PT1H")]
    location = play.alice.initiate(site.policy_id, asked)
    until(lambda: play.azure.allowed(site.vms[1]), "the other is open")

    def by_vm() -> dict[str, Json] | None:
        told = play.alice.status(location)
        ports = {vm["id"]: vm["ports"][0] for vm in told["virtualMachines"]}
        return ports if ports[site.vms[1]]["status"] == "Initiated" else None

    ports = until(by_vm, "the other is told to be open")
    assert ports[site.vms[0]]["status"] == "Failed"
    assert "not exist" in ports[site.vms[0]]["error"]["message"]


def test_a_busy_service_is_waited_for(play: Play) -> None:
    """A quota, a lock and a lost answer delay an opening, and do not fail it."""
    site = play.protected()
    at = {"path": site.nic_nsg.rpartition("/")[2], "method": "PUT"}
    play.azure.order(
        {"kind": "throttle", "retryAfter": 1, **at},
        {"kind": "locked", **at},
        {"kind": "dropAfter", **at},
    )
    location = play.alice.initiate(site.policy_id, site.asked(duration="PT1H"))
    play.alice.wait(location, "Initiated")
    assert play.azure.allowed(site.vm)


def test_a_write_that_was_superseded_is_written_again(play: Play) -> None:
    """A 201 that came to nothing is noticed: Initiated means that the port is open."""
    site = play.protected()
    name = site.nic_nsg.rpartition("/")[2]
    play.azure.order({"kind": "supersede", "path": name, "method": "PUT"})
    location = play.alice.initiate(site.policy_id, site.asked(duration="PT1H"))
    play.alice.wait(location, "Initiated")
    assert play.azure.allowed(site.vm)


def test_a_restart_in_the_middle_loses_nothing(play: Play) -> None:
    """With the host told to stop while it opens, the request is open once it is back."""
    site = play.protected()
    name = site.nic_nsg.rpartition("/")[2]
    play.azure.order({"kind": "latency", "seconds": 1, "path": name, "method": "PUT"})
    location = play.alice.initiate(site.policy_id, site.asked(duration="PT1H"))
    before = len(play.azure.writes(site.nic_nsg))
    play.stack.restart_host()
    play.alice.wait(location, "Initiated")
    assert play.azure.allowed(site.vm)
    assert len(play.azure.writes(site.nic_nsg)) - before <= 1


def test_what_ended_while_the_host_was_dead_is_closed_when_it_is_back(play: Play) -> None:
    """A port stays open while the app is stopped; then it is closed at once, and reported as expired."""
    site = play.protected()
    end = ending_in(2, site.pace)
    location = play.alice.initiate(site.policy_id, site.asked(endTimeUtc=utc(end)))
    play.alice.wait(location, "Initiated")
    play.stack.kill_host()
    until(lambda: datetime.now(UTC) > end + timedelta(seconds=1), "the end has passed")
    assert play.azure.allowed(site.vm)
    play.stack.start_host()
    until(lambda: nothing_is_open(play, site), "it is closed")
    assert port_of(play.alice.wait(location, "Revoked"))["statusReason"] == "Expired"


def test_an_opener_that_was_killed_is_taken_up_by_the_sweep(play: Play) -> None:
    """Its message is hidden and its lease is held; the due row leads the sweep back to it."""
    site = play.protected()
    name = site.nic_nsg.rpartition("/")[2]
    play.azure.order({"kind": "latency", "seconds": 30, "path": name, "method": "PUT"})
    writes = len(play.azure.writes(site.nic_nsg))
    location = play.alice.initiate(site.policy_id, site.asked(duration="PT1H"))
    lease = until(lambda: held_lease(play, site), "the opener holds the lease")
    play.stack.kill_host()
    play.azure.order()
    assert len(play.azure.writes(site.nic_nsg)) == writes
    let_minutes_pass(play, location, lease)
    play.stack.start_host()
    play.stack.invoke("sweep_expired")
    play.alice.wait(location, "Initiated")
    assert play.azure.allowed(site.vm)


def _table(play: Play, name: str) -> TableClient:
    service = TableServiceClient.from_connection_string(play.stack.storage)
    return service.get_table_client(name)


def held_lease(play: Play, site: Site) -> Json | None:
    """Find the lease of a site's group while a worker holds it."""
    number = site.nic_nsg.casefold().rpartition("/")[2]
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    rows = _table(play, "firewalls").query_entities("RowKey eq 'lease'")
    held = (row for row in rows if row["PartitionKey"].endswith(number) and row["until"] > now)
    return next((dict(row) for row in held), None)


def let_minutes_pass(play: Play, location: str, lease: Json) -> None:
    """Make it so that the lease has run out and the request is due to be looked at."""
    ended = {**lease, "until": "2020-01-01T00:00:00.000Z"}
    _table(play, "firewalls").upsert_entity(ended)
    now = datetime.now(UTC)
    due = DueRows(AzureTable(_table(play, "due")), MemoryTelemetry())
    due.add(now - timedelta(seconds=1), "request", location.rpartition("/")[2], since=now)


@pytest.fixture(autouse=True)
def _host_runs(play: Play) -> None:
    """Bring the host back where a test that failed has left it dead."""
    if play.stack.failed_part():
        play.stack.start_host()
