import re
import socket

import pytest

from local.tests.demo.scenes import demo

RULE = r"SecurityCenter-JITRule{dash}local1{dash}[0-9A-F]{{32}}"
REACHES = r"(yes|no ) +{source} "


@pytest.fixture(scope="module")
def told() -> str:
    """Return what the demo told in a run that ended well."""
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def _chapter(told: str, number: int) -> str:
    return told.partition(f"\n{number}. ")[2].partition("\n\n")[0]


def test_it_shows_the_deny_on_both_firewalls(told: str) -> None:
    """Protecting is seen: one deny rule on the subnet's group and one on the interface's."""
    chapter = _chapter(told, 1)

    assert re.findall(r"(\S+-nsg) +priority 1\d{3} +Deny \* -> 10\.0\.3\.4:22", chapter) == [
        "apps-subnet-nsg",
        "app-1-nsg",
    ]
    assert len(re.findall(RULE.format(dash="_"), chapter)) == 2


def test_it_shows_a_refusal_with_its_reason(told: str) -> None:
    """Asking for the whole Internet is refused, in words, and by the exit code."""
    chapter = _chapter(told, 2)

    assert re.search(r"alice\$ jit request app-1 --source 0\.0\.0\.0/0 ", chapter)
    assert re.search(r"not allowed by the policy\n +SourceNotAllowed: '0\.0\.0\.0/0' ", chapter)
    assert "exit code 9" in chapter


def test_it_shows_the_answer_and_the_rules_that_appear(told: str) -> None:
    """The command line says how to connect and to end, and each firewall gains one allow rule."""
    chapter = _chapter(told, 3)

    assert re.search(r"alice\$ jit request app-1 --source 203\.0\.113\.7 ", chapter)
    assert re.search(r"connect with: jit ssh app-1 +end with: jit end [0-9a-f]{24}-", chapter)
    assert len(re.findall(r"priority 200 +Allow 203\.0\.113\.7 -> 10\.0\.3\.4:22", chapter)) == 2
    assert len(re.findall(RULE.format(dash="-"), chapter)) == 2
    assert len(re.findall(r"until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", chapter)) == 2


@pytest.mark.parametrize(("chapter", "she"), [(1, "no "), (3, "yes"), (5, "no ")])
def test_she_gets_through_only_while_it_is_open(told: str, chapter: int, she: str) -> None:
    """Before, during and after: she no, yes, no; a stranger never."""
    text = _chapter(told, chapter)

    assert re.findall(REACHES.format(source=r"203\.0\.113\.7"), text) == [she]
    assert re.findall(REACHES.format(source=r"198\.51\.100\.23"), text) == ["no "]


def test_it_tells_how_late_and_at_what_cost(told: str) -> None:
    """It ends with the lateness, how that was measured, the writes, and the foreign rules."""
    assert re.search(r"\d\.\d s +first seen shut out \(tried every", told)
    assert re.search(r"\d\.\d s +last removal sent \(the simulator's log\)", told)
    assert re.search(r"ARM writes: \d+ to protect, 2 to open, 2 to close", told)
    assert re.search(r"Foreign rules: all \d+ in \d+ groups are as they were", told)


def test_it_is_plain_text_without_a_terminal(told: str) -> None:
    """Without a terminal there is no colour, and no line is overwritten."""
    assert "\x1b" not in told
    assert "\r" not in told


def test_a_taken_port_is_one_clear_line() -> None:
    """A port of another process is named, and the exit code is not 0."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = demo("--port", str(port))

    assert done.returncode == 1
    assert done.stderr == f"demo: port {port} on 127.0.0.1 is already taken\n"


def test_a_missing_node_is_one_clear_line() -> None:
    """Without Node.js it says what is needed."""
    done = demo(PATH="")

    assert done.returncode == 1
    assert re.fullmatch(r"demo: Node\.js 20 or newer is needed .*\n", done.stderr)
