import re

from local.tests.demo.scenes import demo


def test_the_firewall_scene_opens_and_closes_behind_all_three_types() -> None:
    """Unreachable, opened for one address at a mapped port, and closed: by policy, classic, group."""
    done = demo("firewall")
    assert done.returncode == 0, done.stdout + done.stderr
    reached = re.findall(r"Who reaches them\?  (yes|no) +203\.0\.113\.7", done.stdout)
    assert reached == ["no", "yes", "no"]
    entries = re.findall(r"Initiated: connect to (\S+) port (\d+)", done.stdout)
    assert entries == [("20.1.0.3", "20000"), ("20.1.1.3", "20000"), ("20.1.2.3", "20022")]
    assert done.stdout.count("Revoked: gone everywhere") == 3
