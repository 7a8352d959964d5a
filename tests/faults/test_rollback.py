"""A rollback in the middle of live grants: the version before, as it was, on rows of this one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.versions.life import CURRENT, VERSION_BEFORE

ROOT = Path(__file__).parents[2]
PARTS = ("shared", "tests/fakes.py", "tests/world.py")
# Where the version before keeps what has moved since.
MOVED = {
    "from shared.ports import": "from shared.use_cases.interfaces import",
    "from shared.use_cases.policies import apply as protection": "from shared.use_cases import protection",
    "from shared.use_cases.requests import decide as approval": "from shared.use_cases import approval",
    "from shared.use_cases.requests import open as opening": "from shared.use_cases import opening",
    "from shared.use_cases.requests import submit as access": "from shared.use_cases import access",
    "from shared.use_cases.requests.decide import": "from shared.use_cases.approval import",
    "from shared.use_cases.requests.idempotency import": "from shared.use_cases.repeat import",
}
# Runs on the version before alone: its firewalls are live, its rows are those of this version.
SCRIPT = """
import json, sys
from shared.domain.model import Access
from life import live_through, load
from pathlib import Path
from tests.world import NSG_NIC, NSG_SUBNET, POLICY, World

world = World()
live_through(world)
for table in world.tables.all():
    table.rows.clear()
load(world.tables, Path(sys.argv[1]))
world.queues.waiting.clear()
world.pass_time(100, sweeping=True)
allows = [r.name for nsg in (NSG_NIC, NSG_SUBNET) for r in world.firewall.ours(nsg, Access.ALLOW)]
requests = world.services.requests.newest(POLICY, 99)
world.pass_time(30)
print(json.dumps({
    "allows": allows,
    "requests": {r.id: r.is_final for r in requests},
    "due": len(world.tables.due.rows),
    "faults": [name for name, _ in world.telemetry.faults],
}))
"""


@pytest.fixture
def version_before(tmp_path: Path) -> Path:
    """Unpack the version before from the repository's history."""
    archive = subprocess.run(
        ["git", "archive", VERSION_BEFORE, *PARTS],
        cwd=ROOT, capture_output=True, check=False,
    )  # fmt: skip
    if archive.returncode:
        pytest.skip(f"the history does not reach back to {VERSION_BEFORE}")
    subprocess.run(["tar", "-x", "-C", str(tmp_path)], input=archive.stdout, check=True)
    life = (ROOT / "tests" / "versions" / "life.py").read_text(encoding="utf-8")
    for now, before in MOVED.items():
        life = life.replace(now, before)
    (tmp_path / "life.py").write_text(life, encoding="utf-8")
    return tmp_path


def test_the_version_before_closes_what_this_one_has_opened(version_before: Path) -> None:
    """Every request ends, no rule of ours stays open, no row is left due or unreadable."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(CURRENT)],
        cwd=version_before, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    assert told["allows"] == []
    assert told["requests"]
    assert all(told["requests"].values())
    assert (told["due"], told["faults"]) == (0, [])
