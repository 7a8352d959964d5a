"""Exposures of governed ports, as a provider reports them: exactly what gets through."""

from shared.domain.exposure import exposures
from shared.domain.model import Attachment
from shared.domain.network import network
from shared.domain.source_sets import Boxes, box_of, intersect_all
from shared.ports import Machine
from tests.contract.provider.grounds import ADDRESS, OTHER_VM, VM
from tests.contract.provider.subject import ALICE, BOB, Subject


def source(address: str) -> Boxes:
    """Return the set of one source."""
    found = network(address)
    assert found is not None
    return (box_of(found),)


def lets_in(subject: Subject, block: str, address: str, *, ours: bool) -> bool:
    """Tell whether an opening of ours, or a foreign one, lets a source through to SSH."""
    found = subject.provider.exposures(subject.read(), subject.blocks[block])
    return any(
        each.ours == ours
        and any(each.leads_to(ADDRESS, 22, protocol) for protocol in ("tcp", "udp"))
        and intersect_all(each.sources_of(4), source(address))
        for each in found
    )


def test_an_opening_of_ours_is_told_from_foreign_ones(subject: Subject) -> None:
    """Access that was requested lets its source through, and no other."""
    block = subject.block()
    subject.converge()
    assert not lets_in(subject, block, ALICE, ours=True)
    subject.allow(1)
    subject.converge()
    assert lets_in(subject, block, ALICE, ours=True)
    assert not lets_in(subject, block, BOB, ours=True)
    assert not lets_in(subject, block, ALICE, ours=False)


def test_a_foreign_opening_is_told_exactly_while_it_lets_packets_in(subject: Subject) -> None:
    """A foreign opening counts for its sources, as long as packets pass it."""
    subject.ground.open_foreign(subject.id, BOB, 22)
    block = subject.block()
    subject.converge()
    assert lets_in(subject, block, BOB, ours=False) == subject.reaches(BOB)
    assert not lets_in(subject, block, ALICE, ours=False)


def test_a_foreign_opening_of_another_port_is_none(subject: Subject) -> None:
    """Only governed ports are judged."""
    subject.ground.open_foreign(subject.id, BOB, 443)
    block = subject.block()
    subject.converge()
    assert not lets_in(subject, block, BOB, ours=False)


def test_what_cannot_be_resolved_is_named_as_a_doubt(subject: Subject) -> None:
    """An odd foreign rule that stays is an exposure whose doubt has a name."""
    block = subject.block()
    subject.ground.add_odd_foreign(subject.id)
    subject.converge()
    path = [Attachment(subject.id, (ADDRESS,))]
    openings = subject.provider.exposures(subject.read(), subject.blocks[block])
    found = exposures(path, {subject.id.lower(): openings}, (22,))
    assert bool(found) == any(not each.ours for each in openings)


def test_attachments_are_answered_for_each_machine(subject: Subject) -> None:
    """One call answers for every machine by its id, and owns every firewall that it names."""
    mine = Attachment(subject.id, (ADDRESS,))
    machines = [
        Machine(VM, "westeurope", "linux", (mine, Attachment("of another provider", (ADDRESS,)))),
        Machine(OTHER_VM, "westeurope", "linux", ()),
    ]
    found = subject.provider.attach(machines)
    assert set(found) <= {VM, OTHER_VM}
    for attachments in found.values():
        assert all(subject.provider.owns(each.firewall_id) for each in attachments)
    assert subject.provider.attach([]) == {}
