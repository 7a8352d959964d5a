"""Find the sources that reach a VM's ports through classic rules. Pure."""

from shared.domain.desired import Block, Opening
from shared.firewalls.azure_rules.exposure import openings
from shared.firewalls.azure_rules.making import RuleBook


def exposures(book: RuleBook, block: Block) -> tuple[Opening, ...]:
    """Return the exposures of a block's ports, foreign and ours."""
    return openings(book.rules, block)
