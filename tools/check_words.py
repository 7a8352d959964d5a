"""Check the words of the project and the length of commit subjects.

python -m tools.check_words            fail where a folder gained a word that docs/words.md rules out
python -m tools.check_words --record   write the present counts to tools/words_left.json
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUBJECT_LIMIT = 72
# The rule on subjects holds for commits made after this moment.
RULE_SINCE = "2026-11-27T12:33:00+00:00"

_LEFT = Path("tools/words_left.json")
_WORDS = Path("docs/words.md")
_SUFFIXES = {".py", ".md", ".sh", ".bicep", ".toml", ".yml", ".yaml", ".html", ".js", ".css"}
_OWN_FILES = {_WORDS, Path("tests/architecture/test_words.py")}
_SKIPPED = {".git", ".venv", ".venv-checkov", "node_modules", "__pycache__", ".package"}
_FRONT_DOOR = re.compile(r"front[\s_-]?door", re.IGNORECASE)


def read_words(table: str) -> list[str]:
    """Return the words in the last column of a Markdown table."""
    rows = (line.strip().strip("|").split("|") for line in table.splitlines() if line[:1] == "|")
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row[-1])]


def count_words(text: str, words: Iterable[str]) -> Counter[str]:
    """Count each word in a text, also as a part of a name in snake_case."""
    text = _FRONT_DOOR.sub("", text).lower()
    counts = {word: len(_pattern(word).findall(text)) for word in words}
    return Counter({word: count for word, count in counts.items() if count})


def find_growth(left: Mapping[str, int], counts: Mapping[str, int]) -> list[str]:
    """Name each word of a folder that stands there more often than was recorded."""
    return [
        f"{key}: {count} times, {left.get(key, 0)} allowed"
        for key, count in sorted(counts.items())
        if count > left.get(key, 0)
    ]


def find_long_subjects(subjects: Iterable[str]) -> list[str]:
    """Return the subjects that are longer than the limit."""
    return [subject for subject in subjects if len(subject) > SUBJECT_LIMIT]


def count_folders(root: Path) -> Counter[str]:
    """Count the words of each top folder as `folder: word`."""
    words = read_words((root / _WORDS).read_text(encoding="utf-8"))
    counts: Counter[str] = Counter()
    for path in _files(root):
        folder = path.relative_to(root).parts[0]
        text = f"{path.name}\n{path.read_text(encoding='utf-8')}"
        for word, count in count_words(text, words).items():
            counts[f"{folder}: {word}"] += count
    return counts


def read_subjects(root: Path) -> list[str]:
    """Read the subjects of commits since the rule, as far as this clone has them."""
    command = ["git", "log", "--no-merges", f"--since={RULE_SINCE}", "--format=%s"]
    answer = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    return answer.stdout.splitlines()


def main(arguments: list[str]) -> int:
    """Record the counts, or report what breaks the rules."""
    counts = count_folders(ROOT)
    if arguments == ["--record"]:
        text = json.dumps(dict(sorted(counts.items())), indent=1)
        (ROOT / _LEFT).write_text(f"{text}\n", encoding="utf-8")
        return 0
    left = json.loads((ROOT / _LEFT).read_text(encoding="utf-8"))
    faults = [f"docs/words.md rules out {line}" for line in find_growth(left, counts)]
    subjects = find_long_subjects(read_subjects(ROOT))
    faults += [f"over {SUBJECT_LIMIT} characters: {subject}" for subject in subjects]
    for fault in faults:
        print(fault)
    return 1 if faults else 0


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.iterdir()):
        if path.name in _SKIPPED or path.is_symlink() or path.relative_to(root) in _OWN_FILES:
            continue
        if path.is_dir():
            yield from (p for p in _walk(path) if p.relative_to(root) not in _OWN_FILES)
        elif path.suffix in _SUFFIXES:
            yield path


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _SKIPPED or path.is_symlink():
            continue
        if path.is_dir():
            yield from _walk(path)
        elif path.suffix in _SUFFIXES:
            yield path


def _pattern(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z]){re.escape(word).replace(chr(92) + ' ', '[ _-]')}(?![a-z])")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
