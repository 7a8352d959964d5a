"""Translate intents into classic rules of ours, and compare. Pure."""

from collections.abc import Mapping

from shared.domain.desired import Desired, Plan
from shared.firewalls.azure_rules.making import RuleBook, plan_rules
from shared.firewalls.azure_rules.model import AzureSettings


def plan_firewall(
    book: RuleBook, desired: Desired, settings: AzureSettings, refused: Mapping[str, str]
) -> Plan:
    """Compare the rules of ours with what is desired; rules mean the same as in a policy."""
    return plan_rules(book, desired, settings, refused)
