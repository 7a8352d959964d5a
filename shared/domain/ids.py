"""Resource ids, and the names and texts of the rules that are ours."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from shared.domain.names import cut, fold, is_name
from shared.domain.times import format_instant

_SEGMENT = r"[^/\\#?%\x00-\x1f\x7f-\x9f]{1,128}"
_SUBSCRIPTION = (
    r"/subscriptions/(?P<subscription>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
)
_SCOPE = re.compile(
    rf"{_SUBSCRIPTION}(?:/resourceGroups/(?P<group>[^/]+)(?P<resource>/providers/.+)?)?",
    re.IGNORECASE | re.ASCII,
)
_RESOURCE = re.compile(
    rf"{_SUBSCRIPTION}"
    rf"/resourceGroups/(?P<group>{_SEGMENT})"
    rf"/providers/(?P<type>[A-Za-z.]{{3,64}}/[A-Za-z]{{3,64}})/(?P<name>{_SEGMENT})"
    rf"(?P<child>(?:/[A-Za-z]{{3,64}}/{_SEGMENT})*)",
    re.IGNORECASE | re.ASCII,
)
VM_TYPE = "microsoft.compute/virtualmachines"
MAX_DESCRIPTION = 140
MAX_ID = 1024


@dataclass(frozen=True)
class ResourceId:
    """A resource id in its parts; compare by `key`, show `text`."""

    text: str
    subscription: str
    group: str
    type: str
    name: str

    @property
    def key(self) -> str:
        """Return the form to compare by: ARM ids ignore letter case."""
        return key_of(self.text)


def parse_id(text: str, of_type: str = "") -> ResourceId:
    """Read a resource id, of one type if asked; raises ValueError with what would be right."""
    match = _RESOURCE.fullmatch(text) if len(text) <= MAX_ID else None
    # A direction mark or another character that is not seen would make two ids look like one.
    if (
        match is None
        or not text.isprintable()
        or match["group"] in {".", ".."}
        or match["name"] in {".", ".."}
    ):
        raise ValueError(
            "not a resource id such as /subscriptions/{guid}/resourceGroups/{group}/providers/"
            f"{of_type or '{namespace}/{type}'}/{{name}}"
        )
    if of_type and (match["type"].lower() != of_type or match["child"]):
        raise ValueError(f"not the id of a {of_type}")
    return ResourceId(
        text=text,
        subscription=match["subscription"],
        group=match["group"],
        type=match["type"],
        name=match["name"],
    )


def is_scope(text: str) -> bool:
    """Tell whether a text is the id of a subscription, a resource group or a resource."""
    match = _SCOPE.fullmatch(text)
    if match is None or (match["group"] is not None and not is_name(match["group"])):
        return False
    return match["resource"] is None or is_resource(text)


def is_resource(text: str, of_type: str = "") -> bool:
    """Tell whether a text is the id of a resource, of one type if asked."""
    try:
        parse_id(text, of_type)
    except ValueError:
        return False
    return True


def key_of(resource_id: str) -> str:
    """Return the form of an id to compare and to key by, as long as the id without a last slash."""
    return fold(resource_id).rstrip("/")


def name_of(resource_id: str) -> str:
    """Return the last segment of an id, as it is written."""
    return resource_id.rstrip("/").rsplit("/", 1)[-1]


def is_within(resource_id: str, scope: str) -> bool:
    """Tell whether an id lies at or below a scope."""
    key, root = key_of(resource_id), key_of(scope)
    return key == root or key.startswith(root + "/")


def places_in(scopes: Iterable[str], subscription: str) -> tuple[str, ...]:
    """Return where to list in a subscription: all of it, or the groups the app has rights in.

    NB. All those groups, whichever is asked about: what stands in front of a VM may lie in another.
    """
    found: dict[str, str] = {}
    for scope in scopes:
        parts = scope.split("/")
        if parts[2].lower() == subscription.lower():
            place = "/".join(parts[:5])
            found.setdefault(key_of(place), place)
    whole = f"/subscriptions/{subscription}"
    return (whole,) if key_of(whole) in found else tuple(found[key] for key in sorted(found))


def row_key(resource_id: str) -> str:
    """Escape an id for a table key, where slashes are not allowed."""
    return key_of(resource_id).replace("/", "|")


def digest(*parts: str, length: int = 32) -> str:
    """Hash parts to upper-case hex, unambiguously: each part is length-prefixed."""
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:length].upper()


@dataclass(frozen=True)
class RuleNames:
    """Make and recognise the names of rules that are ours.

    A rule is ours if its name ends in our deployment id and a hash, whatever the prefix: after a
    change of prefix, the rules opened under the old one are still closed.
    """

    prefix: str
    deployment: str

    def allow(self, request_id: str, vm_id: str, port: int, family: int) -> str:
        """Name a grant's rule; never after its expiry, so that extending edits it in place."""
        grant = digest(request_id, key_of(vm_id), str(port), str(family))
        return f"{self.prefix}-{self.deployment}-{grant}"

    def deny(self, vm_id: str, family: int) -> str:
        """Name the deny rule of a VM."""
        return f"{self.prefix}_{self.deployment}_{digest(key_of(vm_id), str(family))}"

    def is_ours(self, rule_name: str) -> bool:
        """Tell our rules from Defender's, another installation's and other writers'."""
        ours = rf".*([-_]){re.escape(self.deployment)}\1[0-9A-F]{{32}}"
        return re.fullmatch(ours, rule_name, re.IGNORECASE | re.ASCII) is not None


def allow_description(request_id: str, expires_at: datetime, requestor: str = "") -> str:
    """Describe a grant's rule; the requestor's name is cut before the expiry ever is."""
    text = f"JIT access request {request_id} until {format_instant(expires_at)}"
    return cut(f"{text} for {requestor}", MAX_DESCRIPTION) if requestor else text


def deny_description(vm_name: str) -> str:
    """Describe the deny rule of a VM."""
    return cut(f"JIT access: management ports of VM '{vm_name}' stay closed.", MAX_DESCRIPTION)
