"""The ids that name a machine: an Azure VM, or an EC2 instance in one of two forms."""

import re
from dataclasses import dataclass

from shared.domain.ids import MAX_ID, VM_TYPE, ResourceId, key_of, name_of, parse_id

_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d{1,2}"
_INSTANCE = r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})"
_CONNECTOR_TYPE = "microsoft.security/securityconnectors"
_DEFENDER = re.compile(
    r"(?P<connector>/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Security"
    r"/securityConnectors/[^/]+)/securityentitydata/aws-ec2-instance-"
    rf"(?P<instance>{_INSTANCE})-(?P<region>{_REGION})",
    re.IGNORECASE | re.ASCII,
)
_ARN = re.compile(
    rf"arn:aws:ec2:(?P<region>{_REGION}):(?P<account>\d{{12}}):instance/(?P<instance>{_INSTANCE})",
    re.ASCII,
)
_ARC = re.compile(
    r"/subscriptions/.+/providers/Microsoft\.(?:HybridCompute/machines/|AwsConnector/).*",
    re.IGNORECASE | re.ASCII,
)


@dataclass(frozen=True)
class AzureVm:
    """A virtual machine of Azure."""

    id: ResourceId

    @property
    def text(self) -> str:
        """Return the id as it was written."""
        return self.id.text

    @property
    def key(self) -> str:
        """Return the form to compare by."""
        return self.id.key

    @property
    def name(self) -> str:
        """Return the VM's name."""
        return self.id.name

    @property
    def subscription(self) -> str:
        """Return the subscription of the VM."""
        return self.id.subscription.lower()

    @property
    def group(self) -> str:
        """Return the resource group of the VM, as it was written."""
        return self.id.group

    @property
    def where(self) -> str:
        """Return where the VM is, for people."""
        return f"resource group {self.group}"


@dataclass(frozen=True)
class Ec2Instance:
    """An EC2 instance; exactly one of connector and account is known from the id alone."""

    text: str
    instance_id: str
    region: str
    connector: str = ""  # the security connector's resource id, in Defender's form
    account: str = ""  # the AWS account, in an ARN

    @property
    def key(self) -> str:
        """Return the form to compare by."""
        return key_of(self.text)

    @property
    def name(self) -> str:
        """Return the instance's id in AWS."""
        return self.instance_id

    @property
    def subscription(self) -> str:
        """Return the subscription of the connector; empty for an ARN, which names none."""
        return parse_id(self.connector).subscription.lower() if self.connector else ""

    @property
    def group(self) -> str:
        """Return the resource group of the connector; empty for an ARN, which names none."""
        return parse_id(self.connector).group if self.connector else ""

    @property
    def where(self) -> str:
        """Return where the instance is, for people."""
        account = f"account {self.account}"
        return f"AWS {f'connector {name_of(self.connector)}' if self.connector else account}"


MachineId = AzureVm | Ec2Instance


def parse_machine_id(text: str) -> MachineId:
    """Return the machine that an id names; raises ValueError with a sentence for the caller."""
    if len(text) <= MAX_ID:
        arn = _ARN.fullmatch(text)
        if arn is not None:
            return Ec2Instance(text, arn["instance"], arn["region"], account=arn["account"])
        defender = _DEFENDER.fullmatch(text)
        if defender is not None:
            return _of_defender(text, defender)
        if _ARC.fullmatch(text):
            raise ValueError(
                "an Azure Arc id does not name the instance's AWS region: use "
                "{connector}/securityentitydata/aws-ec2-instance-{instance id}-{region} or its ARN"
            )
    try:
        return AzureVm(parse_id(text, VM_TYPE))
    except ValueError:
        raise ValueError(
            "neither the id of an Azure VM (/subscriptions/{guid}/resourceGroups/{group}/providers/"
            "Microsoft.Compute/virtualMachines/{name}) nor of an EC2 instance ({connector}/"
            "securityentitydata/aws-ec2-instance-{instance id}-{region}, or its ARN)"
        ) from None


def is_machine_id(text: str) -> bool:
    """Tell whether a text is the id of a machine that a policy may list."""
    try:
        parse_machine_id(text)
    except ValueError:
        return False
    return True


def _of_defender(text: str, match: re.Match[str]) -> Ec2Instance:
    connector = parse_id(match["connector"], _CONNECTOR_TYPE)
    return Ec2Instance(
        text, match["instance"].lower(), match["region"].lower(), connector=connector.text
    )


def defender_id(connector: str, instance_id: str, region: str) -> str:
    """Return an instance's id in Defender's form, which is a scope for role assignments."""
    return f"{connector}/securityentitydata/aws-ec2-instance-{instance_id}-{region}"


def instance_arn(account: str, region: str, instance_id: str) -> str:
    """Return an instance's ARN, which is its key inside the app."""
    return f"arn:aws:ec2:{region}:{account}:instance/{instance_id}"
