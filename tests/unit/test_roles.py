"""Azure roles as ARM tells them: three reads, kept a minute, and no way in through a bad answer."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from shared.adapters.roles import RoleAuthorizer
from shared.domain.model import Principal
from shared.domain.permissions import Action, Decision
from shared.ports import OutsideError
from tests.fakes import Clock
from tests.world import DB, GROUP, POLICY, SUBSCRIPTION, WEB

Json = dict[str, Any]
ROOT = f"/subscriptions/{SUBSCRIPTION}"
ME = "0a0a0a0a-0000-4000-8000-000000000001"
OTHER = "0a0a0a0a-0000-4000-8000-000000000002"
TEAM = "0a0a0a0a-0000-4000-8000-00000000000a"
EVERYBODY = "00000000-0000-0000-0000-000000000000"
ALICE = Principal("tenant", ME, "alice@contoso.example")
ASSIGNED, DENIED, DEFINED = "roleAssignments", "denyAssignments", "roleDefinitions"


class Arm:
    """An ARM that answers what a test says, and counts who asks for what."""

    def __init__(self) -> None:
        self.definitions: dict[str, Json] = {}
        self.assignments: list[Json] = []
        self.denials: list[Json] = []
        self.reads: list[tuple[str, str]] = []
        self.before: Callable[[str], None] = lambda _type: None

    def role(self, *actions: str, name: str = "", but: tuple[str, ...] = ()) -> str:
        """Define a role."""
        guid = f"0b0b0b0b-0000-4000-8000-{len(self.definitions):012}"
        permissions = [{"actions": list(actions), "notActions": list(but)}]
        properties = {"roleName": name or f"role {guid[-2:]}", "permissions": permissions}
        place = f"/providers/Microsoft.Authorization/roleDefinitions/{guid}"
        self.definitions[guid] = {"id": place, "properties": properties}
        return f"{ROOT}{place}"

    def assign(self, role: str, scope: str = ROOT, who: str = ME, **more: Any) -> None:
        """Give a caller a role."""
        held = {"roleDefinitionId": role, "principalId": who, "scope": scope}
        self.assignments.append({"properties": {**held, **more}})

    def deny(self, *actions: str, who: Json | None = None, **more: Any) -> None:
        """Deny actions in the group."""
        held = {
            "scope": GROUP,
            "denyAssignmentName": "no entry",
            "permissions": [{"actions": list(actions)}],
            "principals": [who or {"id": ME, "type": "User"}],
        }
        self.denials.append({"properties": {**held, **more}})

    @property
    def listed(self) -> list[str]:
        """Return what was asked for, in order."""
        return [resource_type for resource_type, _ in self.reads]

    def list(self, path: str, api_version: str, **query: str) -> Iterator[Json]:
        """List what a path names."""
        del api_version
        resource_type = path.rpartition("/")[2]
        self.reads.append((resource_type, query.get("$filter", "")))
        self.before(resource_type)
        lists = {ASSIGNED: self.assignments, DENIED: self.denials}
        yield from lists.get(resource_type, list(self.definitions.values()))

    def get(self, path: str, api_version: str, **query: str) -> Json | None:
        """Read one role definition."""
        del api_version, query
        self.reads.append((DEFINED, ""))
        self.before(DEFINED)
        return self.definitions.get(path.rpartition("/")[2])


@pytest.fixture
def arm() -> Arm:
    """Make an ARM without role assignments."""
    return Arm()


@pytest.fixture
def clock() -> Clock:
    """Make a clock that stands still."""
    return Clock()


@pytest.fixture
def ask(arm: Arm, clock: Clock) -> Callable[..., Decision]:
    """Ask whether Alice may do something to the web VM."""
    authorizer = RoleAuthorizer(lambda: arm, (ROOT,), clock)  # type: ignore[arg-type,return-value]

    def asked(
        action: Action = Action.INITIATE, scope: str = WEB, who: Principal = ALICE
    ) -> Decision:
        return authorizer(who, action, scope)

    return asked


Ask = Callable[..., Decision]


def test_one_role_costs_three_reads_and_then_none(arm: Arm, ask: Ask, clock: Clock) -> None:
    """Assignments, denials and the definition once a minute, whatever is asked about the scope."""
    arm.assign(arm.role("Microsoft.Security/*", name="Security Admin"))
    decision = ask()
    assert (decision.allowed, decision.reasons) == (True, (f"role 'Security Admin' at {ROOT}",))
    assert arm.reads == [(ASSIGNED, f"assignedTo('{ME}')"), (DENIED, "atScope()"), (DEFINED, "")]
    clock.advance(59)
    assert ask(Action.APPROVE).allowed
    assert not ask(Action.READ_VM).allowed
    assert len(arm.reads) == 3
    clock.advance(1)
    assert ask().allowed
    assert arm.listed[3:] == [ASSIGNED, DENIED, DEFINED]


@pytest.mark.parametrize("roles", [2, 3, 12])
def test_however_many_roles_cost_three_reads(arm: Arm, ask: Ask, roles: int) -> None:
    """Several definitions are read together."""
    for number in range(roles):
        arm.assign(arm.role(f"Microsoft.Other{number}/*"))
    arm.assign(arm.role(Action.INITIATE, name="requester"), WEB)
    assert ask().allowed
    assert arm.listed == [ASSIGNED, DENIED, DEFINED]
    assert ask().allowed
    assert len(arm.reads) == 3


def test_a_definition_that_the_list_leaves_out_is_read_by_itself(arm: Arm, ask: Ask) -> None:
    """Its id says where; an answer that is cut short takes no role away."""
    kept = arm.role(Action.INITIATE)
    arm.assign(kept)
    arm.assign(arm.role("Microsoft.Other/*"))
    whole = dict(arm.definitions)

    def cut(resource_type: str) -> None:
        listing = resource_type == DEFINED and arm.listed.count(DEFINED) == 1
        arm.definitions = {} if listing else whole

    arm.before = cut
    assert ask().allowed
    assert arm.listed == [ASSIGNED, DENIED, DEFINED, DEFINED, DEFINED]


def test_who_holds_nothing_costs_one_read(arm: Arm, ask: Ask) -> None:
    """Strangers use up little of what closing needs."""
    decision = ask()
    assert decision == Decision(False, (f"'{Action.INITIATE}' is not held at {WEB}",))
    assert not ask().allowed
    assert arm.listed == [ASSIGNED]


def test_app_roles_and_what_only_they_give_cost_nothing(arm: Arm, ask: Ask) -> None:
    """They stand in the token."""
    arm.assign(arm.role("*"))
    assert ask(who=replace(ALICE, roles=frozenset({"Jit.Request"}))).allowed
    assert not ask(Action.RELAY).allowed
    assert not ask(Action.BREAK_GLASS).allowed
    assert not ask(scope="/subscriptions/22222222-2222-4222-8222-222222222222").allowed
    assert arm.reads == []


def test_only_a_guid_is_asked_about(arm: Arm, ask: Ask) -> None:
    """Nothing else may stand in a filter, whatever a token says."""
    arm.assign(arm.role("*"))
    for forged in ("", "x", f"{ME}') or atScope('", f"{ME}\n", f"{ME} "):
        refused = ask(who=replace(ALICE, object_id=forged))
        assert refused == Decision(False, ("the object id is not a GUID",))
    assert arm.reads == []


@pytest.mark.parametrize(
    ("scope", "counts"),
    [
        (ROOT, True),
        (GROUP.upper(), True),
        (WEB, True),
        ("/", True),
        ("/providers/Microsoft.Management/managementGroups/contoso", True),
        (DB, False),
        (f"{GROUP}2", False),
        (f"{WEB}/extensions/x", False),
        ("/subscriptions/22222222-2222-4222-8222-222222222222", False),
        ("", False),
    ],
)
def test_a_role_counts_at_its_scope_and_below(
    arm: Arm, ask: Ask, scope: str, *, counts: bool
) -> None:
    """ARM's list holds assignments above the scope as well."""
    arm.assign(arm.role("*"), scope)
    assert ask().allowed is counts


def test_our_policies_are_asked_about_at_their_group(arm: Arm, ask: Ask) -> None:
    """They are no resources of Azure's."""
    arm.assign(arm.role("*/read"), GROUP)
    assert ask(Action.READ, POLICY).allowed
    assert not ask(Action.WRITE, POLICY).allowed


def test_a_group_s_role_counts(arm: Arm, ask: Ask) -> None:
    """ARM has already looked up the group's members."""
    arm.assign(arm.role("*"), who=TEAM, principalType="Group")
    assert ask().allowed


def test_an_assignment_with_a_condition_grants_nothing(arm: Arm, ask: Ask) -> None:
    """We cannot evaluate it, so we do not guess; without one it counts."""
    role = arm.role("*")
    arm.assign(role, condition="@Resource[x] StringEquals 'y'")
    assert not ask().allowed
    assert arm.listed == [ASSIGNED]


def test_not_actions_narrow_their_own_role_only(arm: Arm, ask: Ask) -> None:
    """As Azure has it: another role may give what one leaves out."""
    arm.assign(arm.role("*", but=("Microsoft.Security/*",)))
    assert not ask().allowed
    assert ask(Action.READ_VM).allowed


@pytest.mark.parametrize(
    ("who", "more", "denied"),
    [
        ({"id": ME, "type": "User"}, {}, True),
        ({"id": ME.upper(), "type": "User"}, {}, True),
        ({"id": EVERYBODY, "type": "SystemDefined"}, {}, True),
        ({"id": EVERYBODY, "type": "SystemDefined"}, {"excludePrincipals": [{"id": ME}]}, False),
        ({"id": TEAM, "type": "Group"}, {}, True),
        ({"id": TEAM, "type": "Group"}, {"excludePrincipals": [{"id": ME}]}, False),
        ({"id": OTHER, "type": "User"}, {}, False),
    ],
)
def test_a_deny_assignment_wins(arm: Arm, ask: Ask, who: Json, more: Json, *, denied: bool) -> None:
    """For whom it names, for everybody, and for a group, since who is in it cannot be told."""
    arm.assign(arm.role("*"))
    arm.deny("Microsoft.Security/*", who=who, **more)
    assert ask().allowed is not denied
    assert ask(Action.READ_VM).allowed
    if denied:
        assert ask().reasons == (f"deny assignment 'no entry' at {GROUP}",)


# --- failing, slow, lying ------------------------------------------------------------------------


def fail(resource_type: str) -> Callable[[str], None]:
    """Make one type of read fail."""

    def broken(asked: str) -> None:
        if asked == resource_type:
            raise OutsideError(f"503 from ARM for {resource_type}")

    return broken


@pytest.mark.parametrize("resource_type", [ASSIGNED, DENIED, DEFINED])
def test_a_read_that_fails_lets_no_caller_in(arm: Arm, ask: Ask, resource_type: str) -> None:
    """Not the owner either; the refusal says that it could not be checked, and is not kept."""
    arm.assign(arm.role("*"))
    arm.before = fail(resource_type)
    decision = ask()
    assert (decision.allowed, decision.failed_check) == (False, True)
    assert "could not be made" in decision.reasons[0]
    arm.before = lambda _type: None
    assert ask().allowed


@pytest.mark.parametrize("resource_type", [ASSIGNED, DENIED, DEFINED])
def test_what_was_known_is_not_used_past_its_minute(
    arm: Arm, ask: Ask, clock: Clock, resource_type: str
) -> None:
    """An outage does not lengthen anybody's rights."""
    arm.assign(arm.role("*"))
    assert ask().allowed
    arm.before = fail(resource_type)
    clock.advance(59.9)
    assert ask().allowed
    clock.advance(0.1)
    assert ask().failed_check


def test_a_slow_answer_is_as_old_as_its_question(arm: Arm, ask: Ask, clock: Clock) -> None:
    """An answer that took fifty seconds to arrive is kept for ten."""
    arm.assign(arm.role("*"))
    arm.before = lambda resource_type: clock.advance(50 if resource_type == ASSIGNED else 0)
    assert ask().allowed
    arm.before = fail(ASSIGNED)
    clock.advance(9)
    assert ask().allowed
    clock.advance(1)
    assert ask().failed_check


def test_a_revoked_role_has_no_effect_after_a_minute(arm: Arm, ask: Ask, clock: Clock) -> None:
    """The cache is no longer than that."""
    arm.assign(arm.role("*"))
    assert ask().allowed
    arm.assignments.clear()
    clock.advance(60)
    assert not ask().allowed


@pytest.mark.parametrize("resource_type", ["User", "ServicePrincipal", "ForeignGroup", None])
def test_an_answer_about_another_principal_grants_nothing(
    arm: Arm, ask: Ask, resource_type: str | None
) -> None:
    """An ARM that passes over the filter lists everybody: all of it is worthless."""
    role = arm.role("*")
    arm.assign(role)
    arm.assign(role, who=OTHER, **({"principalType": resource_type} if resource_type else {}))
    decision = ask()
    assert (decision.allowed, decision.failed_check) == (False, True)
    assert "another principal" in decision.reasons[0]


LIES: list[tuple[str, Json]] = [
    (ASSIGNED, {"properties": None}),
    (ASSIGNED, {}),
    (ASSIGNED, {"properties": {"principalId": ME, "scope": ROOT}}),
    (ASSIGNED, {"properties": {"principalId": ME, "roleDefinitionId": "x", "scope": [ROOT]}}),
    (ASSIGNED, {"properties": {"principalId": None, "roleDefinitionId": "x", "scope": ROOT}}),
    (DENIED, {}),
    (DENIED, {"properties": {"scope": GROUP, "permissions": [{}], "principals": None}}),
    (DENIED, {"properties": {"scope": None, "permissions": [{}], "principals": []}}),
    (DENIED, {"properties": {"scope": GROUP, "permissions": [{"actions": "*"}], "principals": []}}),
    (DEFINED, {}),
    (DEFINED, {"properties": {"roleName": "x"}}),
    (DEFINED, {"properties": {"roleName": 7, "permissions": []}}),
    (DEFINED, {"properties": {"roleName": "x", "permissions": [{"actions": "Microsoft.Foo/*"}]}}),
    (DEFINED, {"properties": {"roleName": "x", "permissions": [{"actions": [7]}]}}),
    (DEFINED, {"properties": {"roleName": "x", "permissions": [{"actions": None}]}}),
    (
        DEFINED,
        {"properties": {"roleName": "x", "permissions": [{"actions": ["*"], "notActions": "*"}]}},
    ),
    (DEFINED, {"properties": {"roleName": "x", "permissions": ["*"]}}),
]


@pytest.mark.parametrize(("resource_type", "lie"), LIES)
def test_an_answer_of_another_shape_lets_no_caller_in(
    arm: Arm, ask: Ask, resource_type: str, lie: Json
) -> None:
    """A text where a list belongs is not read letter by letter, with `*` among the letters."""
    arm.assign(arm.role("*"))
    if resource_type == ASSIGNED:
        arm.assignments.append(lie)
    elif resource_type == DENIED:
        arm.denials.append(lie)
    else:
        (guid,) = arm.definitions
        arm.definitions[guid] = {"id": arm.definitions[guid]["id"], **lie}
    decision = ask()
    assert (decision.allowed, decision.failed_check) == (False, True)


def test_another_role_in_place_of_the_one_asked_for_grants_nothing(arm: Arm, ask: Ask) -> None:
    """A definition is the one whose id it carries."""
    owner = arm.role("*", name="Owner")
    reader = arm.role("*/read", name="Reader")
    arm.assign(reader)
    arm.definitions[reader.rpartition("/")[2]] = arm.definitions[owner.rpartition("/")[2]]
    assert ask().failed_check


def test_a_definition_that_is_gone_grants_nothing(arm: Arm, ask: Ask) -> None:
    """It cannot be read, and that is said."""
    arm.assign(arm.role("*"))
    arm.definitions.clear()
    assert ask().failed_check


def test_what_is_kept_is_bounded(arm: Arm, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many unknown callers make the cache drop entries, not grow."""
    monkeypatch.setattr("shared.adapters.roles._MOST_KEPT", 5)
    for number in range(50):
        ask(who=replace(ALICE, object_id=f"0c0c0c0c-0000-4000-8000-{number:012}"))
    arm.assign(arm.role("*"))
    assert ask().allowed
