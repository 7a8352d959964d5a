"""The mutator itself: what it changes, and that it tells a change that is noticed from one that is not."""

import ast

import pytest

from tests.mutation.mutate import ROOT, equivalents, is_noticed, mutants, unit_tests_of

FILES = ("shared/firewalls/nsg/rules.py", "shared/domain/policy.py", "shared/domain/network.py")
SAMPLE = '''
def first(numbers: list[int | None], /) -> bool:
    """Say `not`, 1 < 2 and True."""
    return not numbers[0] and 1 < len(numbers) <= 9 or min(numbers) is not None


class Sample:
    flag = True

    def second(self, text):
        return text in "abc" if any(text) else text + "x" == "x"
'''


def test_every_type_of_change_is_made() -> None:
    """Comparisons, `and`, `or`, `not`, numbers, flags, signs and functions; never text or types."""
    found = {(each.where, each.change) for each in mutants(SAMPLE)}
    either = "not numbers[0] and 1 < len(numbers) <= 9 or min(numbers) is not None"
    assert found == {
        (
            "first",
            f"{either} -> (not numbers[0] and 1 < len(numbers) <= 9) and min(numbers) is not None",
        ),
        (
            "first",
            "not numbers[0] and 1 < len(numbers) <= 9 -> not numbers[0] or 1 < len(numbers) <= 9",
        ),
        ("first", "not numbers[0] -> not not numbers[0]"),
        ("first", "numbers[0] -> numbers[1]"),
        ("first", "numbers[0] -> numbers[-1]"),
        ("first", "1 < len(numbers) <= 9 -> 1 <= len(numbers) <= 9"),
        ("first", "1 < len(numbers) <= 9 -> 1 >= len(numbers) <= 9"),
        ("first", "1 < len(numbers) <= 9 -> 1 < len(numbers) < 9"),
        ("first", "1 < len(numbers) <= 9 -> 1 < len(numbers) > 9"),
        ("first", "1 < len(numbers) <= 9 -> 2 < len(numbers) <= 9"),
        ("first", "1 < len(numbers) <= 9 -> 0 < len(numbers) <= 9"),
        ("first", "1 < len(numbers) <= 9 -> 1 < len(numbers) <= 10"),
        ("first", "1 < len(numbers) <= 9 -> 1 < len(numbers) <= 8"),
        ("first", "min(numbers) is not None -> min(numbers) is None"),
        ("first", "min(numbers) -> max(numbers)"),
        ("Sample", "flag = True -> flag = False"),
        ("Sample.second", "text in 'abc' -> text not in 'abc'"),
        ("Sample.second", "any(text) -> all(text)"),
        ("Sample.second", "text + 'x' == 'x' -> text + 'x' != 'x'"),
        ("Sample.second", "text + 'x' -> text - 'x'"),
    }


def test_a_change_is_one_change() -> None:
    """Each mutant is the whole file, with one line of it different, and says which."""
    plain = ast.unparse(ast.parse(SAMPLE)).splitlines()
    for each in mutants(SAMPLE):
        changed = each.text().splitlines()
        assert len(changed) == len(plain)
        assert sum(one != other for one, other in zip(plain, changed, strict=True)) == 1
        assert each.line in {4, 8, 11}


def test_equal_changes_in_one_place_are_told_apart() -> None:
    """Otherwise an entry in the list could hide a change that means something."""
    found = [each.change for each in mutants("def f(a):\n    return a[0] + a[0]\n")]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("file", FILES)
def test_the_list_of_equivalent_changes_is_current(file: str) -> None:
    """Every entry fits a change that can still be made, and says why it means the same."""
    found = {(e.where, e.change) for e in mutants((ROOT / file).read_text(encoding="utf-8"))}
    listed = equivalents(file)
    assert listed.keys() <= found
    assert all(reason.endswith(".") for reason in listed.values())
    assert unit_tests_of(file)


def test_a_change_that_matters_is_noticed_and_another_is_not() -> None:
    """The real tests run against the changed file, and against the file as it is."""
    file = "shared/domain/times.py"
    source = (ROOT / file).read_text(encoding="utf-8")
    broken = source.replace("86_400", "86_401")
    assert broken != source
    assert is_noticed(file, broken, ["tests/unit/test_times.py"])
    assert is_noticed(file, "1 / 0", ["tests/unit/test_times.py"])
    assert not is_noticed(file, source, ["tests/unit/test_times.py"])


def test_tests_that_cannot_be_run_are_not_taken_for_an_answer() -> None:
    """A misspelt file of tests would otherwise let every change live, or kill it."""
    with pytest.raises(RuntimeError, match="did not run"):
        is_noticed("shared/domain/times.py", "", ["tests/unit/missing.py"])
