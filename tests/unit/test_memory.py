"""The memory that a later restore needs is stored before anything is applied."""

from dataclasses import replace

import pytest

from shared.domain.desired import MAX_MEMORY, Plan, block_key
from shared.domain.model import Protection
from shared.ports import OutsideError, Row, RowChangedError
from shared.store.codec import pack_json
from shared.use_cases.firewalls.converge import Outcome, converge
from tests.providers.shared_rules.cloud import Rule
from tests.three_providers import BEHIND_SHARED, SHARED, SLOW_MINUTES, ThreeProviders
from tests.world import NSG_SUBNET, POLICY, WEB, World

FOREIGN = Rule("tcp", 22, 22, "198.51.100.0/24", "theirs")


@pytest.fixture
def world() -> ThreeProviders:
    """Open a governed port behind shared rules, as another writer."""
    made = ThreeProviders()
    made.pass_time(SLOW_MINUTES)
    made.shared.put(SHARED, FOREIGN)
    return made


def protection_row(world: World) -> Row:
    """Return the stored protection of web on the subnet's group."""
    rows = world.tables.firewalls.rows.values()
    chosen = [r for r in rows if r.key.startswith("protection|") and "subnet" in r.partition]
    return next(row for row in chosen if "virtualMachines/web" in str(row.values["doc"]))


@pytest.mark.parametrize("memory", ["", "[1]", "no JSON", '{"a": "text", "b": true}'])
def test_memory_that_holds_no_numbers_is_stored_as_it_is(memory: str) -> None:
    """A provider's memory is read back unchanged."""
    world = World()
    stored = Protection(NSG_SUBNET, POLICY, WEB, (22,), ("10.0.0.4",), memory=memory)
    world.services.rows.put_protection(stored)
    held = world.services.rows.get_protection(NSG_SUBNET, POLICY, WEB)
    assert held is not None
    assert replace(held, version="") == stored


def test_priorities_of_the_version_before_are_read_as_memory() -> None:
    """A row that has its priorities in fields of their own keeps the place of its deny."""
    world = World()
    world.protect(WEB)
    row = protection_row(world)
    old = str(row.values["doc"]).partition(',"memory"')[0]
    assert '"priority_v4":1000' in old
    document = old.rstrip("}") + ',"priority_v6":1100}'
    world.tables.firewalls.upsert(replace(row, values=pack_json(document)))
    held = world.services.rows.get_protection(NSG_SUBNET, POLICY, WEB)
    assert held is not None
    assert held.memory == '{"priority_v4": 1000, "priority_v6": 1100}'


def test_the_version_before_finds_the_numbers_in_fields_of_their_own() -> None:
    """After a rollback a deny still goes back where it was first seen."""
    world = World()
    world.protect(WEB)
    assert '"priority_v4":1000' in str(protection_row(world).values["doc"])


def test_nothing_is_revoked_while_its_memory_cannot_be_stored(world: ThreeProviders) -> None:
    """A foreign rule stays until what restores it is stored; the failure is reported."""
    replace_row = world.tables.firewalls.replace

    def away(row: Row) -> str:
        if row.key.startswith("protection|"):
            raise OutsideError("no answer")
        return replace_row(row)

    world.tables.firewalls.replace = away  # type: ignore[method-assign]
    assert converge(world.services, SHARED) is Outcome.PARTLY
    assert world.shared.groups[SHARED].rules[FOREIGN.identity] == FOREIGN
    world.tables.firewalls.replace = replace_row  # type: ignore[method-assign]
    assert converge(world.services, SHARED) is Outcome.DONE
    assert not world.shared.reaches(SHARED, "198.51.100.9", 22)


def test_a_row_that_always_changes_revokes_nothing_and_ends(world: ThreeProviders) -> None:
    """The rows are read some times anew, and then left to the next look."""
    replace_row = world.tables.firewalls.replace

    def changed(row: Row) -> str:
        if row.key.startswith("protection|"):
            raise RowChangedError("changed")
        return replace_row(row)

    world.tables.firewalls.replace = changed  # type: ignore[method-assign]
    converge(world.services, SHARED)
    assert world.shared.groups[SHARED].rules[FOREIGN.identity] == FOREIGN


def test_more_than_a_column_holds_is_not_stored(world: ThreeProviders) -> None:
    """A rule that could not be restored is not revoked, and the failure is reported."""
    provider = world.services.firewalls.of(SHARED)
    plan = provider.plan

    def forgetful(*given: object) -> Plan:
        made = plan(*given)  # type: ignore[arg-type]
        key = block_key(POLICY, BEHIND_SHARED)
        return replace(made, remember={key: "x" * (MAX_MEMORY + 1)})

    provider.plan = forgetful  # type: ignore[method-assign, assignment]
    assert converge(world.services, SHARED) is Outcome.PARTLY
    assert any("too many" in str(error) for _, error in world.telemetry.faults)
    assert FOREIGN.identity in world.shared.groups[SHARED].rules
