"""Read ARM ids and paths; they compare without regard to letter case."""

import re
from dataclasses import dataclass

PROVIDERS = "/providers/"


def key(resource_id: str) -> str:
    """Return the form under which two spellings of one id are equal."""
    text = resource_id.strip("/")
    return text.lower() if text.isascii() else "".join(map(_fold, text))


def _fold(letter: str) -> str:
    """Fold letter case as .NET's ordinal comparison does: one for one, never across ASCII."""
    upper = letter.upper()
    folded = letter if len(upper) > 1 or upper.isascii() != letter.isascii() else upper
    return folded.lower() if folded.isascii() else folded


def same(one: str, other: str) -> bool:
    """Tell whether two ids name the same resource."""
    return key(one) == key(other)


@dataclass(frozen=True)
class Path:
    """A path cut at its last provider: scope, namespace, then types and names in turn."""

    scope: str
    namespace: str
    types: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def full_type(self) -> str:
        """Return the type as ARM writes it, namespace first."""
        return "/".join((self.namespace, *self.types))

    @property
    def type_key(self) -> str:
        """Return the type in lower case, for comparing."""
        return self.full_type.lower()

    @property
    def is_collection(self) -> bool:
        """Tell whether the path ends in a type, so that it means all of that type."""
        return len(self.types) > len(self.names)

    @property
    def resource_id(self) -> str:
        """Return the id the path spells."""
        pairs = [part for pair in zip(self.types, self.names, strict=False) for part in pair]
        tail = [self.types[-1]] if self.is_collection else []
        return "/".join((f"{self.scope}{PROVIDERS}{self.namespace}", *pairs, *tail))

    @property
    def parent_id(self) -> str:
        """Return the id of the resource around the last type."""
        return self.resource_id.rsplit("/", 1 if self.is_collection else 2)[0]


def parse(path: str) -> Path | None:
    """Cut a path at its last provider, or answer None where it has none."""
    found = [each.start() for each in re.finditer(PROVIDERS, path, re.IGNORECASE | re.ASCII)]
    if not found:
        return None
    at = found[-1]
    namespace, *rest = path[at + len(PROVIDERS) :].strip("/").split("/")
    if not rest or not all((namespace, *rest)):
        return None
    return Path(path[:at], namespace, tuple(rest[0::2]), tuple(rest[1::2]))


def segment(resource_id: str, name: str) -> str | None:
    """Return what follows a named segment, such as the group after `resourceGroups`."""
    parts = resource_id.strip("/").split("/")
    for at, part in enumerate(parts[:-1]):
        if part.lower() == name.lower():
            return parts[at + 1]
    return None


def last_name(resource_id: str) -> str:
    """Return the name at the end of an id."""
    return resource_id.rstrip("/").rsplit("/", 1)[-1]
