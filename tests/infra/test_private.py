"""Private by choice: integration, private endpoints, closed public endpoints, access restrictions."""

import json
import re
from typing import Any

import pytest

from tests.infra.arm_template import GROUP, expand
from tests.infra.bicep import INFRA, ROOT, Text, read
from tests.infra.hook_world import Run

TEMPLATE = json.loads((INFRA / "extras" / "private.json").read_text(encoding="utf-8"))
MAIN = read(INFRA / "main.bicep")
APP = read(INFRA / "modules" / "app.bicep")
DOCUMENT = (ROOT / "docs" / "private.md").read_text(encoding="utf-8")
NETWORK = f"{GROUP}/providers/Microsoft.Network/virtualNetworks"
GIVEN = {
    "location": "westeurope",
    "mark": "j0123456789a",
    "endpointSubnetId": f"{NETWORK}/hub/subnets/endpoints",
    "subnetId": f"{NETWORK}/spoke/subnets/app",
    "storageAccount": "stjitx",
    "packageAccount": "stjitpkgx",
    "auditAccount": "stjitaudx",
    "functionAppName": "func-jit-x",
    "zonesGroupId": "",
}
ENVIRONMENT = {
    "JIT_PRIVATE_ENDPOINTS": "all",
    "JIT_ENDPOINT_SUBNET_ID": GIVEN["endpointSubnetId"],
    "JIT_SUBNET_ID": GIVEN["subnetId"],
    "JIT_AUDIT_ACCOUNT": "stjitaudx",
}


def deployed(**changes: str) -> dict[str, list[dict[str, Any]]]:
    """Return the resources of the template by type."""
    found: dict[str, list[dict[str, Any]]] = {}
    for resource in expand(TEMPLATE, **{**GIVEN, **changes}):
        found.setdefault(resource["type"].rpartition("Microsoft.Network/")[2], []).append(resource)
    return found


def _targets(resources: dict[str, list[dict[str, Any]]]) -> set[tuple[str, str]]:
    connections = [
        each["properties"]["privateLinkServiceConnections"]
        for each in resources["privateEndpoints"]
    ]
    return {
        (found["properties"]["privateLinkServiceId"].rpartition("/")[2], group)
        for (found,) in connections
        for group in found["properties"]["groupIds"]
    }


def test_every_account_and_the_app_get_an_endpoint_for_each_service_that_is_used() -> None:
    """Blobs, queues and tables of the state, blobs of the package and the record, and the app."""
    assert _targets(deployed()) == {
        ("stjitx", "blob"),
        ("stjitx", "queue"),
        ("stjitx", "table"),
        ("stjitpkgx", "blob"),
        ("stjitaudx", "blob"),
        ("func-jit-x", "sites"),
    }


def test_what_is_not_deployed_or_asked_for_gets_none() -> None:
    """Without an audit record or an endpoint of the app, neither they nor their zone are made."""
    found = deployed(auditAccount="", functionAppName="")

    assert {name for name, _ in _targets(found)} == {"stjitx", "stjitpkgx"}
    assert "privatelink.azurewebsites.net" not in {
        each["name"] for each in found["privateDnsZones"]
    }


def test_each_endpoint_is_in_the_zone_of_its_service() -> None:
    """Every endpoint has one zone group, which names a zone that is made."""
    found = deployed()
    zones = {f"{GROUP}/providers/Microsoft.Network/privateDnsZones/{each['name']}": each["name"]
             for each in found["privateDnsZones"]}  # fmt: skip
    groups = {
        each["name"]: each["properties"]["privateDnsZoneConfigs"]
        for each in found["privateEndpoints/privateDnsZoneGroups"]
    }

    for endpoint in found["privateEndpoints"]:
        (connection,) = endpoint["properties"]["privateLinkServiceConnections"]
        (service,) = connection["properties"]["groupIds"]
        (config,) = groups.pop(f"{endpoint['name']}/default")
        zone = zones[config["properties"]["privateDnsZoneId"]]
        expected = "azurewebsites.net" if service == "sites" else f"{service}.core.windows.net"
        assert zone == f"privatelink.{expected}"
    assert groups == {}


def test_both_networks_find_the_names() -> None:
    """Each zone is linked to the endpoints' network and to the app's, once if they are the same."""
    found = deployed()["privateDnsZones/virtualNetworkLinks"]
    links = {
        (each["name"].partition("/")[0], each["properties"]["virtualNetwork"]["id"])
        for each in found
    }
    zones = {each["name"] for each in deployed()["privateDnsZones"]}

    assert links == {(zone, f"{NETWORK}/{name}") for zone in zones for name in ("hub", "spoke")}
    assert len({each["name"] for each in found}) == len(found) == 8
    same = deployed(subnetId=f"{NETWORK}/hub/subnets/app")["privateDnsZones/virtualNetworkLinks"]
    assert len(same) == len(zones)


def test_zones_that_exist_are_used_and_not_made() -> None:
    """Where a group holds the zones, none is made or linked, and the endpoints name those."""
    group = "/subscriptions/s/resourceGroups/dns"
    found = deployed(zonesGroupId=group)

    assert set(found) == {"privateEndpoints", "privateEndpoints/privateDnsZoneGroups"}
    named = [
        config["properties"]["privateDnsZoneId"]
        for each in found["privateEndpoints/privateDnsZoneGroups"]
        for config in each["properties"]["privateDnsZoneConfigs"]
    ]
    assert all(each.startswith(f"{group}/providers/Microsoft.Network/") for each in named)


@pytest.mark.parametrize("name", ["storage", "package", "audit"])
def test_a_private_account_answers_on_no_public_endpoint(name: str) -> None:
    """One parameter turns public access off, with every exception to it, in all three accounts."""
    module = read(INFRA / "modules" / f"{name}.bicep")
    (account,) = (each for each in module.resources if each.symbol == "account")
    (given,) = (each.parameters for each in MAIN.modules if each.symbol == name)
    properties = account.body["properties"]

    assert properties["publicNetworkAccess"] == Text("isPrivate ? 'Disabled' : 'Enabled'")
    assert properties["networkAcls"] == {
        "bypass": Text("isPrivate ? 'None' : 'AzureServices'"),
        "defaultAction": Text("isPrivate ? 'Deny' : 'Allow'"),
    }
    assert given["isPrivate"] == Text("isStoragePrivate")


def test_nothing_is_closed_that_the_app_could_not_reach() -> None:
    """Accounts close only with endpoints and a subnet to call from, the app only after them."""
    assert MAIN.variables["hasEndpoints"] == Text(
        "privateEndpoints != 'none' && !empty(endpointSubnetId)"
    )
    assert MAIN.variables["isStoragePrivate"] == Text(
        "publicAccess != 'all' && hasEndpoints && !empty(subnetId)"
    )
    assert MAIN.variables["isAppPrivate"] == Text(
        "publicAccess == 'none' && isStoragePrivate && privateEndpoints == 'all'"
    )


def test_the_default_is_public_without_a_network() -> None:
    """A deployment without these settings stays as it was before."""
    defaults = {name: MAIN.parameters[name].default for name in MAIN.parameters}

    assert (defaults["privateEndpoints"], defaults["publicAccess"]) == ("none", "all")
    for name in ("subnetId", "endpointSubnetId", "callerAddresses", "scmAddresses"):
        assert defaults[name] == ""


def test_the_app_s_endpoint_and_its_way_out_follow_the_parameters() -> None:
    """The site is integrated with the subnet and closed as the parameters say."""
    (site,) = (each for each in APP.resources if each.symbol == "site")
    properties = site.body["properties"]

    assert properties["publicNetworkAccess"] == Text("isPrivate ? 'Disabled' : 'Enabled'")
    assert properties["virtualNetworkSubnetId"] == Text("empty(subnetId) ? null : subnetId")


def test_restrictions_for_callers_leave_deployment_apart() -> None:
    """Addresses that may deploy are a list of their own: a restricted API can still be deployed."""
    (site,) = (each for each in APP.resources if each.symbol == "site")
    config = site.body["properties"]["siteConfig"]

    assert config["scmIpSecurityRestrictionsUseMain"] is False
    assert config["scmIpSecurityRestrictionsDefaultAction"] == Text(
        "empty(scmAddresses) ? 'Allow' : 'Deny'"
    )
    assert "for (range, i) in callerAddresses" in APP.text
    assert "for (range, i) in scmAddresses" in APP.text


def test_the_hook_gives_the_template_what_it_asks_for(run: Run) -> None:
    """Every parameter is given, and the resources follow from azd's own values."""
    done, after = run("postprovision", environment=ENVIRONMENT)

    assert done.returncode == 0, done.stderr
    (call,) = [each for each in after["calls"] if "infra/extras/private.json" in each]
    given = dict(each.split("=", 1) for each in call if "=" in each and not each.startswith("-"))
    required = {name for name, each in TEMPLATE["parameters"].items() if "defaultValue" not in each}
    assert set(given) == required
    assert len(expand(TEMPLATE, **given)) == 4 + 8 + 6 + 6


def test_without_the_choice_no_endpoint_is_made(run: Run) -> None:
    """Nothing of the template is deployed by default."""
    _, after = run("postprovision")

    assert not [each for each in after["calls"] if "infra/extras/private.json" in each]


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"JIT_PRIVATE_ENDPOINTS": "storage"}, "JIT_ENDPOINT_SUBNET_ID is not set"),
        ({"JIT_PUBLIC_ACCESS": "app"}, "the storage accounts stay public"),
        (
            {"JIT_PUBLIC_ACCESS": "none", "JIT_STORAGE_IS_PRIVATE": "true"},
            "the app stays public",
        ),
    ],
)
def test_what_was_to_be_closed_and_is_not_fails_the_provisioning(
    run: Run, environment: dict[str, str], told: str
) -> None:
    """A choice that cannot be carried out ends with exit 1 and says what is missing."""
    done, _ = run("postprovision", environment=environment)

    assert done.returncode == 1
    assert told in done.stderr


def test_no_test_from_outside_watches_a_private_app(run: Run) -> None:
    """The availability test cannot reach it: it is left out, and its alert stays off."""
    private = {**ENVIRONMENT, "JIT_APP_IS_PRIVATE": "true", "JIT_STORAGE_IS_PRIVATE": "true"}
    _, after = run("postprovision", environment=private)
    (call,) = [each for each in after["calls"] if "infra/extras/extras.json" in each]
    assert "healthTest=false" in call

    swept = ["Healthy 2026-11-22T15:00:00Z", "Healthy 2026-11-22T15:01:00Z"]
    _, after = run(
        "postdeploy", health=swept, environment={**private, "JIT_WATCH_SILENCE": "false"}
    )
    enabled = [each for each in after["calls"] if "patch" in each]
    assert len(enabled) == 1
    assert "jit-sweep-silent" in str(enabled)


def test_the_availability_test_is_left_out_by_the_parameter() -> None:
    """The template makes the test unless it is told that the app is private."""
    extras = json.loads((INFRA / "extras" / "extras.json").read_text(encoding="utf-8"))
    (test,) = (each for each in extras["resources"] if each["type"].endswith("/webtests"))

    assert test["condition"] == "[parameters('healthTest')]"
    assert extras["parameters"]["healthTest"]["defaultValue"] is True
    assert "alert.name != 'jit-health-failing'" in read(INFRA / "modules" / "alerts.bicep").text


def test_the_document_names_every_parameter_and_what_works() -> None:
    """Each variable stands on the page, and the table has a column for each of the three states."""
    for name in (
        "JIT_SUBNET_ID",
        "JIT_ENDPOINT_SUBNET_ID",
        "JIT_PRIVATE_ENDPOINTS",
        "JIT_PUBLIC_ACCESS",
        "JIT_DNS_ZONES_GROUP_ID",
        "JIT_CALLER_ADDRESSES",
        "JIT_SCM_ADDRESSES",
    ):
        assert f"`{name}" in DOCUMENT
    (header,) = re.findall(r"^\| What \|.*$", DOCUMENT, re.MULTILINE)
    assert [part.strip() for part in header.strip("|").split("|")] == [
        "What",
        "`all`",
        "`app`",
        "`none`",
    ]
