"""The names of VMs that were seen last, for completion alone: no decision is taken from them."""

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path


def _path() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "jit" / "names.json"


def names() -> list[str]:
    """Return the names; empty where none were kept."""
    try:
        found = json.loads(_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(name) for name in found] if isinstance(found, list) else []


def keep(found: Iterable[str]) -> None:
    """Keep the names; a cache that cannot be written is done without."""
    path = _path()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(sorted(set(found))), encoding="utf-8")
