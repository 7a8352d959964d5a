from pathlib import Path

import pytest

from tools.check_words import count_words, find_growth, find_long_subjects, read_words

ROOT = Path(__file__).parents[2]


def test_the_last_column_of_the_table_is_what_the_check_rules_out() -> None:
    """The check reads its words from docs/words.md, and from the last column only."""
    words = read_words((ROOT / "docs/words.md").read_text(encoding="utf-8"))

    assert {"wish", "crowd", "nobody", "red button"} <= set(words)
    assert read_words("| a | `b` | `c`, `d e` |\ntext `f`") == ["c", "d e"]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("a crowd", 1),
        ("def open_crowd_now():", 1),
        ("Crowd, crowd", 2),
        ("crowded", 0),
        ("red_button = red button", 2),
        ("the front door, front_door and frontdoor", 0),
        ("another door", 1),
    ],
)
def test_a_word_counts_in_sentences_and_in_names(text: str, count: int) -> None:
    """A word counts whatever its case and in snake_case, and not inside another word."""
    assert count_words(text, ["crowd", "red button", "door"]).total() == count


def test_a_count_may_fall_and_not_rise() -> None:
    """A folder that gains a word is named, and one that loses it is not."""
    left = {"docs: crowd": 2, "shared: wish": 1}

    assert find_growth(left, {"docs: crowd": 1, "shared: wish": 1}) == []
    assert find_growth(left, {"docs: crowd": 3}) == ["docs: crowd: 3 times, 2 allowed"]
    assert find_growth(left, {"cli: crowd": 1}) == ["cli: crowd: 1 times, 0 allowed"]


def test_a_subject_of_73_characters_is_too_long() -> None:
    """A commit subject has at most 72 characters."""
    assert find_long_subjects(["a" * 72, "b" * 73]) == ["b" * 73]
