"""Which of several identities calls ARM about a resource, so that each one's quota is used."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.domain.ids import digest

_GUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ENTRY = re.compile(rf"(?:(?P<subscription>{_GUID})=)?(?P<client>{_GUID})", re.ASCII)
_SUBSCRIPTION = re.compile(rf"/subscriptions/({_GUID})(?:/|$)", re.ASCII)
_RESOURCE_SEGMENTS = 9  # "", subscriptions, s, resourceGroups, g, providers, namespace, type, name
MOST = 10


@dataclass(frozen=True)
class Identities:
    """The client ids that may be used everywhere, and those of single subscriptions."""

    everywhere: tuple[str, ...] = ()
    by_subscription: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def all(self) -> tuple[str, ...]:
        """Return every client id once, in the order in which they were named."""
        named = [*self.everywhere, *(c for ids in self.by_subscription.values() for c in ids)]
        return tuple(dict.fromkeys(named))

    def choose(self, path: str) -> str:
        """Return the client id for a path of ARM; empty: none was named for its subscription.

        One resource, with what lies below it, always gets the same: its writes stay in the
        quota that its reads are in, and a change of the list moves whole resources.
        """
        path = path.lower()
        found = _SUBSCRIPTION.match(path)
        candidates = self.by_subscription.get(found[1] if found else "", self.everywhere)
        if not candidates:
            return ""
        resource = "/".join(path.split("/")[:_RESOURCE_SEGMENTS])
        return candidates[int(digest(resource), 16) % len(candidates)]


def read_identities(text: str) -> Identities:
    """Read client ids, comma separated, each alone or as subscription=client id."""
    everywhere: list[str] = []
    bound: dict[str, list[str]] = {}
    for entry in (part.strip().lower() for part in text.split(",")):
        if not entry:
            continue
        found = _ENTRY.fullmatch(entry)
        if found is None:
            raise ValueError(f"{entry!r} is neither a client id nor subscription=client id")
        of = bound.setdefault(found["subscription"], []) if found["subscription"] else everywhere
        if found["client"] not in of:
            of.append(found["client"])
    identities = Identities(tuple(everywhere), {key: tuple(ids) for key, ids in bound.items()})
    if len(identities.all) > MOST:
        raise ValueError(f"names more than {MOST} client ids")
    return identities
