"""A world whose closes through Bastion are noted, and a Bastion host's live sessions in memory."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from shared.domain.audit import Operation
from shared.domain.bastion import BastionHost, BastionReach
from shared.domain.bastion_sessions import BastionSession
from shared.domain.model import AccessRequest, Policy, PolicyVm, PortRule, Principal
from shared.domain.policy import Asked, AskedPort
from shared.store.audit import AuditEvent
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import submission
from shared.use_cases.timers.disconnect_sessions import disconnect_sessions
from tests.world import ALICE, DB, GROUP, POLICY, WEB, World

HOST_ID = f"{GROUP}/providers/Microsoft.Network/bastionHosts/own"
HOST = BastionHost(HOST_ID, "Standard", ("10.0.9.0/26",))


class MemorySessions:
    """The live sessions of one host. A test may let its calls fail, or sessions survive."""

    def __init__(self, *sessions: BastionSession) -> None:
        self.live = list(sessions)
        self.asked: list[tuple[str, ...]] = []
        self.lists = 0
        self.error: Exception | None = None
        self.immortal: set[str] = set()

    def list(self, host_id: str) -> Sequence[BastionSession]:
        """Return every live session."""
        assert host_id == HOST_ID
        self.lists += 1
        if self.error:
            raise self.error
        return tuple(self.live)

    def disconnect(self, host_id: str, session_ids: Sequence[str]) -> None:
        """End some sessions."""
        assert host_id == HOST_ID
        self.asked.append(tuple(session_ids))
        ended = set(session_ids) - self.immortal
        self.live = [each for each in self.live if each.id not in ended]


def session(name: str, *, user: str = ALICE.name, vm: str = WEB) -> BastionSession:
    """Return a live session."""
    return BastionSession(name, vm, user)


def prepare(world: World) -> None:
    """Switch the disconnection on, and govern two ports of two VMs that a host reaches."""
    world.services = replace(world.services, disconnect_bastion_sessions=True)
    world.bastions.known = BastionReach((HOST,))
    rules = (PortRule(22, "TCP"), PortRule(3389, "TCP"))
    policy = Policy(POLICY, "westeurope", (PolicyVm(WEB, rules), PolicyVm(DB, rules)))
    protection.put_policy(world.services, policy)
    world.work()


def ask(
    world: World, *ports: int, who: Principal = ALICE, minutes: int = 10, **given: Any
) -> AccessRequest:
    """Open access through Bastion, or from an address."""
    length = timedelta(minutes=minutes)
    source = (given["source"],) if "source" in given else ()
    bastion = "" if source else "bastion"
    asked = tuple(
        AskedPort(f"ports[{n}]", given.get("vm", WEB), port, source, None, length, bastion=bastion)
        for n, port in enumerate(ports or (22,))
    )
    new = submission.NewRequest(Asked(asked, "because", "203.0.113.7"), who, POLICY)
    request = submission.submit(world.services, new)
    world.work()
    return request


def run(world: World, sessions: Any, times: int = 1) -> int:
    """Run the timer, a minute apart; return how many closes the last run finished."""
    finished = 0
    for _ in range(times):
        finished = disconnect_sessions(world.services, sessions)
        world.clock.advance(60)
    return finished


def recorded(world: World, operation: Operation) -> list[AuditEvent]:
    """Return the audit events of an operation."""
    events = [event for _, event in world.services.activity.on(world.clock())]
    return [event for event in events if event.operation == operation]


def noted(world: World) -> int:
    """Count the closes that are noted."""
    return sum(partition == "bastion-closes" for partition, _ in world.tables.due.rows)
