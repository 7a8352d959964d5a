"""The independent closer, run action by action against the ARM simulator, and nothing of the app."""

from datetime import timedelta

import pytest

from tests.infra.bicep import INFRA, ROOT, read
from tests.logic_apps.cloud import (
    ELSEWHERE,
    GRACE,
    GROUP,
    IDENTITY,
    MARK,
    SUBSCRIPTION,
    Cloud,
    Json,
    definition,
    rule,
)
from tests.logic_apps.rules import (
    DENY,
    DUE,
    END,
    FOREIGN,
    FOREIGN_NAMES,
    HEX,
    NAMES,
    OVER,
    VM,
    allow,
    name_of,
    report,
)


def test_what_has_not_ended_long_ago_stays(cloud: Cloud) -> None:
    """Before the grace has passed, an expired allow is the app's to close, and the run is quiet."""
    group = cloud.put("web-nsg", [allow(22), *FOREIGN])
    cloud.at(END + GRACE - timedelta(seconds=1))

    run = cloud.close()

    assert (run.status, run.error) == ("Succeeded", None)
    assert cloud.rules(group) == {name_of(22), *FOREIGN_NAMES}
    assert [call.method for call in cloud.calls] == ["GET"]


def test_an_allow_whose_grace_has_passed_is_removed_and_reported(cloud: Cloud) -> None:
    """The expired allow goes; foreign rules, denies and what is still open stay; the run fails."""
    later = END + timedelta(hours=1)
    group = cloud.put("web-nsg", [allow(22), allow(3389, later), *FOREIGN])
    cloud.at(DUE)

    run = cloud.close()

    assert cloud.rules(group) == {name_of(3389), *FOREIGN_NAMES}
    assert run.status == "Failed"
    assert report(run) == [f"removed {name_of(22)}"]
    assert run.error is not None
    assert name_of(22) in run.error["message"]


def test_names_are_ours_as_the_code_has_it(cloud: Cloud) -> None:
    """A rule of any prefix is removed exactly if RuleNames says that it is ours."""
    candidates = [
        *(each for each in FOREIGN if each["properties"]["access"] == "Allow"),
        rule(f"X-{MARK}-{MARK}-{HEX}", OVER),
        rule(f"Earlier.Prefix-{MARK}-{HEX}", OVER),
        rule(f"SecurityCenter-JITRule-{MARK.upper()}-{HEX.upper()}", OVER),
        rule(f"SecurityCenter-JITRule_{MARK}_{HEX}", OVER),
        rule(f"-{MARK}-{HEX[1:]}0".lstrip("-"), OVER),
    ]
    group = cloud.put("web-nsg", candidates)
    cloud.at(DUE)

    cloud.close()

    names = {each["name"] for each in candidates}
    assert cloud.rules(group) == {name for name in names if not NAMES.is_ours(name)}
    assert {name for name in names if NAMES.is_ours(name)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "JIT access request x",
        "JIT access request x until ",
        "JIT access request x until tomorrow",
        "JIT access request x until 2026-11-22T12:10:00",
        "JIT access request x until 2026-11-22T12:10:00+00:00",
        "JIT access request x until 2026-11-22 12:10:00Z",
        "JIT access request x until 2026-11-22T12:10:00Zulu",
        "JIT access request x until 2026-02-30T12:10:00Z",
        "JIT access request x until 2026-11-22T25:10:00Z",
        "JIT access request x until 2026-11-22T23:60:00Z",
        "JIT access request x until 2026-11-22T23:00:60Z",
        "JIT access request x until 0000-00-00T00:00:00Z",
        "until 2026-11-22T12:10:00Z",
        "JIT access: management ports of VM 'app-1' stay closed.",
    ],
)
def test_an_end_that_cannot_be_read_is_reported_and_nothing_is_removed(
    cloud: Cloud, text: str
) -> None:
    """A guess could close what is wanted: a person decides."""
    group = cloud.put("web-nsg", [rule(name_of(22), text)])
    cloud.at(DUE)

    run = cloud.close()

    assert cloud.rules(group) == {name_of(22)}
    assert report(run) == [f"no readable end {name_of(22)}"]
    assert run.status == "Failed"


@pytest.mark.parametrize("text", ["2026-11-24T12:00:00Z", "2026-13-01T00:00:00Z"])
def test_an_end_further_ahead_than_a_day_is_reported(cloud: Cloud, text: str) -> None:
    """No access is that long: the app has not written such an end, and a person decides."""
    group = cloud.put("web-nsg", [rule(name_of(22), f"JIT access request x until {text}")])
    cloud.at(DUE)

    run = cloud.close()

    assert cloud.rules(group) == {name_of(22)}
    assert report(run) == [f"an end too far ahead {name_of(22)}"]


@pytest.mark.parametrize(
    "requestor",
    ["x until 2099-01-01T00:00:00Z", "until 2000-01-01T00:00:00Z", " until ", "Zoë O'Neil"],
)
def test_a_requestor_s_name_changes_no_end(cloud: Cloud, requestor: str) -> None:
    """The end is the first in the text: a name behind it neither keeps a rule nor removes one."""
    later = END + timedelta(hours=1)
    rules = [allow(22, requestor=requestor), allow(3389, later, requestor)]
    group = cloud.put("web-nsg", rules)
    cloud.at(DUE)

    cloud.close()

    assert cloud.rules(group) == {name_of(3389)}


def test_several_rules_of_one_group_go_in_one_run(cloud: Cloud) -> None:
    """Removals of one group come one after the other, each on the etag of its own read."""
    group = cloud.put("web-nsg", [allow(port) for port in range(20, 30)])
    cloud.arm.control("settings", {"concurrency": "conflict"})
    cloud.at(DUE)

    run = cloud.close()

    assert cloud.rules(group) == set()
    assert report(run) == sorted(f"removed {name_of(port)}" for port in range(20, 30))
    matched = {c.headers["If-Match"] for c in cloud.calls if c.method == "DELETE"}
    assert len(matched) == 10


@pytest.mark.parametrize("scopes", [(SUBSCRIPTION,), (GROUP, ELSEWHERE)], ids=["one", "groups"])
@pytest.mark.parametrize("size", [1, 2, 100])
def test_every_page_of_every_scope_is_read(
    cloud: Cloud, scopes: tuple[str, ...], size: int
) -> None:
    """Lists that come in pages are followed to their end."""
    cloud.arm.control("settings", {"pageSize": size})
    groups = [
        cloud.put(f"nsg-{number}", [allow(22), DENY], within=within)
        for number in range(3)
        for within in (GROUP, ELSEWHERE)
    ]
    cloud.at(DUE)
    cloud.close(scopes=scopes)

    assert [cloud.rules(group) for group in groups] == [{DENY["name"]}] * 6


def test_nothing_outside_the_scopes_is_read_or_removed(cloud: Cloud) -> None:
    """The scopes are those of the deployment."""
    group = cloud.put("web-nsg", [allow(22)], within=ELSEWHERE)
    cloud.at(DUE)

    assert cloud.close().status == "Succeeded"
    assert cloud.rules(group) == {name_of(22)}


def test_a_scope_that_cannot_be_listed_is_left_out(cloud: Cloud) -> None:
    """A single VM or security group lists nothing; the scopes beside it are closed."""
    group = cloud.put("web-nsg", [allow(22)])
    cloud.at(DUE)

    run = cloud.close(scopes=(VM, group, "", GROUP))

    assert cloud.rules(group) == set()
    assert report(run) == [f"removed {name_of(22)}"]


@pytest.mark.parametrize("scopes", [(), (VM,), ("",)])
def test_without_a_scope_to_list_every_run_fails(cloud: Cloud, scopes: tuple[str, ...]) -> None:
    """A closer that watches nothing says so."""
    run = cloud.close(scopes=scopes)

    assert run.status == "Failed"
    assert run.error is not None
    assert run.error["message"]


def test_its_calls_are_those_of_its_role(cloud: Cloud) -> None:
    """It lists and reads groups, reads and deletes rules, under its own identity alone."""
    cloud.put("web-nsg", [allow(22)])
    cloud.at(DUE)
    before = len(cloud.arm.ask("log")["calls"])
    cloud.close()

    made = cloud.arm.ask("log")["calls"][before:]
    (role,) = (r for r in read(INFRA / "modules" / "roles.bicep").resources if r.symbol == "closer")
    (permission,) = role.body["properties"]["permissions"]
    assert {call["caller"] for call in made} == {IDENTITY}
    assert {_action(call) for call in made} == set(permission["actions"])


def _action(call: Json) -> str:
    """Name the action that ARM asks for at a call."""
    provider = call["path"].rpartition("/providers/")[2].split("/")
    verb = {"GET": "read", "DELETE": "delete"}[call["method"]]
    return "/".join((provider[0], *provider[1::2], verb))


@pytest.mark.parametrize(
    ("groups", "pages", "scopes"), [(0, 1, 1), (5, 1, 1), (5, 6, 1), (5, 1, 2)]
)
def test_a_run_that_finds_nothing_costs_what_the_document_says(
    cloud: Cloud, groups: int, pages: int, scopes: int
) -> None:
    """Each action that is not skipped is on the bill, those in loops each time."""
    for number in range(groups):
        cloud.put(f"nsg-{number}", [allow(22)])
    if pages > 1:
        cloud.arm.control("settings", {"pageSize": 1})

    run = cloud.close(scopes=(GROUP,) * scopes)

    metered = sum(status != "Skipped" for _, status in run.history)
    listed = (groups + 1) * scopes  # beside these stands the simulator's empty group
    assert metered == 13 + 2 * listed + 3 * (pages - 1) + 6 * (scopes - 1)
    document = (ROOT / "docs" / "cost.md").read_text(encoding="utf-8")
    assert "13 actions for one scope" in document
    assert "2 for each NSG, 3 for each page more and 6 for each scope more" in document


def test_it_runs_every_five_minutes_and_one_run_at_a_time() -> None:
    """A run that takes long is never overtaken by the next."""
    (trigger,) = definition()["triggers"].values()

    assert trigger["type"] == "Recurrence"
    assert trigger["recurrence"] == {"frequency": "Minute", "interval": 5}
    assert trigger["runtimeConfiguration"]["concurrency"]["runs"] == 1
