"""Read the end of an access from the text of its own rule, the last home of that end.

Used where the rows of a firewall cannot be read: what a rule says of itself is then all there is.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from shared.domain.ids import RuleNames
from shared.domain.model import LONGEST_GRANT
from shared.domain.times import parse_instant
from shared.firewalls.nsg.model import Access, SecurityRule

MARGIN = timedelta(seconds=2)  # for clocks that disagree, and texts that are cut to the second
_TEXT = re.compile(r"JIT access request \S+ until (\S+)(?: .*)?", re.DOTALL)


def end_of(rule: SecurityRule) -> datetime | None:
    """Return the end that a rule's text states; None if it states none that can be read."""
    match = _TEXT.fullmatch(rule.description)
    try:
        return parse_instant(match[1]) if match else None
    except ValueError:
        return None


def past_end(rules: Iterable[SecurityRule], names: RuleNames, now: datetime) -> tuple[str, ...]:
    """Name our allows whose end has passed, cannot be read, or is further than any grant's."""
    return tuple(rule.name for rule in _our_allows(rules, names) if _is_past(rule, now))


def next_end(rules: Iterable[SecurityRule], names: RuleNames, now: datetime) -> datetime | None:
    """Return when the next of our allows will have passed its end by the margin; None: never."""
    ends = (end_of(rule) for rule in _our_allows(rules, names) if not _is_past(rule, now))
    return min((end + MARGIN for end in ends if end is not None), default=None)


def _our_allows(rules: Iterable[SecurityRule], names: RuleNames) -> Iterable[SecurityRule]:
    return (rule for rule in rules if rule.access is Access.ALLOW and names.is_ours(rule.name))


def _is_past(rule: SecurityRule, now: datetime) -> bool:
    end = end_of(rule)
    return end is None or not now < end + MARGIN <= now + LONGEST_GRANT + MARGIN
