"""How a provider asks which VMs stand behind it."""

from collections.abc import Callable, Iterable, Mapping

from shared.domain.model import Attachment

Attach = Callable[[Iterable[str]], Mapping[str, tuple[Attachment, ...]]]


def no_attachments(vm_ids: Iterable[str]) -> Mapping[str, tuple[Attachment, ...]]:
    """Return no attachment for any VM: no scope is configured."""
    return dict.fromkeys(vm_ids, ())
