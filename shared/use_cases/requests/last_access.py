"""The last access to a VM, kept beside its policy. For people to read; no rule depends on it."""

from collections.abc import Mapping
from dataclasses import replace

from shared.domain.ids import key_of
from shared.domain.model import AccessRequest
from shared.domain.texts import MAX_NAME, shorten
from shared.ports import RowChangedError
from shared.store.policies import VmRow
from shared.use_cases.parts import HasPolicies


def note_access(
    services: HasPolicies, request: AccessRequest, rows: Mapping[str, VmRow | None]
) -> None:
    """Note a request on each VM that it opens; an older one never replaces a newer one.

    `rows` holds the VMs' rows that were just read, by key.
    """
    opened = {key_of(port.vm_id): port.vm_id for port in request.ports if port.fronts}
    for vm_id in opened.values():
        row = rows.get(key_of(vm_id)) or services.policies.vm_row(request.policy_id, vm_id)
        if row is None or (row.last_access_at and row.last_access_at >= request.requested_at):
            continue
        if row.doubt is None:  # the version before has not noted it, and it was just opened
            row = replace(row, doubt="")
        requestor = shorten(request.requestor.name or request.requestor.object_id, MAX_NAME)
        noted = replace(row, last_access_at=request.requested_at, last_requestor=requestor)
        try:
            services.policies.replace_vm(noted)
        except RowChangedError:
            continue  # the policy is being applied; the next access is noted again
