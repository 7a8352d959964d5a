"""Which network security groups packets to a VM pass, and in which sequence."""

from collections.abc import Iterable
from dataclasses import replace

from shared.domain.model import Attachment
from shared.domain.network import overlaps


def in_sequence(attachments: Iterable[Attachment]) -> tuple[Attachment, ...]:
    """Return attachments so that no two groups before one address share a stage.

    Azure evaluates the group of the subnet and that of the interface one after the other, and
    each must let a packet through. A group may be both, for two interfaces of one VM.
    """
    placed: list[Attachment] = []
    for each in attachments:
        taken = {e.stage for e in placed if overlaps(e.addresses, each.addresses)}
        stage = each.stage
        while stage in taken:
            stage += 1
        placed.append(replace(each, stage=stage))
    return tuple(placed)
