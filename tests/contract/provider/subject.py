"""One firewall, the intents for it, and the loop in its shortest form."""

from dataclasses import replace
from datetime import timedelta

from shared.domain.desired import Allow, Block, Desired, Observed, Plan, allow_key, block_key
from shared.ports import FirewallChangedError, RefusedError, SettlingError
from tests.contract.provider.grounds import ADDRESS, VM, Ground

ALICE, BOB = "203.0.113.7", "198.51.100.9"
_ROUNDS = 30


class Subject:
    """The desired state of one firewall, and the steps that converge it."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.provider = ground.provider
        self.id = ground.fresh()
        self.allows: dict[str, Allow] = {}
        self.blocks: dict[str, Block] = {}
        self.refused: dict[str, str] = {}
        self.plan = Plan()
        self.plan_from = Observed(self.id)

    # --- intents

    def allow(
        self,
        number: int,
        source: str = ALICE,
        *,
        port: int = 22,
        minutes: int = 600,
        addresses: tuple[str, ...] = (ADDRESS,),
        sources: tuple[str, ...] | None = None,
        protocol: str = "TCP",
    ) -> str:
        """Want a grant; return its key."""
        request = f"request-{number}"
        key = allow_key(request, VM, port)
        until = self.ground.clock().replace(microsecond=0) + timedelta(minutes=minutes)
        self.allows[key] = Allow(
            key,
            VM,
            port,
            protocol,
            (source,) if sources is None else sources,
            addresses,
            until,
            request_id=request,
        )
        return key

    def block(self, number: int = 1, *, ports: tuple[int, ...] = (22,), memory: str = "") -> str:
        """Want a protection; return its key."""
        key = block_key(f"policy-{number}", VM)
        self.blocks[key] = Block(key, VM, ports, (ADDRESS,), memory=memory)
        return key

    def end(self, key: str) -> None:
        """Withdraw the intent of a grant, or of a protection."""
        if key in self.allows:
            self.allows[key] = replace(self.allows[key], wanted=False)
        else:
            self.blocks[key] = replace(self.blocks[key], wanted=False)

    def extend(self, key: str, minutes: int) -> None:
        """Want a later end."""
        allow = self.allows[key]
        self.allows[key] = replace(allow, until=allow.until + timedelta(minutes=minutes))

    @property
    def desired(self) -> Desired:
        """Return all intents."""
        return Desired(tuple(self.allows.values()), tuple(self.blocks.values()))

    # --- the loop

    def read(self) -> Observed:
        """Read a settled state, however long writes take."""
        for _ in range(_ROUNDS):
            try:
                return self.provider.read(self.id)
            except SettlingError:
                self.ground.settle()
        raise AssertionError("the firewall does not settle")

    def look(self) -> Plan:
        """Read and plan; nothing is written."""
        self.plan_from = self.read()
        self.plan = self.provider.plan(self.plan_from, self.desired, self.refused)
        return self.plan

    def remember(self, plan: Plan) -> None:
        """Store what the plan needs to restore, as the store does."""
        for key, memory in plan.remember.items():
            self.blocks[key] = replace(self.blocks[key], memory=memory)

    def converge(self) -> Plan:
        """Repeat until there is nothing to change; refusals are kept."""
        for _ in range(_ROUNDS):
            observed = self.read()
            plan = self.provider.plan(observed, self.desired, self.refused)
            self.remember(plan)
            if not plan.changes:
                self.plan = plan
                if not plan.remember:
                    return plan
                continue
            try:
                self.provider.apply(observed, plan)
            except RefusedError as refusal:
                blamed = refusal.changes or plan.ids
                self.refused |= dict.fromkeys(blamed, str(refusal))
            except SettlingError:
                self.ground.settle()
            except FirewallChangedError:
                continue
        raise AssertionError("the firewall does not converge")

    def reaches(self, source: str = ALICE, port: int = 22, protocol: str = "tcp") -> bool:
        """Tell whether packets reach the VM's port, once every write has settled."""
        self.read()
        return self.ground.reaches(self.id, source, port, protocol)
