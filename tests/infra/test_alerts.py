"""Alerts and workbook: every event and field they read is one that the code writes."""

import ast
import json
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.infra.bicep import INFRA, ROOT, Bicep, Text, read
from tools.check_words import read_words

ALERTS = read(INFRA / "modules" / "alerts.bicep")
# These stand beside what they watch.
BESIDE = [read(INFRA / "modules" / f"{name}.bicep") for name in ("closer", "package", "audit")]
NAME = re.compile(r"jit(?:\.[a-z_]+)+")
FIELD = re.compile(r"\be\.(\w+)")
# What each of the seven dangers is watched by.
DANGERS = {
    "a rule open past its expiry": "jit-open-past-end",
    "the sweep silent": "jit-sweep-silent",
    "the sweep silent, seen from outside": "jit-health-failing",
    "poison queue not empty": "jit-poison",
    "a foreign change to a rule of ours": "jit-foreign-rule",
    "someone else writing the app's tables or queues": "jit-foreign-storage",
    "ARM throttling": "jit-arm-throttled",
    "expiry lag": "jit-expiry-lag",
}


# Event names before 0.1.0 that this version gave up. Alerts and the workbook are provisioned before
# the app is deployed: for one version they read both names.
RENAMED = {
    "jit.approval.notified": "jit.notice.sent",
    "jit.refusal.unrecorded": "jit.refusal.untold",
    "jit.row.unconfirmed": "jit.row.unsettled",
}
# Words of docs/words.md that a sentence may use and the name of an event or metric may not.
NOT_IN_NAMES = {"notice", "told", "untold", "settled", "unsettled", "aligned", "forgotten"}


@cache
def _written() -> dict[str, set[str]]:
    """Find every event that the code writes, with its fields, in the code itself."""
    found: dict[str, set[str]] = {}
    for folder in ("functions", "shared"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                for name, fields in _events(call):
                    found.setdefault(name, set()).update(fields)
    return found


def _events(node: ast.AST) -> Iterator[tuple[str, set[str]]]:
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
        return
    if node.func.attr not in {"event", "fault"}:
        return
    fields = {keyword.arg for keyword in node.keywords if keyword.arg}
    if node.func.attr == "fault":
        fields.add("error")
    for name in _names(node.args[0]):
        yield name, fields


def _names(node: ast.expr) -> list[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return [*_names(node.body), *_names(node.orelse)]
    if isinstance(node, ast.JoinedStr):
        # f"jit.rule.{what}": the last part is one of the transitions the code has.
        first = node.values[0]
        stem = str(first.value) if isinstance(first, ast.Constant) else ""
        return [stem + each for each in TRANSITIONS.get(stem, ())]
    return []


TRANSITIONS = {
    "jit.rule.": ("opened", "closed"),
    "jit.access.": ("approved", "denied", "revoked", "extended"),
}


def _queries(file: Bicep = ALERTS) -> dict[str, str]:
    variables = file.variables
    found = {}
    for alert in variables["alerts"]:
        named = re.findall(r"\b(\w+)\b", getattr(alert["query"], "source", ""))
        query = "".join(variables[each] for each in named if isinstance(variables.get(each), str))
        found[alert["name"]] = query
    return found


def _workbook() -> dict[str, str]:
    content = json.loads((INFRA / "extras" / "workbook.json").read_text(encoding="utf-8"))
    return {
        item["name"]: item["content"]["query"]
        for item in content["items"]
        if "query" in item["content"]
    }


QUERIES = {
    **_queries(),
    **{name: query for file in BESIDE for name, query in _queries(file).items()},
    **{f"workbook-{name}": query for name, query in _workbook().items()},
}
each_query = pytest.mark.parametrize("name", QUERIES)


@each_query
def test_events_are_the_code_s(name: str) -> None:
    """An alert on an event that the app does not write would never fire, unnoticed."""
    read_events = set(NAME.findall(QUERIES[name].replace('{"event": "jit.', "")))

    assert read_events <= {*_written(), *RENAMED.values()}


@each_query
def test_renamed_events_are_read_by_both_names(name: str) -> None:
    """For one version a query reads the name before beside the name that the code writes."""
    read_events = set(NAME.findall(QUERIES[name]))

    assert {old for new, old in RENAMED.items() if new in read_events} <= read_events


def test_event_and_metric_names_keep_to_the_words() -> None:
    """No event and no metric carries a word that docs/words.md rules out, nor an old name."""
    metrics = (ROOT / "shared" / "adapters" / "metrics.py").read_text(encoding="utf-8")
    names = {*_written(), *NAME.findall(metrics)}
    ruled_out = {*read_words((ROOT / "docs" / "words.md").read_text("utf-8")), *NOT_IN_NAMES}

    assert {"jit.arm.writes", *RENAMED} <= names
    assert not names & set(RENAMED.values())
    assert {name for name in names if set(re.split(r"[._]", name)) & ruled_out} == set()


@each_query
def test_fields_are_the_code_s(name: str) -> None:
    """A field that the event does not carry reads as nothing."""
    query = QUERIES[name].replace('{"event": "jit.', "")
    events = set(NAME.findall(query))
    fields = set(FIELD.findall(query)) - {"event"}

    assert fields <= set().union(*(_written()[each] for each in events)) if events else not fields


@each_query
def test_quotes_and_brackets_are_balanced(name: str) -> None:
    """A query that does not parse is found when the incident is over."""
    text = re.sub(r"'(?:[^'\\]|\\.)*'", "''", QUERIES[name])

    assert "'" not in text.replace("''", "")
    for opening, closing in ("()", "[]", "{}"):
        assert text.count(opening) == text.count(closing)


@each_query
def test_whole_words_are_what_has_looks_for(name: str) -> None:
    """`has 'Insert'` does not find InsertEntity: it looks for words between other characters."""
    operation = "Microsoft.Network/networkSecurityGroups/securityRules/write delete"
    words = set(re.findall(r"\w+", operation))

    for asked in re.findall(r"\bhas(?:_any|_all)?\s+(\([^)]*\)|'[^']*')", QUERIES[name]):
        assert set(re.findall(r"'([^']*)'", asked)) <= words


def test_every_write_of_another_writer_to_the_rows_is_seen() -> None:
    """For each name of the operation: the categories are those that infra/extras collects."""
    extras = json.loads((INFRA / "extras" / "extras.json").read_text(encoding="utf-8"))
    collected = {
        log["category"]
        for resource in extras["resources"]
        if resource["type"] == "Microsoft.Insights/diagnosticSettings"
        for log in resource["properties"]["logs"]
    }
    (read_ones,) = re.findall(r"Category in \(([^)]*)\)", QUERIES["jit-foreign-storage"])

    assert set(re.findall(r"\w+", read_ones)) == collected


def test_events_are_found_where_they_stand() -> None:
    """The start of a log line, as the code writes it, is what the queries look for."""
    from shared.adapters.telemetry import _line  # noqa: PLC0415

    start = re.findall(r"startswith '([^']+)'", ALERTS.variables["events"])

    assert start == ['{"event": "jit.']
    assert _line("jit.sweep.completed", {"due": 0}).startswith(start[0])


def test_every_danger_has_its_alert() -> None:
    """Each danger to operators has its alert."""
    names = {alert["name"] for alert in ALERTS.variables["alerts"]}

    assert set(DANGERS.values()) <= names


def test_every_alert_says_what_to_do() -> None:
    """docs/alerts.md has a section for each alert, and for none that does not exist."""
    document = (ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
    sections = set(re.findall(r"^## (jit-[a-z-]+)$", document, re.MULTILINE))

    names = {alert["name"] for file in (ALERTS, *BESIDE) for alert in file.variables["alerts"]}
    assert sections == {*names, "jit-closer-acted"}


def test_the_comment_on_top_is_the_truth() -> None:
    """The table of who reads which event is complete and right."""
    table = dict(re.findall(r"^// (jit-[a-z-]+) +(.+)$", ALERTS.text, re.MULTILINE))

    assert set(table) == set(_queries())
    for name, told in table.items():
        query = QUERIES[name].replace('{"event": "jit.', "")
        assert set(NAME.findall(told)) == set(NAME.findall(query)), name


def test_silence_itself_is_an_alert() -> None:
    """No data at all must fire: each watch for silence counts, and one row always comes out."""
    for name in ("jit-sweep-silent", "jit-health-failing"):
        lines = [line for line in QUERIES[name].strip().splitlines() if line]
        assert lines[-2].startswith("| summarize ")
        assert " by " not in lines[-2]
        assert re.fullmatch(r"\| where \w+ == 0", lines[-1])


def test_urgent_alerts_are_looked_at_often() -> None:
    """Alerts on open ports are evaluated every five minutes."""
    for alert in ALERTS.variables["alerts"]:
        if alert["severity"] == 0:
            assert alert["frequency"] == "PT5M", alert["name"]


def test_every_alert_becomes_a_rule() -> None:
    """The rules are made from the list, and mail goes out where an address is given."""
    (rule,) = (found for found in ALERTS.resources if found.symbol == "rules")
    held = rule.body["properties"]

    assert held["criteria"]["allOf"][0]["query"] == Text("alert.query")
    assert held["actions"]["actionGroups"] == Text("empty(email) ? [] : [group.id]")


def test_the_availability_test_is_the_one_the_alert_reads() -> None:
    """The test's name begins as the query expects, and it asks for health without a token."""
    extras = json.loads((INFRA / "extras" / "extras.json").read_text(encoding="utf-8"))
    (test,) = (r for r in extras["resources"] if r["type"] == "Microsoft.Insights/webtests")
    (start,) = re.findall(r"Name startswith '([^']+)'", QUERIES["jit-health-failing"])

    assert f"'{start}-'" in test["name"]
    assert "'/api/health'" in test["properties"]["Request"]["RequestUrl"]
    assert test["properties"]["ValidationRules"]["ExpectedHttpStatusCode"] == 200


def test_the_workbook_shows_what_operators_ask_for() -> None:
    """Requests, live grants, lateness, refusals, unusual hours, new sources."""
    assert set(_workbook()) == {"requests", "live", "lateness", "refusals", "hours", "sources"}
