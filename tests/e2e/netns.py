"""A VM on this machine: nftables and a real sshd, in network namespaces.

The rules of the simulated network security groups in front of a VM become the packet filter of the
namespace that stands for the VM. People live in namespaces of their own, behind a router. Only
these namespaces are touched, and they are gone at the end.
"""

import contextlib
import itertools
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Interface, ip_network
from pathlib import Path
from typing import IO, Any, Self

from local.arm.client import NEWEST, ArmClient

Json = dict[str, Any]
LOAD_BALANCER = "168.63.129.16"
TOOLS = ("ip", "nft", "sshd", "ssh", "ssh-keygen", "mount")
# Enough for a machine that is busy; met only when something is wrong.
_PATIENCE = 20.0
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_UNSETTLED = frozenset({"Updating", "Deleting", "Creating"})
_COMPUTE_VERSION = "2024-07-01"
_sets = itertools.count(1)


def tool(name: str) -> str | None:
    """Find a program, also where only root has it on its path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}")


def why_not() -> str:
    """Say why namespaces cannot be used here; empty: they can."""
    missing = [name for name in TOOLS if tool(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    try:
        with Namespaces() as probe:
            name = probe.add("probe")
            probe.forward(name)
            probe.run(name, "sh", "-c", "mount -t tmpfs tmpfs /run")
            probe.filter(name, "table inet probe { chain probe { ct mark 1 accept; }; }")
    except subprocess.CalledProcessError as error:
        return f"network namespaces cannot be used here: {error.stderr.strip()}"
    return ""


# --- namespaces --------------------------------------------------------------------------------


class Namespaces:
    """Network namespaces with names of this process's own, removed at the end."""

    def __init__(self) -> None:
        self._prefix = f"guarded-{os.getpid()}-{next(_sets)}"
        self._names: list[str] = []
        self._links = itertools.count()

    def add(self, name: str) -> str:
        """Make a namespace and return its full name."""
        full = f"{self._prefix}-{name}"
        _run("ip", "netns", "add", full)
        self._names.append(full)
        _run("ip", "-n", full, "link", "set", "lo", "up")
        return full

    def link(self, one: str, address: str, other: str, gateway: str) -> None:
        """Join a namespace to its router; neither end is ever seen in the namespace we are in."""
        near, far = f"up{next(self._links)}", f"down{next(self._links)}"
        _run("ip", "-n", one, "link", "add", near, "type", "veth", "peer", far, "netns", other)
        for name, device, at in ((one, near, address), (other, far, gateway)):
            _run("ip", "-n", name, "address", "add", at, "dev", device)
            _run("ip", "-n", name, "link", "set", device, "up")
        via = str(IPv4Interface(gateway).ip)
        _run("ip", "-n", one, "route", "add", "default", "via", via)

    def forward(self, name: str) -> None:
        """Make a namespace a router."""
        self.run(name, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")

    def run(self, name: str, *command: str) -> str:
        """Run a command in a namespace and return what it wrote."""
        return _run(*inside(name, *command))

    def filter(self, name: str, rules: str) -> None:
        """Load rules into the packet filter of a namespace, all or none."""
        _run(*inside(name, "nft", "-f", "-"), given=rules)

    def close(self) -> None:
        """End what still runs in the namespaces, and remove them."""
        for name in self._names:
            for pid in _run("ip", "netns", "pids", name).split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            _run("ip", "netns", "delete", name)
        self._names.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def inside(name: str, *command: str) -> tuple[str, ...]:
    """Return the command that runs a command in a namespace."""
    program, *rest = command
    return (tool("ip") or "ip", "netns", "exec", name, tool(program) or program, *rest)


def _run(*command: str, given: str = "") -> str:
    program, *rest = command
    done = subprocess.run(
        [tool(program) or program, *rest],
        input=given,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=True,
    )
    return done.stdout


# --- groups ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Front:
    """The groups in front of a VM, as ARM gives them, and the addresses of its network."""

    groups: tuple[Json, ...]
    network: tuple[str, ...]

    @property
    def etags(self) -> tuple[str, ...]:
        """Return what tells one state of the groups from another."""
        return tuple(group["etag"] for group in self.groups)

    @property
    def has_settled(self) -> bool:
        """Tell whether no write is on its way: an unfinished one filters nothing yet."""
        return _UNSETTLED.isdisjoint(
            group["properties"]["provisioningState"] for group in self.groups
        )

    @property
    def flushes(self) -> bool:
        """Tell whether flows that stand are judged anew when rules change."""
        return any(group["properties"].get("flushConnection") for group in self.groups)


def read_front(arm: ArmClient, vm_id: str) -> Front:
    """Read the groups on the subnet and on the interface of a VM, as traffic meets them."""
    vm = _get(arm, vm_id, _COMPUTE_VERSION)
    nic_id = vm["properties"]["networkProfile"]["networkInterfaces"][0]["id"]
    nic = _get(arm, nic_id)["properties"]
    subnet_id = nic["ipConfigurations"][0]["properties"]["subnet"]["id"]
    vnet = _get(arm, subnet_id.partition("/subnets/")[0])["properties"]
    subnet = _get(arm, subnet_id)["properties"]
    groups = (holder.get("networkSecurityGroup") for holder in (subnet, nic))
    return Front(
        tuple(_get(arm, group["id"]) for group in groups if group),
        tuple(vnet["addressSpace"]["addressPrefixes"]),
    )


def _get(arm: ArmClient, resource_id: str, version: str = NEWEST) -> Json:
    reply = arm.call("GET", resource_id, api_version=version)
    assert reply.status == 200, reply
    body: Json = reply.body
    return body


def ruleset(front: Front, generation: int, since: int) -> str:
    """Write the groups as nftables rules.

    A flow is marked with the generation of the rules that let it in, and is let through as long
    as that is not older than `since`. An older one is judged anew.
    """
    chains = [
        f"  chain group{number} {{\n{_lines(_rules(group, front.network))}  }}\n"
        for number, group in enumerate(front.groups)
    ]
    judge = [
        "type filter hook input priority filter; policy drop;",
        "ct state established,related ct direction reply accept",
        f"ct state established,related ct mark >= {since} accept",
        *(f"jump group{number}" for number in range(len(front.groups))),
        f"ct mark set {generation} accept",
    ]
    return (
        "table inet guarded\n"
        "delete table inet guarded\n"
        f"table inet guarded {{\n{''.join(chains)}  chain input {{\n{_lines(judge)}  }}\n}}\n"
    )


def _lines(rules: Iterable[str]) -> str:
    return "".join(f"    {rule}\n" for rule in rules)


def _rules(group: Json, network: tuple[str, ...]) -> Iterator[str]:
    """Write a group's rules in the order of their priorities; to be allowed is to go on."""
    properties = group["properties"]
    rules = [*properties["securityRules"], *properties["defaultSecurityRules"]]
    for rule in sorted((each["properties"] for each in rules), key=lambda each: each["priority"]):
        if rule["direction"] == "Inbound":
            verdict = {"Allow": "return", "Deny": "drop"}[rule["access"]]
            for source in _addresses(rule, "source", network):
                for destination in _addresses(rule, "destination", network):
                    yield " ".join(filter(None, (source, destination, _ports(rule), verdict)))


def _addresses(rule: Mapping[str, Any], side: str, network: tuple[str, ...]) -> Iterator[str]:
    """Write each of the addresses of a side as a match; what is not known here is an error."""
    assert not rule.get(f"{side}ApplicationSecurityGroups"), rule
    key = {"source": "saddr", "destination": "daddr"}[side]
    own = ", ".join(network)
    for prefix in _values(rule, f"{side}AddressPrefix", f"{side}AddressPrefixes"):
        match prefix.lower():
            case "*":
                yield ""
            case "virtualnetwork":
                yield f"ip {key} {{ {own} }}"
            case "internet":
                yield f"ip {key} != {{ {own}, {LOAD_BALANCER} }}"
            case "azureloadbalancer":
                yield f"ip {key} {LOAD_BALANCER}"
            case _:
                found = ip_network(prefix)
                yield f"{'ip' if found.version == 4 else 'ip6'} {key} {found}"


def _ports(rule: Mapping[str, Any]) -> str:
    protocol = rule["protocol"].lower()
    matches = ["" if protocol == "*" else f"meta l4proto {protocol}"]
    for side, key in (("source", "sport"), ("destination", "dport")):
        ranges = _values(rule, f"{side}PortRange", f"{side}PortRanges")
        if "*" not in ranges:
            if protocol == "*":
                matches[0] = "meta l4proto { tcp, udp }"
            matches.append(f"th {key} {{ {', '.join(ranges)} }}")
    return " ".join(filter(None, matches))


def _values(rule: Mapping[str, Any], one: str, several: str) -> list[str]:
    return [*([rule[one]] if rule.get(one) else []), *rule.get(several, [])]


# --- people ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Knock:
    """How one attempt to log in ended."""

    code: int
    output: str
    errors: str

    @property
    def is_in(self) -> bool:
        """Tell whether a command ran on the VM."""
        return self.code == 0

    @property
    def is_dropped(self) -> bool:
        """Tell whether nothing answered at all, as at a closed port."""
        return "port 22: Connection timed out" in self.errors


class Session:
    """A login that stays: what is written to it comes back."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process
        self._lines = itertools.count(1)

    def echoes(self) -> bool:
        """Tell whether a line goes there and comes back."""
        line = f"line {next(self._lines)}\n".encode()
        _stream(self._process.stdin).write(line)
        _stream(self._process.stdin).flush()
        return self._read(len(line)) == line

    def has_ended(self) -> bool:
        """Tell whether the client has given up."""
        return self._process.poll() is not None

    def errors(self) -> str:
        """Return why it ended."""
        return _stream(self._process.stderr).read().decode()

    def close(self) -> None:
        """Hang up."""
        self._process.kill()
        self._process.communicate()

    def _read(self, length: int) -> bytes:
        output, found = _stream(self._process.stdout), b""
        deadline = time.monotonic() + _PATIENCE
        while len(found) < length and time.monotonic() < deadline:
            ready, _, _ = select.select([output], [], [], 0.2)
            if ready:
                more = os.read(output.fileno(), length - len(found))
                if not more:
                    break
                found += more
        return found


def _stream(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream


@dataclass(frozen=True)
class Person:
    """A person at an address, with a key to the VM."""

    namespace: str
    address: str
    guarded: "GuardedVm"

    def knock(self, *, seconds: int = 1) -> Knock:
        """Try to log in, and ask the VM where one comes from."""
        done = subprocess.run(
            self._ssh(seconds, "echo $SSH_CONNECTION"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE + seconds,
            check=False,
        )
        return Knock(done.returncode, done.stdout, done.stderr)

    def enter(self) -> Session:
        """Log in and stay."""
        process = subprocess.Popen(
            self._ssh(int(_PATIENCE), "cat"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
        )
        session = Session(process)
        self.guarded.sessions.append(session)
        return session

    def _ssh(self, seconds: int, command: str) -> tuple[str, ...]:
        options = {
            "BatchMode": "yes",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.guarded.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "ConnectTimeout": str(seconds),
            # A cut connection is noticed after so many silent seconds.
            "ServerAliveInterval": "1",
            "ServerAliveCountMax": "3",
        }
        given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        to = ("-T", "-i", str(self.guarded.key), f"root@{self.guarded.address}", command)
        return inside(self.namespace, "ssh", "-F", "/dev/null", *given, *to)


# --- the guarded ----------------------------------------------------------------------------------


class GuardedVm:
    """A VM with a real sshd, behind a packet filter that follows the groups in front of it."""

    def __init__(self, arm_url: str, vm_id: str, address: str, folder: Path) -> None:
        self.address = address
        self.key, self.known_hosts = folder / "key", folder / "known_hosts"
        self.sessions: list[Session] = []
        self._arm_url = arm_url
        self._vm_id = vm_id
        self._folder = folder
        self._generation, self._since = 0, 1
        self._etags: tuple[str, ...] = ()
        self._namespaces = Namespaces()
        self._server: subprocess.Popen[bytes] | None = None
        try:
            self._router = self._namespaces.add("router")
            self._vm = self._namespaces.add("vm")
            self._namespaces.forward(self._router)
            self._namespaces.link(self._vm, f"{address}/24", self._router, _gateway(address))
            self.follow()
            self._start_server()
        except BaseException:
            self.close()
            raise

    def person(self, name: str, address: str) -> Person:
        """Put a person at an address behind the router."""
        namespace = self._namespaces.add(name)
        self._namespaces.link(namespace, f"{address}/24", self._router, _gateway(address))
        return Person(namespace, address, self)

    def follow(self) -> bool:
        """Take over what the groups say now, if they have settled; True, so that one can wait."""
        arm = ArmClient(self._arm_url)
        try:
            front = read_front(arm, self._vm_id)
        finally:
            arm.close()
        if front.etags != self._etags and front.has_settled:
            self._etags = front.etags
            self._generation += 1
            if front.flushes:
                self._since = self._generation
            rules = ruleset(front, self._generation, self._since)
            self._namespaces.filter(self._vm, rules)
        return True

    def close(self) -> None:
        """Hang up, stop the server, remove the namespaces."""
        for session in self.sessions:
            session.close()
        self._namespaces.close()
        if self._server is not None:
            self._server.wait()

    def _start_server(self) -> None:
        """Run sshd with keys and accounts of its own, and nothing of this machine's."""
        host_key, folder = self._folder / "host_key", self._folder
        for key in (self.key, host_key):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        public = host_key.with_suffix(".pub").read_text(encoding="utf-8")
        self.known_hosts.write_text(f"{self.address} {public}", encoding="utf-8")
        accounts = "root:x:0:0:root:/run:/bin/sh\nsshd:x:999:65534::/run/sshd:/bin/false\n"
        _write(folder / "passwd", accounts)
        _write(folder / "shadow", "root:*:19000:0:99999:7:::\n")
        settings = (
            f"ListenAddress {self.address}:22",
            f"HostKey {host_key}",
            f"AuthorizedKeysFile {self.key.with_suffix('.pub')}",
            "PidFile none",
            "UsePAM no",
            "StrictModes no",
            "UseDNS no",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "PermitUserRC no",
            "Subsystem sftp internal-sftp",
        )
        _write(folder / "sshd_config", "".join(f"{line}\n" for line in settings))
        # The mounts are seen by this one process and what it starts.
        script = (
            "mount -t tmpfs tmpfs /run && mkdir /run/sshd "
            '&& mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/shadow" /etc/shadow '
            '&& exec "$2" -D -e -f "$1/sshd_config"'
        )
        log = folder / "sshd.log"
        command = inside(self._vm, "sh", "-c", script, "sh", str(folder), tool("sshd") or "sshd")
        with log.open("wb") as output:
            self._server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + _PATIENCE
        while "Server listening" not in (told := log.read_text(encoding="utf-8")):
            assert self._server.poll() is None, told
            assert time.monotonic() < deadline, told
            time.sleep(0.02)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _gateway(address: str) -> str:
    """Return the router's address in the network of an address."""
    network = IPv4Interface(f"{address}/24").network
    return f"{next(network.hosts())}/24"
