"""How quickly `initiate` is accepted: one caller after another, and many at once.

Nothing is opened meanwhile: in Azure the queue functions run on instances of their own, here they
would share one process with the HTTP functions.
"""

from datetime import UTC, datetime, timedelta

from bench.numbers import quantile
from bench.people import Accepted, People
from bench.place import Cloud, Json, Place
from bench.stacks import TAKING_IN, bench_stack

_WARM_UP, _IN_TURN, _MANY, _AT_ONCE = 40, 400, 800, 16
_PLACE = Place("accept", 2, 20, 20)  # a group takes 750 grants


def run() -> Json:
    """Measure latency in turn, then throughput and latency of many calls at once."""
    with bench_stack(settle=0.05, environment=TAKING_IN) as stack:
        people = People(stack)
        Cloud(stack.arm).build(_PLACE)
        people.put_policy(_PLACE)
        _ask(people, _WARM_UP, 1, "early")
        in_turn = _ask(people, _IN_TURN, 1, "single")
        many = _ask(people, _MANY, _AT_ONCE, "many")
    return {
        "in_turn": len(in_turn.seconds),
        "p50": quantile(in_turn.seconds, 0.5),
        "p99": quantile(in_turn.seconds, 0.99),
        "many": len(many.seconds),
        "at_once": _AT_ONCE,
        "many_p50": quantile(many.seconds, 0.5),
        "many_p99": quantile(many.seconds, 0.99),
        "per_second": len(many.seconds) / many.all_in,
    }


def _ask(people: People, calls: int, at_once: int, names: str) -> Accepted:
    end = datetime.now(UTC) + timedelta(hours=1)
    vm_ports = _PLACE.vm_ports()[:calls]
    return people.ask(_PLACE, vm_ports, [end] * len(vm_ports), at_once=at_once, names=names)
