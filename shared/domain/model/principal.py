"""A verified caller."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Principal:
    """A verified caller: tenant and object id say who, the rest is for people to read."""

    tenant: str
    object_id: str
    name: str = ""
    is_app: bool = False
    roles: frozenset[str] = frozenset()
    app_id: str = ""

    @property
    def key(self) -> str:
        """Return the key of a principal."""
        return f"{self.tenant}/{self.object_id}".lower()
