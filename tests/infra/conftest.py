"""Fixtures that the tests of the infrastructure share."""

from tests.infra.hook_world import run

__all__ = ["run"]
