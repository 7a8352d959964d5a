"""Which changes a refusal blames."""

from collections.abc import Iterable

from shared.domain.desired import Change


def blamed(changes: Iterable[Change], text: str) -> frozenset[str]:
    """Return the changes that a refusal names; one that stands alone is to blame."""
    listed = tuple(changes)
    if len(listed) == 1:
        return frozenset({listed[0].id})
    return frozenset(change.id for change in listed if change.target in text)
