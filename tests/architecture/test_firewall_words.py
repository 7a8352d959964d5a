"""Names that belong to one firewall provider stand in its own folder."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROVIDERS = ROOT / "shared" / "firewalls"
NSG = PROVIDERS / "nsg"
SECURITY_RULES = re.compile(
    r"nsg|network[ _-]?security[ _-]?groups?|security[ _-]?rules?", re.IGNORECASE
)
PRIORITIES = re.compile(r"priorit(?:y|ies)", re.IGNORECASE)

# (file, what its line contains): why the name stands there. Each must still be needed.
EXCEPTIONS = {
    ("shared/bootstrap.py", "from shared.firewalls.nsg.making import"): (
        "The composition root imports each kind of firewall."
    ),
    ("shared/bootstrap.py", "settings.nsg_write"): "The setting JIT_NSG_WRITE.",
    ("shared/bootstrap.py", "settings.probe_nsg"): "The setting JIT_PROBE_NSG.",
    ("shared/settings.py", "nsg_write:"): "The setting JIT_NSG_WRITE.",
    ("shared/settings.py", "probe_nsg"): "The setting JIT_PROBE_NSG.",
    ("shared/settings.py", "NSG_TYPE"): "JIT_PROBE_NSG holds the id of a resource of this type.",
    ("shared/settings.py", "firewall_group_priority:"): "The setting JIT_FIREWALL_GROUP_PRIORITY.",
    ("shared/adapters/azure_firewalls.py", "settings.firewall_group_priority"): (
        "The setting JIT_FIREWALL_GROUP_PRIORITY."
    ),
    ("functions/report_answers.py", '"priority": COUNT'): (
        "The field exposedBy.priority of GET /api/machines, filled by a provider that has it."
    ),
    ("web/machines.js", "each.priority"): "The field exposedBy.priority of GET /api/machines.",
    ("web/request-form.js", "priority"): "A dry run shows a change as the service writes it.",
}


def lines_with(words: re.Pattern[str], files: list[Path]) -> Iterator[tuple[str, int, str]]:
    """Yield each line that contains a word, with its file and number."""
    for path in files:
        name = str(path.relative_to(ROOT))
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            if words.search(line):
                yield name, number, line


def is_excepted(name: str, line: str) -> bool:
    """Tell whether a line is among the exceptions."""
    return any(file == name and part in line for file, part in EXCEPTIONS)


def product_files() -> list[Path]:
    """Return the files of the product, but for those of the NSG provider."""
    files = [ROOT / "function_app.py"]
    for folder in ("functions", "shared", "web"):
        files += [p for p in (ROOT / folder).rglob("*") if p.suffix in {".py", ".js", ".html"}]
    return [path for path in files if NSG not in path.parents]


def test_no_product_file_outside_the_nsg_provider_names_its_rules() -> None:
    """A security rule or a network security group is named in firewalls/nsg alone."""
    files = product_files()

    found = [each for each in lines_with(SECURITY_RULES, files) if not is_excepted(*each[::2])]

    assert len(files) > 100
    assert found == []


def test_no_product_file_outside_the_providers_names_a_priority() -> None:
    """A priority is named in the folder of a type of firewall that has one."""
    files = [path for path in product_files() if PROVIDERS not in path.parents]

    found = [each for each in lines_with(PRIORITIES, files) if not is_excepted(*each[::2])]

    assert found == []


@pytest.mark.parametrize(("name", "part"), EXCEPTIONS)
def test_each_exception_is_still_needed(name: str, part: str) -> None:
    """An exception stands for a line that names what is excepted."""
    lines = [*lines_with(SECURITY_RULES, [ROOT / name]), *lines_with(PRIORITIES, [ROOT / name])]

    assert any(part in line for _, _, line in lines)
