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
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUBJECT_LIMIT = 72
# The rule on subjects holds for commits made after this moment.
RULE_SINCE = "2026-11-27T12:33:00+00:00"

_LEFT = Path("tools/words_left.json")
_WORDS = Path("docs/words.md")
_SUFFIXES = {".py", ".md", ".sh", ".bicep", ".toml", ".yml", ".yaml", ".html", ".js", ".css"}
_OWN_FILES = {_WORDS, Path("tests/architecture/test_words.py")}
_SKIPPED = {".git", ".venv", ".venv-checkov", "node_modules", "__pycache__", ".package", "vendor"}
_CONTEXTS = "## Permitted contexts"
_FRONT_DOOR = re.compile(r"front[\s_-]?door", re.IGNORECASE)


@dataclass(frozen=True)
class Context:
    """Where a word that is ruled out may stand: in phrases, and in files."""

    phrases: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


def read_words(document: str) -> list[str]:
    """Return the words that a document rules out: those in the last column of its first table."""
    table = document.split(_CONTEXTS, maxsplit=1)[0]
    return [word for row in _rows(table) for word in _quoted(row[-1])]


def read_contexts(document: str) -> dict[str, Context]:
    """Return the permitted context of each word in the table of permitted contexts."""
    found: dict[str, Context] = {}
    for row in _rows(document.partition(_CONTEXTS)[2]):
        permitted = _quoted(row[-1])
        files = tuple(each for each in permitted if "/" in each)
        phrases = tuple(each.lower() for each in permitted if "/" not in each)
        found |= dict.fromkeys(_quoted(row[0]), Context(phrases, files))
    return found


def count_words(
    text: str, words: Iterable[str], contexts: Mapping[str, Context] | None = None, path: str = ""
) -> Counter[str]:
    """Count each word in a text, also in snake_case names, without its permitted contexts."""
    text = _FRONT_DOOR.sub("", text).replace("`", "'").lower()
    counts: Counter[str] = Counter()
    for word in words:
        context = (contexts or {}).get(word, Context())
        if not any(fnmatch(path, each) for each in context.files):
            counts[word] += len(_pattern(word).findall(_without(text, context.phrases)))
    return +counts


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
    document = (root / _WORDS).read_text(encoding="utf-8")
    words, contexts = read_words(document), read_contexts(document)
    counts: Counter[str] = Counter()
    for path in _files(root):
        relative = path.relative_to(root)
        text = f"{path.name}\n{path.read_text(encoding='utf-8')}"
        for word, count in count_words(text, words, contexts, relative.as_posix()).items():
            counts[f"{relative.parts[0]}: {word}"] += count
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


def _rows(text: str) -> list[list[str]]:
    lines = (line.strip() for line in text.splitlines())
    return [line.strip("|").split("|") for line in lines if line.startswith("|")]


def _quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def _without(text: str, phrases: Iterable[str]) -> str:
    for phrase in phrases:
        text = text.replace(phrase, "")
    return text


def _pattern(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-z]){re.escape(word).replace(chr(92) + ' ', '[ _-]')}(?![a-z])")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
