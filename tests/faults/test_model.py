"""Random interleavings of people, workers, sweeps, foreign editors, clocks, losses and faults.

After each quiescence the same invariants hold as after a crash. `make soak` runs the long form.
"""

import os
from dataclasses import replace
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.domain.errors import JitError
from shared.domain.model import Conditions, Principal, Status
from shared.firewalls.nsg.model import Access
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import decide as approval
from shared.use_cases.timers.reconcile import reconcile
from tests.faults.harness import FOREIGN, FaultType, FragileWorld, check, check_all_over
from tests.world import ALICE, BOB, DB, NSG_NIC, NSG_SUBNET, POLICY, WEB

CAROL = Principal("tenant", "carol-id", "carol", roles=frozenset({"Jit.Approve", "Jit.Admin"}))
_SOAK = bool(os.environ.get("JIT_SOAK"))
_STEPS = settings(
    max_examples=400 if _SOAK else 25,
    stateful_step_count=40 if _SOAK else 25,
    deadline=None,
    derandomize=not _SOAK,
    suppress_health_check=list(HealthCheck),
)

people = st.sampled_from([ALICE, BOB])
vms = st.sampled_from([WEB, DB])
minutes = st.sampled_from([5, 7, 15, 60])


class Ports(RuleBasedStateMachine):
    """The app in a world that does what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.world = FragileWorld(*FOREIGN)
        self.world.protect()
        self.lost = False

    def requests(self) -> list[str]:
        """Return the ids of all requests."""
        return [r.id for r in self.world.kept_requests.newest(POLICY, 100)]

    def requestor(self, request_id: str) -> Principal:
        """Return who made a request."""
        held = self.world.kept_requests.get(request_id)
        assert held is not None
        return held.request.requestor

    def attempt(self, *work: object) -> None:
        """Let a person try something; a refusal is an answer too."""
        try:
            self.world.attempt(*work)  # type: ignore[arg-type]
        except JitError:
            return

    @rule(who=people, vm=vms, port=st.sampled_from([22, 3389]), length=minutes)
    def ask(self, who: Principal, vm: str, port: int, length: int) -> None:
        """A requestor asks for a port."""
        self.attempt(lambda: self.world.ask(vm, port, who=who, minutes=length, work=False))

    @precondition(lambda self: bool(self.requests()))
    @rule(data=st.data(), length=minutes)
    def extend(self, data: st.DataObject, length: int) -> None:
        """A requestor asks for longer."""
        request = data.draw(st.sampled_from(self.requests()))
        who = approval.Caller(self.requestor(request))
        self.attempt(
            lambda: approval.extend_access(
                self.world.services, request, who, duration=timedelta(minutes=length)
            )
        )

    @precondition(lambda self: bool(self.requests()))
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        """An administrator ends something."""
        request = data.draw(st.sampled_from(self.requests()))
        self.attempt(lambda: approval.revoke(self.world.services, request, approval.Caller(CAROL)))

    @precondition(lambda self: bool(self.requests()))
    @rule(data=st.data(), approved=st.booleans())
    def decide(self, data: st.DataObject, *, approved: bool) -> None:
        """An approver decides."""
        request = data.draw(st.sampled_from(self.requests()))
        self.attempt(
            lambda: approval.decide(
                self.world.services, request, approval.Caller(CAROL), approved=approved
            )
        )

    @rule(vms_kept=st.sampled_from([(WEB, DB), (DB,), (WEB,)]), needed=st.sampled_from([0, 0, 1]))
    def change_policy(self, vms_kept: tuple[str, ...], needed: int) -> None:
        """An administrator writes the policy anew."""

        def put() -> None:
            policy = self.world.protect(*vms_kept)
            changed = replace(policy, conditions=Conditions(approvers_needed=needed))
            protection.put_policy(self.world.services, changed)

        self.attempt(put)

    @rule(data=st.data(), fault_type=st.sampled_from(FaultType), at=st.integers(1, 60))
    def break_something(self, data: st.DataObject, fault_type: FaultType, at: int) -> None:
        """A later call to the outside fails."""
        del data
        self.world.faults.arm(at, fault_type)

    @rule(nsg=st.sampled_from([NSG_NIC, NSG_SUBNET]), data=st.data())
    def edit_ours(self, nsg: str, data: st.DataObject) -> None:
        """A colleague deletes or edits a rule of ours."""
        ours = self.world.firewall.ours(nsg)
        if ours:
            victim = data.draw(st.sampled_from(ours))
            if data.draw(st.booleans()):
                self.world.firewall.edit(nsg, remove=[victim.name])
            else:
                self.world.firewall.edit(nsg, replace(victim, sources=("*",)))

    @rule(count=st.integers(1, 4))
    def work_some(self, count: int) -> None:
        """Workers handle a few messages."""
        for _ in range(count):
            visible = self.world.queues.visible()
            if visible:
                self.world.deliver(visible[-1])

    @rule(seconds=st.sampled_from([1, 59, 60, 299, 300, 901, 3600]))
    def wait(self, seconds: int) -> None:
        """Time passes without a worker."""
        self.world.clock.advance(seconds)

    @rule()
    def tick(self) -> None:
        """The timer fires."""
        self.world.sweep()

    @rule()
    def lose_the_firewall_rows(self) -> None:
        """An administrator deletes the table of firewalls while grants are live."""
        self.world.tables.firewalls.rows.clear()
        self.lost = True

    @rule()
    def settle(self) -> None:
        """Everything is quiet for a while."""
        self.world.recover()
        check(self.world, "model", rows_lost=self.lost)

    @invariant()
    def foreign_rules_stand(self) -> None:
        """No foreign rule is ever touched."""
        for rule_ in FOREIGN:
            assert self.world.firewall.rules(NSG_SUBNET).get(rule_.name) == rule_

    @invariant()
    def initiated_means_it_was_proven(self) -> None:
        """An Initiated port has been seen open on every firewall in front of it."""
        for request in self.world.kept_requests.newest(POLICY, 100):
            for port in request.ports:
                if port.status is Status.INITIATED:
                    assert all(front.opened_at for front in port.fronts or ())

    def teardown(self) -> None:
        """At the end of every story, everything that was opened is closed."""
        self.world.faults.disarm()
        self.world.pass_time(75)
        reconcile(self.world.services)
        self.world.pass_time(20)
        check_all_over(self.world, "the end of the story")
        for nsg in (NSG_NIC, NSG_SUBNET):
            assert not self.world.firewall.ours(nsg, Access.ALLOW)


TestPorts = Ports.TestCase
TestPorts.settings = _STEPS
