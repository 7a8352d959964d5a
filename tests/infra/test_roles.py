"""Least privilege: each action of a role against what the app calls, and against what it decides."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.arm.simulator import Settings as ArmSettings
from shared.bootstrap import App
from shared.domain.ids import RuleNames
from shared.domain.model import Policy, PolicyVm, PortRule, Principal
from shared.domain.permissions import Action, Decision, RoleAssignment, is_allowed
from shared.domain.policy import Asked, AskedPort
from shared.settings import Settings
from shared.use_cases.policies import apply as protection
from shared.use_cases.reports.bastions import find_bastions
from shared.use_cases.reports.machines import list_machines
from shared.use_cases.requests import submit as access
from shared.use_cases.timers.reconcile import reconcile
from tests.infra.bicep import INFRA, ROOT, read
from tests.world import World

ESTATE = ROOT / "local" / "estate.json"
SUBSCRIPTION = "/subscriptions/3f1c7d1e-5a0b-4c6e-9b1f-2d7a90c4e815"
GROUP = f"{SUBSCRIPTION}/resourceGroups/app-rg"
MACHINES = [f"{GROUP}/providers/Microsoft.Compute/virtualMachines/{n}" for n in ("app-1", "web-1")]
BALANCED = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/sql-1"
PROBE = (
    f"{SUBSCRIPTION}/resourceGroups/ops-rg/providers/Microsoft.Network"
    "/networkSecurityGroups/jit-probe"
)
POLICY = (
    f"{GROUP}/providers/Microsoft.Security/locations/westeurope/jitNetworkAccessPolicies/default"
)
PERSON = "0b5e7a70-1111-4111-8111-00000000000a"
_JIT = "Microsoft.Security/locations/jitNetworkAccessPolicies"
_NSG = "Microsoft.Network/networkSecurityGroups"

# What a role holds that no call of the app shows, each with its reason.
NO_CALL_SHOWS = {
    "network": {
        "Microsoft.Network/applicationSecurityGroups/joinNetworkSecurityRule/action": (
            "ARM asks for it when a whole write carries another writer's rule that names such a "
            "group; it is no call of its own"
        ),
        f"{_NSG}/securityRules/read": "the answer to a rule's write is a read of the rule",
    },
    "networkRules": {
        f"{_NSG}/securityRules/read": "the answer to a rule's write is a read of the rule",
    },
    "authorizer": {},
}
# The five actions of Defender's own least-privilege role for requestors.
REQUESTOR = {
    f"{_JIT}/initiate/action",
    f"{_JIT}/*/read",
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Network/networkInterfaces/*/read",
    "Microsoft.Network/publicIPAddresses/read",
}
# What Azure's providers publish. Azure refuses a custom role that names anything else; a wildcard
# has to meet at least one.
PUBLISHED = {
    f"{_JIT}/read",
    f"{_JIT}/write",
    f"{_JIT}/delete",
    f"{_JIT}/initiate/action",
    "Microsoft.Authorization/roleAssignments/read",
    "Microsoft.Authorization/roleDefinitions/read",
    "Microsoft.Authorization/denyAssignments/read",
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Network/applicationSecurityGroups/joinNetworkSecurityRule/action",
    "Microsoft.Network/loadBalancers/read",
    "Microsoft.Network/networkInterfaces/read",
    "Microsoft.Network/networkInterfaces/ipconfigurations/read",
    f"{_NSG}/read",
    f"{_NSG}/write",
    f"{_NSG}/securityRules/read",
    f"{_NSG}/securityRules/write",
    f"{_NSG}/securityRules/delete",
    "Microsoft.Network/publicIPAddresses/read",
    "Microsoft.Network/virtualNetworks/subnets/read",
    "Microsoft.Network/virtualNetworks/read",
    "Microsoft.Network/bastionHosts/read",
}
# The documented form of Defender's role; its wildcard is accepted as it stands.
DOCUMENTED_WILDCARDS = {f"{_JIT}/*/read"}
VERBS = {"GET": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete", "POST": "action"}


@dataclass(frozen=True)
class Role:
    """The actions of a custom role."""

    actions: tuple[str, ...]
    not_actions: tuple[str, ...]


def _roles() -> dict[str, Role]:
    found = {}
    for each in read(INFRA / "modules" / "roles.bicep").resources:
        (permission,) = each.body["properties"]["permissions"]
        found[each.symbol] = Role(tuple(permission["actions"]), tuple(permission["notActions"]))
    return found


ROLES = _roles()
PEOPLE = ("requestor", "approver", "policyAdmin", "auditor")


class Played:
    """The app's use cases with its real adapters at the simulator, and every call they make."""

    def __init__(self, arm: str, nsg_write: str, **more: str) -> None:
        self.arm = arm
        self.app = App(_settings(arm, nsg_write, **more))
        self.world = World()
        clock, tables = self.world.clock, self.world.tables
        # What the app would connect when first used; its firewall asks these for the last probe.
        vars(self.app.outside).update(tables=tables, queues=self.world.queues)
        vars(self.app)["services"] = self.world.services = replace(
            self.app.services,
            telemetry=self.world.telemetry,
            clock=clock,
            sleep=clock.advance,
            authorize=lambda *_: Decision(True),
        )

    def play(self) -> None:
        """Protect, open, close, repair, take the policy away, look at every machine, decide."""
        rules = (PortRule(22, "TCP"), PortRule(3389, "TCP"))
        vms = tuple(PolicyVm(vm, rules) for vm in MACHINES)
        protection.put_policy(self.world.services, Policy(POLICY, "westeurope", vms))
        self.world.work()
        for number, minutes in ((22, 5), (3389, 8)):
            self._ask(number, minutes)
            self.world.work()
        self.world.pass_time(10)
        reconcile(self.world.services)
        protection.delete_policy(self.world.services, POLICY)
        self.world.work()
        self.world.pass_time(2)
        self._look_around()
        self._authorize()

    def _look_around(self) -> None:
        self.app.inventory.read((SUBSCRIPTION,))
        machine = self.world.services.machines.find(BALANCED)
        assert machine is not None
        self.world.services.bastions.reach(machine.networks)

    def _ask(self, number: int, minutes: int) -> None:
        length = timedelta(minutes=minutes)
        asked = AskedPort("ports[0]", MACHINES[0], number, ("203.0.113.7",), duration=length)
        person = Principal("t", PERSON, "p", roles=frozenset({"Jit.Request"}))
        policy = protection.get_policy(self.world.services, POLICY)
        new_request = access.PolicyRequest(
            policy, Asked((asked,), "because", "203.0.113.7"), person
        )
        access.request_access(self.world.services, new_request)

    def _authorize(self) -> None:
        stranger = Principal("t", PERSON, "p")
        client = ArmClient(self.arm)
        definition = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
        held = {
            "id": f"{GROUP}/providers/Microsoft.Authorization/roleAssignments/{PERSON}",
            "name": PERSON,
            "type": "Microsoft.Authorization/roleAssignments",
            "properties": {
                "principalId": PERSON,
                "scope": GROUP,
                "roleDefinitionId": f"{SUBSCRIPTION}/providers/Microsoft.Authorization"
                f"/roleDefinitions/{definition}",
            },
        }
        client.control("edit", {"resources": [held]})
        client.close()
        App(self.app.settings).services.authorize(stranger, Action.READ, MACHINES[1])

    def actions(self) -> dict[str, set[str]]:
        """Name the actions that the calls needed, by identity."""
        client = ArmClient(self.arm)
        found: dict[str, set[str]] = {}
        for call in client.ask("log")["calls"]:
            if call["caller"]:
                found.setdefault(call["caller"], set()).add(_action(call["method"], call["path"]))
        client.close()
        return found


def _settings(arm: str, nsg_write: str, **more: str) -> Settings:
    return Settings.model_validate(
        {
            "deployment_id": "local1",
            "tenant_id": "11111111-1111-4111-8111-111111111111",
            "audience": ("api://jit",),
            "scopes": (SUBSCRIPTION,),
            "arm_url": arm,
            "nsg_write": nsg_write,
            "probe_nsg": PROBE if nsg_write == "auto" else "",
            **more,
            "JitStorage": "UseDevelopmentStorage=true",  # never reached: the tables are in memory
        }
    )


def _action(method: str, path: str) -> str:
    """Name the action that ARM asks for at a call."""
    plain = path.partition("?")[0]
    provider = re.split("/providers/", plain, flags=re.IGNORECASE)[-1].strip("/").split("/")
    return "/".join((provider[0], *provider[1::2], VERBS[method]))


@pytest.fixture(scope="module", params=["auto", "rules"])
def played(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, set[str]]]]:
    """Play the app once in each mode of writing."""
    with ArmServer(ESTATE, settings=ArmSettings(settle=0.0)) as server:
        run = Played(server.url, request.param)
        run.play()
        yield request.param, run.actions()


def test_the_network_role_is_what_the_calls_need(
    played: tuple[str, dict[str, set[str]]],
) -> None:
    """Nothing is missing and nothing is spare, but for what is listed with its reason."""
    mode, used = played
    name = "network" if mode == "auto" else "networkRules"
    held = set(ROLES[name].actions)

    assert used["network"] - held == set(), "missing"
    assert held - used["network"] == set(NO_CALL_SHOWS[name]), "spare"


def test_the_authorizer_role_is_what_the_calls_need(
    played: tuple[str, dict[str, set[str]]],
) -> None:
    """The authorizer reads assignments, definitions and denials, and nothing else."""
    _, used = played
    held = set(ROLES["authorizer"].actions)

    assert used["authorizer"] == held - set(NO_CALL_SHOWS["authorizer"])


def test_no_other_identity_calls_arm(played: tuple[str, dict[str, set[str]]]) -> None:
    """The host's identity never goes to ARM."""
    assert set(played[1]) == {"network", "authorizer"}


def test_the_narrower_role_is_narrower() -> None:
    """Rules only: it cannot write a whole group, and holds nothing the other does not."""
    assert set(ROLES["networkRules"].actions) < set(ROLES["network"].actions)
    assert f"{_NSG}/write" not in ROLES["networkRules"].actions


def test_the_reader_role_is_what_the_machines_report_reads() -> None:
    """With a reader's identity, the report makes no call to ARM with the network's."""
    with ArmServer(ESTATE, settings=ArmSettings(settle=0.0)) as server:
        run = Played(server.url, "auto", reader_client_id=PERSON)
        for scope in (SUBSCRIPTION, GROUP):  # a subscription is listed, a group's subnets are read
            services = replace(run.world.services, scopes=(scope,))
            vars(run.app).pop("estates", None)
            vars(run.app)["services"] = services
            found = list_machines(services, run.app.estates, [scope])
            find_bastions(services, found.machines)
            assert found.judge(found.machines)
        used = run.actions()

    assert set(used) == {"reader"}
    assert used["reader"] == set(ROLES["reader"].actions)


@pytest.mark.parametrize("name", ["network", "networkRules", "reader", "authorizer"])
def test_the_app_s_own_roles_hold_no_wildcard(name: str) -> None:
    """The app's actions are written out."""
    assert all("*" not in action for action in ROLES[name].actions)
    assert ROLES[name].not_actions == ()


def test_the_requestor_role_is_defender_s() -> None:
    """A person with Defender's least-privilege role has ours, action by action."""
    assert set(ROLES["requestor"].actions) == REQUESTOR


@pytest.mark.parametrize("name", ROLES)
def test_azure_accepts_every_action(name: str) -> None:
    """An action that no provider publishes makes Azure refuse the role, so none is named."""
    for action in (*ROLES[name].actions, *ROLES[name].not_actions):
        pattern = re.escape(action).replace(r"\*", ".*")
        known = any(re.fullmatch(pattern, each, re.IGNORECASE) for each in PUBLISHED)
        assert known or action in DOCUMENTED_WILDCARDS, action


# What each role for people is for, in the app's own decisions.
GRANTS = {
    "requestor": {Action.INITIATE, Action.READ_VM},
    "approver": {Action.APPROVE, Action.REVOKE, Action.READ, Action.READ_VM},
    "policyAdmin": {Action.READ, Action.WRITE, Action.DELETE, Action.READ_VM},
    "auditor": {Action.READ, Action.READ_ACTIVITY, Action.READ_VM},
}


@pytest.mark.parametrize("name", PEOPLE)
def test_people_get_what_their_role_is_for(name: str) -> None:
    """Each role gives its actions in the app's own decision, and no other."""
    role = ROLES[name]
    assignment = RoleAssignment(GROUP, role.actions, role.not_actions)
    allowed = {
        action
        for action in Action
        if is_allowed(
            Principal("t", PERSON, "p"),
            action,
            MACHINES[0],
            app_scopes=(SUBSCRIPTION,),
            assignments=[assignment],
        ).allowed
    }

    assert allowed == GRANTS[name]


def test_no_role_both_approves_and_asks() -> None:
    """Two people means two roles: none holds both ends, nor policies and access."""
    for name in PEOPLE:
        held = GRANTS[name]
        assert len(held & {Action.INITIATE, Action.APPROVE, Action.WRITE}) <= 1, name


def test_app_roles_are_the_code_s() -> None:
    """The registration offers exactly the roles that the app knows."""
    from shared.domain.permissions import APP_ROLES  # noqa: PLC0415

    offered = read(INFRA / "app-registration.bicep").variables["roles"]

    assert {role["value"] for role in offered} == set(APP_ROLES)


def test_the_mark_tells_our_rules() -> None:
    """The hook, the alert and the code agree on what a rule of ours is called."""
    names = RuleNames("SecurityCenter-JITRule", "j0123456789a")
    rule = names.allow("request", MACHINES[0], 22, 4), names.deny(MACHINES[0], 4)
    hook = (INFRA / "hooks" / "predown.sh").read_text(encoding="utf-8")
    (form,) = re.findall(r'grep -E -i "(/securityRules/[^"]+)"', hook)
    ours = re.compile(
        form.replace("${JIT_DEPLOYMENT_ID}", "j0123456789a").replace("\\$", "$"), re.IGNORECASE
    )

    assert all(ours.search(f"x/securityRules/{each}") for each in rule)
    assert not ours.search("x/securityRules/SecurityCenter-JITRule-other1-" + "A" * 32)


def test_every_action_has_its_reason_in_the_document() -> None:
    """docs/permissions.md names each action of each role, and none that no role has."""
    document = (ROOT / "docs" / "permissions.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(Microsoft\.[^`]+)` \|", document, re.MULTILINE))
    held = {a for role in ROLES.values() for a in (*role.actions, *role.not_actions)}
    # The role over the audit files holds data actions alone, and is defined beside their account.
    audit = (INFRA / "modules" / "audit.bicep").read_text(encoding="utf-8")
    for each in read(INFRA / "modules" / "roles-firewall.bicep").resources:
        (permission,) = each.body["properties"]["permissions"]
        held |= set(permission["actions"])
    for each in read(INFRA / "modules" / "roles-bastion.bicep").resources:
        (permission,) = each.body["properties"]["permissions"]
        held |= set(permission["actions"])
    (data_actions,) = re.findall(r"dataActions: \[([^\]]*)\]", audit)
    held |= set(re.findall(r"'([^']+)'", data_actions))

    assert documented == held
