"""Microsoft's own Python client, pointed at this app with a token for it, works unchanged."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.clients.conftest import Clients
from tests.e2e.playing import SOURCE, Site, until

GROUP, LOCATION = "app-rg", "westeurope"


def place(site: Site) -> tuple[str, str, str]:
    """Return the group, location and name that the client is given."""
    return GROUP, LOCATION, site.policy_id.rpartition("/")[2]


def policy(site: Site, *vms: str, longest: str = "PT3H") -> dict[str, Any]:
    """Make a policy as the client's models are written."""
    rule = {
        "number": 22,
        "protocol": "TCP",
        "allowedSourceAddressPrefix": "*",
        "maxRequestAccessDuration": longest,
    }
    listed = [{"id": vm, "ports": [rule]} for vm in vms or site.vms]
    return {"kind": "Basic", "properties": {"virtualMachines": listed}}


def ask(vm: str, seconds: float = 1800, source: str = SOURCE) -> dict[str, Any]:
    """Make a request as the client's models are written."""
    end = datetime.now(UTC) + timedelta(seconds=seconds)
    port = {"number": 22, "allowedSourceAddressPrefix": source, "endTimeUtc": end.isoformat()}
    return {"virtualMachines": [{"id": vm, "ports": [port]}], "justification": "because"}


def fate(sdk: Any, site: Site) -> list[tuple[str, str]]:
    """Read each request's status and reason, newest first."""
    requests = sdk.get(*place(site)).requests or []
    ports = [request.virtual_machines[0].ports[0] for request in requests]
    return [(port.status, port.status_reason) for port in ports]


def applied(sdk: Any, site: Site) -> Any:
    """Wait until a policy is applied."""
    return until(
        lambda: (
            found if (found := sdk.get(*place(site))).provisioning_state != "Updating" else None
        ),
        "the policy is applied",
    )


def test_every_operation_through_a_whole_life(clients: Clients, site: Site) -> None:
    """Put, the four lists, get, initiate, statuses to the end, delete."""
    sdk = clients.sdk("sdk-admin")
    put = sdk.create_or_update(*place(site), policy(site))
    assert (put.id, put.provisioning_state, put.kind) == (site.policy_id, "Updating", "Basic")
    assert [vm.id for vm in put.virtual_machines] == list(site.vms)
    assert applied(sdk, site).provisioning_state == "Succeeded"
    for found in (
        sdk.list(),
        sdk.list_by_region(LOCATION),
        sdk.list_by_resource_group(GROUP),
        sdk.list_by_resource_group_and_region(GROUP, LOCATION),
    ):
        assert site.policy_id in [each.id for each in found]

    taken = sdk.initiate(*place(site), ask(site.vm, seconds=6))
    (port,) = taken.virtual_machines[0].ports
    assert (port.status, port.status_reason) == ("Initiating", "UserRequested")
    assert (taken.requestor, taken.justification) == ("sdk-admin@contoso.example", "because")
    assert abs(taken.start_time_utc - datetime.now(UTC)) < timedelta(minutes=1)

    until(lambda: fate(sdk, site) == [("Initiated", "UserRequested")], "it is open")
    assert clients.azure.allowed(site.vm)
    until(lambda: fate(sdk, site) == [("Revoked", "Expired")], "it is closed")
    assert not clients.azure.allowed(site.vm)

    sdk.delete(*place(site))
    sdk.delete(*place(site))
    with pytest.raises(ResourceNotFoundError):
        sdk.get(*place(site))


def test_a_newer_request_replaces_the_older(clients: Clients, site: Site) -> None:
    """The client sees which; the port never closes in between."""
    sdk = clients.sdk("sdk-newer")
    sdk.create_or_update(*place(site), policy(site, site.vm))
    applied(sdk, site)
    sdk.initiate(*place(site), ask(site.vm, 900))
    until(lambda: fate(sdk, site)[0][0] == "Initiated", "the first is open")
    sdk.initiate(*place(site), ask(site.vm, 1800))
    until(
        lambda: (
            fate(sdk, site)
            == [("Initiated", "UserRequested"), ("Revoked", "NewerRequestInitiated")]
        ),
        "the second has replaced it",
    )
    assert clients.azure.allowed(site.vm)
    assert len(clients.azure.ours(site.nic_nsg, "Allow")) == 1


def test_the_client_reads_what_it_wrote(clients: Clients, site: Site) -> None:
    """And puts back what it read, its requests in it."""
    sdk = clients.sdk("sdk-round")
    put = sdk.create_or_update(*place(site), policy(site, longest="PT90M"))
    assert put.virtual_machines[0].ports[0].max_request_access_duration == "PT90M"
    applied(sdk, site)
    sdk.initiate(*place(site), ask(site.vm, 60))
    read = sdk.get(*place(site))
    again = sdk.create_or_update(*place(site), read)
    assert [vm.as_dict() for vm in again.virtual_machines] == [
        vm.as_dict() for vm in read.virtual_machines
    ]
    assert len(sdk.get(*place(site)).requests) == 1


def test_pages_are_followed(clients: Clients, site: Site) -> None:
    """Every policy of a long list arrives, each once."""
    sdk = clients.sdk("sdk-pages")
    names = [f"{place(site)[2]}-{number:02}" for number in range(60)]
    empty: dict[str, Any] = {"properties": {"virtualMachines": []}}
    with ThreadPoolExecutor(8) as pool:
        [*pool.map(lambda name: sdk.create_or_update(GROUP, LOCATION, name, empty), names)]
    found = [each.name for each in sdk.list_by_resource_group(GROUP)]
    assert len(found) == len(set(found))
    assert set(names) <= set(found)
    with ThreadPoolExecutor(8) as pool:
        [*pool.map(lambda name: sdk.delete(GROUP, LOCATION, name), names)]


def test_refusals_are_the_client_s_own_errors(clients: Clients, site: Site) -> None:
    """With ARM's codes and, in details, every broken line."""
    sdk = clients.sdk("sdk-refused")
    with pytest.raises(ResourceNotFoundError) as missing:
        sdk.initiate(*place(site), ask(site.vm))
    assert told(missing.value).code == "PolicyNotFound"
    sdk.create_or_update(*place(site), policy(site, site.vm))
    with pytest.raises(HttpResponseError) as outside:
        sdk.initiate(*place(site), ask(site.vms[1], source="*"))
    assert outside.value.status_code == 400
    assert "is not a subset of policy" in told(outside.value).message
    assert [each.code for each in told(outside.value).details] == ["VirtualMachineNotInPolicy"]
    with pytest.raises(HttpResponseError) as forbidden:
        clients.sdk("sdk-norole", "Jit.Read").initiate(*place(site), ask(site.vm))
    assert (forbidden.value.status_code, told(forbidden.value).code) == (403, "AuthorizationFailed")


def told(error: HttpResponseError) -> Any:
    """Return the error as the client understood it."""
    assert error.error is not None
    return error.error


def test_a_retried_call_opens_nothing_twice(clients: Clients, site: Site) -> None:
    """The client keeps x-ms-client-request-id when it retries; so may a script."""
    sdk = clients.sdk("sdk-retry")
    sdk.create_or_update(*place(site), policy(site, site.vm))
    applied(sdk, site)
    body = ask(site.vm, 60)
    for _ in range(3):
        sdk.initiate(*place(site), body, headers={"x-ms-client-request-id": "same"})
    assert len(sdk.get(*place(site)).requests) == 1
