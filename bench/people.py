"""People who call the app, each thread over a connection of its own."""

import http.client
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from bench.place import SOURCE, Json, Place, VmPort
from jit_access.client import JitClient
from local.stack import Stack

_ROLES = ("Jit.Request", "Jit.Read", "Jit.Admin")
_EACH_ASKS = 10
_APPLIED_WITHIN = 180.0
_IDLE_SECONDS = 2.0


def wire_time(at: datetime) -> str:
    """Write an instant as endTimeUtc."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Accepted:
    """Seconds of some calls: of each, of all together, and when each was answered."""

    seconds: tuple[float, ...]
    all_in: float
    at: tuple[float, ...] = ()  # seconds from the first call on


@dataclass
class People:
    """Callers of a running stack."""

    stack: Stack
    _tokens: dict[str, str] = field(default_factory=dict)
    _local: threading.local = field(default_factory=threading.local)

    def put_policy(self, place: Place) -> None:
        """PUT the policy of a place, and wait until it is applied."""
        with self.client() as client:
            state = self._put(client, place)
        if state != "Succeeded":
            raise RuntimeError(f"the policy of {place.name} is {state}")

    def client(self, person: str = "admin") -> JitClient:
        """Return a client for what is not measured; it costs more than the bare calls below."""
        return JitClient(self.stack.api, lambda: self._token(person))

    def _put(self, client: JitClient, place: Place) -> str:
        client.put_policy(place.policy_id, place.policy_body())
        deadline = time.monotonic() + _APPLIED_WITHIN
        state = "Updating"
        while state == "Updating" and time.monotonic() < deadline:
            time.sleep(0.5)
            state = client.get_policy(place.policy_id).properties.provisioning_state
        return state

    def ask(
        self,
        place: Place,
        vm_ports: Sequence[VmPort],
        ends: Sequence[datetime],
        *,
        at_once: int,
        names: str = "p",
    ) -> Accepted:
        """Ask for each port in a request of its own, so many calls at a time."""
        people = [f"{names}{number // _EACH_ASKS}" for number in range(len(vm_ports))]

        def initiate(number: int) -> tuple[float, float]:
            vm_port = vm_ports[number]
            port = {
                "number": vm_port.port,
                "allowedSourceAddressPrefix": SOURCE,
                "endTimeUtc": wire_time(ends[number]),
            }
            body = {"virtualMachines": [{"id": vm_port.vm_id, "ports": [port]}]}
            began = time.perf_counter()
            self.call("POST", f"{place.policy_id}/initiate", body, person=people[number])
            answered = time.perf_counter()
            return answered - began, answered

        for person in sorted(set(people)):
            self._token(person)  # signing is not what is measured
        began = time.perf_counter()
        with ThreadPoolExecutor(at_once) as pool:
            calls = list(pool.map(initiate, range(len(vm_ports))))
        return Accepted(
            tuple(seconds for seconds, _ in calls),
            time.perf_counter() - began,
            tuple(answered - began for _, answered in calls),
        )

    def call(
        self, method: str, path: str, body: Json | None = None, *, person: str = "admin"
    ) -> Any:
        """Call the app; anything but success is an error."""
        content = None if body is None else json.dumps(body).encode()
        headers = {
            "Authorization": f"Bearer {self._token(person)}",
            "Content-Type": "application/json",
        }
        connection = self._connection()
        connection.request(method, f"{path}?api-version=2020-01-01", content, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()[:500]}")
        return json.loads(text)

    def _connection(self) -> http.client.HTTPConnection:
        """Return this thread's connection; one that lay idle may be closed at the other end."""
        now = time.monotonic()
        if now - getattr(self._local, "used_at", 0.0) > _IDLE_SECONDS:
            host = urlsplit(self.stack.api).netloc
            self._local.connection = http.client.HTTPConnection(host, timeout=120)
        self._local.used_at = now
        held: http.client.HTTPConnection = self._local.connection
        return held

    def _token(self, person: str) -> str:
        if person not in self._tokens:
            self._tokens[person] = self.stack.token(person, _ROLES)
        return self._tokens[person]
