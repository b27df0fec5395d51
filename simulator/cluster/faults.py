"""What goes wrong: replicas crash and come back, slow down, or lose bandwidth."""

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from simulator.cluster.deployment import Fault, Faults
from simulator.cluster.slowable import reprice
from simulator.replica.replica import Replica
from simulator.replica.state import ReplicaState

if TYPE_CHECKING:
    from simulator.clock import Clock
    from simulator.cluster.kv_transfers import KvTransfers


class FaultInjector:
    """Makes the faults of a deployment happen, as long as anything is left to serve."""

    def __init__(
        self,
        faults: Faults,
        clock: "Clock",
        replicas: Sequence[Replica],
        kv_transfers: "KvTransfers | None",
        draw: random.Random,
        crash: Callable[[Replica], None],
        reopen: Callable[[], None],
        over: Callable[[], bool],
    ) -> None:
        """``crash`` does it to a replica; ``reopen`` is told when one is back; ``over`` says when all is served."""
        self.faults = faults
        self.clock = clock
        self.replicas = replicas
        self.kv_transfers = kv_transfers
        self.draw = draw
        self.crash, self.reopen, self.over = crash, reopen, over
        # A replica may be hit again while it is hit: it comes back when the last of the faults is over.
        self._down = [0] * len(replicas)
        self._slowed: list[list[float]] = [[] for _ in replicas]
        self._thin: list[list[float]] = [[] for _ in replicas]
        for event in faults.events:
            self._plan(event)
        if faults.mtbf_s < float("inf"):
            for replica in replicas:
                self._crash_some_day(replica.index, 0.0)

    def _plan(self, fault: Fault) -> None:
        self.clock.at(fault.at_s).callbacks.append(lambda _: self._begin(fault))

    def _crash_some_day(self, replica: int, from_s: float) -> None:
        at_s = from_s + self.draw.expovariate(1 / self.faults.mtbf_s)
        fault = Fault("crash", replica, at_s, self.faults.repair_s)

        def strike(_: object) -> None:
            if not self.over():
                self._begin(fault)
                self._crash_some_day(replica, at_s + fault.for_s)

        self.clock.at(at_s).callbacks.append(strike)

    def _begin(self, fault: Fault) -> None:
        self.clock.at(fault.at_s + fault.for_s).callbacks.append(lambda _: self._end(fault))
        index = fault.replica
        if fault.kind == "crash":
            self._down[index] += 1
            if self._down[index] == 1 and self.replicas[index].state.up:
                self.crash(self.replicas[index])
        else:
            (self._slowed if fault.kind == "slow" else self._thin)[index].append(fault.factor)
            self._apply(index)

    def _end(self, fault: Fault) -> None:
        index = fault.replica
        if fault.kind == "crash":
            self._down[index] -= 1
            replica = self.replicas[index]
            gone = (
                replica.state is ReplicaState.ABSENT or replica.state.up
            )  # released, or another took its place
            if self._down[index] == 0 and not gone:
                replica.move(replica.state.repaired())
                self.reopen()
        else:
            (self._slowed if fault.kind == "slow" else self._thin)[index].remove(fault.factor)
            self._apply(index)

    def _apply(self, index: int) -> None:
        """Of several faults at once the worst counts."""
        reprice(self.replicas[index], slowed=max(self._slowed[index], default=1.0))
        if self.kv_transfers is not None:
            self.kv_transfers.fabric.set_bandwidth(index, 1 / max(self._thin[index], default=1.0))
