"""Translate intents into the rules of our group, and compare. Pure."""

from collections.abc import Mapping

from shared.domain.desired import Desired, Plan
from shared.firewalls.azure_rules.making import RuleBook, plan_rules
from shared.firewalls.azure_rules.model import AzureSettings


def plan_policy(
    book: RuleBook, desired: Desired, settings: AzureSettings, refused: Mapping[str, str]
) -> Plan:
    """Compare the rules of our group with what is desired."""
    return plan_rules(book, desired, settings, refused)
