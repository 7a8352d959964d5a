"""Combine the firewalls in front of a VM: which sources each sees, and who gets through all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network

from shared.domain.model import Attachment
from shared.domain.network import is_any, network
from shared.domain.source_sets import Box, Boxes, box_of, intersect_all, subtract_all, whole

# Packets from these keep their source on the way through a translator (RFC 1918, RFC 6598).
PRIVATE: tuple[IPv4Network, ...] = tuple(
    IPv4Network(text) for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
)
_V4 = 4


@dataclass(frozen=True)
class Way:
    """Something on a firewall that lets sources through to one address and port."""

    firewall_id: str
    what: str
    sources: Boxes
    ours: bool = False
    unresolved: str = ""  # what of it could not be resolved, so that it may let nobody in


def sources_at(
    here: Attachment, path: Iterable[Attachment], requested: Sequence[str]
) -> tuple[str, ...]:
    """Return the requested sources as one firewall sees them; empty: it can see none of them.

    Private sources stay. Public IPv4 becomes what the last translator before it shows, and is
    never widened to every source.
    """
    outer = [each for each in path if _translates(each) and each.stage < here.stage]
    outer = [each for each in outer if set(each.addresses) & set(here.addresses)]
    if not outer:
        return tuple(requested)
    shown = max(outer, key=lambda each: each.stage).shows_public_as or ()
    seen: dict[str, None] = {}
    for prefix in requested:
        seen |= dict.fromkeys((*_private_part(prefix), *(shown if _is_public(prefix) else ())))
        if not _is_v4(prefix):
            seen[prefix] = None
    return tuple(seen)


def stages_without_opener(path: Sequence[Attachment]) -> tuple[str, ...]:
    """Return the addresses that some stage guards without a firewall where grants are written."""
    found: dict[str, None] = {}
    for address in _addresses(path):
        stages = {each.stage for each in path if address in each.addresses}
        opened = {each.stage for each in path if each.opens and address in each.addresses}
        if stages != opened:
            found[address] = None
    return tuple(found)


def ways_through(
    path: Sequence[Attachment], address: str, ways: Mapping[str, Sequence[Way]]
) -> tuple[Way, ...]:
    """Return the foreign ways by which some source passes every stage to an address.

    Within a stage firewalls add up; across stages each must let the source through, as it sees
    it. Our own allows are the access that was requested and do not count, but behind a
    translator they do: there they let in whatever a foreign translation brings.
    """
    target = network(address)
    if target is None:
        return ()
    stages = sorted({each.stage for each in path if address in each.addresses})
    by_stage = {
        stage: [each for each in path if each.stage == stage and address in each.addresses]
        for stage in stages
    }
    found = []
    for stage in stages:
        for each in by_stage[stage]:
            found += [
                way
                for way in ways.get(each.firewall_id, ())
                if not way.ours and _passes(by_stage, ways, target.version, stage, way)
            ]
    return tuple(found)


def _passes(
    by_stage: Mapping[int, Sequence[Attachment]],
    ways: Mapping[str, Sequence[Way]],
    version: int,
    only_at: int,
    only: Way,
) -> bool:
    """Tell whether some source passes all stages where one of them is passed by one way alone."""
    sources: Boxes = (whole(version),)
    translated = False
    for stage, attachments in by_stage.items():
        here = [way for each in attachments for way in ways.get(each.firewall_id, ())]
        open_here = [only] if stage == only_at else [w for w in here if translated or not w.ours]
        sources = tuple(box for way in open_here for box in intersect_all(sources, way.sources))
        for each in attachments:
            if _translates(each) and version == _V4:
                sources = _translate(sources, each.shows_public_as or ())
                translated = True
        if not sources:
            return False
    return True


def _translate(sources: Boxes, shown: Iterable[str]) -> Boxes:
    """Return the sources as inner firewalls see them."""
    private = [box_of(each) for each in PRIVATE]
    stays = intersect_all(sources, private)
    if not subtract_all(sources, private):
        return stays
    prefixes = (network(prefix) for prefix in shown)
    boxes = [box_of(prefix) for prefix in prefixes if prefix is not None]
    return (*stays, *(boxes or [Box(0, 2**32 - 1)]))


def _translates(attachment: Attachment) -> bool:
    return attachment.shows_public_as is not None


def _addresses(path: Iterable[Attachment]) -> list[str]:
    return list(dict.fromkeys(address for each in path for address in each.addresses))


def _is_v4(prefix: str) -> bool:
    found = network(prefix)
    return is_any(prefix) or (found is not None and found.version == _V4)


def _is_public(prefix: str) -> bool:
    if not _is_v4(prefix):
        return False
    found = ip_network("0.0.0.0/0") if is_any(prefix) else network(prefix)
    assert isinstance(found, IPv4Network)  # noqa: S101 - _is_v4 has just said so
    return not any(found.subnet_of(private) for private in PRIVATE)


def _private_part(prefix: str) -> tuple[str, ...]:
    if not _is_v4(prefix):
        return ()
    found = ip_network("0.0.0.0/0") if is_any(prefix) else network(prefix)
    assert isinstance(found, IPv4Network)  # noqa: S101 - _is_v4 has just said so
    if any(found.subnet_of(private) for private in PRIVATE):
        return (prefix,)
    return tuple(str(private) for private in PRIVATE if private.subnet_of(found))
