"""Which live sessions of a Bastion host belong to an access that was closed. Pure decisions."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared.domain.ids import key_of
from shared.domain.model import Principal


@dataclass(frozen=True)
class BastionSession:
    """A live session as its Bastion host lists it."""

    id: str
    vm_id: str
    user_name: str


@dataclass(frozen=True)
class MatchedSessions:
    """The sessions of a requestor on a VM, and how many there have an owner who is not certain."""

    own: tuple[str, ...] = ()
    uncertain: int = 0


def match_sessions(
    sessions: Iterable[BastionSession], vm_id: str, requestor: Principal
) -> MatchedSessions:
    """Return the sessions on a VM that certainly belong to a requestor.

    A session belongs to the requestor if its user name is the requestor's account name. A name
    without `@` may be a login name of the VM, which several people use: its owner is not certain.
    """
    on_vm = [each for each in sessions if key_of(each.vm_id) == key_of(vm_id)]
    if requestor.is_app or not _is_account(requestor.name):
        return MatchedSessions(uncertain=len(on_vm))
    name = requestor.name.casefold()
    return MatchedSessions(
        own=tuple(each.id for each in on_vm if each.id and each.user_name.casefold() == name),
        uncertain=sum(not each.id or not _is_account(each.user_name) for each in on_vm),
    )


def _is_account(name: str) -> bool:
    return "@" in name
