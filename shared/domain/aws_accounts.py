"""The AWS accounts of an installation: which connector id stands for which account and role."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.domain.ids import key_of, parse_id
from shared.domain.machine_ids import Ec2Instance, defender_id, instance_arn, parse_machine_id

_CONNECTOR_TYPE = "microsoft.security/securityconnectors"
_ROLE = re.compile(r"arn:aws:iam::(?P<account>\d{12}):role/[\w+=,.@/-]{1,512}", re.ASCII)
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d{1,2}", re.ASCII)
_MEMBERS = frozenset({"connector", "role", "regions", "attach"})
_ATTACH = frozenset({"owner", "app"})


@dataclass(frozen=True)
class AwsAccount:
    """One account. The role comes from the settings alone, never from a request."""

    connector: str
    account: str
    role_arn: str
    regions: tuple[str, ...]
    attaches: bool = False  # whether the app attaches its groups; else the owner does


@dataclass(frozen=True)
class AwsAccounts:
    """All accounts of this installation."""

    listed: tuple[AwsAccount, ...] = ()

    def of_account(self, account: str) -> AwsAccount | None:
        """Return an account by its number."""
        return next((each for each in self.listed if each.account == account), None)

    def of_instance(self, instance: Ec2Instance) -> AwsAccount | None:
        """Return the account of an instance; None: it, or its region, is not configured."""
        found = self.of_account(instance.account)
        if instance.connector:
            key = key_of(instance.connector)
            found = next((each for each in self.listed if key_of(each.connector) == key), None)
        return found if found is not None and instance.region in found.regions else None

    def defender_id_of(self, text: str) -> str:
        """Return an ARN's instance in Defender's form; another id, or account, stays as it is."""
        machine = parse_machine_id(text)
        if not isinstance(machine, Ec2Instance) or machine.connector:
            return text
        account = self.of_instance(machine)
        if account is None:
            return text
        return defender_id(account.connector, machine.instance_id, machine.region)

    def arn_of(self, instance: Ec2Instance) -> str:
        """Return an instance's ARN; raises ValueError where its account is not configured."""
        account = self.of_instance(instance)
        if account is None:
            where = instance.connector or f"account {instance.account}"
            raise ValueError(f"{where} is not configured for {instance.region}")
        return instance_arn(account.account, instance.region, instance.instance_id)


def read_accounts(text: str) -> AwsAccounts:
    """Read the setting: a JSON list of accounts; raises ValueError that names what is wrong."""
    try:
        given = json.loads(text or "[]")
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    if not isinstance(given, list):
        raise ValueError("not a list of accounts")  # noqa: TRY004 - a setting's value
    listed = tuple(_account(each) for each in given)
    for name in ("connector", "account"):
        values = [key_of(getattr(each, name)) for each in listed]
        if len(set(values)) < len(values):
            raise ValueError(f"two entries have the same {name}")
    return AwsAccounts(listed)


def _account(given: object) -> AwsAccount:
    if not isinstance(given, Mapping) or set(given) - _MEMBERS:
        raise ValueError(f"an account has the members {', '.join(sorted(_MEMBERS))}")
    connector = parse_id(_text(given, "connector"), _CONNECTOR_TYPE).text
    role = _ROLE.fullmatch(_text(given, "role"))
    if role is None:
        raise ValueError("role: not a role such as arn:aws:iam::123456789012:role/jit-vm-access")
    attach = given.get("attach", "owner")
    if attach not in _ATTACH:
        raise ValueError("attach: neither 'owner' nor 'app'")
    return AwsAccount(connector, role["account"], role[0], _regions(given), attach == "app")


def _text(given: Mapping[Any, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name}: not a text")  # noqa: TRY004 - a setting's value
    return value


def _regions(given: Mapping[Any, Any]) -> tuple[str, ...]:
    regions = given.get("regions")
    if not isinstance(regions, list) or not regions:
        raise ValueError("regions: not a list of at least one region")
    for region in regions:
        if not isinstance(region, str) or not _REGION.fullmatch(region):
            raise ValueError(f"regions: {region!r} is not a region such as eu-central-1")
    return tuple(dict.fromkeys(regions))
