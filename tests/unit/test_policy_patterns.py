"""Patterns: the same answer as `re` gives, and never its delays."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.patterns import MAX_PATTERN, PatternError, compile_pattern
from shared.domain.policy import matches_pattern

_LETTERS = st.sampled_from("ab1 -")
_ATOMS = st.one_of(
    _LETTERS, st.sampled_from([".", r"\d", r"\w", r"\s", r"\D", "[ab]", "[^a]", "[a-c1]", r"\."])
)
_COUNTS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,}", "{0,2}", "{1,3}"])


def _grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    sequences = st.lists(st.tuples(inner, _COUNTS), min_size=1, max_size=3).map(
        lambda parts: "".join(f"(?:{part}){count}" for part, count in parts)
    )
    return st.one_of(sequences, st.tuples(sequences, sequences).map("|".join))


PATTERNS = st.recursive(_ATOMS, _grow, max_leaves=6)


@given(PATTERNS, st.text("ab1 -.\n", max_size=8))
def test_it_matches_what_re_matches(pattern: str, text: str) -> None:
    """Over everything that is accepted."""
    try:
        compiled = compile_pattern(pattern)
    except PatternError:
        return
    assert compiled.matches(text) == (re.fullmatch(pattern, text) is not None)


@given(st.text(r"ab()[]{}|*+?^$\.-,0123dw:=!<#", max_size=12), st.text("ab", max_size=4))
def test_whatever_is_accepted_is_what_re_means(pattern: str, text: str) -> None:
    """A pattern is refused, or means exactly what people know it to mean."""
    try:
        compiled = compile_pattern(pattern)
    except PatternError:
        return
    assert compiled.matches(text) == (re.fullmatch(pattern, text) is not None)


@given(st.text(max_size=MAX_PATTERN + 1))
def test_any_text_is_a_pattern_or_an_error(pattern: str) -> None:
    """Never another exception, never a hang."""
    assert matches_pattern(pattern, "x") in {True, False}


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "((a*)*)*b",
        "(a|a)*b",
        "(a|aa)+b",
        "a{0,70}a{0,70}a{0,70}b",
        "(.*)(.*)(.*)(.*)(.*)b",
        "(.?){240}b",
        r"(\w*\w*\w*){0,50}",
        r"^(([a-z])+.)+[A-Z]([a-z])+$",
    ],
)
def test_no_pattern_takes_long(pattern: str) -> None:
    """Those that `re` would not finish are answered at once, on the longest text."""
    compiled = compile_pattern(pattern)
    began = time.process_time()
    compiled.matches("a" * 1023 + "!")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "(a", "()", "a||b", "*", "a**", "a*?", "a*+", "a{2}{3}", "{2}", "a{", "a{b}",
     "a{3,2}", "a{0}", "[", "[a", "[z-a]", "[[a]]", "[a--b]", "\\", r"\1", r"\b", r"\A", r"\x41",
     "(?=a)", "(?!a)", "(?<=a)", "(?P<n>a)", "(?i)a", "(?#c)", "a^b", "a$b", "a{1000}",
     "((a{30}){30}){30}", "(" * 21 + "a" + ")" * 21, "a" * (MAX_PATTERN + 1)],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_with_a_reason(pattern: str) -> None:
    """When the policy is written; stored nevertheless, it fits nothing."""
    with pytest.raises(PatternError, match=r"\w"):
        compile_pattern(pattern)
    assert not matches_pattern(pattern, "a")


@pytest.mark.parametrize(
    ("pattern", "text", "fits"),
    [
        (r"^INC\d{5,8}$", "INC12345", True),
        (r"INC\d{5,8}", "see INC12345", False),
        (r"a\$", "a$", True),
        (r"a\\$", "a\\", True),
        ("(?:JIRA|INC)-[0-9]+(: .+)?", "JIRA-7: reboot", True),
        ("[^,]+", "a,b", False),
        ("[]a]+", "a]", True),
        ("", "", False),
    ],
)
def test_patterns_of_everyday(pattern: str, text: str, fits: bool) -> None:
    """Ticket numbers and the like; anchors at the ends change nothing."""
    assert matches_pattern(pattern, text) is fits
