"""The sources of one requestor on a port are bounded over all open and waiting requests."""

from datetime import timedelta

import pytest

from shared.domain.errors import OutsidePolicyError
from shared.domain.model import AccessRequest, CloseReason, Principal, Status
from shared.domain.network import network
from shared.domain.policy import Asked, AskedPort
from shared.firewalls.nsg.model import Access
from shared.use_cases.grants import close_early
from shared.use_cases.reports.dry_run import dry_run_request
from shared.use_cases.requests import open as opening
from shared.use_cases.requests import submit as access
from shared.use_cases.requests.source_bounds import fail_ports_with_too_many_sources
from tests.world import ALICE, BOB, DB, NSG_NIC, SOURCE, WEB, World


@pytest.fixture
def world() -> World:
    """Make a world whose policy covers both VMs, under the installation's /24."""
    made = World()
    made.protect()
    return made


def _new_request(
    world: World, *sources: str, vm: str = WEB, port: int = 22, who: Principal = ALICE
) -> access.PolicyRequest:
    asked = AskedPort("ports[0]", vm, port, sources, duration=timedelta(minutes=10))
    return access.PolicyRequest(world.policy(), Asked((asked,), "because"), who)


def _ask(world: World, *sources: str, vm: str = WEB, port: int = 22, who: Principal = ALICE) -> str:
    return access.request_access(
        world.services, _new_request(world, *sources, vm=vm, port=port, who=who)
    ).id


def _nets(first: int, count: int) -> tuple[str, ...]:
    return tuple(f"203.0.{third}.0/24" for third in range(first, first + count))


def _addresses(world: World) -> int:
    """Count the addresses that our rules let in."""
    rules = world.firewall.ours(NSG_NIC, Access.ALLOW)
    nets = [net for rule in rules for each in rule.sources if (net := network(each))]
    return sum(net.num_addresses for net in nets)


def test_ten_requests_open_no_more_addresses_than_one_may(world: World) -> None:
    """The fifth prefix of the widest size on one port is refused, with the line and the bound."""
    for number in range(4):
        _ask(world, f"203.0.{number}.0/24")
        world.work()
    with pytest.raises(OutsidePolicyError) as refused:
        _ask(world, "203.0.4.0/24")
    (line,) = refused.value.details
    assert (line.code, line.target) == ("SourcesTooWide", "ports[0].allowedSourceAddressPrefix")
    assert "with your other requests for this port" in line.message
    assert _addresses(world) == 1024
    result = dry_run_request(world.services, _new_request(world, "203.0.4.0/24"))
    assert [reason.code for reason in result.decision.broken] == ["SourcesTooWide"]


def test_what_is_shared_counts_once(world: World) -> None:
    """Prefixes that overlap are one, so the same access can be asked for anew."""
    for _ in range(6):
        _ask(world, *_nets(0, 4))
        world.work()
    assert _ask(world, "203.0.2.77")


@pytest.mark.parametrize(
    ("vm", "port", "who"), [(DB, 22, ALICE), (WEB, 3389, ALICE), (WEB, 22, BOB)]
)
def test_another_vm_port_or_person_counts_apart(
    world: World, vm: str, port: int, who: Principal
) -> None:
    """The bound is for one requestor on one port of one VM."""
    _ask(world, *_nets(0, 4))
    assert _ask(world, *_nets(4, 4), vm=vm, port=port, who=who)


def test_what_waits_counts_and_what_has_ended_does_not(world: World) -> None:
    """A request that was not opened yet is counted; one that has ended makes room."""
    first = _ask(world, *_nets(0, 4))
    with pytest.raises(OutsidePolicyError):
        _ask(world, "203.0.9.1")
    world.work()
    close_early(world.services, first, lambda _: True, CloseReason.REVOKED)
    world.work()
    assert world.request(first).is_final
    assert _ask(world, "203.0.9.1")


def _race(world: World, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """Take in two requests at the same moment: neither sees the other."""
    with monkeypatch.context() as blind:
        blind.setattr(access, "check_sources_held", lambda *_: ())
        return _ask(world, *_nets(0, 4)), _ask(world, *_nets(4, 4))


def test_requests_that_were_taken_in_at_once_are_bounded_when_they_open(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second to open sees the first, and fails with the reason on all its firewalls."""
    first, second = _race(world, monkeypatch)
    world.work()
    world.clock.advance(1)
    world.work()
    ended = {world.status(each) for each in (first, second)}
    assert ended == {Status.INITIATED, Status.FAILED}
    assert _addresses(world) == 1024
    failed = next(each for each in (first, second) if world.status(each) is Status.FAILED)
    closing = world.request(failed).ports[0].closing
    assert closing is not None
    assert "with your other requests for this port" in closing.message


def test_requests_that_open_at_the_same_moment_never_both_stay(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the stored firewalls of one and its check, the other opens as a whole."""
    first, second = _race(world, monkeypatch)
    real = fail_ports_with_too_many_sources
    once: list[str] = []

    def interrupted(services: object, policy: object, request: AccessRequest) -> AccessRequest:
        if not once:
            once.append(request.id)
            opening.open_access(world.services, second if request.id == first else first)
        return real(services, policy, request)  # type: ignore[arg-type]

    monkeypatch.setattr(opening, "fail_ports_with_too_many_sources", interrupted)
    world.work()
    world.clock.advance(1)
    world.work()
    assert _addresses(world) <= 1024


def test_a_policy_that_is_gone_bounds_nothing(world: World) -> None:
    """Where no policy stands the request fails for that reason, and no other is looked for."""
    request = world.request(_ask(world, *_nets(0, 4)))
    assert fail_ports_with_too_many_sources(world.services, None, request) == request


@pytest.mark.parametrize("first_opens", [True, False])
def test_the_only_request_of_a_requestor_is_counted_by_those_that_come_later(
    world: World, monkeypatch: pytest.MonkeyPatch, *, first_opens: bool
) -> None:
    """It is not judged again, so the other fails, whichever of them is opened first."""
    first, second = _race(world, monkeypatch)
    assert [world.request(each).is_only for each in (first, second)] == [True, False]
    for each in (first, second) if first_opens else (second, first):
        opening.open_access(world.services, each)
    world.work()
    assert world.status(first) is Status.INITIATED
    assert world.status(second) is Status.FAILED
    assert _addresses(world) == 1024


def test_a_request_beside_others_is_judged_again(world: World) -> None:
    """What its requestor held when it was taken in is in the ledger, so it is not the only one."""
    _ask(world, SOURCE, vm=DB)
    assert not world.request(_ask(world, SOURCE)).is_only
    assert world.request(_ask(world, SOURCE, who=BOB)).is_only
