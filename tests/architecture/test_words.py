from fnmatch import fnmatch
from pathlib import Path

import pytest

from tools.check_words import (
    Context,
    count_words,
    find_growth,
    find_long_subjects,
    read_contexts,
    read_words,
)

ROOT = Path(__file__).parents[2]


def test_the_last_column_of_the_table_is_what_the_check_rules_out() -> None:
    """The check reads its words from docs/words.md, and from the last column only."""
    words = read_words((ROOT / "docs/words.md").read_text(encoding="utf-8"))

    assert {"wish", "crowd", "nobody", "red button", "kind", "claim"} <= set(words)
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


def test_a_word_is_permitted_in_its_own_context_alone() -> None:
    """Defender's `kind` and a JWT's claim are permitted where they are that, and not elsewhere."""
    contexts = read_contexts((ROOT / "docs/words.md").read_text(encoding="utf-8"))

    def count(text: str, path: str = "docs/x.md") -> int:
        return count_words(text, ["kind", "claim"], contexts, path).total()

    assert count('{"kind": "Basic"}, the field `kind`, policy.kind, each kind of firewall') == 0
    assert count("def write(kind: Any)") == count("another kind of write") == 1
    assert count("the claim of a token", "shared/adapters/tokens.py") == 0
    assert count("claim(services, request)", "shared/use_cases/requests/submit.py") == 1


def test_every_permitted_context_belongs_to_a_word_that_is_ruled_out() -> None:
    """The table of contexts names ruled out words only, and no file pattern that matches none."""
    document = (ROOT / "docs/words.md").read_text(encoding="utf-8")
    contexts = read_contexts(document)

    assert set(contexts) <= set(read_words(document))
    assert contexts["kind"].phrases
    files = {pattern for context in contexts.values() for pattern in context.files}
    assert [pattern for pattern in sorted(files) if not _matches(pattern)] == []
    assert read_contexts("no table") == {}
    assert count_words("a claim", ["claim"], {"claim": Context(files=("a/*",))}, "a/b").total() == 0


def test_a_count_may_fall_and_not_rise() -> None:
    """A folder that gains a word is named, and one that loses it is not."""
    left = {"docs: crowd": 2, "shared: wish": 1}

    assert find_growth(left, {"docs: crowd": 1, "shared: wish": 1}) == []
    assert find_growth(left, {"docs: crowd": 3}) == ["docs: crowd: 3 times, 2 allowed"]
    assert find_growth(left, {"cli: crowd": 1}) == ["cli: crowd: 1 times, 0 allowed"]


def test_a_subject_of_73_characters_is_too_long() -> None:
    """A commit subject has at most 72 characters."""
    assert find_long_subjects(["a" * 72, "b" * 73]) == ["b" * 73]


def _matches(pattern: str) -> bool:
    folder = ROOT / pattern.split("/", maxsplit=1)[0]
    return any(
        fnmatch(path.relative_to(ROOT).as_posix(), pattern)
        for path in folder.rglob("*")
        if "node_modules" not in path.parts
    )
