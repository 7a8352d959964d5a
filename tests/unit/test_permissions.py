"""Permissions at scopes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.permissions import (
    APP_ROLES,
    Action,
    Decision,
    DenyAssignment,
    RoleAssignment,
    by_app_role,
    is_allowed,
)
from tests.world import ALICE, GROUP, SUBSCRIPTION, WEB

ROOT = f"/subscriptions/{SUBSCRIPTION}"
NOROLE = replace(ALICE, roles=frozenset())
OWNER = RoleAssignment(ROOT, ("*",), role="Owner")
INITIATE = Action.INITIATE
BY_NAME_ONLY = {Action.RELAY, Action.BREAK_GLASS}


def decide(
    *held: RoleAssignment | DenyAssignment,
    roles: tuple[str, ...] = (),
    action: Action = INITIATE,
    scope: str = WEB,
    app_scopes: tuple[str, ...] = (ROOT,),
) -> Decision:
    """Ask for one person."""
    return is_allowed(
        replace(NOROLE, roles=frozenset(roles)),
        action,
        scope,
        app_scopes=app_scopes,
        assignments=[each for each in held if isinstance(each, RoleAssignment)],
        denials=[each for each in held if isinstance(each, DenyAssignment)],
    )


def test_who_holds_nothing_may_do_nothing() -> None:
    """The refusal names the missing action and the scope."""
    assert decide() == Decision(False, (f"'{INITIATE}' is not held at {WEB}",))


def test_what_each_app_role_allows() -> None:
    """The whole table, so that no role grows by accident."""
    held = {
        role: {action for action in Action if decide(roles=(role,), action=action).allowed}
        for role in APP_ROLES
    }
    reads = {Action.READ, Action.READ_VM}
    assert held == {
        "Jit.Request": {Action.INITIATE, *reads},
        "Jit.Approve": {Action.APPROVE, *reads},
        "Jit.Admin": {Action.WRITE, Action.DELETE, Action.REVOKE, Action.READ_ACTIVITY, *reads},
        "Jit.Read": {Action.READ_ACTIVITY, *reads},
        "Jit.BreakGlass": {Action.BREAK_GLASS, Action.INITIATE, *reads},
        "Jit.Relay": {Action.RELAY, *reads},
    }


def test_an_app_role_counts_within_the_deployments_scopes_only() -> None:
    """Below one of them, whatever its letter case; not beside it, nor where there is none."""
    assert decide(roles=("Jit.Request",)) == Decision(True, ("app role Jit.Request",))
    assert decide(roles=("Jit.Request",), app_scopes=("/subscriptions/x", GROUP.upper())).allowed
    assert not decide(roles=("Jit.Request",), app_scopes=(f"{GROUP}2",)).allowed
    assert not decide(roles=("Jit.Request",), app_scopes=()).allowed
    assert not decide(roles=("Jit.Request",), scope=ROOT, app_scopes=(GROUP,)).allowed
    assert not decide(roles=("jit.request", "Owner", "")).allowed


def test_the_app_role_that_decides_is_named() -> None:
    """Of several that allow it the first by name; of none, none."""
    both = replace(NOROLE, roles=frozenset({"Jit.Relay", "Jit.Read", "Jit.Approve"}))
    assert by_app_role(both, Action.READ, WEB, (ROOT,)) == "Jit.Approve"
    assert by_app_role(both, Action.RELAY, WEB, (ROOT,)) == "Jit.Relay"
    assert by_app_role(both, Action.INITIATE, WEB, (ROOT,)) == ""
    assert by_app_role(both, Action.RELAY, WEB, ()) == ""


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        (WEB, True),
        (WEB.upper(), True),
        (GROUP, True),
        (f"{GROUP}/", True),
        (ROOT, True),
        ("/", True),
        ("/providers/Microsoft.Management/managementGroups/contoso", True),
        ("/providers/microsoft.management/managementgroups/contoso", True),
        (f"{GROUP}2", False),
        (f"{WEB}/extensions/one", False),
        ("/subscriptions/22222222-2222-4222-8222-222222222222", False),
        ("/providers/Microsoft.Security/managementGroups/contoso", False),
    ],
)
def test_a_role_counts_at_its_scope_and_below(scope: str, counts: bool) -> None:
    """At the root and at management groups too, which lie above every subscription."""
    assert decide(RoleAssignment(scope, ("*",))).allowed == counts
    refused = decide(OWNER, DenyAssignment(scope, ("*",)))
    assert refused.allowed != counts


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*", True),
        (INITIATE, True),
        (INITIATE.upper(), True),
        ("Microsoft.Security/*", True),
        ("*/action", True),
        ("Microsoft.Security/*/initiate/action", True),
        ("Microsoft.Security/locations/jitNetworkAccessPolicies/*/action", True),
        ("*/read", False),
        ("Microsoft.Security/*/read", False),
        ("Microsoft.Security", False),
        ("Microsoft.Compute/*", False),
        (f"{INITIATE}/more", False),
        ("", False),
        ("Microsoft.Security/?*", False),
        ("[M]icrosoft.Security/*", False),
    ],
)
def test_an_action_is_matched_as_azure_does(pattern: str, matches: bool) -> None:
    """A star stands for any text, letter case means nothing, no other character is special."""
    assert decide(RoleAssignment(ROOT, (pattern,))).allowed == matches
    assert decide(RoleAssignment(ROOT, ("Microsoft.Nothing/read", pattern))).allowed == matches


def test_what_a_role_excludes_it_does_not_allow() -> None:
    """`notActions` narrow that role alone; another role may still allow the action."""
    reader = RoleAssignment(ROOT, ("*",), not_actions=("*/action",), role="reader")
    assert not decide(reader).allowed
    assert decide(reader, action=Action.READ).allowed
    assert decide(reader, OWNER) == Decision(True, (f"role 'Owner' at {ROOT}",))


def test_a_role_with_a_condition_allows_nothing() -> None:
    """Conditions cannot be evaluated here, so the answer is a refusal."""
    conditional = replace(OWNER, has_condition=True)
    assert not decide(conditional).allowed
    assert decide(conditional, OWNER).allowed


def test_a_deny_assignment_wins_over_every_role() -> None:
    """Unless it leaves the action out; what an app role gives is not Azure's to deny."""
    denial = DenyAssignment(GROUP, ("Microsoft.Security/*",), name="locked")
    assert decide(OWNER, denial) == Decision(False, (f"deny assignment 'locked' at {GROUP}",))
    assert decide(OWNER, replace(denial, not_actions=("*/initiate/action",))).allowed
    assert decide(OWNER, denial, action=Action.READ_VM).allowed
    assert decide(OWNER, denial, roles=("Jit.Request",)).allowed


@pytest.mark.parametrize("action", sorted(Action))
def test_what_only_an_app_role_gives(action: Action) -> None:
    """To speak for others, or without approval, takes a role by name: not even an owner may."""
    decision = decide(OWNER, RoleAssignment("/", (action,)), action=action)
    assert decision.allowed == (action not in BY_NAME_ONLY)
    if action in BY_NAME_ONLY:
        assert decision.reasons == (f"'{action}' is held through an app role only",)


@given(
    st.lists(
        st.builds(
            RoleAssignment,
            scope=st.sampled_from((ROOT, GROUP, WEB, f"{GROUP}2", "/")),
            actions=st.lists(st.sampled_from(("*", "*/read", INITIATE)), max_size=2).map(tuple),
            not_actions=st.sampled_from(((), ("*/action",))),
            has_condition=st.booleans(),
        ),
        max_size=4,
    ),
    st.sampled_from(sorted(Action)),
)
def test_more_denials_never_allow_more(held: list[RoleAssignment], action: Action) -> None:
    """A deny of everything refuses all, and an answer always says why."""
    decision = decide(*held, action=action)
    assert decision.reasons
    denied = decide(*held, DenyAssignment("/", ("*",)), action=action)
    assert not denied.allowed
    assert denied.reasons
    assert not any(decide(each, action=action).allowed for each in held) or decision.allowed
