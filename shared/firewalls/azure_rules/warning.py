"""Warnings to an operator about a firewall that works."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from shared.firewalls.azure_rules.cloud import Body, FirewallCloud
from shared.firewalls.azure_rules.model import AzureSettings, Rule
from shared.firewalls.azure_rules.placing import EntryPorts, Front
from shared.ports import OutsideError

# Names of Defender's own rules, before and since 2023.
_OTHER_JIT = ('"MDC-JIT', '"ASC-JIT')


def draft_warning(cloud: FirewallCloud, policy: Body) -> str:
    """Warn of a draft: deploying it replaces what is applied, ended grants included."""
    try:
        draft = cloud.get(f"{policy['id']}/firewallPolicyDrafts/default")
    except OutsideError:
        return ""  # a warning that cannot be given is none; closing does not wait for it
    if draft is None:
        return ""
    return (
        f"policy '{policy.get('name')}' has a draft: deploying it may bring ended access back "
        "until the next sweep, or take open access away"
    )


def limit_warning(
    name: str, rules: Iterable[Rule], fronts: Iterable[Front], settings: AzureSettings
) -> str:
    """Warn of the limit of translations before it is hit."""
    ports = EntryPorts(settings, sum(len(front.public_addresses) for front in fronts))
    ports.note(rules)
    text = ports.warning()
    return f"'{name}': {text}" if text else ""


def other_jit_warning(name: str, bodies: Iterable[Mapping[str, Any]]) -> str:
    """Warn of rules by Defender's own just-in-time access: one of the two should manage a VM."""
    if not is_other_jit(list(bodies)):
        return ""
    return f"'{name}' also holds just-in-time rules of Microsoft Defender for Cloud"


def is_other_jit(body: object) -> bool:
    """Tell whether something holds just-in-time rules of Defender, by their names."""
    text = json.dumps(body)
    return any(each in text for each in _OTHER_JIT)
