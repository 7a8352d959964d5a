"""Entity tags of policies: two administrators do not overwrite each other unawares."""

from typing import Any

import pytest

from tests.functions.web_app import AS_ADMIN, Answer, WebApp, nothing_changes, policy_body
from tests.world import DB, POLICY, SUBSCRIPTION, WEB

LIST = f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.Security/jitNetworkAccessPolicies"


def put(web: WebApp, body: Any, path: str = POLICY, **headers: str) -> Answer:
    """Write a policy under conditions; `_` stands for `-` in their names."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return web.call("PUT", path, body, who=AS_ADMIN, headers=given)


@pytest.fixture
def etag(web: WebApp) -> str:
    """Return the etag of a policy that has been written and applied."""
    answer = put(web, policy_body(WEB))
    web.world.work()
    return answer.headers["ETag"]


def test_reads_writes_and_lists_carry_the_same_etag(web: WebApp, etag: str) -> None:
    """Applying a policy does not change its etag; GET, PUT and lists agree on it."""
    assert etag.startswith('"')
    assert web.call("GET", POLICY, who=AS_ADMIN).headers["ETag"] == etag
    assert web.call("GET", LIST, who=AS_ADMIN).json["value"][0]["etag"] == etag
    assert put(web, policy_body(WEB)).headers["ETag"] == etag


def test_the_second_of_two_administrators_is_refused(web: WebApp, etag: str) -> None:
    """A write over a policy that has changed since it was read is 412, and changes nothing."""
    assert put(web, policy_body(WEB, DB), If_Match=etag).status == 200
    with nothing_changes(web.world):
        late = put(web, policy_body(DB), If_Match=etag)
    assert (late.status, late.error["code"]) == (412, "PreconditionFailed")
    now = web.call("GET", POLICY, who=AS_ADMIN).headers["ETag"]
    assert now != etag
    assert now in late.error["message"]
    assert put(web, policy_body(DB), If_Match=f'"other", W/{now}').status == 200


def test_a_dry_run_is_refused_as_the_write_would_be(web: WebApp, etag: str) -> None:
    """A dry run over another policy than the caller has read is 412."""
    path = f"{POLICY}?dryRun=true"
    assert put(web, policy_body(DB), path, If_Match=etag).status == 200
    assert put(web, policy_body(DB), path, If_Match='"other"').status == 412


def test_a_policy_is_created_once(web: WebApp) -> None:
    """`If-None-Match: *` writes where there is no policy; `If-Match` needs one."""
    assert put(web, policy_body(WEB), If_Match="*").status == 412
    assert put(web, policy_body(WEB), If_None_Match="*").status == 200
    again = put(web, policy_body(DB), If_None_Match="*")
    assert (again.status, again.error["code"]) == (412, "PreconditionFailed")
    assert put(web, policy_body(DB), If_Match="*").status == 200


def test_delete_honours_the_etag(web: WebApp, etag: str) -> None:
    """A policy that has changed is not deleted; one that is gone is 412 to a caller with an etag."""

    def delete(**headers: str) -> int:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.call("DELETE", POLICY, who=AS_ADMIN, headers=given).status

    assert delete(If_Match='"other"') == 412
    assert delete(If_Match=etag) == 200
    assert delete(If_Match=etag) == 412
    assert delete() == 204


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("If-None-Match", '"0A1B"'),
        ("If-Match", "0A1B"),
        ("If-Match", '"a", b'),
        ("If-Match", ", ".join(['"a"'] * 30)),
        ("If-Match", '"' + "a" * 200 + '"'),
    ],
)
def test_a_condition_that_is_not_understood_is_refused(web: WebApp, name: str, value: str) -> None:
    """No write goes ahead without the condition that it was sent with."""
    with nothing_changes(web.world):
        refused = web.call("PUT", POLICY, policy_body(WEB), who=AS_ADMIN, headers={name: value})
    assert (refused.status, refused.error["code"]) == (400, "InvalidPrecondition")


def test_an_answer_can_be_put_back(web: WebApp, etag: str) -> None:
    """A policy from a list, etag and all, is taken as the body of a write."""
    listed = web.call("GET", LIST, who=AS_ADMIN).json["value"][0]
    assert put(web, listed, If_Match=etag).headers["ETag"] == etag
