"""Change the code a little, one place at a time, and see whether a test notices.

    python -m tests.mutation.mutate shared/firewalls/nsg/rules.py shared/domain/policy.py

Every comparison, `and`, `or`, `not`, number, truth value, sign, `min`, `max`, `any` and `all` of a
file is changed in turn, and the unit tests of that file (`tests/unit/test_{name}*.py`) are run
against each change in a process of its own, until the first failure. A change that no test notices
survives: it is listed, and the exit code is 1. The file itself is never written to.

A change that means the same is listed in `equivalent.toml` with the reason why no test can notice
it; an entry that fits no change any more is an error. This takes a few minutes, so that it is not
part of `make test`; `--jobs` runs several changes at a time.
"""

import argparse
import ast
import os
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.toml")
LONGEST_SECONDS = 120  # a change may make a loop endless
# Only what the unit tests need is loaded: the rest takes longer than they do.
_FLAGS = (
    *("-x", "-q", "--no-header", "-p", "no:cacheprovider", "-p", "_hypothesis_pytestplugin"),
    *("--confcutdir=tests/unit", "--hypothesis-profile=mutation"),
)
_ENVIRONMENT = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
_OPERATORS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.BitAnd: (ast.BitOr,),
    ast.BitOr: (ast.BitAnd,),
}
_FUNCTIONS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_EXIT_TESTS_FAILED = {pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED}


@dataclass(frozen=True)
class Mutant:
    """One change: a field of a node gets another value. `where` and `change` tell it from all others."""

    tree: ast.Module
    where: str
    change: str
    line: int
    node: ast.AST
    field: str
    value: object

    def text(self) -> str:
        """Write the whole file with the change in it."""
        with _changed(self.node, self.field, self.value):
            return ast.unparse(self.tree)


@contextmanager
def _changed(node: ast.AST, field: str, value: object) -> Iterator[None]:
    before = getattr(node, field)
    setattr(node, field, value)
    try:
        yield
    finally:
        setattr(node, field, before)


def mutants(source: str) -> list[Mutant]:
    """List every change of a file."""
    tree = ast.parse(source)
    found: list[Mutant] = []
    seen: Counter[tuple[str, str]] = Counter()
    for where, node, parent in _nodes("", tree, tree):
        # A number says little by itself.
        shown = parent if isinstance(node, ast.Constant) else node
        before = ast.unparse(shown)
        for target, field, value in _changes_of(node):
            with _changed(target, field, value):
                change = f"{before} -> {ast.unparse(shown)}"
            seen[where, change] += 1
            if seen[where, change] > 1:
                change += f" ({seen[where, change]})"
            line = getattr(node, "lineno", 0)
            found.append(Mutant(tree, where, change, line, target, field, value))
    return found


def _nodes(where: str, node: ast.AST, parent: ast.AST) -> Iterator[tuple[str, ast.AST, ast.AST]]:
    """Go through everything but annotations, which say nothing at run time."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        where = f"{where}.{node.name}".strip(".")
    yield where, node, parent
    for name, held in ast.iter_fields(node):
        if name not in {"annotation", "returns"}:
            for each in held if isinstance(held, list) else [held]:
                if isinstance(each, ast.AST):
                    yield from _nodes(where, each, node)


def _changes_of(node: ast.AST) -> Iterator[tuple[ast.AST, str, object]]:
    match node:
        case ast.Compare(ops=operators):
            for at, old in enumerate(operators):
                for new in _OPERATORS[type(old)]:
                    yield node, "ops", [*operators[:at], new(), *operators[at + 1 :]]
        case ast.BoolOp() | ast.BinOp() | ast.AugAssign():
            for new in _OPERATORS.get(type(node.op), ()):
                yield node, "op", new()
        case ast.UnaryOp(op=ast.Not()):
            # `not not x` is `x` as a truth value.
            yield node, "operand", ast.UnaryOp(ast.Not(), node.operand)
        case ast.Constant(value=bool() as flag):
            yield node, "value", not flag
        case ast.Constant(value=int() as number):
            yield node, "value", number + 1
            yield node, "value", number - 1
        case ast.Call(func=ast.Name(id=name) as function) if name in _FUNCTIONS:
            yield function, "id", _FUNCTIONS[name]


def is_noticed(file: str, text: str, tests: list[str]) -> bool:
    """Run tests with a text in the place of a file's own, in a process of its own."""
    command = [sys.executable, "-m", "tests.mutation.mutate", "--stand-in", file, *tests]
    try:
        done = subprocess.run(
            command,
            input=text,
            text=True,
            cwd=ROOT,
            env=_ENVIRONMENT,
            timeout=LONGEST_SECONDS,
            capture_output=True,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    if done.returncode == pytest.ExitCode.OK:
        return False
    if done.returncode in _EXIT_TESTS_FAILED:
        return True
    raise RuntimeError(f"the tests did not run:\n{done.stdout}{done.stderr}")


def stand_in(file: str, text: str, tests: list[str]) -> int:
    """Run tests with a text in the place of a file's own, for every import."""
    name = file.removesuffix(".py").replace("/", ".")
    package, _, last = name.rpartition(".")
    module = ModuleType(name)
    module.__file__ = str(ROOT / file)
    module.__package__ = package
    sys.modules[name] = module
    setattr(import_module(package), last, module)
    try:
        exec(compile(text, file, "exec"), module.__dict__)  # noqa: S102 - it is our own file
    except Exception:  # noqa: BLE001 - a file that cannot even be imported is noticed by anybody
        return pytest.ExitCode.TESTS_FAILED
    return pytest.main([*_FLAGS, *tests])


def unit_tests_of(file: str) -> list[str]:
    """Find the unit tests of a file, the quick ones first."""
    found = sorted((ROOT / "tests" / "unit").glob(f"test_{Path(file).stem}*.py"))
    found.sort(key=lambda path: "hypothesis" in path.read_text(encoding="utf-8"))
    return [str(path.relative_to(ROOT)) for path in found]


def equivalents(file: str) -> dict[tuple[str, str], str]:
    """Read which changes of a file mean the same, and why."""
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("equivalent", [])
    return {(e["where"], e["change"]): e["reason"] for e in entries if e["file"] == file}


def survivors(file: str, jobs: int) -> list[Mutant]:
    """Try every change of a file that may mean something; return those that no test noticed."""
    source = (ROOT / file).read_text(encoding="utf-8")
    tests, listed = unit_tests_of(file), equivalents(file)
    every = mutants(source)
    stale = listed.keys() - {(each.where, each.change) for each in every}
    if stale:
        raise SystemExit(f"{EQUIVALENT.name} lists changes that no longer exist: {sorted(stale)}")
    if is_noticed(file, source, tests):
        raise SystemExit(f"the tests of {file} fail on the file as it is")
    tried = [each for each in every if (each.where, each.change) not in listed]
    texts = [each.text() for each in tried]
    with ThreadPoolExecutor(jobs) as pool:
        noticed = list(pool.map(lambda text: is_noticed(file, text, tests), texts))
    left = [each for each, seen in zip(tried, noticed, strict=True) if not seen]
    sys.stdout.write(
        f"{file}: {len(every)} changes, {sum(noticed)} noticed, {len(listed)} mean the same, "
        f"{len(left)} survive\n"
    )
    for each in left:
        sys.stdout.write(f"  {file}:{each.line} in {each.where}: {each.change}\n")
    return left


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", nargs="+", help="files of the product, relative to the root")
    parser.add_argument("--jobs", type=int, default=1, help="how many changes to try at a time")
    parser.add_argument("--stand-in", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.stand_in:
        return stand_in(asked.files[0], sys.stdin.read(), asked.files[1:])
    return 1 if [each for file in asked.files for each in survivors(file, asked.jobs)] else 0


if __name__ == "__main__":
    sys.exit(main())
