"""After protection and removal every foreign rule is back exactly, and was never wider between.

The worker is killed before every write but the first of each run, so that each run makes one.
1,000 generated groups; JIT_CASES says how many others.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.aws.app import edit_rules
from local.aws.errors import AwsError
from local.aws.simulator import Simulator
from local.aws.values import GROUP, Group, Instance, Interface, Region, Rule
from shared.domain.desired import Block, Desired, Plan
from shared.firewalls.ec2.provider import Ec2Provider
from shared.firewalls.ec2.wire import Ec2Error, Place, group_arn
from tests.aws_cloud import ACCOUNT, DEPLOYMENT, REGION, VPC, accounts, estate, permission

CASES = int(os.environ.get("JIT_CASES", "1000"))
THEIRS, OTHER, INSTANCE = "sg-theirs", "sg-other", "i-00000000000000001"
GOVERNED = (22, 24, 3389)
# Every port at which a rule or a cut may begin or end, and one inside each stretch between.
POINTS = (0, 1, 19, 20, 21, 22, 23, 24, 25, 26, 27, 1000, 3387, 3388, 3389, 3390, 3391)
_MOST_RUNS = 200
Ports = set[int]
Reach = dict[tuple[str, str, str], Ports]

PORT = st.sampled_from([0, 20, 21, 22, 23, 24, 25, 26, 3388, 3389, 3390])
RULES = st.lists(
    st.tuples(
        st.sampled_from(["tcp", "tcp", "tcp", "udp", "-1", "icmp"]),
        PORT,
        PORT,
        st.sampled_from(["0.0.0.0/0", "10.0.0.0/8", "2001:db8::/64", "pl-0001", OTHER]),
        st.sampled_from(["", "SSH", "a b: (c) #1, =x+y; {z}", "-"]),
        st.dictionaries(
            st.sampled_from(["team", "a:b c", "jit note"]), st.sampled_from(["", "x+y=z", "ü/1"])
        ),
    ),
    max_size=7,
)
POLICIES = st.lists(st.sets(st.sampled_from(GOVERNED), min_size=1), min_size=1, max_size=2)


class KilledError(BaseException):
    """The worker was killed."""


class Direct:
    """EC2 without a wire: the simulator's own calls, and a worker that can be killed."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.writes_left = 0

    def call(
        self, place: Place, action: str, params: Mapping[str, Any], *, once: bool = False
    ) -> Mapping[str, Any]:
        """Carry out one call."""
        del once
        if not action.startswith("Describe"):
            if not self.writes_left:
                raise KilledError
            self.writes_left -= 1
        try:
            return self.simulator.call(place.region, action, params)
        except AwsError as error:
            raise Ec2Error(error.code, error.message) from error


class Case:
    """One generated group, on an instance that bears its own group of ours."""

    def __init__(self, rules: list[Any]) -> None:
        self.simulator = Simulator(estate(), lambda: 0.0)
        self.region: Region = self.simulator.regions[REGION]
        own = Group("sg-own", f"jit-{DEPLOYMENT}-{INSTANCE}", "ours", VPC, ACCOUNT)
        theirs = Group(THEIRS, "theirs", "theirs", VPC, ACCOUNT, tags={"jit:manage": "revoke"})
        other = Group(OTHER, "other", "other", VPC, ACCOUNT)
        self.region.groups = {each.id: each for each in (own, theirs, other)}
        self.region.instances[INSTANCE] = Instance(INSTANCE)
        self.region.interfaces["eni-1"] = Interface(
            "eni-1", VPC, "subnet-1", [own.id, THEIRS], ["10.0.1.4"], INSTANCE
        )
        for protocol, one, two, source, text, tags in rules:
            low, high = sorted((one, two))
            given = permission(protocol, low, high, source, text=text, tags=tags)
            edit_rules(self.simulator, self.region, THEIRS, [given])
        self.api = Direct(self.simulator)
        self.provider = Ec2Provider(self.api, accounts(), DEPLOYMENT)
        self.firewall = group_arn(Place(ACCOUNT, REGION), THEIRS)
        self.blocks: dict[str, Block] = {}
        self.limit = self.reach()  # what may be open at any moment
        self.floor: Reach = {}  # what has to be open at any moment

    def rules(self) -> list[Rule]:
        """Return the rules of the foreign group."""
        return list(self.region.groups[THEIRS].rules.values())

    def content(self) -> list[str]:
        """Return the rules to compare, ids apart."""
        return sorted(
            repr((r.identity, r.description, sorted(r.tags.items()))) for r in self.rules()
        )

    def reach(self) -> Reach:
        """Return which ports each source reaches."""
        found: Reach = {}
        for rule in self.rules():
            i = rule.identity
            ports = {port for port in POINTS if i.low <= port <= i.high or i.low < 0}
            found.setdefault((i.protocol, i.kind, i.source), set()).update(ports)
        return found

    def converge(self) -> Plan:
        """Run workers that are killed after one write each, until nothing is left to do."""
        for _ in range(_MOST_RUNS):
            self.api.writes_left = 1
            try:
                return self._run()
            except KilledError:
                self._check_bounds()
        raise AssertionError("it does not converge")

    def _check_bounds(self) -> None:
        """Check that nothing is wider than before, and nothing narrower than has to be."""
        now = self.reach()
        for key, ports in now.items():
            assert ports <= self.limit.get(key, set()), (key, ports)
        for key, ports in self.floor.items():
            assert ports <= now.get(key, set()), (key, ports)

    def _run(self) -> Plan:
        while True:
            observed = self.provider.read(self.firewall)
            plan = self.provider.plan(observed, Desired(blocks=tuple(self.blocks.values())))
            for key, memory in plan.remember.items():
                self.blocks[key] = replace(self.blocks[key], memory=memory)
            if plan.is_done:
                return plan
            self.provider.apply(observed, plan)


@settings(max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rules=RULES, policies=POLICIES, order=st.sampled_from(["in order", "in reverse", "together"])
)
def test_protection_and_removal_restore_exactly(
    rules: list[Any], policies: list[set[int]], order: str
) -> None:
    """The removal restores any group, wherever workers are killed."""
    case = Case(rules)
    before, whole = case.content(), case.reach()
    for number, ports in enumerate(policies):
        key = f"block-{number}"
        case.blocks[key] = Block(key, INSTANCE, tuple(sorted(ports)), (), revoke_foreign=True)
    case.floor = _without(whole, set().union(*policies))
    case.converge()
    _check_protected(case, whole, set().union(*policies))
    keys = list(case.blocks) if order != "in reverse" else list(case.blocks)[::-1]
    case.floor = case.reach()
    for removed in [keys] if order == "together" else [[key] for key in keys]:
        for key in removed:
            case.blocks[key] = replace(case.blocks[key], wanted=False)
        plan = case.converge()
        assert all(plan.finding(key).agrees for key in removed)
        for key in removed:
            del case.blocks[key]
    assert case.content() == before
    assert set(case.region.groups) == {"sg-own", THEIRS, OTHER}


def _without(whole: Reach, governed: set[int]) -> Reach:
    """Return what is left of the access through rules that can be narrowed."""
    return {
        (protocol, source_type, source): ports - governed
        if protocol in {"tcp", "udp"} and source_type != GROUP
        else ports
        for (protocol, source_type, source), ports in whole.items()
    }


def _check_protected(case: Case, whole: Reach, governed: set[int]) -> None:
    """Check that exactly the governed ports of narrowable rules are closed."""
    now = case.reach()
    for key, expected in _without(whole, governed).items():
        assert now.get(key, set()) == expected
