"""Keep the failure of one grant or protection from stopping the others."""

from shared.domain.ids import key_of
from shared.domain.model import FirewallRows, Grant, Protection
from shared.ports import OutsideError
from shared.use_cases.parts import HasTelemetry

Subject = Grant | Protection
Key = tuple[str, str, int]


class Failures:
    """The grants and protections of one firewall that could not be settled in one round."""

    def __init__(self, services: HasTelemetry, firewall_id: str) -> None:
        self._services = services
        self._firewall_id = firewall_id
        self._keys: set[Key] = set()
        self.transient = False  # an outside system failed: the next try may succeed
        self.withheld: set[Key] = set()  # grants that are neither opened nor closed

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._keys)

    def __contains__(self, subject: Subject) -> bool:
        """Tell whether one could not be settled."""
        return _key(subject) in self._keys

    def note(self, subject: Subject, error: Exception) -> None:
        """Report what failed about one; it is tried again by the next converge."""
        self._keys.add(_key(subject))
        self.transient = self.transient or isinstance(error, OutsideError)
        self._services.telemetry.fault(
            "jit.row.unconfirmed",
            error,
            firewall=self._firewall_id,
            vm=subject.vm_id,
            request=subject.request_id if isinstance(subject, Grant) else "",
        )

    def leave_out(self, rows: FirewallRows) -> FirewallRows:
        """Return the rows without those that failed."""
        return FirewallRows(
            tuple(each for each in rows.protections if each not in self),
            tuple(each for each in rows.grants if each not in self),
            rows.undecoded,
        )


def _key(subject: Subject) -> Key:
    if isinstance(subject, Grant):
        return subject.key
    return (key_of(subject.policy_id), key_of(subject.vm_id), -1)
