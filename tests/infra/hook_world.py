"""A place to run azd's hooks in: sh, with stand-ins for the Azure CLI and for azd."""

import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.bicep import INFRA

HOOKS = INFRA / "hooks"
SUBSCRIPTION = "/subscriptions/3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
NSG = f"{SUBSCRIPTION}/resourceGroups/app-rg/providers/Microsoft.Network/networkSecurityGroups/n"
POLICY = (
    f"{SUBSCRIPTION}/resourceGroups/app-rg/providers/Microsoft.Security/locations/westeurope"
    "/jitNetworkAccessPolicies/default"
)
MARK = "j0123456789a"
HASH = "0123456789ABCDEF" * 2
ALLOW = f"{NSG}/securityRules/SecurityCenter-JITRule-{MARK}-{HASH}"
DENY = f"{NSG}/securityRules/SecurityCenter-JITRule_{MARK}_{HASH}"
FOREIGN = [
    f"{NSG}/securityRules/allow-https",
    f"{NSG}/securityRules/SecurityCenter-JITRule-otherone1-{HASH}",
    f"{NSG}/securityRules/SecurityCenter-JITRule_-1105480617_{HASH}",
    f"{NSG}/securityRules/about-{MARK}-rules",
]
Run = Callable[..., tuple[subprocess.CompletedProcess[str], dict[str, Any]]]
NETWORK = "0b5e7a70-2222-4222-8222-00000000000b"
NETWORK_ROLE = "0b5e7a70-3333-4333-8333-00000000000c"
AUTHORIZER = "0b5e7a70-4444-4444-8444-00000000000d"
AUTHORIZER_ROLE = "0b5e7a70-5555-4555-8555-00000000000e"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a way to run a hook in a world of rules and policies."""
    if shutil.which("sh") is None:
        pytest.skip("there is no sh")
    tools = tmp_path / "bin"
    tools.mkdir()
    _install(tools / "az", f'exec "{sys.executable}" "{_here("fake_az.py")}" "$@"')
    _install(tools / "azd", f'exec "{sys.executable}" "{_here("fake_azd.py")}" "$@"')
    state = tmp_path / "state.json"

    def run_hook(
        name: str = "predown", *, environment: dict[str, str] | None = None, **world: Any
    ) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
        held = {
            "api": "https://func-jit.example",
            "audience": "api://tenant/jit",
            "mark": MARK,
            "running": True,
            "scopes": [f"{SUBSCRIPTION}/resourceGroups/app-rg", SUBSCRIPTION],
            "policies": [POLICY],
            "rules": [*FOREIGN, DENY, ALLOW],
            "locked": [],
            "stuck": [],
            "looks": 0,
            "calls": [],
            "azd": "1.24.1",
            "azd_calls": [],
            "assignments": [],
            "errors": {},
            "with_token": ["0"],
            "health": [],
            **world,
        }
        state.write_text(json.dumps(held), encoding="utf-8")
        done = subprocess.run(
            ["sh", HOOKS / f"{name}.sh"],
            env={
                "PATH": f"{tools}:{os.environ['PATH']}",
                "FAKE_AZ_STATE": str(state),
                "JIT_API_URL": "https://func-jit.example",
                "JIT_API_AUDIENCE": "api://tenant/jit",
                "JIT_DEPLOYMENT_ID": MARK,
                "JIT_SCOPES": f"{SUBSCRIPTION}/resourceGroups/app-rg,{SUBSCRIPTION}",
                "AZURE_SUBSCRIPTION_ID": SUBSCRIPTION.rpartition("/")[2],
                "AZURE_FUNCTION_NAME": "func-jit-x",
                "AZURE_RESOURCE_GROUP": "rg-jit-x",
                "AZURE_LOCATION": "westeurope",
                "JIT_SCOPE_RIGHTS": f"{NETWORK}={NETWORK_ROLE} {AUTHORIZER}={AUTHORIZER_ROLE}",
                "JIT_RIGHTS_PAUSE": "0",
                "JIT_VERIFY_SECONDS": "2",
                "JIT_VERIFY_PAUSE": "1",
                "JIT_STORAGE_ACCOUNT": "stjitx",
                "JIT_PACKAGE_ACCOUNT": "stjitpkgx",
                "JIT_WORKSPACE_ID": "/workspace",
                "JIT_INSIGHTS_ID": "/insights",
                "JIT_DRAIN_SECONDS": "2",
                "JIT_DRAIN_PAUSE": "1",
                "JIT_DRAIN_BACKUP": str(tmp_path / "policies.json"),
                **(environment or {}),
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done, json.loads(state.read_text(encoding="utf-8"))

    return run_hook


def _here(name: str) -> Path:
    return Path(__file__).with_name(name)


def _install(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
