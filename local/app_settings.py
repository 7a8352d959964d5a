"""The app settings that the local stack gives to the app."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.arm.estate import read_estate
from local.aws.identity import ROLE
from local.issuer import AUDIENCE, TENANT_ID

# Where an estate is empty or names no subscription.
_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
_PROBE_NSG = "jit-probe"
AWS_AUDIENCE = "5d9c7f3e-2b1a-4c6d-8e0f-9a7b6c5d4e3f"  # a client id, as the role's trust names it
PAGE_CLIENT_ID = "0a9e0000-0000-4000-8000-000000000001"
# `func start` adds these itself, and stops where local.settings.json holds one as well
# (StartHostAction.GetConfigurationSettings).
ADDED_BY_CORE_TOOLS = frozenset(
    {
        "AZURE_FUNCTIONS_ENVIRONMENT",
        "AZUREWEBJOBSSCRIPTROOT",
        "FUNCTIONS_CORETOOLS_ENVIRONMENT",
        "WEBSITE_HOSTNAME",
    }
)


@dataclass(frozen=True)
class Addresses:
    """Where the parts of a running stack are."""

    storage: str
    arm: str
    issuer: str
    aws: str = ""  # empty: the stack has none


def app_environment(at: Addresses, estate: Path | Mapping[str, Any]) -> dict[str, str]:
    """Return the app settings, under the names that they have in Azure."""
    tenant = f"{at.issuer}/{TENANT_ID}"
    resources = _resource_ids(estate)
    return {
        "AzureWebJobsStorage": at.storage,
        "JitStorage": at.storage,
        "FUNCTIONS_WORKER_RUNTIME": "python",
        "AZURE_FUNCTIONS_ENVIRONMENT": "Development",
        "PYTHON_THREADPOOL_THREAD_COUNT": "80",
        # Without it the platform's own page shows at `/` where the app has no route.
        "AzureWebJobsDisableHomepage": "true",
        "JIT_ARM_URL": at.arm,
        "JIT_TENANT_ID": TENANT_ID,
        "JIT_AUDIENCE": AUDIENCE,
        "JIT_ISSUERS": f"{tenant}/v2.0,{tenant}/",
        "JIT_JWKS_URL": f"{tenant}/discovery/v2.0/keys",
        "JIT_PAGE_CLIENT_ID": PAGE_CLIENT_ID,
        "JIT_PAGE_AUTHORITY_METADATA": _authority_metadata(at.issuer),
        "JIT_SCOPES": f"/subscriptions/{_subscription(resources)}",
        "JIT_DEPLOYMENT_ID": "local1",
        "JIT_MIN_DURATION": "PT1S",
        "JIT_PROBE_NSG": _probe_nsg(resources),
        "JIT_NSG_WRITE": "auto",
        "JIT_MACHINES_CACHE_SECONDS": "0",  # a change in the simulator shows at once
        "JIT_FIREWALL_SCOPES": ",".join(_hubs(resources)),
        "JIT_FIREWALL_CLASSIC_SCOPES": ",".join(_classic_firewalls(estate)),
        "JIT_FIREWALL_MIN_DURATION": "PT1S",
        "JIT_FIREWALL_POLL": "PT1S",
        **(_aws_environment(at, _subscription(resources)) if at.aws else {}),
    }


def aws_connector(subscription: str) -> str:
    """Return the id of the connector that stands for the AWS account."""
    group = f"/subscriptions/{subscription}/resourceGroups/aws-rg"
    return f"{group}/providers/Microsoft.Security/securityConnectors/aws-prod"


def _aws_environment(at: Addresses, subscription: str) -> dict[str, str]:
    """Return the settings of the AWS account, and where the platform gives out identities."""
    account = {
        "connector": aws_connector(subscription),
        "role": ROLE,
        "regions": ["eu-central-1", "eu-west-1"],
        "attach": "app",
    }
    return {
        "JIT_AWS_ACCOUNTS": json.dumps([account]),
        "JIT_AWS_AUDIENCE": AWS_AUDIENCE,
        "JIT_AWS_URL": at.aws,
        "IDENTITY_ENDPOINT": f"{at.issuer}/msi/token",
        "IDENTITY_HEADER": "local",
    }


def local_settings(environment: Mapping[str, str], port: int) -> str:
    """Return the text of a local.settings.json for Azure Functions Core Tools."""
    values = {
        name: value
        for name, value in environment.items()
        if name.upper() not in ADDED_BY_CORE_TOOLS
    }
    content = {
        "IsEncrypted": False,
        "Values": values,
        "Host": {"LocalHttpPort": port},
    }
    return json.dumps(content, indent=2) + "\n"


def _authority_metadata(issuer: str) -> str:
    """Return the issuer's endpoints, in the form that msal-browser takes for production's."""
    tenant = f"{issuer}/{TENANT_ID}"
    return json.dumps(
        {
            "issuer": f"{tenant}/v2.0",
            "authorization_endpoint": f"{tenant}/oauth2/v2.0/authorize",
            "token_endpoint": f"{tenant}/oauth2/v2.0/token",
            "jwks_uri": f"{tenant}/discovery/v2.0/keys",
        }
    )


def _resource_ids(estate: Path | Mapping[str, Any]) -> list[str]:
    content = read_estate(estate) if isinstance(estate, Path) else estate
    return [str(resource["id"]) for resource in content["resources"] if "id" in resource]


def _subscription(resource_ids: list[str]) -> str:
    subscriptions = (
        parts[2]
        for parts in (resource_id.split("/") for resource_id in resource_ids)
        if len(parts) > 2 and parts[1].lower() == "subscriptions"  # noqa: PLR2004  "", name, id
    )
    return next(subscriptions, _SUBSCRIPTION)


def _hubs(resource_ids: list[str]) -> list[str]:
    """Return the resource groups that hold Azure Firewalls; no other estate looks for any."""
    hubs = (each for each in resource_ids if "/azurefirewalls/" in each.lower())
    return sorted({"/".join(each.split("/")[:5]) for each in hubs})


def _classic_firewalls(estate: Path | Mapping[str, Any]) -> list[str]:
    """Return the firewalls without a policy."""
    content = read_estate(estate) if isinstance(estate, Path) else estate
    return [
        str(each["id"])
        for each in content["resources"]
        if str(each.get("type", "")).lower() == "microsoft.network/azurefirewalls"
        and not each["properties"].get("firewallPolicy")
    ]


def _probe_nsg(resource_ids: list[str]) -> str:
    suffix = f"/networksecuritygroups/{_PROBE_NSG}"
    return next((found for found in resource_ids if found.lower().endswith(suffix)), "")
