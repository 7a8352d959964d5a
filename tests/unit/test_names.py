"""Names of any script: which are names, when two are the same, and how long they are."""

# ruff: noqa: RUF001 - letters that look alike are what is tried here

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.ids import (
    MAX_DESCRIPTION,
    deny_description,
    is_scope,
    is_within,
    key_of,
    parse_id,
    row_key,
)
from shared.domain.names import cut, fold, is_name
from tests.world import SUBSCRIPTION, WEB

ANY_SCRIPT = [
    "FORMACIÓN", "财务", "große-gruppe", "ΟΔΟΣ", "Москва_(1)", "ไทย", "हिन्दी", "مجموعة", "קבוצה",
    "日本語.test", "한국", "Ǆungla", "ı", "İ", "ſ", "\u212a", "\U00010400\U00020000", "e\u0301", "٢٢",
]  # fmt: skip
NO_NAMES = [
    "", ".", "..", "a.", "a b", "a/b", "a\\b", "a#b", "a?b", "a%20b", "a|b", "a'b", "a\tb", "a\n",
    "\x85", "\u200d", "\u202e", "\u2028", "\u00a0", "\ud800", "²", "½", "Ⅷ", "🔑", "€", "a+b", "n" * 91,
]  # fmt: skip
SAME = [
    ("formación", "FORMACIÓN"), ("Ärger", "äRGER"), ("ΟΔΟΣ", "οδος"), ("ΟΔΟΣ", "οδοσ"),
    ("МОСКВА", "москва"), ("Ǆ", "ǆ"), ("Ǆ", "ǅ"), ("\U00010400", "\U00010428"), ("ÿ", "Ÿ"),
    ("\u1c90", "\u10d0"),
]  # fmt: skip
DIFFERENT = [
    ("ß", "ss"), ("ß", "SS"), ("ẞ", "ß"), ("ı", "i"), ("ı", "I"), ("İ", "i"), ("İ", "i\u0307"),
    ("ſ", "s"), ("\u212a", "k"), ("\u212b", "å"), ("é", "e\u0301"), ("ﬁ", "fi"), ("Ａ", "A"),
    ("ŉ", "ʼn"),
]  # fmt: skip


@pytest.mark.parametrize("name", ANY_SCRIPT)
def test_letters_of_any_script_make_a_name(name: str) -> None:
    """A group of any script is read in a VM's id and in a scope, and keys rows of its own."""
    assert is_name(name)
    vm_id = WEB.replace("/app/", f"/{name}/")
    assert parse_id(vm_id).group == name
    assert is_scope(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}")
    assert is_scope(vm_id)
    assert set(row_key(vm_id)).isdisjoint("/\\#?")
    assert is_within(vm_id, vm_id.partition("/providers/")[0])


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_azure_takes_for_no_name_is_none(name: str) -> None:
    """Separators, controls, marks of direction, symbols and a last period make no name."""
    assert not is_name(name)
    assert not is_scope(f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{name}")


@pytest.mark.parametrize(("one", "other"), SAME)
def test_letter_case_is_ignored_in_any_script(one: str, other: str) -> None:
    """Two spellings of one name have one key."""
    assert fold(one) == fold(other)
    assert key_of(WEB.replace("/app/", f"/{one}/")) == key_of(WEB.replace("/app/", f"/{other}/"))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_two_names_are_never_made_one(one: str, other: str) -> None:
    """ß is not ss, the Turkish i's are not i, and forms of one text are two names."""
    assert fold(one) != fold(other)
    group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/"
    assert not is_within(group + one, group + other)
    assert row_key(group + one) != row_key(group + other)


def test_every_character_is_folded_by_itself() -> None:
    """Folding is stable, keeps the length, and never takes a character into ASCII or out of it."""
    for number in range(sys.maxunicode + 1):
        letter = chr(number)
        folded = fold(letter)
        assert len(folded) == 1
        assert folded.isascii() == letter.isascii()
        assert fold(folded) == folded


def test_no_two_characters_are_the_same_but_by_letter_case() -> None:
    """Characters that fold alike are alike in upper case."""
    for number in range(sys.maxunicode + 1):
        letter = chr(number)
        if fold(letter) != letter:
            assert fold(letter).upper() == letter.upper()


@given(st.text(), st.text())
def test_what_stands_beside_a_letter_does_not_change_it(one: str, other: str) -> None:
    """A key of two parts is the keys of the parts: the Greek last s depends on no neighbour."""
    assert fold(one + other) == fold(one) + fold(other)


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_is_folded_as_before(text: str) -> None:
    """Rows that were keyed by ASCII ids are found again."""
    assert fold(text) == text.lower()


@given(st.text(), st.integers(0, 200))
def test_a_cut_text_is_as_short_as_azure_counts(text: str, most: int) -> None:
    """It is the beginning of the text, at most so many UTF-16 units, and no character is halved."""
    short = cut(text, most)
    assert text.startswith(short)
    assert len(short.encode("utf-16-le")) <= 2 * most
    assert short == text or len(text[: len(short) + 1].encode("utf-16-le")) > 2 * most


def test_a_description_fits_in_any_script() -> None:
    """Azure counts a rule's description in UTF-16, where some characters count twice."""
    description = deny_description("\U00020000" * 64)
    assert len(description.encode("utf-16-le")) // 2 <= MAX_DESCRIPTION
    assert unicodedata.category(description[-1]) != "Cs"
