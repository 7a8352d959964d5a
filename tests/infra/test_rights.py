"""Which roles the app's identities get, and where: infra/hooks/rights.sh, run by sh."""

import re

import pytest

from tests.infra.bicep import INFRA, Text, everywhere, read
from tests.infra.hook_world import (
    AUTHORIZER,
    AUTHORIZER_ROLE,
    NETWORK,
    NETWORK_ROLE,
    SUBSCRIPTION,
    Run,
)

OTHER = "/subscriptions/0b5e7a70-6666-4666-8666-00000000000f"
GROUP = f"{SUBSCRIPTION}/resourceGroups/app-rg"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/app-1"
MAIN = read(INFRA / "main.bicep")


def _expected(*scopes: str) -> list[list[str]]:
    """Name each assignment at some scopes: the scope, the identity, the role."""
    return [
        [scope, identity, f"{_subscription(scope)}/{_DEFINITIONS}/{role}"]
        for scope in scopes
        for identity, role in ((NETWORK, NETWORK_ROLE), (AUTHORIZER, AUTHORIZER_ROLE))
    ]


def _subscription(scope: str) -> str:
    return "/".join(scope.split("/")[:3])


_DEFINITIONS = "providers/Microsoft.Authorization/roleDefinitions"


@pytest.mark.parametrize(
    "scope",
    [
        SUBSCRIPTION,
        GROUP,
        GROUP.replace("resourceGroups", "resourcegroups"),
        VM,
        f"{GROUP}/providers/Microsoft.Network/networkSecurityGroups/n",
        f"{GROUP}/providers/Microsoft.Network/virtualNetworks/v/subnets/s",
    ],
)
def test_a_scope_gets_its_roles_there_and_nowhere_wider(run: Run, scope: str) -> None:
    """A subscription, a group or a single resource gets both roles exactly there."""
    done, after = run("rights", environment={"JIT_SCOPES": scope})

    assert done.returncode == 0, done.stdout + done.stderr
    assert after["assignments"] == _expected(scope)


def test_every_scope_gets_the_same_roles(run: Run) -> None:
    """Scopes in two subscriptions, with spaces, slashes and empty parts, each get both roles once."""
    given = f" {GROUP}/, ,{OTHER},{VM},{GROUP.upper().replace('/SUBSCRIPTIONS', '/subscriptions')},"
    done, after = run("rights", environment={"JIT_SCOPES": given})

    assert done.returncode == 0, done.stdout + done.stderr
    assigned = [[each.lower() for each in line] for line in after["assignments"]]
    wanted = [[each.lower() for each in line] for line in _expected(OTHER, GROUP, VM)]
    assert sorted(assigned) == sorted(wanted)


def test_a_second_run_changes_nothing(run: Run) -> None:
    """Assignments that are there already, as an earlier version made them, are no failure."""
    existing = _expected(GROUP)
    done, after = run("rights", environment={"JIT_SCOPES": GROUP}, assignments=existing)

    assert done.returncode == 0, done.stdout + done.stderr
    assert after["assignments"] == existing


def test_a_role_that_is_not_known_yet_is_tried_again(run: Run) -> None:
    """Azure takes a while to know a new role and a new identity everywhere."""
    errors = {GROUP: ["(RoleDefinitionDoesNotExist) no such role", "(PrincipalNotFound) none"]}
    done, after = run("rights", environment={"JIT_SCOPES": GROUP}, errors=errors)

    assert done.returncode == 0, done.stdout + done.stderr
    assert after["assignments"] == _expected(GROUP)


def test_a_right_that_is_missing_is_named_and_the_rest_is_assigned(run: Run) -> None:
    """A refusal is not tried again, names the scope and fails the hook; other scopes get theirs."""
    errors = {GROUP: ["(AuthorizationFailed) no roleAssignments/write", "(AuthorizationFailed) no"]}
    done, after = run("rights", environment={"JIT_SCOPES": f"{GROUP},{OTHER}"}, errors=errors)

    assert done.returncode == 1
    assert f"at {GROUP}:" in done.stderr
    assert "no roleAssignments/write" in done.stderr
    assert after["assignments"] == _expected(OTHER)


def test_a_role_that_stays_unknown_ends_the_tries(run: Run) -> None:
    """The tries are counted, so that a role that never appears does not hang the hook."""
    errors = {GROUP: ["(RoleDefinitionDoesNotExist)"] * 99}
    environment = {"JIT_SCOPES": GROUP, "JIT_RIGHTS_TRIES": "3"}
    done, after = run("rights", environment=environment, errors=errors)

    assert done.returncode == 1
    assert len(after["calls"]) == 6


@pytest.mark.parametrize(
    "scope",
    [
        "/",
        "*",
        "/subscriptions/x",
        "/providers/Microsoft.Management/managementGroups/contoso",
        f"{SUBSCRIPTION}/resourceGroups",
        f"{SUBSCRIPTION}/providers/Microsoft.Compute/virtualMachines/one",
        "",
        " , ",
    ],
)
def test_an_invalid_scope_assigns_nothing(run: Run, scope: str) -> None:
    """A scope of another form stops the hook before anything is assigned anywhere."""
    for given in {scope, f"{GROUP},{scope}" if scope.strip(" ,") else scope}:
        done, after = run("rights", environment={"JIT_SCOPES": given})

        assert done.returncode == 1
        assert after["calls"] == []


def test_the_hook_assigns_before_the_app_is_deployed(run: Run) -> None:
    """The postprovision hook assigns the rights, and stops where one cannot be assigned."""
    done, after = run("postprovision")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(after["assignments"]) == 4

    done, _ = run("postprovision", errors={GROUP: ["(AuthorizationFailed)"]})
    assert done.returncode == 1


def test_each_identity_gets_its_own_role() -> None:
    """The network identity gets a network role, the narrower one for `rules`, the authorizer its own."""
    rights = MAIN.outputs["JIT_SCOPE_RIGHTS"].source

    assert rights.startswith(
        # several network identities, each with the role: the join puts it behind all but the last
        "'${join(networkPrincipalIds, '=${networkRoleName} ')}=${networkRoleName} "
        "${identities.outputs.authorizerPrincipalId}=${roles.outputs.authorizerRoleName}$"
    )
    assert MAIN.variables["networkPrincipalIds"] == Text(
        "concat([identities.outputs.networkPrincipalId], identities.outputs.moreNetworkPrincipalIds)"
    )
    assert MAIN.variables["closerRight"] == Text(
        "closer ? ' ${identities.outputs.closerPrincipalId}=${roles.outputs.closerRoleName}' : ''"
    )
    assert MAIN.variables["readerRight"] == Text(
        "empty(readerPrincipalIds) ? '' : "
        "' ${join(readerPrincipalIds, '')}=${roles.outputs.readerRoleName}'"
    )
    assert MAIN.outputs["JIT_SCOPE_RIGHTS"].source.endswith("${readerRight}${closerRight}'")
    assert MAIN.variables["networkRoleName"] == Text(
        "nsgWrite == 'rules' ? roles.outputs.networkRulesRoleName : roles.outputs.networkRoleName"
    )


def test_no_module_is_deployed_into_a_foreign_group() -> None:
    """An old `azd down` deletes every group that its deployment wrote to, so it writes to ours only."""
    written = [
        scope
        for file in everywhere()
        for module in re.findall(r"^module [\s\S]+?^[\]}]", file.text, re.MULTILINE)
        for scope in re.findall(r"^  scope: (.+)$", module, re.MULTILINE)
    ]

    assert set(written) == {"group"}


def test_roles_are_assignable_at_each_subscription_once() -> None:
    """Ids that differ in letter case alone are one subscription; ARM refuses a list that has it twice."""
    (roles,) = (module for module in MAIN.modules if module.symbol == "roles")
    scopes = roles.parameters["assignableScopes"].source

    assert scopes == "union([toLower(subscription().id)], scopeSubscriptions)"
    (loop,) = re.findall(r"^var scopeSubscriptions = (.+)$", MAIN.text, re.MULTILINE)
    assert loop == (
        "[for scope in scopeList: empty(scope) ? toLower(subscription().id)"
        " : toLower('/subscriptions/${split(scope, '/')[2]}')]"
    )
