"""Change the code a little, one place at a time, and see whether a test notices.

    python -m tests.mutation.mutate shared/domain/rules.py shared/domain/policy.py

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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import cast

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
    """One change of a file; `where` and `change` tell it from every other."""

    file: str
    where: str
    change: str
    line: int
    text: str  # the whole file with the change in it


def mutants(file: str, source: str) -> list[Mutant]:
    """List every change of a file."""
    found: list[Mutant] = []
    seen: Counter[tuple[str, str]] = Counter()
    for number in range(sum(1 for _ in _edits(ast.parse(source)))):
        tree = ast.parse(source)
        where, node, shown, edit = list(_edits(tree))[number]
        before = ast.unparse(shown)
        edit()
        change = f"{before} -> {ast.unparse(shown)}"
        seen[where, change] += 1
        if seen[where, change] > 1:
            change += f" ({seen[where, change]})"
        line = getattr(node, "lineno", 0) or getattr(shown, "lineno", 0)
        found.append(Mutant(file, where, change, line, ast.unparse(tree)))
    return found


Edit = tuple[str, ast.AST, ast.AST, Callable[[], None]]


def _edits(tree: ast.Module) -> Iterator[Edit]:
    """Find what can be changed: where, at which node, what to show of it, and the change."""
    pending: list[tuple[str, ast.AST, ast.AST]] = [("", tree, tree)]
    while pending:
        where, node, parent = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            where = f"{where}.{node.name}".strip(".")
        for change in _changes_of(node):
            yield where, node, parent if isinstance(node, ast.Constant) else node, change
        pending += [(where, child, node) for child in _children(node)][::-1]


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """Go into everything but annotations, which say nothing at run time."""
    for name, held in ast.iter_fields(node):
        if name not in {"annotation", "returns"}:
            yield from (
                each
                for each in (held if isinstance(held, list) else [held])
                if isinstance(each, ast.AST)
            )


def _changes_of(node: ast.AST) -> Iterator[Callable[[], None]]:
    match node:
        case ast.Compare():
            for at, old in enumerate(node.ops):
                for new in _OPERATORS[type(old)]:
                    yield partial(_set_operator, node, at, new)
        case ast.BoolOp() | ast.BinOp() | ast.AugAssign():
            for new in _OPERATORS.get(type(node.op), ()):
                yield partial(setattr, node, "op", new())
        case ast.UnaryOp(op=ast.Not()):
            # `not not x` is `x` as a truth value.
            yield lambda: setattr(node, "operand", ast.UnaryOp(ast.Not(), node.operand))
        case ast.Constant(value=bool() as flag):
            yield lambda: setattr(node, "value", not flag)
        case ast.Constant(value=int() as number):
            yield lambda: setattr(node, "value", number + 1)
            yield lambda: setattr(node, "value", number - 1)
        case ast.Call(func=ast.Name(id=name) as function) if name in _FUNCTIONS:
            yield lambda: setattr(function, "id", _FUNCTIONS[name])


def _set_operator(node: ast.Compare, at: int, operator: type[ast.AST]) -> None:
    node.ops[at] = cast("ast.cmpop", operator())


def is_noticed(mutant: Mutant, tests: list[str]) -> bool:
    """Run tests against a change, in a process of its own."""
    command = [sys.executable, "-m", "tests.mutation.mutate", "--stand-in", mutant.file, *tests]
    try:
        done = subprocess.run(
            command,
            input=mutant.text,
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
    """Run tests with a text in the place of a file's own, whoever imports it."""
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


def tests_of(file: str) -> list[str]:
    """Find the unit tests of a file, the quick ones first."""
    found = sorted((ROOT / "tests" / "unit").glob(f"test_{Path(file).stem}*.py"))
    return [str(path.relative_to(ROOT)) for path in found]


def equivalents(file: str) -> dict[tuple[str, str], str]:
    """Read which changes of a file mean the same, and why."""
    entries = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("equivalent", [])
    return {(e["where"], e["change"]): e["reason"] for e in entries if e["file"] == file}


def survivors(file: str, jobs: int) -> list[Mutant]:
    """Try every change of a file that may mean something; return those that nobody noticed."""
    source = (ROOT / file).read_text(encoding="utf-8")
    tests, listed = tests_of(file), equivalents(file)
    every = mutants(file, source)
    stale = listed.keys() - {(each.where, each.change) for each in every}
    if stale:
        raise SystemExit(f"{EQUIVALENT.name} lists changes that no longer exist: {sorted(stale)}")
    if is_noticed(Mutant(file, "", "", 0, source), tests):
        raise SystemExit(f"the tests of {file} fail on the file as it is")
    tried = [each for each in every if (each.where, each.change) not in listed]
    with ThreadPoolExecutor(jobs) as pool:
        noticed = list(pool.map(lambda each: is_noticed(each, tests), tried))
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
