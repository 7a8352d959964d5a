"""Does a policy's past slow a new request? Measured over HTTP on the local stack.

python -m bench.history
"""

import statistics
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.people import People
from bench.place import SOURCE, Cloud, Place, VmPort
from bench.tables import Collected, load_azure
from local.stack import Stack
from shared.domain.model import AccessRequest, PortRequest, Principal, Status
from shared.store.keys import new_request_id
from shared.store.requests import RequestRows

PAST = (0, 1_000, 10_000)
TIMES = 30
_SETTINGS = {
    # Opening is another function's work, and not what is measured.
    "AzureWebJobs.open_access.Disabled": "true",
    "JIT_CALLS_PER_MINUTE": "10000",
    "JIT_MAX_OPEN_PER_CALLER": "800",
}


def past_requests(place: Place, vm_port: VmPort, count: int) -> Iterable[AccessRequest]:
    """Make requests that ended long ago."""
    began = datetime.now(UTC) - timedelta(days=30)
    for number in range(count):
        at = began + timedelta(minutes=number)
        port = PortRequest(
            vm_port.vm_id,
            vm_port.port,
            "TCP",
            (SOURCE,),
            at + timedelta(hours=1),
            status=Status.REVOKED,
        )
        yield AccessRequest(
            new_request_id(place.policy_id, at, f"{number:08x}"),
            place.policy_id,
            Principal("tenant", f"person-{number % 50}", f"person-{number % 50}@contoso.example"),
            at,
            (port,),
            "INC12345",
        )


def write(stack: Stack, requests: Iterable[AccessRequest]) -> None:
    """Write requests of one policy, many at a time."""
    collected = Collected()
    rows = RequestRows(collected)
    for request in requests:
        rows.insert(request)
    load_azure(stack.storage, {"requests": collected.rows})


def measured(people: People, place: Place, vm_port: VmPort) -> list[tuple[float, float]]:
    """Time new requests, and reads of the policy, one after the other; in milliseconds."""
    port = {"number": vm_port.port, "duration": "PT1H", "allowedSourceAddressPrefix": SOURCE}
    body = {"virtualMachines": [{"id": vm_port.vm_id, "ports": [port]}]}
    seconds = []
    for _ in range(TIMES):
        began = time.perf_counter()
        people.call("POST", f"{place.policy_id}/initiate", body)
        between = time.perf_counter()
        people.call("GET", place.policy_id)
        seconds.append((between - began, time.perf_counter() - between))
    return [(one * 1000, other * 1000) for one, other in seconds]


def main() -> None:
    """Print the figures as a table."""
    place = Place("history", groups=1, vms_in_each=1)
    vm_port = place.vm_ports()[0]
    with Stack(directory=Path(tempfile.mkdtemp()), environment=_SETTINGS) as stack:
        Cloud(stack.arm).build(place)
        people = People(stack)
        people.put_policy(place)
        measured(people, place, vm_port)  # the first calls pay for imports
        print("| Past requests | New request, median | slowest | Reading the policy, median |")
        print("|---:|---:|---:|---:|")
        written = 0
        for count in PAST:
            write(stack, past_requests(place, vm_port, count - written))
            written = count
            # The host closes a connection that was idle while the rows were written.
            asked, read = zip(*measured(People(stack), place, vm_port), strict=True)
            print(
                f"| {count:,} | {statistics.median(asked):.0f} ms | {max(asked):.0f} ms "
                f"| {statistics.median(read):.0f} ms |"
            )


if __name__ == "__main__":
    main()
