"""Amazon EC2 through botocore, with keys that STS gives for the managed identity's token.

No AWS secret is stored anywhere. The identity's Entra token is exchanged for keys by
AssumeRoleWithWebIdentity on the first call, and again when they are about to expire.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleWithWebIdentityCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.session import Session

from shared.domain.aws_accounts import AwsAccount, AwsAccounts
from shared.firewalls.ec2.wire import Ec2Error, Place
from shared.ports import OutsideError, ThrottledError

SESSION_SECONDS = 3600  # shorter ones are renewed at each call: botocore renews 15 minutes ahead
_ATTEMPTS = 3
_CONNECT_SECONDS, _READ_SECONDS = 5, 20
_RETRY_SECONDS = 5.0
_SERVER_ERROR = 500
_THROTTLED = frozenset(
    {"RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled"}
)
# The caller is not known, or no longer: this says nothing about what was to be changed.
_UNAUTHENTICATED = frozenset(
    {"AuthFailure", "RequestExpired", "ExpiredToken", "InvalidClientTokenId", "OptInRequired"}
    | {"SignatureDoesNotMatch", "MissingAuthenticationToken", "InvalidAccessKeyId"}
)
_EXCHANGE = "AssumeRoleWithWebIdentity"


class AwsApi:
    """Calls EC2 in the accounts of the settings, with one set of keys for each account."""

    def __init__(
        self,
        accounts: AwsAccounts,
        token: Callable[[], str],
        *,
        session_name: str,
        endpoint_url: str = "",
        new_session: Callable[[], Session] = Session,
    ) -> None:
        self._accounts = accounts
        self._token = token
        self._session_name = session_name
        self._endpoint = endpoint_url or None
        self._new_session = new_session
        self._sessions: dict[str, Session] = {}
        self._clients: dict[tuple[str, str, bool], Any] = {}
        self._lock = threading.Lock()

    def call(
        self, place: Place, action: str, params: Mapping[str, Any], *, once: bool = False
    ) -> Mapping[str, Any]:
        """Carry out one call; raises Ec2Error, ThrottledError or OutsideError.

        `once`: the SDK must not repeat it.
        """
        client = self._client(place, once=once)
        try:
            answer: Mapping[str, Any] = client._make_api_call(action, dict(params))  # noqa: SLF001
        except ClientError as error:
            raise _translated(error) from error
        except (BotoCoreError, HTTPClientError) as error:
            raise OutsideError(f"{action}: {error}") from error
        return answer

    def _client(self, place: Place, *, once: bool) -> Any:
        key = (place.account, place.region, once)
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._new_client(place, once=once)
            return self._clients[key]

    def _new_client(self, place: Place, *, once: bool) -> Any:
        account = self._accounts.of_account(place.account)
        if account is None:
            raise OutsideError(f"the AWS account {place.account} is not configured")
        if account.account not in self._sessions:
            self._sessions[account.account] = self._session(account, place.region)
        return self._sessions[account.account].create_client(
            "ec2",
            region_name=place.region,
            endpoint_url=self._endpoint,
            config=Config(
                retries={"mode": "standard", "total_max_attempts": 1 if once else _ATTEMPTS},
                connect_timeout=_CONNECT_SECONDS,
                read_timeout=_READ_SECONDS,
            ),
        )

    def _session(self, account: AwsAccount, region: str) -> Session:
        session = self._new_session()
        fetcher = AssumeRoleWithWebIdentityCredentialFetcher(
            client_creator=lambda service, **options: session.create_client(
                service, region_name=region, endpoint_url=self._endpoint, **options
            ),
            web_identity_token_loader=self._token,
            role_arn=account.role_arn,
            extra_args={"RoleSessionName": self._session_name, "DurationSeconds": SESSION_SECONDS},
        )
        resolver = CredentialResolver([_WebIdentity(fetcher.fetch_credentials)])
        session.register_component("credential_provider", resolver)
        return session


class _WebIdentity(CredentialProvider):  # type: ignore[misc]
    """Provides keys that are fetched when first used."""

    METHOD = "assume-role-with-web-identity"
    CANONICAL_NAME = METHOD

    def __init__(self, fetch: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__()
        self._fetch = fetch

    def load(self) -> DeferredRefreshableCredentials:
        """Return credentials that fetch themselves."""
        return DeferredRefreshableCredentials(method=self.METHOD, refresh_using=self._fetch)


def identity_token(credential: TokenCredential, audience: str) -> Callable[[], str]:
    """Return how the managed identity's token for AWS is got; raises OutsideError when called."""

    def get() -> str:
        try:
            return credential.get_token(f"{audience}/.default").token
        except AzureError as error:
            raise OutsideError(f"no Entra token for AWS: {error}") from error

    return get


def _translated(error: ClientError) -> Exception:
    code = str(error.response.get("Error", {}).get("Code", ""))
    message = str(error.response.get("Error", {}).get("Message", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if error.operation_name == _EXCHANGE:
        return OutsideError(f"AWS gives no keys for the app's identity: {code}: {message}")
    if code in _THROTTLED:
        return ThrottledError(f"{code} from EC2", retry_after=_RETRY_SECONDS)
    if code in _UNAUTHENTICATED or status >= _SERVER_ERROR:
        return OutsideError(f"{code} from EC2: {message}")
    return Ec2Error(code, message)
