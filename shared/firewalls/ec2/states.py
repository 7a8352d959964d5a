"""The observed states of own and foreign security groups, from one settled read."""

from dataclasses import dataclass

from shared.firewalls.ec2.wire import Group, Interface, Place


@dataclass(frozen=True)
class InstanceState:
    """An instance, its own group, and the foreign groups on its interfaces.

    `strangers` are interfaces of other instances that bear the own group.
    """

    place: Place
    instance_id: str
    attaches: bool  # whether the app attaches the group; else the owner does
    interfaces: tuple[Interface, ...]
    own: Group | None
    foreign: tuple[Group, ...]
    strangers: tuple[Interface, ...] = ()
    squatter: str = ""  # a group that has our name and not our tags

    @property
    def detached(self) -> tuple[Interface, ...]:
        """Return the instance's interfaces that do not bear its own group."""
        return tuple(i for i in self.interfaces if self.own is None or not i.has(self.own.id))

    @property
    def attached(self) -> tuple[Interface, ...]:
        """Return every interface that bears the own group."""
        return tuple(
            i for i in (*self.interfaces, *self.strangers) if self.own and i.has(self.own.id)
        )


@dataclass(frozen=True)
class GroupState:
    """A foreign group, the interfaces in it, and the ledger of what was taken from it."""

    place: Place
    group: Group
    interfaces: tuple[Interface, ...]
    ledger: Group | None
