"""Settings that Flex Consumption refuses or ignores, compared with all that infra/ sets.

From Microsoft's reference "App settings reference for Azure Functions", section "Flex Consumption plan
deprecations", and from refusals of ARM itself (code 51021, "site configuration properties ... for Flex
Consumption sites is invalid"), which newer regions send and older ones do not.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.bicep import INFRA, Resource, everywhere

# Properties of a site or of its siteConfig, in lower case.
PROPERTIES = frozenset(
    name.lower()
    for name in (
        "alwaysOn",
        "containerSize",
        "dailyMemoryTimeQuota",
        "dnsConfiguration",
        "ftpsState",
        "functionAppScaleLimit",
        "functionsRuntimeScaleMonitoringEnabled",
        "hyperV",
        "isReserved",
        "isXenon",
        "javaContainer",
        "javaContainerVersion",
        "javaVersion",
        "linuxFxVersion",
        "minimumElasticInstanceCount",
        "netFrameworkVersion",
        "nodeVersion",
        "numberOfWorkers",
        "phpVersion",
        "powerShellVersion",
        "preWarmedInstanceCount",
        "pythonVersion",
        "use32BitWorkerProcess",
        "vnetBackupRestoreEnabled",
        "vnetContentShareEnabled",
        "vnetImagePullEnabled",
        "vnetRouteAllEnabled",
        "windowsFxVersion",
    )
)
SETTINGS = frozenset(
    {
        "ENABLE_ORYX_BUILD",
        "FUNCTIONS_EXTENSION_VERSION",
        "FUNCTIONS_MAX_HTTP_CONCURRENCY",
        "FUNCTIONS_WORKER_DYNAMIC_CONCURRENCY_ENABLED",
        "FUNCTIONS_WORKER_PROCESS_COUNT",
        "FUNCTIONS_WORKER_RUNTIME",
        "FUNCTIONS_WORKER_RUNTIME_VERSION",
        "SCM_DO_BUILD_DURING_DEPLOYMENT",
        "TZ",
        "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
        "WEBSITE_CONTENTOVERVNET",
        "WEBSITE_CONTENTSHARE",
        "WEBSITE_DNS_SERVER",
        "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
        "WEBSITE_NODE_DEFAULT_VERSION",
        "WEBSITE_RUN_FROM_PACKAGE",
        "WEBSITE_SKIP_CONTENTSHARE_VALIDATION",
        "WEBSITE_TIME_ZONE",
        "WEBSITE_VNET_ROUTE_ALL",
    }
)
SITE = "Microsoft.Web/sites"
EXTRAS = json.loads((INFRA / "extras" / "extras.json").read_text(encoding="utf-8"))


def _sites() -> list[Resource]:
    """Return every site, and what lies below a site: each can carry these properties."""
    return [
        found for file in everywhere() for found in file.resources if found.type.startswith(SITE)
    ]


def _keys(value: Any) -> Iterator[str]:
    """Go through the names of properties; an app setting is a value and none of them."""
    if isinstance(value, dict):
        for name, child in value.items():
            yield name
            yield from _keys(child)
    elif isinstance(value, list):
        for child in value:
            yield from _keys(child)


def _settings(value: Any) -> Iterator[str]:
    """Go through the names of app settings, as a list and as a config of their own."""
    if isinstance(value, dict):
        for name, child in value.items():
            if name == "appSettings" and isinstance(child, list):
                yield from (str(each["name"]) for each in child)
            yield from _settings(child)


def refused(body: Any, *, is_settings: bool = False) -> set[str]:
    """Name what Flex Consumption does not take of a resource's body."""
    names = set(_keys(body))
    settings = {*_settings(body), *(names if is_settings else ())}
    return {name for name in names if name.lower() in PROPERTIES} | {
        name for name in settings if name.upper() in SETTINGS
    }


def test_no_site_sets_what_flex_consumption_refuses() -> None:
    """Neither the site nor a config below it has such a property or setting, however it is spelled."""
    sites = _sites()

    assert sites
    for site in sites:
        is_settings = site.body.get("name") == "appsettings"
        assert refused(site.body, is_settings=is_settings) == set(), site.symbol


def test_extras_set_nothing_that_flex_consumption_refuses() -> None:
    """The template beside Bicep keeps to the same list, and asks for no policy about FTP."""
    sites = [each for each in EXTRAS["resources"] if each["type"].startswith(SITE)]

    assert sites
    for site in sites:
        assert refused(site) == set()
        assert "/ftp" not in site["name"]


@pytest.mark.parametrize(
    "body",
    [
        {"properties": {"siteConfig": {"ftpsState": "Disabled"}}},
        {"properties": {"siteConfig": {"FtpsState": "FtpsOnly"}}},
        {"properties": {"IsXenon": False}},
        {"properties": {"vnetRouteAllEnabled": True}},
        {"properties": {"siteConfig": {"appSettings": [{"name": "FUNCTIONS_WORKER_RUNTIME"}]}}},
        {"properties": {"siteConfig": {"appSettings": [{"name": "Website_Run_From_Package"}]}}},
    ],
)
def test_the_list_notices_each_form(body: dict[str, Any]) -> None:
    """A property on the site or in its config, and a setting in any case of letters, are found."""
    assert len(refused(body)) == 1
