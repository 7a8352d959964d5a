"""Settings from the environment, each bound pinned; names and documents have their own test."""

import re
from datetime import timedelta

import pytest

from shared.settings import Settings, SettingsError, read_settings
from tests.world import GROUP, NSG_NIC, SUBSCRIPTION, WEB

TENANT = "22222222-2222-4222-8222-222222222222"
LEAST = {
    "JIT_DEPLOYMENT_ID": "test1",
    "JIT_TENANT_ID": TENANT,
    "JIT_AUDIENCE": "api://jit",
    "JIT_SCOPES": f"/subscriptions/{SUBSCRIPTION}",
}


@pytest.fixture(autouse=True)
def _least(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from the least that has to be said, whatever the machine's environment says."""
    for name in [*Settings.model_fields, *("Storage", "Storage__clientId")]:
        monkeypatch.delenv(f"JIT_{name.upper()}", raising=False)
        monkeypatch.delenv(f"Jit{name}", raising=False)
    for name, value in LEAST.items():
        monkeypatch.setenv(name, value)


def read(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> Settings:
    """Read the settings with one of them set."""
    monkeypatch.setenv(name, value)
    return read_settings()


def test_the_least_that_has_to_be_said() -> None:
    """Everything else has a default that is safe."""
    settings = read_settings()
    assert settings.deployment_id == "test1"
    assert settings.audience == ("api://jit",)
    assert settings.scopes == (f"/subscriptions/{SUBSCRIPTION}",)
    assert (settings.min_duration, settings.max_duration) == (
        timedelta(minutes=5),
        timedelta(days=1),
    )
    assert (settings.widest_ipv4, settings.widest_ipv6) == (24, 48)
    assert settings.nsg_write == "auto"
    assert not settings.is_local


def test_everything_that_is_wrong_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting by its own name, and no value: it may be a secret."""
    for name in LEAST:
        monkeypatch.delenv(name)
    monkeypatch.setenv("JIT_ALLOW_FROM", "many-secrets")
    with pytest.raises(SettingsError) as raised:
        read_settings()
    told = str(raised.value)
    assert re.findall(r"(JIT_\w+): ", told) == [*LEAST, "JIT_ALLOW_FROM"]
    assert "many-secrets" not in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JIT_DEPLOYMENT_ID", "abcd"),
        ("JIT_DEPLOYMENT_ID", "a" + "0" * 15),
        ("JIT_AUDIENCE", "api://jit, 33333333-3333-4333-8333-333333333333"),
        ("JIT_SCOPES", f"{GROUP},{WEB}"),
        ("JIT_SCOPES", GROUP.upper()),
        ("JIT_RULE_PREFIX", "a"),
        ("JIT_RULE_PREFIX", "a" * 28),
        ("JIT_RULE_PREFIX", "0_.-a"),
        ("JIT_ALLOW_FROM", "100"),
        ("JIT_ALLOW_FROM", "989"),
        ("JIT_NSG_WRITE", "rules"),
        ("JIT_PROBE_NSG", ""),
        ("JIT_PROBE_NSG", NSG_NIC),
        ("JIT_MIN_DURATION", "PT1S"),
        ("JIT_MAX_DURATION", "P1D"),
        ("JIT_MAX_DURATION", "PT24H"),
        ("JIT_MAX_DURATION", "PT5M"),
        ("JIT_WIDEST_IPV4", "8"),
        ("JIT_WIDEST_IPV4", "32"),
        ("JIT_WIDEST_IPV6", "16"),
        ("JIT_WIDEST_IPV6", "128"),
        ("JIT_TRUSTED_PROXIES", "0"),
        ("JIT_TRUSTED_PROXIES", "5"),
        ("JIT_CALLS_PER_MINUTE", "10"),
        ("JIT_CALLS_PER_MINUTE", "10000"),
        ("JIT_MAX_OPEN_PER_CALLER", "1"),
        ("JIT_MAX_OPEN_PER_CALLER", "800"),
        ("JIT_ACTIVITY_DAYS", "0"),
        ("JIT_ACTIVITY_DAYS", "30"),
        ("JIT_ACTIVITY_DAYS", "3650"),
        ("JIT_REQUEST_DAYS", "0"),
        ("JIT_REQUEST_DAYS", "8"),
        ("JIT_REQUEST_DAYS", "3650"),
        ("JIT_ARM_URL", "https://management.usgovcloudapi.net"),
        ("JIT_ARM_URL", "http://127.0.0.1:8080"),
        ("JIT_ARM_URL", "http://localhost:8080"),
        ("JIT_ARM_URL", "http://[::1]:8080"),
        ("JIT_JWKS_URL", "http://127.0.0.1:8080/keys"),
        ("JIT_JWKS_URL", ""),
        ("JIT_EVENTS_URL", ""),
        ("JIT_EVENTS_URL", "https://hooks.example.com/jit/?code=1"),
        ("JIT_EVENTS_URL", "http://127.0.0.1:8080/hook"),
        ("JIT_EVENTS_KEY", "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)"),
        ("JIT_AUDIT_CONTAINER", ""),
        ("JIT_AUDIT_CONTAINER", "https://account.blob.core.windows.net/audit"),
        ("JIT_AUDIT_CONTAINER", "https://account.blob.core.windows.net/audit/"),
        ("JIT_AUDIT_CONTAINER", "http://127.0.0.1:10000/devstoreaccount1/audit?sv=1&sig=2"),
    ],
)
def test_what_may_be_said(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """The ends of each range belong to it."""
    assert isinstance(read(monkeypatch, name, value), Settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JIT_DEPLOYMENT_ID", "abc"),
        ("JIT_DEPLOYMENT_ID", "a" + "0" * 16),
        ("JIT_DEPLOYMENT_ID", "Abcd"),
        ("JIT_DEPLOYMENT_ID", "0abc"),
        ("JIT_DEPLOYMENT_ID", "ab-cd"),
        ("JIT_DEPLOYMENT_ID", "abcd\n"),
        ("JIT_TENANT_ID", "contoso.onmicrosoft.com"),
        ("JIT_TENANT_ID", f"{TENANT}0"),
        ("JIT_TENANT_ID", "common"),
        ("JIT_AUDIENCE", ""),
        ("JIT_AUDIENCE", " , "),
        ("JIT_SCOPES", ""),
        ("JIT_SCOPES", "/"),
        ("JIT_SCOPES", "/subscriptions"),
        ("JIT_SCOPES", "/subscriptions/"),
        ("JIT_SCOPES", SUBSCRIPTION),
        ("JIT_SCOPES", f"{GROUP},/providers/Microsoft.Management/managementGroups/contoso"),
        ("JIT_SCOPES", f"/subscriptions/{SUBSCRIPTION}/resourceGroups"),
        ("JIT_SCOPES", f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{'a' * 91}"),
        ("JIT_RULE_PREFIX", ""),
        ("JIT_RULE_PREFIX", "-a"),
        ("JIT_RULE_PREFIX", "a" * 29),
        ("JIT_RULE_PREFIX", "a b"),
        ("JIT_ALLOW_FROM", "99"),
        ("JIT_ALLOW_FROM", "990"),
        ("JIT_ALLOW_FROM", "200.5"),
        ("JIT_NSG_WRITE", "whole"),
        ("JIT_PROBE_NSG", WEB),
        ("JIT_PROBE_NSG", "probe"),
        ("JIT_MIN_DURATION", "5 minutes"),
        ("JIT_MIN_DURATION", "P1M"),
        ("JIT_MAX_DURATION", "PT0S"),
        ("JIT_MAX_DURATION", "PT86401S"),
        ("JIT_MAX_DURATION", "P2D"),
        ("JIT_WIDEST_IPV4", "7"),
        ("JIT_WIDEST_IPV4", "33"),
        ("JIT_WIDEST_IPV6", "15"),
        ("JIT_WIDEST_IPV6", "129"),
        ("JIT_TRUSTED_PROXIES", "-1"),
        ("JIT_TRUSTED_PROXIES", "6"),
        ("JIT_CALLS_PER_MINUTE", "9"),
        ("JIT_CALLS_PER_MINUTE", "10001"),
        ("JIT_MAX_OPEN_PER_CALLER", "0"),
        ("JIT_MAX_OPEN_PER_CALLER", "801"),
        ("JIT_ACTIVITY_DAYS", ""),
        ("JIT_ACTIVITY_DAYS", "-1"),
        ("JIT_ACTIVITY_DAYS", "29"),
        ("JIT_ACTIVITY_DAYS", "3651"),
        ("JIT_REQUEST_DAYS", ""),
        ("JIT_REQUEST_DAYS", "7"),
        ("JIT_REQUEST_DAYS", "3651"),
        ("JIT_ARM_URL", "http://management.azure.com"),
        ("JIT_ARM_URL", "http://127.0.0.1.example.com"),
        ("JIT_ARM_URL", "http://localhost@example.com"),
        ("JIT_ARM_URL", "management.azure.com"),
        ("JIT_JWKS_URL", "http://login.example.com/keys"),
        ("JIT_LOGIC_APP_URL", "http://prod.logic.example.com/hook"),
        ("JIT_EVENTS_URL", "http://hooks.example.com/jit"),
        ("JIT_EVENTS_URL", "https://user@hooks.example.com/jit"),
        ("JIT_EVENTS_URL", "https://hooks.example.com/jit#part"),
        ("JIT_EVENTS_URL", "https:///jit"),
        ("JIT_EVENTS_URL", "hooks.example.com"),
        ("JIT_AUDIT_CONTAINER", "http://account.blob.core.windows.net/audit"),
        ("JIT_AUDIT_CONTAINER", "https://account.blob.core.windows.net"),
        ("JIT_AUDIT_CONTAINER", "https://account.blob.core.windows.net/audit?sv=1&sig=2"),
        ("JIT_AUDIT_CONTAINER", "https://user@account.blob.core.windows.net/audit"),
        ("JIT_AUDIT_CONTAINER", "account/audit"),
    ],
)
def test_what_stops_the_app(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """One step beyond each range, and every other shape, is told by the setting's name."""
    with pytest.raises(SettingsError, match=f"^{name}: "):
        read(monkeypatch, name, value)


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces and empty parts between them mean nothing."""
    audience = read(monkeypatch, "JIT_AUDIENCE", " api://one ,, api://two,").audience
    assert audience == ("api://one", "api://two")


def test_a_last_slash_means_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses and scopes are joined to what follows, whichever way they were written."""
    assert read(monkeypatch, "JIT_ARM_URL", "https://arm.example/").arm_url == "https://arm.example"
    assert read(monkeypatch, "JIT_SCOPES", f"{WEB}/").scopes == (WEB,)


def test_the_issuers_are_those_of_the_tenant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both versions of tokens, exactly; a setting that names others means those alone."""
    settings = read_settings()
    assert settings.accepted_issuers == (
        f"https://login.microsoftonline.com/{TENANT}/v2.0",
        f"https://sts.windows.net/{TENANT}/",
    )
    assert settings.keys_url == (f"https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys")
    own = read(monkeypatch, "JIT_ISSUERS", "https://issuer.example/")
    assert own.accepted_issuers == ("https://issuer.example/",)
    own = read(monkeypatch, "JIT_JWKS_URL", "https://issuer.example/keys")
    assert own.keys_url == "https://issuer.example/keys"


def test_the_storage_is_named_as_the_host_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection string, or addresses and an identity."""
    monkeypatch.setenv("JitStorage", "UseDevelopmentStorage=true")
    monkeypatch.setenv("JitStorage__tableServiceUri", "https://t.example")
    monkeypatch.setenv("JitStorage__queueServiceUri", "https://q.example")
    settings = read(monkeypatch, "JitStorage__clientId", TENANT)
    assert settings.storage == "UseDevelopmentStorage=true"
    assert settings.storage_tables == "https://t.example"
    assert settings.storage_queues == "https://q.example"
    assert settings.storage_client_id == TENANT


def test_the_simulator_is_told_by_plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real ARM is https, and takes a real token."""
    assert read(monkeypatch, "JIT_ARM_URL", "http://127.0.0.1:8080").is_local
    assert not read(monkeypatch, "JIT_ARM_URL", "https://127.0.0.1:8080").is_local


def test_settings_do_not_change_once_read() -> None:
    """They are read once, and handed around."""
    with pytest.raises(ValueError, match="frozen"):
        read_settings().allow_from = 300
