"""The role for Bastion's sessions: what the calls need, made and assigned only where switched on."""

from local.arm.client import ArmClient
from local.arm.serve import ArmServer
from local.arm.simulator import Settings as ArmSettings
from shared.adapters.arm_bastion_sessions import connect
from shared.adapters.arm_clients import LocalName
from tests.infra.bicep import INFRA, ROOT, Text, read
from tests.infra.hook_world import NETWORK, SUBSCRIPTION, Run
from tests.infra.test_roles import GROUP, ROLES, _action

HOST = f"{GROUP}/providers/Microsoft.Network/bastionHosts/app-bastion"
MAIN = read(INFRA / "main.bicep")


def held() -> set[str]:
    """Return the actions of the role."""
    (role,) = read(INFRA / "modules" / "roles-bastion.bicep").resources
    (permission,) = role.body["properties"]["permissions"]
    assert permission["notActions"] == []
    return set(permission["actions"])


def test_the_role_holds_what_the_calls_need_and_nothing_else() -> None:
    """Listing, polling the list and disconnecting are every call there is."""
    with ArmServer(ROOT / "local" / "estate.json", settings=ArmSettings(settle=0.0)) as server:
        sessions = connect(server.url, LocalName("network"))
        assert sessions.list(HOST) == ()
        sessions.disconnect(HOST, ("s1",))
        arm = ArmClient(server.url)
        used = {_action(call["method"], call["path"]) for call in arm.ask("log")["calls"]}
        arm.close()
    assert used == held()


def test_no_other_role_of_the_app_may_touch_sessions() -> None:
    """A deployment that leaves the setting off gives no identity the three actions."""
    for role in ROLES.values():
        assert not held() & set(role.actions)


def test_the_role_is_off_by_default_and_made_only_where_switched_on() -> None:
    """One parameter decides over the role, its assignment and the app's setting."""
    (module,) = (each for each in MAIN.modules if each.symbol == "bastionRole")
    assert "= if (disconnectBastionSessions) {" in MAIN.text.partition("module bastionRole ")[2]
    assert module.parameters["mark"] == Text("mark")
    assert "param disconnectBastionSessions bool = false\n" in MAIN.text
    rights = MAIN.outputs["JIT_BASTION_RIGHTS"].source
    assert rights.startswith("disconnectBastionSessions ? '${join(networkPrincipalIds, ")
    assert rights.endswith(": ''")


def test_the_hook_assigns_it_at_the_scopes_of_the_network_role(run: Run) -> None:
    """Where the output is empty nothing is assigned for it."""
    for right, expected in ((f"{NETWORK}=sessions", {"network", "sessions"}), ("", {"network"})):
        done, after = run(
            "rights",
            environment={
                "JIT_SCOPES": SUBSCRIPTION,
                "JIT_SCOPE_RIGHTS": f"{NETWORK}=network",
                "JIT_BASTION_RIGHTS": right,
            },
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert {role.rpartition("/")[2] for _, _, role in after["assignments"]} == expected
