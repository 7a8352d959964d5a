"""Find the sources that reach the governed ports of a block. Pure."""

from collections.abc import Iterable

from shared.domain.desired import Opening
from shared.firewalls.ec2.narrow import meets
from shared.firewalls.ec2.texts import is_nowhere
from shared.firewalls.ec2.wire import GROUP, PREFIX_LIST, Group, Rule

_UNRESOLVED = {PREFIX_LIST: "prefix list", GROUP: "members of group"}


def openings(group: Group, ports: Iterable[int], *, ours: bool) -> tuple[Opening, ...]:
    """Return the sources that a group lets reach each port; an unknown one may hold any address."""
    return tuple(
        _opening(group, rule, port, ours=ours)
        for port in ports
        for rule in group.ingress
        if meets(rule, (port,)) and not (ours and is_nowhere(rule))
    )


def _opening(group: Group, rule: Rule, port: int, *, ours: bool) -> Opening:
    what = f"rule {rule.id} of security group {group.id} ({group.name})"
    if rule.kind in _UNRESOLVED:
        unresolved = f"{_UNRESOLVED[rule.kind]} {rule.source}"
        return Opening(what, port, (), ours, unresolved)
    return Opening(what, port, (rule.source,), ours)
