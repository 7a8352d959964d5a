"""Find the exposures of a governed port behind all firewalls in front of a VM."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.domain.desired import Opening
from shared.domain.doubt import unresolved
from shared.domain.ids import key_of
from shared.domain.model import Attachment
from shared.domain.path import ways_through

PROTOCOLS = ("tcp", "udp")


@dataclass(frozen=True)
class Exposure:
    """An opening that leaves a governed port open.

    `unresolved` names what would have to hold a source for that: empty, some source gets in.
    """

    firewall_id: str
    port: int
    opening: Opening
    unresolved: tuple[str, ...] = ()


def exposures(
    path: Sequence[Attachment],
    openings: Mapping[str, Sequence[Opening]],
    ports: Iterable[int],
) -> tuple[Exposure, ...]:
    """Find the exposures of governed ports at any of a VM's addresses, for every protocol.

    `openings` are by the key of the firewall; a firewall that is not there is not judged.
    """
    found: dict[tuple[str, int, str], Exposure] = {}
    judged = [each for each in path if key_of(each.firewall_id) in openings]
    wanted = sorted(set(ports))
    for address in sorted({a for each in judged for a in each.addresses}):
        for port in wanted:
            for each in _at(judged, openings, address, port):
                key = (each.firewall_id, port, each.opening.what)
                if key not in found or not each.unresolved:
                    found[key] = each
    return tuple(found.values())


def _at(
    path: Sequence[Attachment],
    openings: Mapping[str, Sequence[Opening]],
    address: str,
    port: int,
) -> Iterable[Exposure]:
    """Find the exposures of one port of one address, one protocol after the other."""
    for protocol in PROTOCOLS:
        about = {
            key: [each for each in listed if each.leads_to(address, port, protocol)]
            for key, listed in openings.items()
        }
        for way in ways_through(path, address, about):
            doubts = unresolved(way.sources, way.doubtful, address)
            yield Exposure(way.firewall_id, port, way.opening, doubts)
