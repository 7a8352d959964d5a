"""The AWS scene of the demo, as a new user plays it."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_aws_scene_closes_opens_closes_and_restores() -> None:
    """World-open, closed, open for one address, closed, and as before, text and tags too."""
    done = subprocess.run(
        [sys.executable, "-m", "local", "demo", "aws"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reached = re.findall(r"Who reaches it\?  (yes|no) +\S+ alice;  (yes|no)", done.stdout)
    assert reached == [("yes", "yes"), ("no", "no"), ("yes", "no"), ("no", "no"), ("yes", "yes")]
