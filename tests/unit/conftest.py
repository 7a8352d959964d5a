"""How thoroughly the properties are tried: quickly by default, at length when asked to.

    python -m pytest tests/unit --hypothesis-profile=thorough

No example has a time limit, since machines are busy.
"""

import pytest
from hypothesis import Phase, settings

settings.register_profile("unit", deadline=None, max_examples=25)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.register_profile(
    "mutation",  # for tests.mutation: the same examples each time, and none kept
    deadline=None,
    max_examples=25,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)


def pytest_configure(config: pytest.Config) -> None:
    """Choose the quick profile, unless the command line names another."""
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("unit")
