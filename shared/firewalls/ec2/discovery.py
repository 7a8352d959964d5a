"""Which instances there are, what stands in front of them, and what bears our mark."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from shared.domain.aws_accounts import AwsAccount, AwsAccounts
from shared.domain.ids import is_within
from shared.domain.machine_ids import (
    Ec2Instance,
    defender_id,
    instance_arn,
    parse_machine_id,
)
from shared.domain.model import Attachment
from shared.firewalls.ec2.wire import (
    DEPLOYMENT_TAG,
    INSTANCE_TAG,
    LEDGER_TAG,
    MANAGE_REVOKE,
    MANAGE_TAG,
    Ec2Api,
    Ec2Error,
    Interface,
    Json,
    Place,
    Reader,
    group_arn,
    parse_firewall_id,
)
from shared.ports import OutsideError, ThrottledError


@dataclass(frozen=True)
class Ec2Machine:
    """An instance as the service lists it."""

    id: str  # in Defender's form
    arn: str
    name: str
    region: str
    system: str


def attach(
    api: Ec2Api, accounts: AwsAccounts, vm_ids: Iterable[str]
) -> dict[str, tuple[Attachment, ...]]:
    """Return the firewalls in front of each instance, from one list for each region."""
    found: dict[str, tuple[Attachment, ...]] = {}
    places: dict[Place, dict[str, str]] = {}
    for vm_id in vm_ids:
        found[vm_id] = ()
        instance = _instance_of(vm_id)
        if instance is not None:
            account = accounts.of_instance(instance)
            if account is None:
                raise OutsideError(f"no AWS account and region is configured for {vm_id}")
            place = Place(account.account, instance.region)
            places.setdefault(place, {})[vm_id] = instance.instance_id
    for place, instances in places.items():
        with _naming(place):
            found |= _attach_in(Reader(api, place), place, instances)
    return found


@contextmanager
def _naming(place: Place) -> Iterator[None]:
    """Name the account and region that did not answer, in the error."""
    told = f"AWS account {place.account} did not answer in region {place.region}"
    try:
        yield
    except ThrottledError as error:
        raise ThrottledError(f"{told}: {error}", retry_after=error.retry_after) from error
    except (OutsideError, Ec2Error) as error:
        raise OutsideError(f"{told}: {error}") from error


def _instance_of(vm_id: str) -> Ec2Instance | None:
    try:
        machine = parse_machine_id(vm_id)
    except ValueError:
        return None
    return machine if isinstance(machine, Ec2Instance) else None


def _attach_in(
    reader: Reader, place: Place, instances: Mapping[str, str]
) -> dict[str, tuple[Attachment, ...]]:
    interfaces = reader.interfaces("attachment.instance-id", sorted(set(instances.values())))
    groups = sorted({group_id for each in interfaces for group_id, _ in each.groups})
    managed = reader.bare_groups("group-id", groups, **{MANAGE_TAG: MANAGE_REVOKE})
    consenting = {group.id for group in managed}
    return {
        vm_id: _attachments(
            place, instance_id, [i for i in interfaces if i.instance_id == instance_id], consenting
        )
        for vm_id, instance_id in instances.items()
    }


def _attachments(
    place: Place, instance_id: str, interfaces: list[Interface], consenting: set[str]
) -> tuple[Attachment, ...]:
    """Return the instance's own group, and the foreign groups whose owners consent.

    All are one stage: whatever one group lets in gets in.
    """
    if not interfaces:
        return ()
    arn = instance_arn(place.account, place.region, instance_id)
    own = Attachment(arn, _addresses(interfaces))
    foreign = sorted({g for each in interfaces for g, _ in each.groups} & consenting)
    return (
        own,
        *(
            Attachment(
                group_arn(place, group_id),
                _addresses(each for each in interfaces if each.has(group_id)),
                opens=False,
            )
            for group_id in foreign
        ),
    )


def _addresses(interfaces: Iterable[Interface]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address for each in interfaces for address in each.addresses))


def find_ours(api: Ec2Api, accounts: AwsAccounts, deployment: str, scope: str) -> list[str]:
    """Return the firewalls that our groups and ledgers belong to, in every configured region."""
    found: dict[str, None] = {}
    for account in accounts.listed:
        if not (is_within(account.connector, scope) or is_within(scope, account.connector)):
            continue
        for region in account.regions:
            found |= dict.fromkeys(_ours_in(api, Place(account.account, region), deployment))
    return list(found)


def _ours_in(api: Ec2Api, place: Place, deployment: str) -> list[str]:
    groups = Reader(api, place).bare_groups(f"tag:{DEPLOYMENT_TAG}", [deployment])
    instances = [g.tag(INSTANCE_TAG) for g in groups if g.tag(INSTANCE_TAG)]
    ledgers = [g.tag(LEDGER_TAG) for g in groups if g.tag(LEDGER_TAG)]
    found = [
        *(instance_arn(place.account, place.region, each) for each in instances),
        *(group_arn(place, each) for each in ledgers),
    ]
    return [each for each in found if parse_firewall_id(each) is not None]


def list_machines(api: Ec2Api, account: AwsAccount, region: str) -> list[Ec2Machine]:
    """Return the instances of one region of an account."""
    place = Place(account.account, region)
    with _naming(place):
        listed = list(Reader(api, place).instances())
    return [_machine(account, region, each) for each in listed]


def _machine(account: AwsAccount, region: str, instance: Json) -> Ec2Machine:
    tags = {str(tag["Key"]): str(tag.get("Value", "")) for tag in instance.get("Tags", ())}
    instance_id = str(instance["InstanceId"])
    windows = str(instance.get("Platform", "")).lower() == "windows"
    return Ec2Machine(
        id=defender_id(account.connector, instance_id, region),
        arn=instance_arn(account.account, region, instance_id),
        name=tags.get("Name", instance_id),
        region=region,
        system="windows" if windows else "linux",
    )
