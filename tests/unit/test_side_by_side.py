"""Work in threads: in the context of its invocation, and to the end whatever fails."""

import ast
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from threading import Barrier, get_ident

import pytest

from shared.adapters.threads import side_by_side

ROOT = Path(__file__).parents[2]
# What begins a thread. Its log records are lost in Azure unless a context is handed on.
STARTS_THREADS = {
    *("Thread", "ThreadPoolExecutor", "Timer", "run_in_executor", "start_new_thread", "to_thread"),
    *("Pool", "ThreadPool", "ProcessPoolExecutor"),
}
_invocation: ContextVar[str] = ContextVar("invocation", default="none")


@pytest.fixture
def invocation() -> Iterator[str]:
    """Run the test within a context of its own, as the worker runs a function."""
    mark = _invocation.set("this invocation")
    yield "this invocation"
    _invocation.reset(mark)


@pytest.mark.parametrize("count", [1, 2, 20])
def test_each_piece_runs_in_the_caller_s_context(invocation: str, count: int) -> None:
    """A piece sees the context variables of its caller, in whatever thread it runs."""
    assert side_by_side(lambda _: _invocation.get(), range(count)) == [invocation] * count


def test_pieces_run_at_once_each_in_a_copy(invocation: str) -> None:
    """Pieces that run at the same time do not share a context, and leave the caller's alone."""
    both = Barrier(2, timeout=10)

    def work(name: str) -> tuple[str, int]:
        _invocation.set(name)
        both.wait()
        return _invocation.get(), get_ident()

    seen = side_by_side(work, ["a", "b"])
    assert [name for name, _ in seen] == ["a", "b"]
    assert len({thread for _, thread in seen}) == 2
    assert _invocation.get() == invocation


def test_no_other_part_of_the_product_begins_a_thread() -> None:
    """`side_by_side` is the only place that does, so no log record is lost elsewhere."""
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("functions", "shared")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _called(node.func) in STARTS_THREADS
    }
    assert found == {"shared/adapters/threads.py"}


def test_no_poller_of_the_sdk_begins_a_thread() -> None:
    """Each long operation of the SDK is begun with polling=False: its poller would be a thread."""
    begun = [
        node
        for path in sorted((ROOT / "shared").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr.startswith("begin_")
    ]
    assert begun
    for call in begun:
        polling = [word.value for word in call.keywords if word.arg == "polling"]
        assert [ast.literal_eval(value) for value in polling] == [False]


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
