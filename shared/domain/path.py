"""Combine the firewalls in front of a VM: which sources each sees, and who gets through all."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, ip_network

from shared.domain.desired import Opening
from shared.domain.ids import key_of, name_of
from shared.domain.model import Attachment
from shared.domain.network import is_any, network, overlaps
from shared.domain.source_sets import Boxes, box_of, intersect_all, subtract_all, whole

# Packets from these keep their source on the way through a translator (RFC 1918, RFC 6598).
PRIVATE: tuple[IPv4Network, ...] = tuple(
    IPv4Network(text) for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
)
_V4 = 4


@dataclass(frozen=True)
class Way:
    """An opening, and the sources that pass every other firewall on the path besides it."""

    firewall_id: str
    opening: Opening
    sources: Boxes
    doubtful: Boxes = ()


def sources_at(
    here: Attachment, path: Iterable[Attachment], requested: Sequence[str]
) -> tuple[str, ...]:
    """Return the requested sources as one firewall sees them; empty: it can see none of them.

    Private sources stay. Public IPv4 becomes what the last translator before it shows, and is
    never widened to every source.
    """
    translator = _translator_before(here, path)
    if translator is None:
        return tuple(requested)
    shown = translator.shows_public_as or ()
    seen: dict[str, None] = {}
    for prefix in requested:
        seen |= dict.fromkeys((*_private_part(prefix), *(shown if _is_public(prefix) else ())))
        if not _is_v4(prefix):
            seen[prefix] = None
    return tuple(seen)


def for_port(path: Iterable[Attachment], port: int) -> tuple[Attachment, ...]:
    """Return a path on which only the firewalls that open a port are opened for it."""
    return tuple(
        replace(each, opens=False) if each.ports and port not in each.ports else each
        for each in path
    )


def why_not_openable(path: Sequence[Attachment], requested: Sequence[str]) -> str:
    """Say why no grant on these firewalls can let the sources through; empty: some can."""
    closed = stages_without_opener(path)
    if closed:
        return f"a firewall in front of {', '.join(closed)} cannot be opened by this app"
    for here in path:
        translator = _translator_before(here, path)
        public = [prefix for prefix in requested if _is_public(prefix)]
        if here.opens and translator and not translator.shows_public_as and public:
            return (
                f"what '{name_of(translator.firewall_id)}' shows in place of {', '.join(public)} "
                f"is not known, so that '{name_of(here.firewall_id)}' cannot be opened for it"
            )
    return ""


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
    path: Sequence[Attachment], address: str, openings: Mapping[str, Sequence[Opening]]
) -> tuple[Way, ...]:
    """Return the foreign ways by which some source passes every stage to an address.

    Within a stage firewalls add up; across stages each must let the source through, as it sees
    it. Our own allows are the access that was requested and do not count, but behind a
    translator they do: there they let in whatever a foreign translation brings. `openings` are
    by the key of the firewall, and about one port and protocol.
    """
    target = network(address)
    if target is None:
        return ()
    before = [each for each in path if address in each.addresses]
    stages = [
        [each for each in before if each.stage == stage]
        for stage in sorted({each.stage for each in before})
    ]
    found = (
        _way(stages, openings, target.version, each, opening)
        for each in before
        for opening in openings.get(key_of(each.firewall_id), ())
        if not opening.ours
    )
    return tuple(way for way in found if way is not None)


def _way(
    stages: Iterable[Sequence[Attachment]],
    openings: Mapping[str, Sequence[Opening]],
    version: int,
    here: Attachment,
    only: Opening,
) -> Way | None:
    """Return the traffic through all stages where one stage has a single opening."""
    sources: Boxes = (whole(version),)
    doubtful: Boxes = ()
    translated = False
    for attachments in stages:
        there = [each for a in attachments for each in openings.get(key_of(a.firewall_id), ())]
        passed = [only] if here in attachments else [o for o in there if translated or not o.ours]
        open_for = [box for each in passed for box in each.sources_of(version)]
        sources = intersect_all(sources, open_for)
        doubtful += tuple(box for each in passed for box in each.doubtful)
        translators = [a for a in attachments if _translates(a)] if version == _V4 else []
        for translator in translators:
            sources = _translate(sources, translator.shows_public_as or ())
            translated = True
    return Way(here.firewall_id, only, sources, doubtful) if sources else None


def _translate(sources: Boxes, shown: Iterable[str]) -> Boxes:
    """Return the sources as inner firewalls see them."""
    private = [box_of(each) for each in PRIVATE]
    stays = intersect_all(sources, private)
    prefixes = (network(prefix) for prefix in shown)
    boxes = [box_of(prefix) for prefix in prefixes if prefix is not None] or [whole(_V4)]
    public = dict.fromkeys(box.needs for box in subtract_all(sources, private))
    return (*stays, *(replace(box, needs=needs) for needs in public for box in boxes))


def _translator_before(here: Attachment, path: Iterable[Attachment]) -> Attachment | None:
    """Return the last translator on the way to a firewall, for an address that both have."""
    outer = [each for each in path if _translates(each) and each.stage < here.stage]
    outer = [each for each in outer if overlaps(each.addresses, here.addresses)]
    return max(outer, key=lambda each: each.stage, default=None)


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
