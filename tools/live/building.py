"""The first steps: resource groups, If-Match on a security group, a VM, and the deployment."""

import os
import subprocess
import sys
from pathlib import Path

from tools.live import bodies
from tools.live.outside import (
    COMPUTE,
    ERRORS_FROM,
    NETWORK,
    NOT_FOUND,
    PRECONDITION_FAILED,
    RESOURCES,
    LiveError,
)
from tools.live.session import Session, body_of, check

_CREATED_WITHIN = 300.0
_BASTION_WITHIN = 1200.0
_DEPLOYED_WITHIN = 1200.0
_CONTRACT_WITHIN = 900.0
_ROOT = Path(__file__).parents[2]
_CONTRACT = ("local/tests/arm/test_arm_lifecycle.py",)
_OLDEST_AZD = (1, 24, 1)


def check_prerequisites(session: Session) -> str:
    """Check that azd is new enough and that the two resource groups do not exist."""
    target, run = session.target, session.run
    words = target.azd.run("version").split()
    version = next((word for word in words if word[:1].isdigit()), "")
    numbers = tuple(int(part) for part in version.split("-")[0].split("+")[0].split("."))
    check(numbers >= _OLDEST_AZD, f"azd {version} is older than 1.24.1")
    target.arm.require("GET", run.subscription_id, RESOURCES)
    for group in run.group_tags:
        found = target.arm.call("GET", group, RESOURCES)
        check(found.status == NOT_FOUND, f"{group} exists or cannot be read ({found.status})")
    return f"azd {version}; both resource groups are free"


def create_group(session: Session) -> str:
    """Create the resource group of the VM, with the tag that allows its deletion."""
    run = session.run
    tags = {**run.group_tags[run.machine_group], "DeleteAfterHours": "4"}
    body = {"location": run.location, "tags": tags}
    session.target.arm.require("PUT", run.machine_group, RESOURCES, body)
    return run.machine_group


def try_if_match(session: Session) -> str:
    """Test that a stale etag changes neither a security group nor a rule, and a current one does."""
    arm, run = session.target.arm, session.run
    group = run.network("networkSecurityGroups", "nsg-jit-etag")
    session.put_group(group, bodies.security_group(run, [bodies.rule("first", 200)]))
    stale = str(session.settled(group)["etag"])
    child = f"{group}/securityRules/second"
    arm.require("PUT", child, NETWORK, {"properties": bodies.rule("second", 201)["properties"]})
    current = session.settled(group)
    check(current["etag"] != stale, "the etag of a group stays when a rule is added")

    without = bodies.security_group(run, [])
    whole = session.put_group(group, without, if_match=stale)
    removal = arm.call("DELETE", child, NETWORK, if_match=stale).status
    session.settled(group)
    after = session.settled(group)
    names = sorted(rule["name"] for rule in after["properties"]["securityRules"])
    seen = f"a stale etag got {whole} for a group and {removal} for a rule, which hold {names}"
    check(names == ["first", "second"], f"{seen}: If-Match is ignored")
    check(whole == removal == PRECONDITION_FAILED, seen)

    now = str(after["etag"])
    accepted = session.put_group(group, body_of(after, tags={"seen": "yes"}), if_match=now)
    check(accepted < ERRORS_FROM, f"the current etag got {accepted} for a group")
    now = str(session.settled(group)["etag"])
    removed = arm.call("DELETE", child, NETWORK, if_match=now).status
    check(removed < ERRORS_FROM, f"the current etag got {removed} for a rule")
    session.settled(group)
    return (
        "a stale etag got 412 for a group and for a rule and changed nothing; a current one worked"
    )


def run_contract_tests(session: Session) -> str:
    """Run the contract tests of the ARM simulator, against Azure where the run is there."""
    run = session.run
    variables = {
        "JIT_LIVE_SUBSCRIPTION": run.subscription,
        "JIT_LIVE_RESOURCE_GROUP": run.machine_group.rpartition("/")[2],
        "JIT_LIVE_LOCATION": run.location,
    }
    marked = "live" if session.target.is_azure else "not live"
    done = subprocess.run(  # noqa: S603 - this interpreter, with names of our own
        [sys.executable, "-m", "pytest", "-q", "-m", marked, "-p", "no:cacheprovider", *_CONTRACT],
        cwd=_ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_CONTRACT_WITHIN,
        check=False,
    )
    lines = done.stdout.strip().splitlines() or ["no output"]
    check(done.returncode == 0, f"pytest: {lines[-1]}")
    return f"pytest: {lines[-1]}"


def create_machine(session: Session) -> str:
    """Create a VM with a public address, behind a security group on its subnet and interface."""
    arm, run = session.target.arm, session.run
    subnet_group, nic_group = session.groups
    for group in session.groups:
        session.put_group(group, bodies.security_group(run, [bodies.rule("allow-https", 310)]))
    network = run.network("virtualNetworks", "vnet-jit-live")
    address = run.network("publicIPAddresses", "pip-jit-live")
    nic = run.network("networkInterfaces", "nic-jit-live")
    create(session, network, NETWORK, bodies.network(run, subnet_group))
    create(session, address, NETWORK, bodies.public_address(run))
    subnet = f"{network}/subnets/vm"
    create(session, nic, NETWORK, bodies.interface(run, subnet, address, nic_group))
    create(session, run.machine, COMPUTE, bodies.machine(run, nic))
    found = arm.require("GET", address, NETWORK).body["properties"]
    session.address = str(found["ipAddress"])
    check(not session.target.port.reaches(session.address), "port 22 is open before any access")
    return f"{bodies.SIZE} behind two security groups; port 22 is closed"


def create_bastion(session: Session) -> str:
    """Create a Bastion host in the VM's network. It takes about ten minutes."""
    run = session.run
    address = run.network("publicIPAddresses", "pip-jit-bastion")
    host = run.network("bastionHosts", "bas-jit-live")
    subnet = f"{run.network('virtualNetworks', 'vnet-jit-live')}/subnets/AzureBastionSubnet"
    create(session, address, NETWORK, bodies.public_address(run))
    body = bodies.bastion_host(run, subnet, address)
    create(session, host, NETWORK, body, within=_BASTION_WITHIN)
    return f"a Basic host with {bodies.BASTION_PREFIX}"


def create(
    session: Session, resource: str, version: str, body: object, *, within: float = _CREATED_WITHIN
) -> None:
    """Create a resource and wait until it is ready."""
    arm = session.target.arm
    arm.require("PUT", resource, version, body)

    def is_ready() -> bool:
        state = arm.require("GET", resource, version).body["properties"]["provisioningState"]
        if state in {"Failed", "Canceled"}:
            raise LiveError(f"{resource} is {state}")
        return bool(state == "Succeeded")

    session.wait(is_ready, f"{resource} is ready", within)


def deploy(session: Session) -> str:
    """Deploy the app with azd, with the VM's resource group as its only scope."""
    azd, run = session.target.azd, session.run
    azd.run("env", "new", run.environment, "--no-prompt")
    values = {
        "AZURE_SUBSCRIPTION_ID": run.subscription,
        "AZURE_LOCATION": run.location,
        "JIT_DEPLOYMENT_ID": run.mark,
        "JIT_SCOPES": run.machine_group,
        "JIT_STORAGE_SKU": "Standard_LRS",
        "JIT_AUDIT_IMMUTABLE_DAYS": "1",
        **({"JIT_FIREWALL_SCOPES": run.machine_group} if run.firewall else {}),
    }
    for name, value in values.items():
        azd.run("env", "set", name, value, environment=run.environment)
    azd.run("up", "--no-prompt", environment=run.environment, seconds=_DEPLOYED_WITHIN)
    session.outputs.update(azd.values(run.environment))
    return f"{session.outputs['JIT_API_URL']}, and its sweep runs"
