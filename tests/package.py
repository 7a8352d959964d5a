"""The package that would be deployed, built by the rules of .funcignore."""

import os
import shutil
from pathlib import Path

import pathspec

ROOT = Path(__file__).parents[1]


def shipped() -> set[str]:
    """List the files that .funcignore lets through."""
    lines = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()
    rules = pathspec.GitIgnoreSpec.from_lines(lines)
    found = set()
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder).relative_to(ROOT)
        folders[:] = [
            name for name in folders if not rules.match_file(f"{(here / name).as_posix()}/")
        ]
        paths = ((here / name).as_posix() for name in files)
        found |= {path for path in paths if not rules.match_file(path)}
    return found


def build(target: Path) -> Path:
    """Copy them to a folder, as the upload would."""
    for path in shipped():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, target / path)
    return target
