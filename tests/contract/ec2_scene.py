"""One EC2 account with the provider under test, and the loop in its shortest form."""

from dataclasses import replace
from datetime import timedelta

from shared.domain.desired import Allow, Block, Desired, Plan, allow_key, block_key
from shared.domain.machine_ids import instance_arn
from shared.firewalls.ec2.provider import Ec2Provider
from shared.firewalls.ec2.wire import Place, group_arn
from shared.ports import FirewallChangedError, OutsideError, RefusedError, SettlingError
from tests.aws_cloud import ACCOUNT, DEPLOYMENT, REGION, AwsCloud, accounts

PLACE = Place(ACCOUNT, REGION)
INSTANCE, ENI, GROUP = "i-00000000000000001", "eni-1", "sg-theirs"
ADDRESS, ALICE, BOB = "10.0.1.4", "203.0.113.7", "198.51.100.9"
_ROUNDS = 30


def firewall_of(instance_id: str) -> str:
    """Return the firewall of an instance's own group."""
    return instance_arn(ACCOUNT, REGION, instance_id)


class Scene:
    """An instance with its owner's group, the intents for it, and the provider."""

    def __init__(self, *, attach: bool = True, manage: str = "revoke") -> None:
        self.cloud = AwsCloud()
        tags = {"jit:manage": manage} if manage else {}
        self.cloud.add_group(GROUP, tags=tags)
        self.cloud.add_instance(INSTANCE, (ENI, ADDRESS, [GROUP]))
        self.provider = Ec2Provider(
            self.cloud.api(attach=attach), accounts(attach=attach), DEPLOYMENT
        )
        self.allows: dict[str, Allow] = {}
        self.blocks: dict[str, Block] = {}
        self.refused: dict[str, str] = {}
        self.firewall = firewall_of(INSTANCE)
        self.theirs = group_arn(PLACE, GROUP)

    def allow(
        self,
        name: str,
        source: str = ALICE,
        *,
        port: int = 22,
        minutes: int = 60,
        protocol: str = "TCP",
        addresses: tuple[str, ...] = (ADDRESS,),
    ) -> str:
        """Want a grant on the instance; return its key."""
        key = allow_key(name, INSTANCE, port)
        until = self.cloud.clock().replace(microsecond=0) + timedelta(minutes=minutes)
        self.allows[key] = Allow(
            key, INSTANCE, port, protocol, (source,), addresses, until, request_id=name
        )
        return key

    def block(self, *ports: int, policy: str = "policy-1", revoke: bool = True) -> str:
        """Want a protection of the instance, in mode revoke; return its key."""
        key = block_key(policy, INSTANCE)
        self.blocks[key] = Block(key, INSTANCE, ports or (22,), (ADDRESS,), revoke_foreign=revoke)
        return key

    def end(self, key: str) -> None:
        """Withdraw the intent of a grant, or of a protection."""
        if key in self.allows:
            self.allows[key] = replace(self.allows[key], wanted=False)
        else:
            self.blocks[key] = replace(self.blocks[key], wanted=False)

    def desired(self, firewall_id: str) -> Desired:
        """Return the intents for one of the two firewalls: grants go to the instance's own."""
        allows = tuple(self.allows.values()) if firewall_id == self.firewall else ()
        blocks = tuple(self.blocks.values())
        if firewall_id == self.firewall:
            blocks = tuple(replace(block, memory="") for block in blocks)
        return Desired(allows, blocks)

    def look(self, firewall_id: str = "") -> Plan:
        """Read and plan; nothing is written."""
        chosen = firewall_id or self.firewall
        observed = self.provider.read(chosen)
        return self.provider.plan(observed, self.desired(chosen), self.refused)

    def converge(self, firewall_id: str = "", *, faults: int = 0) -> Plan:
        """Repeat until there is nothing to change; some failed rounds are tolerated."""
        chosen = firewall_id or self.firewall
        for _ in range(_ROUNDS):
            try:
                observed = self.provider.read(chosen)
                plan = self.provider.plan(observed, self.desired(chosen), self.refused)
                for key, memory in plan.remember.items():
                    self.blocks[key] = replace(self.blocks[key], memory=memory)
                if plan.is_done:
                    return plan
                self.provider.apply(observed, plan)
            except RefusedError as refusal:
                self.refused |= dict.fromkeys(refusal.changes, str(refusal))
            except (SettlingError, FirewallChangedError):
                self.cloud.clock.advance(5)
            except OutsideError:
                if not faults:
                    raise
                faults -= 1
        raise AssertionError("the firewall does not converge")

    def converge_both(self) -> tuple[Plan, Plan]:
        """Converge the instance's own group, then its owner's."""
        return self.converge(), self.converge(self.theirs)

    def reaches(self, source: str = ALICE, port: int = 22, protocol: str = "tcp") -> bool:
        """Tell whether packets reach the instance."""
        return self.cloud.reaches(INSTANCE, source, port, protocol)

    def own_rules(self) -> list[tuple[str, int, int, str]]:
        """Return the inbound rules of the instance's own group."""
        own = self.cloud.own_group(INSTANCE)
        rules = self.cloud.rules(own.id) if own else []
        identities = [rule.identity for rule in rules]
        return sorted((i.protocol, i.low, i.high, i.source) for i in identities)

    def foreign(self, group_id: str = GROUP) -> set[object]:
        """Return the rules of a foreign group, ids apart."""
        return {
            (rule.identity, rule.description, tuple(sorted(rule.tags.items())))
            for rule in self.cloud.rules(group_id)
        }
