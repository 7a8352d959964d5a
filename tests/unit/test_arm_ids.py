"""Resource ids, and the names and texts of the rules that are ours."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shared.domain.ids import (
    MAX_DESCRIPTION,
    MAX_ID,
    VM_TYPE,
    ResourceId,
    RuleNames,
    allow_description,
    deny_description,
    digest,
    is_within,
    key_of,
    name_of,
    parse_id,
    row_key,
)
from shared.firewalls.nsg.model import NSG_TYPE
from tests.fakes import NAMES
from tests.world import DB, GROUP, NSG_NIC, SUBSCRIPTION, WEB

UNTIL = datetime(2026, 11, 22, 15, tzinfo=UTC)
HASH = "0123456789ABCDEF0123456789ABCDEF"
DEPLOYMENTS = st.from_regex(r"[a-z][a-z0-9]{3,15}", fullmatch=True)
PREFIXES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,27}", fullmatch=True)
# What Azure takes as the name of a security rule.
RULE_NAMES = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,78}[A-Za-z0-9_])?", fullmatch=True)


def test_an_id_is_read_in_its_parts() -> None:
    """The parts are as they were written; the key ignores letter case."""
    assert parse_id(WEB, VM_TYPE) == ResourceId(
        WEB, SUBSCRIPTION, "app", "Microsoft.Compute/virtualMachines", "web"
    )
    assert parse_id(WEB.upper(), VM_TYPE).key == parse_id(WEB).key == WEB.lower()


def test_any_type_is_read_where_none_is_asked_for() -> None:
    """A child resource is an id too, until an id of one type is asked for."""
    child = f"{NSG_NIC}/securityRules/one"
    assert parse_id(child).name == "nic-nsg"
    with pytest.raises(ValueError, match=f"^not the id of a {NSG_TYPE}$"):
        parse_id(child, NSG_TYPE)
    with pytest.raises(ValueError, match=f"^not the id of a {VM_TYPE}$"):
        parse_id(NSG_NIC, VM_TYPE)


@pytest.mark.parametrize(
    "text",
    [
        *("", "/", "web", WEB[1:], f" {WEB}", f"{WEB} \n", f"{WEB}/", f"{WEB}/extensions"),
        *(GROUP, f"{GROUP}/providers/Microsoft.Compute", f"https://management.azure.com{WEB}"),
        WEB.replace(SUBSCRIPTION, "not-a-guid"),
        WEB.replace(SUBSCRIPTION, SUBSCRIPTION + "0"),
        WEB.replace("/app/", "//"),
        WEB.replace("/app/", "/./"),
        WEB.replace("/app/", "/../"),
        WEB.replace("/app/", "/a%2fb/"),
        WEB.replace("/app/", "/a?b/"),
        WEB.replace("/app/", "/a#b/"),
        WEB.replace("/app/", "/a\\b/"),
        WEB.replace("/app/", "/a\x00b/"),
        WEB.replace("/app/", "/a\x85b/"),
        WEB.replace("/app/", f"/{'a' * 129}/"),
        WEB.replace("/web", "/."),
        WEB.replace("/web", "/.."),
        WEB.replace("/web", f"/{'a' * 129}"),
        WEB.replace("/subscriptions", "/\u017fubscriptions"),
        f"{GROUP}{WEB}",
    ],
)
def test_what_is_no_id_is_refused(text: str) -> None:
    """Neither path tricks, nor control characters, nor half an id are read; the shape is told."""
    shape = re.escape(f"/providers/{VM_TYPE}/{{name}}")
    with pytest.raises(ValueError, match=f"^not a resource id such as .*{shape}$"):
        parse_id(text, VM_TYPE)
    with pytest.raises(ValueError, match=re.escape("/providers/{namespace}/{type}/{name}")):
        parse_id(text)


def test_the_longest_names_are_read() -> None:
    """A group or a VM may have a name of 128 characters, in any script."""
    assert parse_id(WEB.replace("/app/", f"/{'a' * 128}/")).group == "a" * 128
    assert parse_id(WEB.replace("/web", f"/{'b' * 128}")).name == "b" * 128
    assert parse_id(WEB.replace("/app/", "/große-gruppe/")).group == "große-gruppe"


def test_an_id_of_1024_characters_is_the_longest() -> None:
    """The bound is Azure's own."""
    child = f"{WEB}{'/child/' + 'x' * 120}"
    longest = child + ("/child/" + "y" * 100) * 7
    longest += "/child/" + "z" * (MAX_ID - len(longest) - len("/child/"))
    assert len(longest) == MAX_ID
    assert parse_id(longest).name == "web"
    with pytest.raises(ValueError, match="not a resource id"):
        parse_id(longest + "z")


def test_ids_are_compared_without_letter_case_or_a_last_slash() -> None:
    """The key is one for every spelling; the name is as it is written."""
    assert key_of(f"{WEB.upper()}/") == key_of(WEB)
    assert name_of(f"{WEB}/") == "web"
    assert name_of("web") == "web"
    assert row_key(f"{WEB.upper()}/") == WEB.lower().replace("/", "|")


def test_a_scope_holds_itself_and_what_lies_below() -> None:
    """A name that merely begins like a scope's is not within it."""
    assert is_within(WEB, WEB.upper())
    assert is_within(WEB, GROUP)
    assert is_within(WEB, f"{GROUP}/")
    assert is_within(WEB, f"/subscriptions/{SUBSCRIPTION}")
    assert not is_within(GROUP, WEB)
    assert not is_within(GROUP + "lication", GROUP)
    assert not is_within(WEB, DB)


def test_a_digest_is_unambiguous() -> None:
    """Parts cannot be shifted into each other; length and case are fixed."""
    assert digest("a", "b") != digest("ab") != digest("ab", "")
    assert digest("1", "1:a") != digest("11", ":a")
    assert re.fullmatch("[0-9A-F]{32}", digest("a"))
    assert re.fullmatch("[0-9A-F]{24}", digest("a", length=24))
    assert digest("a", "bc") == "5310A58788781AB25D5AD7C3F8503582"


@given(st.lists(st.text()), st.lists(st.text()))
def test_different_parts_have_different_digests(one: list[str], other: list[str]) -> None:
    """The same digest means the same parts."""
    assume(all(_is_text(part) for part in (*one, *other)))
    assert (digest(*one) == digest(*other)) == (one == other)


def _is_text(part: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in part)


def test_the_names_of_our_rules() -> None:
    """Rules on firewalls must be found again after an upgrade, so names never change."""
    allow = "SecurityCenter-JITRule-test1-00F415E1495BFD6721AFCB704AFA5AB1"
    deny = "SecurityCenter-JITRule_test1_FBF67F6ABED33DBB3E7C971F7FD23013"
    assert NAMES.allow("id1", WEB, 22, 4) == allow
    assert NAMES.deny(WEB, 4) == deny


def test_a_rule_is_named_after_its_grant_and_family() -> None:
    """Another request, VM, port or family has another rule; another spelling of the VM has not."""
    names = [
        NAMES.allow("id1", WEB, 22, 4),
        NAMES.allow("id2", WEB, 22, 4),
        NAMES.allow("id1", DB, 22, 4),
        NAMES.allow("id1", WEB, 23, 4),
        NAMES.allow("id1", WEB, 22, 6),
        NAMES.deny(WEB, 4),
        NAMES.deny(DB, 4),
        NAMES.deny(WEB, 6),
    ]
    assert len({name[-32:] for name in names}) == len(names)
    assert NAMES.allow("id1", WEB.upper(), 22, 4) == names[0]
    assert NAMES.deny(WEB.upper(), 4) == names[5]


@given(PREFIXES, DEPLOYMENTS, RULE_NAMES)
def test_our_own_names_are_ours_whatever_the_case_and_the_prefix(
    prefix: str, deployment: str, request_id: str
) -> None:
    """ARM may change a name's letter case and an operator the prefix: the rule is still ours."""
    made = RuleNames(prefix, deployment)
    now = RuleNames("another.prefix", deployment)
    for name in (made.allow(request_id, WEB, 22, 4), made.deny(WEB, 6)):
        assert len(name) <= 80
        assert now.is_ours(name)
        assert now.is_ours(name.upper())
        assert now.is_ours(name.lower())


@given(PREFIXES, DEPLOYMENTS, DEPLOYMENTS)
def test_the_rules_of_another_deployment_are_foreign(
    prefix: str, deployment: str, other: str
) -> None:
    """Two installations on one firewall never take each other's rules for their own."""
    assume(deployment != other)
    theirs = RuleNames(prefix, other)
    for name in (theirs.allow("id1", WEB, 22, 4), theirs.deny(WEB, 4)):
        assert not RuleNames(prefix, deployment).is_ours(name)


@given(st.one_of(RULE_NAMES, st.text()))
def test_a_foreign_name_is_never_taken_as_ours(name: str) -> None:
    """Only a name that ends in our deployment between two equal marks, and a hash, is ours."""
    tail = name[-39:]
    mark = tail[:1]
    ours = (
        len(name) >= 39
        and mark in {"-", "_"}
        and tail.lower().startswith(f"{mark}test1{mark}")
        and set(tail[7:]) <= set("0123456789abcdefABCDEF")
    )
    assert NAMES.is_ours(name) == ours


@pytest.mark.parametrize(
    "name",
    [
        "",
        "SSH",
        f"SecurityCenter-JITRule_{HASH}",  # Defender's own, both types
        f"SecurityCenter-JITRule-1862451-{HASH}",
        f"SecurityCenter-JITRule-test2-{HASH}",
        f"SecurityCenter-JITRule-atest1-{HASH}",
        f"SecurityCenter-JITRule-test1a-{HASH}",
        f"SecurityCenter-JITRule-test1_{HASH}",
        f"SecurityCenter-JITRule_test1-{HASH}",
        f"SecurityCenter-JITRule.test1.{HASH}",
        f"SecurityCenter-JITRule-test1-{HASH[:-1]}",
        f"SecurityCenter-JITRule-test1-{HASH}0",
        f"SecurityCenter-JITRule-test1-{HASH[:-1]}G",
        f"SecurityCenter-JITRule-test1-{HASH}-copy",
        f"SecurityCenter-JITRule-test1-other-{HASH}",
        f"SecurityCenter-JITRule-te\u017ft1-{HASH}",
        f"test1-{HASH}",
    ],
)
def test_names_that_look_like_ours_are_foreign(name: str) -> None:
    """Defender's rules, copies of ours and near misses belong to another writer."""
    assert not NAMES.is_ours(name)


def test_a_deployment_is_no_pattern() -> None:
    """A deployment id stands for itself, whatever characters it has."""
    names = RuleNames("p", "a.b")
    assert names.is_ours(f"p-a.b-{HASH}")
    assert not names.is_ours(f"p-aXb-{HASH}")


def test_the_description_of_a_grant() -> None:
    """It names the request and the expiry, and the requestor only if that is asked for."""
    assert allow_description("id1", UNTIL) == "JIT access request id1 until 2026-11-22T15:00:00Z"
    assert allow_description("id1", UNTIL, "alice").endswith(
        " until 2026-11-22T15:00:00Z for alice"
    )


@given(st.text(alphabet="abc0-", min_size=1, max_size=60), st.text(max_size=300))
def test_the_expiry_is_never_cut(request_id: str, requestor: str) -> None:
    """However long the requestor's name, the text fits and says until when."""
    text = allow_description(request_id, UNTIL, requestor)
    assert len(text) <= MAX_DESCRIPTION
    assert f"{request_id} until 2026-11-22T15:00:00Z" in text


def test_the_description_of_a_deny_fits() -> None:
    """A long VM name is cut at what Azure takes."""
    assert deny_description("web") == "JIT access: management ports of VM 'web' stay closed."
    assert len(deny_description("w" * 200)) == MAX_DESCRIPTION
