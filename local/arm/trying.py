"""Carry a call out without letting it take effect, for the fault `notTaken`."""

import copy

from local.arm.front_door import handle
from local.arm.simulator import Answer, Call, Simulator


def on_a_copy(sim: Simulator, call: Call) -> Answer:
    """Answer as if the write had been taken: 201, an operation that succeeds, and no change."""
    real = sim.store
    sim.store = copy.deepcopy(real)
    try:
        return handle(sim, call)
    finally:
        sim.store = real
