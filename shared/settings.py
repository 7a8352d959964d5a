"""The environment, validated and read once. Names and meanings: docs/settings.md."""

import re
from datetime import timedelta
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.domain.aws_accounts import AwsAccounts, read_accounts
from shared.domain.identities import Identities, read_identities
from shared.domain.ids import is_scope, parse_id
from shared.domain.network import network
from shared.domain.policy import Limits
from shared.domain.times import format_duration, parse_duration
from shared.firewalls.nsg.model import NSG_TYPE

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


# Plain segments only: no user, query or fragment, nothing that a client would resolve or decode.
_PUBLIC = re.compile(
    r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/(?!\.{1,2}(?:/|$))[\w.~-]+)*/?",
    re.ASCII,
)

_CONTAINER = re.compile(r"https://[A-Za-z0-9.-]+/[a-z0-9][a-z0-9-]{2,62}/?", re.ASCII)


_FIRST_RESERVED_PORT = 64_000  # of Azure Firewall


def entry_ports(text: str) -> tuple[int, int]:
    """Return the first and the last port of a range such as 20000-29999."""
    first, _, last = text.partition("-")
    return int(first), int(last)


def _has_valid_port(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _split(text: object) -> object:
    if isinstance(text, str):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    return text


def _duration(text: object) -> object:
    return parse_duration(text) if isinstance(text, str) else text


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]


class Settings(BaseSettings):
    """The deployer's settings. A setting that is wrong stops the app, with its name."""

    model_config = SettingsConfigDict(env_prefix="JIT_", extra="ignore", frozen=True)

    deployment_id: str = Field(pattern=r"^[a-z][a-z0-9]{3,15}$")
    tenant_id: str = Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
    audience: Annotated[Listed, Field(min_length=1)]
    scopes: Annotated[Listed, Field(min_length=1)]
    issuers: Listed = ()
    jwks_url: str = ""
    token_scope: str = "user_impersonation"  # noqa: S105 - a scope's name
    arm_url: str = "https://management.azure.com"
    network_client_id: str = ""
    network_client_ids: str = ""
    reader_client_id: str = ""
    authorizer_client_id: str = ""
    rule_prefix: str = Field("SecurityCenter-JITRule", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,27}$")
    allow_from: int = Field(200, ge=100, le=989)
    nsg_write: Literal["auto", "rules"] = "auto"
    probe_nsg: str = ""
    logic_app_url: str = ""
    logic_app_audience: str = "https://management.azure.com"
    trusted_proxies: int = Field(0, ge=0, le=5)
    public_url: str = ""
    page_client_id: str = ""
    page_authority: str = "https://login.microsoftonline.com"
    page_authority_metadata: str = ""
    proxies_only: bool = False
    machines_cache_seconds: int = Field(30, ge=0, le=300)
    calls_per_minute: int = Field(120, ge=10, le=10_000)
    min_duration: Duration = timedelta(minutes=5)
    max_duration: Duration = timedelta(days=1)
    widest_ipv4: int = Field(24, ge=8, le=32)
    widest_ipv6: int = Field(48, ge=16, le=128)
    max_open_per_caller: int = Field(100, ge=1, le=800)
    activity_days: int = Field(365, ge=0, le=3650)
    request_days: int = Field(90, ge=0, le=3650)
    audit_container: str = ""
    events_url: str = ""
    closing_soon_minutes: int = Field(15, ge=0, le=1440)
    disconnect_bastion_sessions: bool = False
    events_key: str = Field("", repr=False)  # checked when it is used: it must not stop the app
    # Azure Firewall: docs/azure-firewall.md. Without scopes none is looked for.
    firewall_scopes: Listed = ()
    firewall_classic_scopes: Listed = ()
    firewall_ports: str = Field("20000-29999", pattern=r"^[0-9]{1,5}-[0-9]{1,5}$")
    firewall_group_priority: int = Field(150, ge=100, le=65_000)
    firewall_empty_group: Literal["delete", "keep"] = "delete"
    firewall_share_ports: bool = False
    firewall_public_address: str = ""
    firewall_min_duration: Duration = timedelta(minutes=15)
    firewall_poll: Duration = timedelta(seconds=10)

    # AWS: docs/aws.md. Without accounts no instance of EC2 is known.
    aws_accounts: str = ""
    aws_audience: str = ""
    aws_url: str = ""

    # The Functions host's own naming: one connection string locally, addresses and an identity
    # in Azure.
    storage: str = Field("", validation_alias="JitStorage")
    storage_tables: str = Field("", validation_alias="JitStorage__tableServiceUri")
    storage_queues: str = Field("", validation_alias="JitStorage__queueServiceUri")
    storage_client_id: str = Field("", validation_alias="JitStorage__clientId")

    @field_validator("scopes", "firewall_scopes", "firewall_classic_scopes")
    @classmethod
    def _scopes_are_ids(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        for scope in scopes:
            if not is_scope(scope.rstrip("/")):
                raise ValueError(
                    f"{scope!r} is not a subscription, group or resource id; names are written "
                    "as Azure shows them, without percent encoding"
                )
        return tuple(scope.rstrip("/") for scope in scopes)

    @field_validator("firewall_ports")
    @classmethod
    def _ports_of_entries(cls, text: str) -> str:
        first, last = entry_ports(text)
        if not 1 <= first <= last < _FIRST_RESERVED_PORT:
            raise ValueError("must be two ports from 1 to 63999, the lower one first")
        return text

    @field_validator("firewall_public_address")
    @classmethod
    def _address_of_entries(cls, text: str) -> str:
        if text and (":" in text or "/" in text or network(text) is None):
            raise ValueError("must be an IPv4 address such as 20.1.2.3")
        return text

    @field_validator("firewall_min_duration", "firewall_poll")
    @classmethod
    def _not_negative(cls, length: timedelta, info: ValidationInfo) -> timedelta:
        longest = timedelta(minutes=5) if info.field_name == "firewall_poll" else timedelta(days=1)
        if not timedelta(seconds=1) <= length <= longest:
            raise ValueError(f"must be from PT1S to {format_duration(longest)}")
        return length

    @field_validator("aws_accounts")
    @classmethod
    def _accounts_are_whole(cls, text: str) -> str:
        read_accounts(text)
        return text

    @field_validator("network_client_ids")
    @classmethod
    def _client_ids(cls, text: str) -> str:
        read_identities(text)
        return text

    @field_validator("aws_url")
    @classmethod
    def _simulator_of_aws(cls, url: str) -> str:
        """Accept an address of this machine: EC2's own addresses come from the SDK."""
        if url and urlsplit(url).hostname not in _LOOPBACK:
            raise ValueError("must be empty, or a simulator on the local machine")
        return url.rstrip("/")

    @field_validator("probe_nsg")
    @classmethod
    def _probe_is_a_group(cls, probe: str) -> str:
        if probe:
            parse_id(probe, NSG_TYPE)
        return probe

    @field_validator("arm_url", "jwks_url", "logic_app_url", "page_authority")
    @classmethod
    def _no_plain_http(cls, url: str, info: ValidationInfo) -> str:
        """Accept plain HTTP on this machine only: tokens and keys never cross a network so."""
        parts = urlsplit(url)
        if (
            (url or info.field_name in {"arm_url", "page_authority"})
            and parts.scheme != "https"
            and parts.hostname not in _LOOPBACK
        ):
            raise ValueError("must be https, except on the local machine")
        return url.rstrip("/")

    @field_validator("audit_container")
    @classmethod
    def _container_address(cls, url: str) -> str:
        """Accept the address of a container; a signature in it only on the local machine."""
        parts = urlsplit(url)
        if not url:
            return ""
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise ValueError("must be https, except on the local machine")
        if parts.hostname not in _LOOPBACK and not _CONTAINER.fullmatch(url):
            raise ValueError(
                "must be the address of a container, such as "
                "https://account.blob.core.windows.net/audit, without a query"
            )
        return url.rstrip("/")

    @field_validator("events_url")
    @classmethod
    def _channel_address(cls, url: str) -> str:
        """Accept an address as it is, without a user or fragment."""
        parts = urlsplit(url)
        if url and parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise ValueError("must be https, except on the local machine")
        if url and (not parts.hostname or "@" in parts.netloc or parts.fragment):
            raise ValueError("must be an address without a user or fragment")
        return url

    @field_validator("public_url")
    @classmethod
    def _public_address(cls, url: str) -> str:
        """Accept the address of a proxy, with a path prefix that the proxy takes off, or none."""
        if not url:
            return ""
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise ValueError("must be https, except on the local machine")
        if not _PUBLIC.fullmatch(url) or not parts.hostname or not _has_valid_port(url):
            raise ValueError(
                "must be an address such as https://jit.contoso.com or "
                "https://contoso.com/jit, without a user, query or fragment"
            )
        return url.rstrip("/")

    @field_validator("max_duration")
    @classmethod
    def _a_day_at_most(cls, longest: timedelta, info: ValidationInfo) -> timedelta:
        if not timedelta(0) < longest <= timedelta(days=1):
            raise ValueError("must be longer than zero and at most P1D")
        if longest < info.data.get("min_duration", longest):
            raise ValueError("must not be shorter than JIT_MIN_DURATION")
        return longest

    @field_validator("activity_days", "request_days")
    @classmethod
    def _check_retention(cls, days: int, info: ValidationInfo) -> int:
        """Refuse what would delete the record of last week, or what a message is still about."""
        shortest = 30 if info.field_name == "activity_days" else 8
        if 0 < days < shortest:
            raise ValueError(f"must be 0, which means for ever, or at least {shortest}")
        return days

    @property
    def limits(self) -> Limits:
        """Return the bounds of every policy and request."""
        return Limits(self.min_duration, self.max_duration, self.widest_ipv4, self.widest_ipv6)

    @property
    def keep_activity(self) -> timedelta | None:
        """Return how long audit events are kept; None: for ever."""
        return timedelta(days=self.activity_days) if self.activity_days else None

    @property
    def keep_requests(self) -> timedelta | None:
        """Return how long requests are kept; None: for ever."""
        return timedelta(days=self.request_days) if self.request_days else None

    @property
    def network_identities(self) -> Identities:
        """Return the identities that share the calls to ARM."""
        return read_identities(self.network_client_ids)

    @property
    def aws(self) -> AwsAccounts:
        """Return the AWS accounts of this installation."""
        return read_accounts(self.aws_accounts)

    @property
    def reads_azure_firewalls(self) -> bool:
        """Tell whether Azure Firewalls are looked for at all."""
        return bool(self.firewall_scopes or self.firewall_classic_scopes)

    @property
    def accepted_issuers(self) -> tuple[str, ...]:
        """Return the exact issuers of this tenant's v2 and v1 tokens."""
        return self.issuers or (
            f"https://login.microsoftonline.com/{self.tenant_id}/v2.0",
            f"https://sts.windows.net/{self.tenant_id}/",
        )

    @property
    def keys_url(self) -> str:
        """Return where the tenant publishes its signing keys; never taken from a token."""
        return self.jwks_url or (
            f"https://login.microsoftonline.com/{self.tenant_id}/discovery/v2.0/keys"
        )

    @property
    def is_local(self) -> bool:
        """Tell whether ARM is the simulator on this machine, which takes no real token."""
        return urlsplit(self.arm_url).scheme == "http"

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return the problems of the settings, as far as they show."""
        if not self.trusted_proxies or self.proxies_only:
            return ()
        warning = (
            f"JIT_TRUSTED_PROXIES is {self.trusted_proxies}, and nothing says that only these "
            "proxies reach the app: a caller who reaches it directly chooses their own address"
        )
        return (warning,)


class SettingsError(Exception):
    """A setting is missing or wrong."""


def read_settings() -> Settings:
    """Read the environment; raises SettingsError with every setting that is wrong."""
    try:
        return Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        lines = (f"{_name(each['loc'])}: {each['msg']}" for each in error.errors())
        raise SettingsError("; ".join(lines)) from None


def _name(location: tuple[int | str, ...]) -> str:
    name = str(location[0])
    return name if name.startswith("Jit") else f"JIT_{name.upper()}"
