"""The commands of azd that the live suite uses, against the local stack.

`up` creates in the ARM simulator what a deployment creates beside the app, and names the running app
as its output. `down` closes every access through the app and deletes the app's resource group alone:
like azd, it leaves roles, the diagnostic setting and the registration. JIT_LOCAL_STACK names the
stack.json; without an app in it nothing is closed.
"""

import json
import os
import shutil
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from jit_access.client import JitClient
from local.arm.client import ArmClient
from local.issuer import AUDIENCE
from local.json_calls import call

_CLOSED_WITHIN, _SWEPT_WITHIN = 60.0, 60.0
ROLES = ("network", "authorizer", "closer", "requestor")
FIREWALL_ROLES = ("firewall reader", "firewall policy", "IP groups", "classic firewall")


class AzdError(Exception):
    """A command that azd would refuse, in one line."""


class Environment:
    """One azd environment: a file of values."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(".azure") / name
        self._file = self.folder / ".env"

    def create(self) -> None:
        """Create it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.write({"AZURE_ENV_NAME": self.name})

    def read(self) -> dict[str, str]:
        """Return its values."""
        if not self._file.exists():
            raise AzdError(f"environment '{self.name}' does not exist")
        lines = self._file.read_text(encoding="utf-8").splitlines()
        return {name: json.loads(value) for name, _, value in (li.partition("=") for li in lines)}

    def write(self, values: dict[str, str]) -> None:
        """Replace its values."""
        lines = [f"{name}={json.dumps(value)}\n" for name, value in values.items()]
        self._file.write_text("".join(lines), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Carry out one command."""
    words = [each for each in arguments if not each.startswith("-")]
    name = arguments[arguments.index("-e") + 1] if "-e" in arguments else ""
    words = [each for each in words if each != name or "new" in words]
    try:
        return _carry_out(words, name)
    except AzdError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1


def _carry_out(words: list[str], name: str) -> int:
    match words:
        case ["version"]:
            print("azd version 1.27.0 (commit 0000000) (local stack)")
        case ["env", "new", new]:
            Environment(new).create()
        case ["env", "set", key, value]:
            found = Environment(name)
            found.write({**found.read(), key: value})
        case ["env", "get-values"]:
            for key, value in Environment(name).read().items():
                print(f'{key}="{value}"')
        case ["up"]:
            _up(Environment(name))
        case ["down"]:
            _down(Environment(name))
        case _:
            raise AzdError(f"unknown command {' '.join(words)}")
    return 0


def _stack() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(os.environ["JIT_LOCAL_STACK"]).read_text("utf-8"))
    return found


def _up(environment: Environment) -> None:
    stack, values = _stack(), environment.read()
    arm = ArmClient(stack["arm"], "local:azd")
    subscription = f"/subscriptions/{values['AZURE_SUBSCRIPTION_ID']}"
    group = f"{subscription}/resourceGroups/rg-jit-{environment.name}"
    body = {"location": values["AZURE_LOCATION"], "tags": {"azd-env-name": environment.name}}
    arm.call("PUT", group, body)
    resources = deployed_beside_the_app(
        values["JIT_DEPLOYMENT_ID"],
        subscription,
        group,
        values["JIT_SCOPES"],
        (*ROLES, *(FIREWALL_ROLES if values.get("JIT_FIREWALL_SCOPES") else ())),
    )
    for resource in resources:
        arm.control("edit", {"resources": [resource]})
    outputs = {
        "JIT_API_URL": stack.get("api", ""),
        "JIT_API_AUDIENCE": AUDIENCE,
        # The stack's own: its rules do not bear the mark of the run.
        "JIT_DEPLOYMENT_ID": "local1",
    }
    environment.write({**values, **outputs})
    if outputs["JIT_API_URL"]:
        _wait_for_sweep(outputs["JIT_API_URL"])


def _wait_for_sweep(api: str) -> None:
    """Wait until the app is healthy, as the postdeploy hook does; the stack may be a second old."""
    call("POST", f"{api}/admin/functions/sweep_expired", {"input": ""})
    deadline = time.monotonic() + _SWEPT_WITHIN
    while call("GET", f"{api}/api/health")[0] != 200:  # noqa: PLR2004 - HTTP
        if time.monotonic() > deadline:
            raise AzdError("postdeploy: the sweep has not run")
        time.sleep(0.2)


def deployed_beside_the_app(
    mark: str, subscription: str, group: str, scope: str, roles: tuple[str, ...] = ROLES
) -> list[dict[str, Any]]:
    """Return what a deployment creates beside the app, as far as clean-up has to find it."""
    provider = "providers/Microsoft.Authorization"
    identity = str(uuid.uuid4())
    ids = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, f"{mark}/{name}")) for name in roles}
    definitions = [
        {
            "id": f"{subscription}/{provider}/roleDefinitions/{ids[name]}",
            "type": "Microsoft.Authorization/roleDefinitions",
            "properties": {
                "roleName": f"JIT {name} ({mark})",
                "type": "CustomRole",
                "assignableScopes": [subscription],
                "permissions": [{"actions": [], "notActions": []}],
            },
        }
        for name in roles
    ]
    assignment = {
        "id": f"{scope}/{provider}/roleAssignments/{uuid.uuid4()}",
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "principalId": identity,
            "scope": scope,
            "roleDefinitionId": definitions[0]["id"],
        },
    }
    account = f"{group}/providers/Microsoft.Storage/storageAccounts/stjit{mark}"
    setting = f"{subscription}/providers/Microsoft.Insights/diagnosticSettings/jit-{mark}"
    registration = f"/providers/Microsoft.Graph/applications/jit-vm-access-{mark}"
    return [
        {"id": registration, "type": "Microsoft.Graph/applications", "properties": {}},
        {"id": account, "type": "Microsoft.Storage/storageAccounts", "properties": {}},
        {"id": setting, "type": "Microsoft.Insights/diagnosticSettings", "properties": {}},
        *definitions,
        assignment,
    ]


def _down(environment: Environment) -> None:
    stack, values = _stack(), environment.read()
    if "AZURE_SUBSCRIPTION_ID" not in values:
        raise AzdError("no subscription is set: nothing was deployed")
    if values.get("JIT_API_URL"):
        _close_all(stack, values)
    arm = ArmClient(stack["arm"], "local:azd")
    group = f"/subscriptions/{values['AZURE_SUBSCRIPTION_ID']}/resourceGroups/"
    group += f"rg-jit-{environment.name}"
    while arm.call("GET", group).status != 404:  # noqa: PLR2004 - HTTP
        arm.call("DELETE", group)
        time.sleep(0.05)
    shutil.rmtree(environment.folder)


def _close_all(stack: dict[str, Any], values: dict[str, str]) -> None:
    """Delete the policies in the deployment's scope and wait until its rules are gone."""
    _, _, subscription, _, group = values["JIT_SCOPES"].split("/")
    asked = {"user": "carol", "roles": ["Jit.Admin"]}
    _, minted = call("POST", f"{stack['issuer']}/token", asked)
    with JitClient(values["JIT_API_URL"], lambda: str(minted["access_token"])) as client:
        for policy in client.every(client.list_policies_of_group(subscription, group)):
            client.delete_policy(policy.id)
    deadline = time.monotonic() + _CLOSED_WITHIN
    while _rules(stack, values):
        if time.monotonic() > deadline:
            raise AzdError("predown: rules of the app are left")
        time.sleep(0.1)


def _rules(stack: dict[str, Any], values: dict[str, str]) -> list[str]:
    arm = ArmClient(stack["arm"], "local:azd")
    listed = arm.call(
        "GET", f"{values['JIT_SCOPES']}/providers/Microsoft.Network/networkSecurityGroups"
    )
    groups = listed.body.get("value", [])
    names = [rule["name"] for group in groups for rule in group["properties"]["securityRules"]]
    mark = values["JIT_DEPLOYMENT_ID"]
    return [name for name in names if f"-{mark}-" in name or f"_{mark}_" in name]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
