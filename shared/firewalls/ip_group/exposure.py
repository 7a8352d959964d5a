"""Find the sources that reach a VM's ports through the firewalls that use an IP group. Pure."""

from shared.domain.desired import Block, Opening
from shared.firewalls.azure_rules.exposure import openings
from shared.firewalls.ip_group.plan import GroupBook


def exposures(book: GroupBook, block: Block) -> tuple[Opening, ...]:
    """Return the exposures of a block's ports; the owner's rules with our group are ours."""
    return openings(book.rules, block)
