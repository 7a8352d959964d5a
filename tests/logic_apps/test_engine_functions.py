"""The functions of the stand-in engine: they fail where the real ones fail."""

from typing import Any

import pytest

from tests.logic_apps.expressions import ExpressionError, evaluate
from tests.logic_apps.functions import LONGEST_TEXT, PURE


@pytest.mark.parametrize(
    "expression",
    [
        "if(true, 1, int('x'))",
        "or(true, equals(int('x'), 1))",
        "and(false, equals(int('x'), 1))",
        "coalesce('a', int('x'))",
        "if('true', 1, 2)",
        "if(null, 1, 2)",
        "not('false')",
        "and(true, 'true')",
        "int('x')",
        "int('')",
        "int('1.5')",
        "int(null)",
        "int(true)",
        "split(null, ',')",
        "split(1, ',')",
        "substring('abc', 2, 2)",
        "substring('abc', -1, 1)",
        "substring('abc', 4)",
        "substring(null, 0)",
        "f()['nothing']",
        "f()['text']['a']",
        "f()['text']?['a']",
        "f()['text'][0]",
        "f()['list'][9]",
        "f()['list']['a']",
        "less('a', 1)",
        "less(null, 1)",
        "greater(true, false)",
        "length(1)",
        "length(null)",
        "replace(null, 'a', 'b')",
        "toLower(null)",
        "startsWith(null, 'a')",
        "contains(null, 'a')",
        "add('1', 1)",
        "mod(1, 0)",
        "join('abc', ',')",
        "join(null, ',')",
        "take(null, 1)",
        "skip(1, 1)",
        "formatDateTime('tomorrow', 'yyyy-MM-dd')",
        "formatDateTime('2026-02-30T00:00:00Z', 'yyyy-MM-dd')",
        "formatDateTime('0000-01-01T00:00:00Z', 'yyyy-MM-dd')",
        "addMinutes('2026-11-22T00:00:00Z', 'x')",
        "addMinutes('2026-11-22', 1)",
        "uriPathAndQuery('')",
        "uriPathAndQuery('/path')",
        "base64ToString('x')",
        "concat(f(), 'a')",
        "noSuchFunction()",
    ],
)
def test_a_function_that_cannot_do_it_fails(expression: str) -> None:
    """Every argument is evaluated; null, other types and indexes out of range are errors."""
    held = {"text": "abc", "list": ["a"]}

    with pytest.raises(ExpressionError):
        evaluate(expression, {**PURE, "f": lambda: held})


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("IF(EQUALS(1, 1), 'a', 'b')", "a"),
        ("equals('a', 'A')", False),
        ("equals(1, '1')", False),
        ("equals(true, 1)", False),
        ("startsWith('Abc', 'aB')", True),
        ("endsWith('abC', 'Bc')", True),
        ("indexOf('abC', 'c')", 2),
        ("contains('abc', 'B')", False),
        ("contains(createArray(1, 2), 2)", True),
        ("replace('aAa', 'a', '')", "A"),
        ("concat('a', 1, null, true)", "a1True"),
        ("substring('abc', 3)", ""),
        ("substring('abc', 0, 0)", ""),
        ("take('abc', 9)", "abc"),
        ("skip('abc', 9)", ""),
        ("first(createArray())", None),
        ("last('abc')", "c"),
        ("empty(null)", True),
        ("empty('')", True),
        ("less('2026-11-22T12:00:00Z', '2026-11-22T12:00:01Z')", True),
        ("sub(0, 15)", -15),
        ("mul(2, 3)", 6),
        ("add(1, 2)", 3),
        ("int(' -7 ')", -7),
        ("addMinutes('2026-11-22T00:00:00Z', -1)", "2026-11-21T23:59:00.0000000Z"),
        ("formatDateTime('2026-11-22T01:02:03.4567890Z', 'yyyy-MM-ddTHH:mm:ssZ')",
         "2026-11-22T01:02:03Z"),
        ("uriPathAndQuery('https://x.example/a/b?c=1')", "/a/b?c=1"),
        ("uriPathAndQuery('https://x.example')", "/"),
    ],
)  # fmt: skip
def test_functions(expression: str, value: Any) -> None:
    """Names of functions ignore letter case, and so do some functions; the others do not."""
    assert evaluate(expression, PURE) == value


@pytest.mark.parametrize("function", ["concat", "string"])
def test_a_text_has_a_longest(function: str) -> None:
    """The result of an evaluation is bounded: a whole security group does not fit."""
    longest = "x" * LONGEST_TEXT
    functions = {**PURE, "longest": lambda: longest, "longer": lambda: longest + "x"}

    assert evaluate(f"{function}(longest())", functions) == longest
    with pytest.raises(ExpressionError, match="the limit"):
        evaluate(f"{function}(longer())", functions)
