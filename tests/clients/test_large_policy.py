"""As many VMs as a policy may list, over HTTP and through real storage."""

from tests.clients.conftest import Clients
from tests.e2e.playing import APP_RG, POLICIES, SUBSCRIPTION


def test_500_vms_make_the_round_trip(clients: Clients) -> None:
    """A policy reads as it was put, alone and in the list."""
    caller = clients.caller("large")
    policy = f"{POLICIES}/large"
    rule = {
        "protocol": "TCP",
        "allowedSourceAddressPrefix": "203.0.113.0/24",
        "maxRequestAccessDuration": "PT2H",
    }
    ports = [{"number": number, **rule} for number in (22, 3389, 5985, 5986)]
    prefix = f"{APP_RG}/providers/Microsoft.Compute/virtualMachines/large-{'x' * 40}"
    listed = [{"id": f"{prefix}-{number:04}", "ports": ports} for number in range(500)]
    body = {"kind": "Basic", "properties": {"virtualMachines": listed}}

    put = caller.call("PUT", f"{policy}?api-version=2020-01-01", body)
    read = caller.call("GET", policy)
    lists = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Security/jitNetworkAccessPolicies"
    found, link = [], lists
    while link:
        page = caller.call("GET", link).json
        found += [each for each in page["value"] if each["name"] == "large"]
        link = page.get("nextLink", "")
    caller.call("DELETE", policy)

    assert (put.status, read.status) == (200, 200)
    assert read.json["properties"]["virtualMachines"] == listed
    assert [each["properties"]["virtualMachines"] for each in found] == [listed]
