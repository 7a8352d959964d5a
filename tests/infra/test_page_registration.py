"""The page's own registration in Entra: public, bound to one address, and allowed on the API."""

import re

from tests.infra.bicep import INFRA, PAGE_REGISTRATION, Text, read

MAIN = read(INFRA / "main.bicep")
SOURCE = PAGE_REGISTRATION.read_text(encoding="utf-8")


def test_the_registration_is_public_and_leads_back_to_the_page_alone() -> None:
    """A single-page application with one address; no secret, certificate, role or other platform."""
    assert re.search(r"spa: \{\s+redirectUris: \[redirectUri\]\s+\}", SOURCE)
    assert "signInAudience: 'AzureADMyOrg'" in SOURCE
    for word in ("Credentials", "appRoles", "web:", "publicClient", "implicitGrant"):
        assert word not in SOURCE
    (page,) = [each for each in MAIN.modules if each.symbol == "pageRegistration"]
    assert page.parameters["redirectUri"] == Text("pageUrl")
    assert MAIN.variables["pageUrl"] == Text("'${empty(publicUrl) ? apiUrl : publicUrl}/ui/'")


def test_the_page_s_client_is_allowed_wherever_it_comes_from() -> None:
    """Created or named, the client is pre-authorized, let through, and what the page signs in with."""
    assert MAIN.variables["createsPage"] == Text("createAppRegistration && createPageRegistration")
    assert MAIN.variables["pageClients"] == Text(
        "createsPage ? [pageRegistration.outputs.clientId] : empty(pageClientId) ? [] : [pageClientId]"
    )
    modules = {each.symbol: each.parameters for each in MAIN.modules}
    assert modules["appRegistration"]["preAuthorizedClients"] == Text(
        "concat(preAuthorizedClients, pageClients)"
    )
    (app,) = [given for given in modules.values() if "allowedClients" in given]
    assert "pageClients" in app["allowedClients"].source
    assert app["pageClientId"] == Text("join(pageClients, '')")
