"""The metadata that Azure's clients read first: the sign-in address and the audience.

`az cloud register --endpoint-resource-manager` reads it. The shape is Azure Resource Manager's,
which changed with its API versions. The app is the resource manager; the audience is its own, so
that a client asks for a token that the app accepts.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

# From here on an array of clouds, and from here on one cloud.
_ARRAY_SINCE = "2018-05-01"
_OBJECT_SINCE = "2022-09-01"


@dataclass(frozen=True)
class Cloud:
    """The addresses of an Azure cloud that have nothing to do with this app."""

    name: str
    domain: str
    graph: str
    microsoft_graph: str
    portal: str
    key_vault: str
    registry: str


_PUBLIC = Cloud(
    "AzureCloud",
    "windows.net",
    "https://graph.windows.net/",
    "https://graph.microsoft.com/",
    "https://portal.azure.com/",
    "vault.azure.net",
    "azurecr.io",
)
_US_GOVERNMENT = Cloud(
    "AzureUSGovernment",
    "usgovcloudapi.net",
    "https://graph.windows.net/",
    "https://graph.microsoft.us/",
    "https://portal.azure.us/",
    "vault.usgovcloudapi.net",
    "azurecr.us",
)
_CHINA = Cloud(
    "AzureChinaCloud",
    "chinacloudapi.cn",
    "https://graph.chinacloudapi.cn/",
    "https://microsoftgraph.chinacloudapi.cn/",
    "https://portal.azure.cn/",
    "vault.azure.cn",
    "azurecr.cn",
)
_BY_SIGN_IN = {
    "login.microsoftonline.us": _US_GOVERNMENT,
    "login.chinacloudapi.cn": _CHINA,
    "login.partner.microsoftonline.cn": _CHINA,
}


@dataclass(frozen=True)
class Here:
    """The app's address, its audiences and its token issuer, for clients."""

    resource_manager: str
    audiences: tuple[str, ...]
    keys_url: str

    @property
    def sign_in(self) -> str:
        """Return the address of the authority that issues tokens for this app."""
        parts = urlsplit(self.keys_url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def cloud(self) -> Cloud:
        """Return the cloud of that authority; the public one where it is in none."""
        return _BY_SIGN_IN.get(urlsplit(self.keys_url).hostname or "", _PUBLIC)


def cloud_metadata(here: Here, api_version: str) -> Any:
    """Return the answer in the shape of an API version; the newest shape without one."""
    if not api_version or api_version >= _OBJECT_SINCE:
        return _entry(here)
    return [_entry(here)] if api_version >= _ARRAY_SINCE else _first_shape(here)


def _entry(here: Here) -> dict[str, Any]:
    cloud = here.cloud
    return {
        "name": cloud.name,
        "resourceManager": here.resource_manager,
        "portal": cloud.portal,
        "authentication": {
            "loginEndpoint": here.sign_in,
            "audiences": list(here.audiences),
            "tenant": "common",
            "identityProvider": "AAD",
        },
        "graph": cloud.graph,
        "graphAudience": cloud.graph,
        "microsoftGraphResourceId": cloud.microsoft_graph,
        "media": f"https://rest.media.{_media_domain(cloud)}",
        "batch": f"https://batch.{_core(cloud)}/",
        "sqlManagement": f"https://management.core.{cloud.domain}:8443/",
        "gallery": _gallery(cloud),
        "vmImageAliasDoc": "https://azcliprod.blob.core.windows.net/cli/vm/aliases.json",
        "suffixes": {
            "storage": f"core.{cloud.domain}",
            "sqlServerHostname": f"database.{cloud.domain}",
            "keyVaultDns": cloud.key_vault,
            "acrLoginServer": cloud.registry,
        },
    }


def _first_shape(here: Here) -> dict[str, Any]:
    return {
        "galleryEndpoint": _gallery(here.cloud),
        "graphEndpoint": here.cloud.graph,
        "portalEndpoint": here.cloud.portal,
        "graphAudience": here.cloud.graph,
        "authentication": {
            "loginEndpoint": here.sign_in,
            "audiences": list(here.audiences),
        },
    }


def _gallery(cloud: Cloud) -> str:
    domain = "azure.com" if cloud is _PUBLIC else cloud.domain
    return f"https://gallery.{domain}/"


def _media_domain(cloud: Cloud) -> str:
    return "azure.net" if cloud is _PUBLIC else cloud.domain


def _core(cloud: Cloud) -> str:
    return cloud.domain if cloud is _CHINA else f"core.{cloud.domain}"
