"""Role assignments, definitions and deny assignments, as the permission check asks for them."""

from typing import Any

import pytest

from local.arm.client import ArmClient
from local.tests.arm.place import OPS_SCOPE, SCOPE, SUBSCRIPTION, machine

ALICE, BOB, CAROL = (
    "a11ce000-0000-4000-8000-000000000001",
    "b0b00000-0000-4000-8000-000000000002",
    "ca201000-0000-4000-8000-000000000003",
)
OWNER, VM_CONTRIBUTOR, SECURITY_READER = (
    "8e3af657-a8ff-443c-a75c-2fe8c4bcb635",
    "9980e02c-c2be-4d73-94e8-173b1dc7cf3c",
    "39bc4728-0917-49c7-9d2c-d95423bc2eb4",
)
EVERYONE = "00000000-0000-0000-0000-000000000000"
AUTHORIZATION = "providers/Microsoft.Authorization"
JUMP = machine("jump-1", OPS_SCOPE)


def roles(arm: ArmClient, scope: str, asked: str = "") -> list[str]:
    """Return the role ids of the assignments found."""
    query = {"$filter": asked} if asked else {}
    path = f"{scope}/{AUTHORIZATION}/roleAssignments"
    found = arm.call("GET", path, api_version="2022-04-01", query=query).body["value"]
    return sorted(each["properties"]["roleDefinitionId"].rsplit("/", 1)[-1] for each in found)


@pytest.mark.parametrize(
    ("scope", "principal", "expected"),
    [
        (machine("web-1"), ALICE, {VM_CONTRIBUTOR, SECURITY_READER}),
        (machine("web-1"), BOB, {VM_CONTRIBUTOR, SECURITY_READER}),
        (machine("web-1"), CAROL, {OWNER}),
        (machine("web-1"), "ffffffff-0000-4000-8000-000000000000", set()),
        (JUMP, ALICE, {SECURITY_READER}),
        (JUMP, BOB, {SECURITY_READER, VM_CONTRIBUTOR}),
        (JUMP.upper(), BOB.upper(), {SECURITY_READER, VM_CONTRIBUTOR}),
        (SCOPE, ALICE, {VM_CONTRIBUTOR, SECURITY_READER}),
        (OPS_SCOPE, BOB, {SECURITY_READER, VM_CONTRIBUTOR}),
    ],
)
def test_assigned_to_is_transitive(
    arm: ArmClient, scope: str, principal: str, expected: set[str]
) -> None:
    """Directly or through groups in groups, at the scope, above it and below it."""
    assert set(roles(arm, scope, f"assignedTo('{principal}')")) == expected


def test_without_filter_what_lies_below_is_listed_too(arm: ArmClient) -> None:
    """atScope() leaves out what stands on single resources below."""
    assert len(roles(arm, OPS_SCOPE)) == 3
    assert len(roles(arm, OPS_SCOPE, "atScope()")) == 2
    assert roles(arm, OPS_SCOPE, f"atScope() and assignedTo('{BOB}')") == [SECURITY_READER]
    assert roles(arm, JUMP, f"atScope() and principalId eq '{BOB}'") == [VM_CONTRIBUTOR]


def test_principal_id_is_not_transitive(arm: ArmClient) -> None:
    """This filter compares the principal alone."""
    assert roles(arm, SCOPE, f"principalId eq '{ALICE}'") == []


def test_an_unknown_filter_is_refused(arm: ArmClient) -> None:
    """A filter that is not understood must not answer everything."""
    path = f"{SCOPE}/{AUTHORIZATION}/roleAssignments"
    reply = arm.call("GET", path, query={"$filter": "roleName gt 'x'"})
    assert (reply.status, reply.code) == (400, "UnsupportedQuery")


def test_an_assignment_is_read_by_id(arm: ArmClient) -> None:
    """Its id is its scope and a guid."""
    listed = arm.call("GET", f"{SCOPE}/{AUTHORIZATION}/roleAssignments").body["value"]
    one = listed[0]
    assert arm.call("GET", one["id"]).body == one
    missing = arm.call("GET", f"{SCOPE}/{AUTHORIZATION}/roleAssignments/none")
    assert (missing.status, missing.code) == (404, "RoleAssignmentNotFound")


@pytest.mark.parametrize("scope", ["", f"/subscriptions/{SUBSCRIPTION}", SCOPE])
def test_a_built_in_role_is_known_at_every_scope(arm: ArmClient, scope: str) -> None:
    """Assignments name the definition below their subscription; it is one and the same."""
    path = f"{scope}/{AUTHORIZATION}/roleDefinitions/{VM_CONTRIBUTOR}"
    properties = arm.call("GET", path).body["properties"]
    assert properties["roleName"] == "Virtual Machine Contributor"
    assert "Microsoft.Compute/virtualMachines/*" in properties["permissions"][0]["actions"]


def test_definitions_are_found_by_name(arm: ArmClient) -> None:
    """The six built-in roles are there, and roleName finds one."""
    path = f"{SCOPE}/{AUTHORIZATION}/roleDefinitions"
    assert len(arm.call("GET", path).body["value"]) == 6
    found = arm.call("GET", path, query={"$filter": "roleName eq 'Reader'"}).body["value"]
    assert [each["properties"]["roleName"] for each in found] == ["Reader"]


def test_a_custom_role_is_known_in_its_scopes_only(arm: ArmClient) -> None:
    """A definition that is assignable elsewhere is not listed here."""
    definition = {
        "id": f"/subscriptions/{SUBSCRIPTION}/{AUTHORIZATION}/roleDefinitions/custom",
        "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {"roleName": "Custom", "assignableScopes": [OPS_SCOPE], "permissions": []},
    }
    arm.control("edit", {"resources": [definition]})
    counts = [
        len(arm.call("GET", f"{scope}/{AUTHORIZATION}/roleDefinitions").body["value"])
        for scope in (SCOPE, JUMP)
    ]
    assert counts == [6, 7]
    statuses = [
        arm.call("GET", f"{scope}/{AUTHORIZATION}/roleDefinitions/custom").status
        for scope in (SCOPE, OPS_SCOPE, JUMP)
    ]
    assert statuses == [404, 200, 200]


def test_deny_assignments_are_served_with_their_principals(arm: ArmClient) -> None:
    """They stand at a scope as role assignments do, and `assignedTo` goes through groups."""
    group = "0b5e7a70-0000-4000-8000-00000000000a"
    denial: dict[str, Any] = {
        "id": f"{SCOPE}/{AUTHORIZATION}/denyAssignments/1",
        "type": "Microsoft.Authorization/denyAssignments",
        "properties": {
            "denyAssignmentName": "freeze",
            "scope": SCOPE,
            "permissions": [{"actions": ["*/write"], "notActions": []}],
            "principals": [{"id": group, "type": "Group"}],
            "excludePrincipals": [],
        },
    }
    arm.control("edit", {"resources": [denial]})
    path = f"{machine('web-1')}/{AUTHORIZATION}/denyAssignments"
    for principal, count in ((ALICE, 1), (BOB, 1), (CAROL, 0)):
        asked = {"$filter": f"assignedTo('{principal}')"}
        assert len(arm.call("GET", path, query=asked).body["value"]) == count
    assert arm.call("GET", f"{JUMP}/{AUTHORIZATION}/denyAssignments").body["value"] == []
    denial["properties"]["principals"] = [{"id": EVERYONE, "type": "SystemDefined"}]
    arm.control("edit", {"resources": [denial]})
    asked = {"$filter": f"atScope() and assignedTo('{CAROL}')"}
    assert len(arm.call("GET", path, query=asked).body["value"]) == 1
