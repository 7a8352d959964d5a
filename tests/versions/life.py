"""A life that leaves rows of every type behind, the same under each version of the app."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from shared.domain.model import Principal
from shared.domain.policy import Asked, AskedPort
from shared.ports import Row
from shared.use_cases.policies import apply as protection
from shared.use_cases.requests import decide as approval
from shared.use_cases.requests import open as opening
from shared.use_cases.requests import submit as access
from shared.use_cases.requests.decide import Caller
from shared.use_cases.requests.idempotency import Repeat
from tests.fakes import MemoryTables
from tests.world import ALICE, BOB, DB, SOURCE, WEB, World

VERSION_BEFORE = "4f33438"  # the commit whose rows and reading rules are kept here
BEFORE = Path(__file__).with_name("rows_of_the_version_before.json")
CURRENT = Path(__file__).with_name("rows_of_this_version.json")
CAROL = Principal("tenant", "carol-id", "carol@x", roles=frozenset({"Jit.Approve"}))
COMMENT = "the work is done \U0001f600\u00e9\u2028"
NAMES = ("policies", "requests", "firewalls", "due", "activity")


def live_through(world: World) -> None:
    """Have requests in every state: open, extended, waiting, being closed, ended and failed."""
    world.protect(WEB, DB)
    world.ask(DB, minutes=5)
    world.pass_time(7)
    failed = world.ask(DB, 3389, minutes=30, work=False)
    opening.fail_request(world.services, failed.id, "it could not be opened")
    extended = world.ask(WEB, 22, minutes=30)
    approval.extend_access(
        world.services, extended.id, Caller(ALICE), duration=timedelta(minutes=50)
    )
    world.work()
    _ask_for_approval(world)
    agreed = world.ask(DB, 22, who=BOB, minutes=40)
    approval.decide(world.services, agreed.id, Caller(CAROL), approved=True, comment=COMMENT)
    world.work()
    approval.extend_access(world.services, agreed.id, Caller(BOB), duration=timedelta(minutes=90))
    world.ask(WEB, 3389, who=BOB, minutes=20)
    _ask_for_no_approval(world)
    ports = tuple(
        AskedPort(f"ports[{n}]", DB, port, (SOURCE,), duration=timedelta(minutes=60))
        for n, port in enumerate((22, 3389))
    )
    # "Wish" was its name before 0.1.0.
    new_type = getattr(access, "PolicyRequest", None) or vars(access)["Wish"]
    new = new_type(
        world.policy(), Asked(ports, COMMENT, SOURCE), ALICE,
        repeat=Repeat(ALICE.key, "one", "digest"),
    )  # fmt: skip
    closing = access.request_access(world.services, new)
    world.work()
    approval.revoke(world.services, closing.id, Caller(ALICE), reason=COMMENT)


def _ask_for_approval(world: World) -> None:
    policy = world.policy()
    asked = replace(policy.conditions, approvers_needed=1, approve_extensions=True)
    protection.put_policy(world.services, replace(policy, conditions=asked))
    world.work()


def _ask_for_no_approval(world: World) -> None:
    policy = world.policy()
    asked = replace(policy.conditions, approvers_needed=0)
    protection.put_policy(world.services, replace(policy, conditions=asked))
    world.work()


def dump(tables: MemoryTables) -> dict[str, list[list[Any]]]:
    """Return the rows of every table, in key order, without their etags."""
    return {
        name: [
            [row.partition, row.key, dict(row.values)]
            for _, row in sorted(getattr(tables, name).rows.items())
        ]
        for name in NAMES
    }


def load(tables: MemoryTables, path: Path) -> None:
    """Put the rows of a file into empty tables."""
    for name, rows in json.loads(path.read_text(encoding="utf-8")).items():
        for partition, key, values in rows:
            getattr(tables, name).upsert(Row(partition, key, values))


def write(path: Path) -> None:
    """Write the rows that this version of the app leaves behind."""
    world = World()
    live_through(world)
    text = json.dumps(dump(world.tables), indent=1, sort_keys=True)
    path.write_text(text + "\n", encoding="utf-8")
