"""No keys, no connection strings, no way around the roles."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.infra.bicep import INFRA, ROOT, Text, read, resources, source, strings, walk

SHIPPED = sorted(
    path
    for folder in (INFRA, ROOT / ".github")
    for path in folder.rglob("*")
    if path.is_file() and path.suffix in {".bicep", ".json", ".sh", ".yml", ".yaml"}
)
FORBIDDEN = {
    "keys of a storage account": r"AccountKey|listKeys|listAccountSas|listServiceSas",
    "a callback URL, which carries its signature": r"listCallbackUrl\((?!\)\})",
    "a connection string": r"DefaultEndpointsProtocol|SharedAccessSignature|sig=",
    "a function key": r"x-functions-key|functionKeys|listHostKeys|masterKey",
    "a password or client secret": r"client_?secret(?!SettingName)|passwordCredentials|-----BEGIN",
}
# The built-in roles this deployment may assign, as Azure publishes them.
BUILT_IN = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3": "Storage Table Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
}
CLIENTS = {
    "04b07795-8ddb-461a-bbee-02f9e1bf7b46": "Azure CLI",
    "1950a258-227b-4e31-a9cf-717495945fc2": "Azure PowerShell",
}
GUID = re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.name))
def test_no_secret_is_read_or_written(path: Path) -> None:
    """Nothing deployed reads a key or carries one; NB. Logic Apps' own webhook call is its own."""
    text = path.read_text(encoding="utf-8")

    assert [what for what, form in FORBIDDEN.items() if re.search(form, text, re.IGNORECASE)] == []


def test_storage_takes_no_keys() -> None:
    """Shared keys are off, blobs are private, and only TLS 1.2 gets in."""
    accounts = resources("Microsoft.Storage/storageAccounts")

    assert len(accounts) == 3
    for account in accounts:
        held = account.body["properties"]
        assert held["allowSharedKeyAccess"] is False
        assert held["allowBlobPublicAccess"] is False
        assert held["supportsHttpsTrafficOnly"] is True
        assert held["minimumTlsVersion"] == "TLS1_2"


def test_telemetry_takes_no_keys() -> None:
    """The connection string of Application Insights opens nothing: it takes Entra tokens only."""
    (insights,) = resources("Microsoft.Insights/components")
    (workspace,) = resources("Microsoft.OperationalInsights/workspaces")

    assert insights.body["properties"]["DisableLocalAuth"] is True
    assert workspace.body["properties"]["features"]["disableLocalAuth"] is True


def test_every_storage_setting_goes_with_an_identity() -> None:
    """Where the app or the host is told of storage, it is told an address and an identity."""
    (site,) = resources("Microsoft.Web/sites")
    settings = {
        each["name"]: each["value"] for each in site.body["properties"]["siteConfig"]["appSettings"]
    }

    for prefix in ("AzureWebJobsStorage", "JitStorage"):
        assert prefix not in settings
        assert settings[f"{prefix}__credential"] == "managedidentity"
        assert settings[f"{prefix}__clientId"] == Text("hostClientId")


def test_the_app_is_reached_over_https_only() -> None:
    """No plain HTTP, no old TLS; Flex Consumption has no FTP."""
    (site,) = resources("Microsoft.Web/sites")
    held = site.body["properties"]

    assert held["httpsOnly"] is True
    assert held["siteConfig"]["minTlsVersion"] == "1.2"


def test_platform_authentication_refuses_who_brings_no_token() -> None:
    """In front stands a 401, not a sign-in page, for our own audiences only."""
    (config,) = resources("Microsoft.Web/sites/config")
    held = config.body["properties"]
    entra = held["identityProviders"]["azureActiveDirectory"]

    assert held["platform"]["enabled"] == Text("platformAuthentication")
    assert read(INFRA / "main.bicep").parameters["platformAuthentication"].default is True
    assert held["globalValidation"]["requireAuthentication"] is True
    assert held["globalValidation"]["unauthenticatedClientAction"] == "Return401"
    assert entra["validation"]["allowedAudiences"] == [Text("clientId"), Text("idUri")]
    assert "clientSecretSettingName" not in entra["registration"]


def test_platform_authentication_lets_named_clients_through() -> None:
    """Without the list every valid token gets a bare 403: ours, the relay's, those named, and more."""
    (config,) = resources("Microsoft.Web/sites/config")
    validation = config.body["properties"]["identityProviders"]["azureActiveDirectory"][
        "validation"
    ]
    main = read(INFRA / "main.bicep")
    (app,) = (module for module in main.modules if module.symbol == "app")

    assert validation["defaultAuthorizationPolicy"] == {
        "allowedApplications": Text("allowedClients")
    }
    assert app.parameters["allowedClients"] == Text(
        "union([clientId, identities.outputs.relayClientId], preAuthorizedClients, "
        "pageClients, moreClients)"
    )
    assert main.variables["moreClients"] == Text(
        "empty(allowedClients) ? [] : split(replace(allowedClients, ' ', ''), ',')"
    )
    relay = read(INFRA / "modules" / "identities.bicep").outputs["relayClientId"]
    assert relay == Text("relay.properties.clientId")


def test_clients_that_need_no_consent_are_the_tools_of_the_documents() -> None:
    """Azure CLI and Azure PowerShell get a token without an administrator's consent."""
    assert read(INFRA / "main.bicep").parameters["preAuthorizedClients"].default == [*CLIENTS]


def test_every_guid_is_known() -> None:
    """A role or client named by GUID is on a list that says what it is."""
    found = {
        match.lower()
        for path in INFRA.rglob("*.bicep")
        for match in GUID.findall(path.read_text(encoding="utf-8"))
    }

    assert found == {*BUILT_IN, *CLIENTS}


def test_built_in_roles_carry_the_names_they_are_used_under() -> None:
    """Each role's GUID stands under a variable that names it."""
    for file in ("storage", "package", "monitoring"):
        for name, held in read(INFRA / "modules" / f"{file}.bicep").variables.items():
            if isinstance(held, str) and GUID.fullmatch(held):
                spelled = re.sub(r"([A-Z])", r" \1", name).lower()
                assert all(word in BUILT_IN[held].lower() for word in spelled.split()), name


def test_assignments_are_named_by_who_what_and_where() -> None:
    """A redeployment finds its assignments again, and two of them never share a name."""
    for found in resources("Microsoft.Authorization/roleAssignments"):
        name = found.body["name"]
        assert isinstance(name, Text)
        where, who, what = name.source.removeprefix("guid(").removesuffix(")").split(", ")
        assert where.endswith((".id", "().id"))
        assert Text(who) == found.body["properties"]["principalId"]
        assert what in found.body["properties"]["roleDefinitionId"].source
        assert found.body["properties"]["principalType"] == "ServicePrincipal"


def test_the_host_s_identity_holds_nothing_at_arm() -> None:
    """Three identities: the one that has the storage cannot write a rule, nor read roles."""
    held: dict[str, set[str]] = {}
    for found in resources("Microsoft.Authorization/roleAssignments"):
        who = found.body["properties"]["principalId"].source
        what = re.findall(r"roleDefinitions', (\w+)\)", _role(found.body))[0]
        held.setdefault(who, set()).add(what)

    assert held == {
        "hostPrincipalId": {
            "blobDataOwner",
            "queueDataContributor",
            "tableDataContributor",
            "metricsPublisher",
            "auditExporter",  # data actions only: tests/infra/test_audit_account.py
        },
        # On the probe alone; the scopes are the hook's, see test_rights.py.
        "networkPrincipalId": {"networkRoleName"},
        "deployerPrincipalId": {"blobDataContributor"},
    }


def _role(body: dict[str, Any]) -> str:
    return str(body["properties"]["roleDefinitionId"].source)


def _access(symbol: str) -> dict[str, Any]:
    (workflow,) = (
        found for found in resources("Microsoft.Logic/workflows") if found.symbol == symbol
    )
    named = workflow.body["properties"]["accessControl"]["triggers"]
    module = "notifications" if symbol == "notifications" else "approval"
    access: dict[str, Any] = read(INFRA / "modules" / f"{module}.bicep").variables[named.source]
    return access


@pytest.mark.parametrize("symbol", ["approval", "frontDoor", "notifications"])
def test_no_signed_address_starts_a_workflow(symbol: str) -> None:
    """A reader of a trigger's callback URL still needs a token that the policy below takes."""
    assert _access(symbol)["sasAuthenticationPolicy"] == {"state": "Disabled"}


@pytest.mark.parametrize("symbol", ["approval", "notifications"])
def test_only_the_host_may_start_the_approval_workflow(symbol: str) -> None:
    """The trigger takes a token of our tenant, for our API, of the host's identity."""
    access = _access(symbol)
    (policy,) = access["openAuthenticationPolicies"]["policies"].values()

    assert {claim["name"]: claim["value"] for claim in policy["claims"]} == {
        "iss": Text("issuer"),
        "aud": Text("clientId"),
        "oid": Text("hostPrincipalId"),
    }


def test_the_front_door_takes_people_only() -> None:
    """Its trigger reads the person from the token, so a token without a person is refused."""
    access = _access("frontDoor")
    (policy,) = access["openAuthenticationPolicies"]["policies"].values()
    claims = {claim["name"]: claim["value"] for claim in policy["claims"]}

    assert claims["scp"] == "user_impersonation"
    assert claims["aud"] == Text("clientId")


def test_no_url_of_a_cloud_is_written_down_but_two() -> None:
    """Sovereign clouds work: addresses come from environment(), but the v1 issuer and the app's."""
    written = {
        match
        for path in INFRA.rglob("*.bicep")
        for node in walk(read(path).root)
        if node.type == "string_content"
        for match in re.findall(r"https://[\w.]+|[\w$}{-]*\.azurewebsites\.net", source(node))
    }

    assert written - {"https://"} <= {
        "https://sts.windows.net",
        ".azurewebsites.net",
        "http://schemas.microsoft.com",
    }


def test_tags_tell_the_installation() -> None:
    """Every resource carries azd's tag and the deployment id, so that leftovers can be found."""
    main = read(INFRA / "main.bicep")

    assert set(main.variables["tags"]) == {"azd-env-name", "jit-deployment"}
    for module in main.modules:
        if "location" in module.parameters:
            assert module.parameters["tags"] == Text("tags"), module.symbol


def test_texts_are_ascii() -> None:
    """Names and descriptions pass every portal and console unharmed."""
    for path in INFRA.rglob("*.bicep"):
        for text in strings([each.body for each in read(path).resources]):
            assert text.isascii(), (path.name, text)
