"""Access tokens: from the environment, a command, or azure-identity. None is stored."""

import base64
import json
import os
import shlex
import subprocess
import sys
from typing import Any

from jit_access.client.errors import TokenError
from jit_access.commands.settings import Profile

_COMMAND_SECONDS = 120


def service_token(profile: Profile) -> str:
    """Return a token for the service; raises TokenError with each way that was tried."""
    given = os.environ.get("JIT_TOKEN", "").strip()
    if given:
        return given
    if profile.token_command:
        return run_token_command(profile.token_command)
    if not profile.audience:
        raise TokenError("no token: the profile has neither an audience nor a token_command")
    return _identity_token(profile, f"{profile.audience.rstrip('/')}/.default")


def arm_token(profile: Profile) -> str:
    """Return a token for Azure Resource Manager."""
    if profile.arm_token_command:
        return run_token_command(profile.arm_token_command)
    return _identity_token(profile, f"{profile.arm.rstrip('/')}/.default")


def storage_token(profile: Profile) -> str:
    """Return a token for Azure Storage, with which the exported audit record is read."""
    return _identity_token(profile, "https://storage.azure.com/.default")


def run_token_command(command: str) -> str:
    """Return what a command prints; it is run without a shell."""
    try:
        done = subprocess.run(  # noqa: S603 - the command is the user's own
            shlex.split(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise TokenError(f"token_command cannot be run: {error}") from None
    token = done.stdout.strip()
    if done.returncode or not token or any(letter.isspace() for letter in token):
        lines = done.stderr.strip().splitlines()
        why = lines[-1] if lines else f"exit code {done.returncode}, no token printed"
        raise TokenError(f"token_command failed: {why}")
    return token


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a token, unverified and only for display; empty if unreadable."""
    try:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _identity_token(profile: Profile, scope: str) -> str:
    import logging

    from azure.core.exceptions import ClientAuthenticationError
    from azure.identity import ChainedTokenCredential

    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)
    try:
        return str(ChainedTokenCredential(*_credentials(profile)).get_token(scope).token)
    except ClientAuthenticationError as error:
        raise TokenError(f"not signed in: {_first_lines(str(error))}") from None


def _credentials(profile: Profile) -> list[Any]:
    from azure.identity import (
        AzureCliCredential,
        AzureDeveloperCliCredential,
        DeviceCodeCredential,
        InteractiveBrowserCredential,
        WorkloadIdentityCredential,
    )

    tenant: dict[str, Any] = {"tenant_id": profile.tenant} if profile.tenant else {}
    found: list[Any] = []
    if os.environ.get("AZURE_FEDERATED_TOKEN_FILE"):
        found.append(WorkloadIdentityCredential())
    found += [AzureCliCredential(**tenant), AzureDeveloperCliCredential(**tenant)]
    if profile.client_id and sys.stderr.isatty():
        credential = (
            DeviceCodeCredential if profile.sign_in == "device" else InteractiveBrowserCredential
        )
        found.append(credential(client_id=profile.client_id, **tenant))
    return found


def _first_lines(text: str, most: int = 4) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(lines[:most])
