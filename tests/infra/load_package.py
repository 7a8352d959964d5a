"""Load everything in a package with its own pins alone: python -I load_package.py FOLDER.

Run in an interpreter of its own. Prints JSON: the app's functions, and the modules of ours that
came from elsewhere. A package of Python's that the pins do not name cannot be imported here.
"""

import ast
import importlib
import importlib.metadata
import json
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

OURS = {"function_app", "functions", "shared", "local", "tests"}


class PinnedOnly:
    """Hides whatever is installed and belongs to no pinned distribution."""

    def __init__(self, requirements: Path) -> None:
        text = requirements.read_text(encoding="utf-8")
        self._files = set()
        for name in re.findall(r"^([\w.-]+)==", text, re.MULTILINE):
            try:
                held = importlib.metadata.distribution(name)
            except importlib.metadata.PackageNotFoundError:
                continue  # pinned for another platform
            self._files |= {str(held.locate_file(each)) for each in held.files or ()}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refuse a module of another project; leave the rest to the usual finders."""
        found = PathFinder.find_spec(name, path, target)
        origin = found.origin if found else None
        if origin and "site-packages" in origin and origin not in self._files:
            raise ModuleNotFoundError(f"{name} is not pinned", name=name)
        return None


def imported(source: str) -> dict[str, set[str]]:
    """List the modules that a source imports, also late, and what it takes from each."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {each.name: found.get(each.name, set()) for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.setdefault(node.module, set()).update(each.name for each in node.names)
    return found


def main() -> None:
    """Load it all, and say what was found."""
    folder = Path(sys.argv[1])
    sys.meta_path.insert(0, PinnedOnly(folder / "requirements.txt"))
    sys.path.insert(0, str(folder))
    sources = sorted(folder.rglob("*.py"))
    names = {
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        for path in sources
    }
    for path in sources:
        names |= set(imported(path.read_text(encoding="utf-8")))
    for name in sorted(names):
        importlib.import_module(name)
    elsewhere = [
        name
        for name, module in sys.modules.items()
        if name.partition(".")[0] in OURS
        and not Path(getattr(module, "__file__", None) or "/").is_relative_to(folder)
    ]
    app = sys.modules["function_app"].app
    functions = [each.get_function_name() for each in app.get_functions()]
    print(json.dumps({"functions": functions, "elsewhere": elsewhere}))  # noqa: T201  its answer


if __name__ == "__main__":
    main()
