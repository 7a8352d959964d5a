"""Metadata that Azure's clients read before they have a token, as the Azure CLI reads it."""

from typing import Any

import pytest

from functions.cloud_metadata import Here, cloud_metadata
from tests.functions.web_app import HOST, WebApp

NEWEST = "2022-09-01"
# Azure CLI 2.91, `_arm_to_cli_mapper`: what it takes from the answer without asking whether it is
# there, and what `az cloud register` refuses to do without.
REQUIRED = {"active_directory", "active_directory_resource_id", "resource_manager"}


def _as_the_cli_reads_it(metadata: Any) -> dict[str, Any]:
    return {
        "name": metadata["name"],
        "active_directory": metadata["authentication"]["loginEndpoint"],
        "active_directory_resource_id": metadata["authentication"]["audiences"][0],
        "management": metadata["authentication"]["audiences"][0],
        "active_directory_graph_resource_id": metadata.get("graphAudience"),
        "resource_manager": metadata.get("resourceManager"),
        "storage": metadata["suffixes"].get("storage"),
    }


def test_the_azure_cli_can_register_this_app_as_a_cloud(web: WebApp) -> None:
    """Without a token it learns where to sign in, and to ask for a token for this app."""
    answer = web.call("GET", f"/metadata/endpoints?api-version={NEWEST}")
    assert answer.status == 200
    read = _as_the_cli_reads_it(answer.json)
    assert all(read[name] for name in REQUIRED)
    assert read["resource_manager"] == f"{HOST}/"
    assert read["active_directory"] == "https://login.microsoftonline.com"
    assert read["active_directory_resource_id"] == "api://jit"
    assert read["active_directory_graph_resource_id"] == "https://graph.windows.net/"
    assert (read["name"], read["storage"]) == ("AzureCloud", "core.windows.net")


def test_older_clients_get_the_first_shape(web: WebApp) -> None:
    """In 2015-01-01 the answer has the fields that clients of that time read."""
    metadata = web.call("GET", "/metadata/endpoints?api-version=2015-01-01").json
    assert metadata["graphEndpoint"] == "https://graph.windows.net/"
    assert metadata["galleryEndpoint"].startswith("https://")
    assert metadata["authentication"] == {
        "loginEndpoint": "https://login.microsoftonline.com",
        "audiences": ["api://jit"],
    }


@pytest.mark.parametrize(
    ("version", "shape"),
    [
        ("1.0", "first"),
        ("2015-01-01", "first"),
        ("2018-05-01", "array"),
        ("2019-05-01", "array"),
        ("2022-09-01", "object"),
        ("2022-09-01-preview", "object"),
        ("2030-01-01", "object"),
        ("", "object"),
    ],
)
def test_the_shape_follows_the_api_version(web: WebApp, version: str, shape: str) -> None:
    """As in Azure: one object with flat names, then an array of clouds, then one cloud."""
    path = "/metadata/endpoints" + (f"?Api-Version={version}" if version else "")
    metadata = web.call("GET", path).json
    shapes = {"array": isinstance(metadata, list), "first": "graphEndpoint" in metadata}
    assert [name for name, fits in shapes.items() if fits] == ([] if shape == "object" else [shape])
    assert shape == "first" or (metadata[0] if shape == "array" else metadata)["resourceManager"]


@pytest.mark.parametrize(
    ("authority", "name", "graph"),
    [
        ("https://login.microsoftonline.com", "AzureCloud", "https://graph.microsoft.com/"),
        ("https://login.microsoftonline.us", "AzureUSGovernment", "https://graph.microsoft.us/"),
        (
            "https://login.partner.microsoftonline.cn",
            "AzureChinaCloud",
            "https://microsoftgraph.chinacloudapi.cn/",
        ),
        ("http://127.0.0.1:5000", "AzureCloud", "https://graph.microsoft.com/"),
    ],
)
def test_the_cloud_is_that_of_the_authority(authority: str, name: str, graph: str) -> None:
    """The rest of the addresses are those of the cloud that issues the tokens."""
    here = Here("https://jit/", ("api://jit", "other"), f"{authority}/tenant/discovery/v2.0/keys")
    metadata = cloud_metadata(here, NEWEST)
    assert metadata["authentication"]["loginEndpoint"] == authority
    assert metadata["authentication"]["audiences"] == ["api://jit", "other"]
    assert (metadata["name"], metadata["microsoftGraphResourceId"]) == (name, graph)
    assert "windows.net" in metadata["suffixes"]["storage"] or name != "AzureCloud"


def test_the_answer_holds_no_id_of_the_deployment(web: WebApp) -> None:
    """The answer holds neither the tenant nor a scope nor the deployment's id."""
    text = web.call("GET", f"/metadata/endpoints?api-version={NEWEST}").text
    settings = web.settings
    for secret in (settings.tenant_id, settings.deployment_id, *settings.scopes):
        assert secret not in text
