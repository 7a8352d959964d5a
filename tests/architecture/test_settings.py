import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic.fields import FieldInfo

from local.app_settings import Addresses, app_environment
from local.stack import ESTATE
from shared.domain.times import format_duration
from shared.settings import Settings, read_settings
from shared.use_cases.firewalls.batching import AT_ONCE

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "settings.md"
SAMPLE = ROOT / "local.settings.sample.json"
ROW = re.compile(r"^\| `(?P<name>[^`]+)` \| (?P<value>[^|]+) \|", re.MULTILINE)
OURS = ("JIT_", "JitStorage")


def test_the_document_lists_exactly_the_settings_of_the_code() -> None:
    """Every setting that is read is documented, and none is that is not."""
    assert set(_documented_settings()) == set(_fields())


def test_the_document_states_the_defaults_of_the_code() -> None:
    """A default in the document is the one that the code has."""
    assert _documented_settings() == {name: _default(field) for name, field in _fields().items()}


def test_the_local_stack_sets_known_settings_only() -> None:
    """The app reads each setting that the stack gives: a misspelt setting would be ignored."""
    environment = app_environment(Addresses("storage", "arm", "issuer"), ESTATE)

    assert _unknown(environment) == set()


def test_the_sample_sets_known_settings_only() -> None:
    """Every name in the sample is a setting of the app or one of the platform's, documented."""
    assert _unknown(_sample()) == set()


def test_the_sample_is_a_valid_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the sample starts the app."""
    for name, value in _sample().items():
        monkeypatch.setenv(name, value)

    assert read_settings().deployment_id


def test_the_document_states_the_choices_of_host_json() -> None:
    """The host's settings that the document gives reasons for stand in host.json as it says."""
    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    section = _section("host.json")

    stated = {row["name"]: row["value"].strip("` ") for row in ROW.finditer(section)}

    assert stated == {name: value for name, value in _flat(host).items() if name != "version"}


def test_a_batch_is_more_than_an_instance_handles_at_once() -> None:
    """The number the app counts with is the host's."""
    queues = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))["extensions"]["queues"]
    assert queues["batchSize"] + queues["newBatchThreshold"] == AT_ONCE


def _fields() -> dict[str, FieldInfo]:
    return {
        str(field.validation_alias or f"JIT_{name.upper()}"): field
        for name, field in Settings.model_fields.items()
    }


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if isinstance(value, timedelta):
        return format_duration(value)
    return "none" if value in ("", ()) else str(value)


def _documented_settings() -> dict[str, str]:
    rows = ROW.finditer(DOCUMENT.read_text(encoding="utf-8"))
    return {row["name"]: row["value"].strip("` ") for row in rows if row["name"].startswith(OURS)}


def _unknown(environment: dict[str, str]) -> set[str]:
    platform = {row["name"] for row in ROW.finditer(_section("The platform's settings"))}
    return set(environment) - set(_fields()) - platform


def _section(title: str) -> str:
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, f"docs/settings.md has no section '{title}'"
    return found[1]


def _sample() -> dict[str, str]:
    values: dict[str, str] = json.loads(SAMPLE.read_text(encoding="utf-8"))["Values"]
    return values


def _flat(value: Any, prefix: str = "") -> dict[str, str]:
    if not isinstance(value, dict):
        return {prefix: (isinstance(value, str) and value) or json.dumps(value)}
    found: dict[str, str] = {}
    for name, held in value.items():
        found |= _flat(held, f"{prefix}.{name}" if prefix else name)
    return found
