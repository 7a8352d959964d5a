"""Play the demo as a new user does."""

import os
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[3]


def demo(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `python -m local demo` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "local", "demo", *arguments],
        cwd=_ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
