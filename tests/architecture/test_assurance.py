"""The assurance page names tests, commands, steps and alerts that exist."""

import re
from pathlib import Path

from tools.live.names import Run
from tools.live.suite import steps_of

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "assurance.md").read_text(encoding="utf-8")
_LINE = re.compile(r"^\| (?!Guarantee|---)(.+?) \| (.+?) \| (.*?) ?\|$", re.MULTILINE)
ROWS = [tuple(found) for found in _LINE.findall(PAGE)]


def test_the_table_was_read() -> None:
    """Each line of the table is a row of three cells."""
    lines = [line for line in PAGE.splitlines() if line.startswith("| ")]
    assert len(ROWS) == len(lines) - 1 > 20


def test_every_guarantee_names_a_test_or_command_on_one_machine() -> None:
    """No guarantee stands without something here that shows it."""
    bare = [row[0] for row in ROWS if not re.search(r"`(?:tests/|python -m |make )", row[1])]
    assert bare == []


def test_every_named_test_exists_and_holds_tests() -> None:
    """A file is there and defines tests, a folder holds such files."""
    for name in set(re.findall(r"`(tests/[\w/.]+)`", PAGE)):
        path = ROOT / name
        files = list(path.rglob("test_*.py")) if path.is_dir() else [path]
        assert files, name
        texts = [each.read_text(encoding="utf-8") for each in files]
        # A state machine's tests stand in its TestCase.
        assert any("def test_" in text or ".TestCase" in text for text in texts), name


def test_every_named_module_and_make_target_exists() -> None:
    """A command of the project that the page names can be called."""
    for module in set(re.findall(r"python -m ((?:tools|local)[\w.]*)", PAGE)):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make ([\w-]+)", PAGE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_named_step_of_the_live_suite_exists() -> None:
    """The list of cloud-only assurances names steps that the suite plays."""
    run = Run("abcd1234", "s", "westeurope", bastion=True, firewall=True)
    known = {step.name for step in steps_of(run)}
    named = set()
    for text in re.findall(r"`make live[^`]*`, steps? ([^;|:]+)", PAGE):
        named |= set(re.findall(r"\*([^*]+)\*", text))
    assert len(named) > 4
    assert named <= known


def test_every_named_alert_and_event_exists() -> None:
    """An alert is one of docs/alerts.md, and an event is in the code."""
    alerts = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    for alert in re.findall(r"alert `([\w-]+)`", PAGE):
        assert f"## {alert}" in alerts, alert
    code = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "shared").rglob("*.py"))
    for event in set(re.findall(r"`(jit\.\w+\.\w+)`", PAGE)):
        stem = event.rpartition(".")[0]
        assert f'"{event}"' in code or f'f"{stem}.{{' in code, event
