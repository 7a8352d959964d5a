"""The triggers over a world of fakes, with real tokens and with roles read from a simulated ARM."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from local.arm.serve import ArmServer
from local.arm.simulator import Settings as ArmSettings
from local.issuer import AUDIENCE, TENANT_ID, Issuer, object_id
from local.issuer_server import IssuerServer
from local.stack import ESTATE
from shared.bootstrap import App
from shared.domain.model import Principal
from shared.settings import Settings
from shared.use_cases.policies import apply as protection
from tests.functions.web_app import WebApp
from tests.world import DB, GROUP, SUBSCRIPTION, WEB, World

Json = dict[str, Any]
ROOT = f"/subscriptions/{SUBSCRIPTION}"
ABOVE = "/providers/Microsoft.Management/managementGroups/contoso"
ELSEWHERE = f"{ROOT}/resourceGroups/elsewhere"
LEAST = "00000000-1111-4222-8333-000000000001"
# Microsoft's own least-privilege role for requesting (Defender for Cloud's documentation).
_LEAST_ACTIONS = (
    "Microsoft.Security/locations/jitNetworkAccessPolicies/initiate/action",
    "Microsoft.Security/locations/jitNetworkAccessPolicies/*/read",
    "Microsoft.Security/locations/jitNetworkAccessPolicies/read",
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Network/networkInterfaces/*/read",
    "Microsoft.Network/publicIPAddresses/read",
)
_OUTER, _INNER = object_id("group:operators"), object_id("group:admins")
# Who holds which role where; `conditional` holds it under a condition.
HELD = (
    ("owner", "Owner", ROOT),
    ("contributor", "Contributor", ROOT),
    ("reader", "Reader", ROOT),
    ("secadmin", "Security Admin", ROOT),
    ("secreader", "Security Reader", ROOT),
    ("vmcontributor", "Virtual Machine Contributor", ROOT),
    ("least", "JIT requester", GROUP),
    ("leastwide", "JIT requester", ROOT),
    ("onevm", "JIT requester", WEB),
    ("mgroup", "Owner", ABOVE),
    ("conditional", "Owner", ROOT),
    ("denied", "Owner", ROOT),
    ("elsewhere", "Owner", ELSEWHERE),
    ("many", "Security Reader", ROOT),
    ("many", "Virtual Machine Contributor", ROOT),
    ("many", "JIT requester", GROUP),
)


def estate() -> Json:
    """Return the built-in roles of the local estate, and everybody's assignments of this file."""
    local = json.loads(ESTATE.read_text(encoding="utf-8"))["resources"]
    built_in = [each for each in local if each["type"].endswith("/roleDefinitions")]
    definitions = [*built_in, _custom()]
    ids = {each["properties"]["roleName"]: each["id"] for each in definitions}
    held = [assignment(who, ids[role], scope) for who, role, scope in HELD]
    nested = assignment("group:operators", ids["JIT requester"], GROUP, principal_type="Group")
    groups = [_group(_OUTER, _INNER), _group(_INNER, object_id("nested"))]
    return {"resources": [*definitions, *held, nested, *groups, _denial()]}


def assignment(who: str, definition_id: str, scope: str, *, principal_type: str = "User") -> Json:
    """Return a role assignment as ARM has it."""
    condition = "@Resource[x] StringEquals 'y'" if who == "conditional" else None
    name = object_id(f"{who} {definition_id} {scope}")
    return {
        "id": f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}",
        "name": name,
        "type": "Microsoft.Authorization/roleAssignments",
        "properties": {
            "roleDefinitionId": ROOT + definition_id if definition_id[1] == "p" else definition_id,
            "principalId": object_id(who),
            "principalType": principal_type,
            "scope": scope,
            "condition": condition,
        },
    }


def _custom() -> Json:
    return {
        "id": f"{ROOT}/providers/Microsoft.Authorization/roleDefinitions/{LEAST}",
        "name": LEAST,
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": "JIT requester",
            "type": "CustomRole",
            "assignableScopes": [ROOT],
            "permissions": [{"actions": list(_LEAST_ACTIONS), "notActions": []}],
        },
    }


def _group(group_id: str, *members: str) -> Json:
    return {
        "id": f"/providers/Microsoft.Graph/groups/{group_id}",
        "name": group_id,
        "type": "Microsoft.Graph/groups",
        "properties": {"displayName": group_id, "members": list(members)},
    }


def _denial() -> Json:
    name = object_id("denial")
    return {
        "id": f"{GROUP}/providers/Microsoft.Authorization/denyAssignments/{name}",
        "name": name,
        "type": "Microsoft.Authorization/denyAssignments",
        "properties": {
            "denyAssignmentName": "no JIT here",
            "scope": GROUP,
            "permissions": [{"actions": ["Microsoft.Security/*"], "notActions": []}],
            "principals": [{"id": object_id("denied"), "type": "User"}],
            "excludePrincipals": [],
        },
    }


@dataclass(frozen=True)
class Authority:
    """The callers of the tests and their permissions: an issuer, an ARM, and the app's checks."""

    issuer: Issuer
    arm_url: str
    checks: App

    def person(self, name: str, *roles: str) -> Mapping[str, str]:
        """Return the headers of a person."""
        return {"Authorization": f"Bearer {self.issuer.person_token(name, roles=roles)}"}

    def bot(self, name: str, *roles: str) -> Mapping[str, str]:
        """Return the headers of an app that calls for itself."""
        return {"Authorization": f"Bearer {self.issuer.app_token(name, roles=roles)}"}

    def fresh(self) -> "Authority":
        """Return the same with nothing kept of earlier answers."""
        return replace(self, checks=App(self.checks.settings))


@contextmanager
def authority() -> Iterator[Authority]:
    """Run an issuer and an ARM that knows who holds what."""
    with IssuerServer() as server, ArmServer(estate(), settings=ArmSettings(settle=0.0)) as arm:
        yield Authority(server.issuer, arm.url, App(_settings(server.issuer, arm.url)))


def _settings(issuer: Issuer, arm_url: str) -> Settings:
    return Settings.model_validate(
        {
            "deployment_id": "test1",
            "tenant_id": TENANT_ID,
            "audience": (AUDIENCE,),
            "scopes": (ROOT,),
            "issuers": (issuer.issuer_of("2.0"), issuer.issuer_of("1.0")),
            "jwks_url": issuer.jwks_url,
            "arm_url": arm_url,
            "calls_per_minute": 10_000,
        }
    )


class GuardedApp(WebApp):
    """The app over a world of fakes that checks tokens and roles as the real one does."""

    def __init__(self, world: World, guard: Authority, **settings: Any) -> None:
        super().__init__(world)
        self.settings = guard.checks.settings.model_copy(update=settings)
        self.guard = guard
        self.services = replace(world.services, authorize=guard.checks._authorize)

    def verify(self, authorization: str | None) -> Principal:
        """Verify a token for real."""
        return self.guard.checks.verify(authorization)


def known(name: str, *roles: str) -> Principal:
    """Return a caller as their token identifies them."""
    return Principal(TENANT_ID, object_id(name), f"{name}@contoso.example", roles=frozenset(roles))


def governed(**conditions: Any) -> World:
    """Return a world whose policy covers both VMs, under conditions."""
    world = World()
    policy = world.protect(WEB, DB)
    if conditions:
        asked = replace(policy, conditions=replace(policy.conditions, **conditions))
        protection.put_policy(world.services, asked)
        world.work()
    return world
