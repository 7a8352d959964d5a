"""The host tries routes by function name, so the catch-all has to come last."""

import subprocess
import sys

_LIST = """
import function_app
for function in function_app.app.get_functions():
    if function.is_http_function():
        print(function.get_function_name())
"""


def test_the_catch_all_is_tried_last() -> None:
    """No HTTP function sorts after the one that takes every path (host source 4.1037)."""
    # In an interpreter of its own: an app lists its functions only once.
    listed = subprocess.run(
        [sys.executable, "-c", _LIST], capture_output=True, text=True, check=True
    )
    names = sorted(listed.stdout.split(), key=str.lower)
    assert names[-1] == "unknown_route"
    assert len(names) > 10
