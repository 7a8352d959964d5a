"""The AWS scene of the demo, as a new user plays it."""

import re

from local.tests.demo.scenes import demo


def test_the_aws_scene_closes_opens_closes_and_restores() -> None:
    """World-open, closed, open for one address, closed, and as before, text and tags too."""
    done = demo("aws")
    assert done.returncode == 0, done.stdout + done.stderr
    reached = re.findall(r"Who reaches it\?  (yes|no) +\S+ alice;  (yes|no)", done.stdout)
    assert reached == [("yes", "yes"), ("no", "no"), ("yes", "no"), ("no", "no"), ("yes", "yes")]
