"""Wires that the steps of replicas share with transfers of KV caches.

A step that takes T seconds alone, and in C of them sends (or receives) over its replica's ports, does so evenly: for a
share u = C/T of its time. With k flows at the port it is one user more at these moments, and all have equal shares. So
in a second the step gets ahead by

    p = 1 / (1 - u + u / (1 - y))        y: what the flows take then, at most k/(k + 1) of the port

and takes u·p of the port; 1 - u/(1 + u·k) of it is left to the flows. Together that is the port at most. What a step
loses, 1 - p in a second, is added to the next one that is planned: a step in flight ends when it was to.
"""

from collections import Counter, deque
from collections.abc import Sequence

from simulator.clock import Clock
from simulator.cluster.deployment import Wires
from simulator.cluster.link import Fabric
from simulator.replica.cost import StepShape
from simulator.replica.replica import Replica

STEPS_KEPT = 4  # of those planned last: more than are in flight


class SharedFabric(Fabric):
    """A fabric whose ports are used by steps, too."""

    def __init__(
        self, clock: Clock, ports: int, bytes_per_s: float | Sequence[float], latency_s: float
    ) -> None:
        super().__init__(clock, ports, bytes_per_s, latency_s)
        self._foresees = False
        self._steps: dict[int, StepsAtPort] = {}
        self._active: list[StepsAtPort] = []  # at whose ports flows are running

    def connect(self, steps: "StepsAtPort") -> None:
        """Let steps share the port of their replica."""
        self._steps[steps.port] = steps

    def look(self) -> None:
        """Share anew: a step has begun or ended."""
        self.update()
        self._share()

    def update(self) -> None:
        """Count what every flow has sent by now, and how long they held steps up."""
        super().update()
        now_s = self._clock.now
        for steps in self._active:
            steps.held_s += steps.loses * (now_s - steps.since_s)
            steps.since_s = now_s

    def _share(self) -> None:
        now_s, out_flows, in_flows = self._clock.now, Counter[int](), Counter[int]()
        for flow in self._flows:
            if flow.begins_s <= now_s < flow.due_s:
                out_flows[flow.source] += 1
                in_flows[flow.destination] += 1
        self._left_out, self._left_in = self._bytes_per_s.copy(), self._bytes_per_s.copy()
        used = [steps for port, steps in self._steps.items() if port in out_flows or port in in_flows]
        for steps in self._active:
            if steps not in used:
                steps.active = False
        for steps in used:
            if not steps.active:
                steps.begin()
            port, (sends, receives) = steps.port, steps.shares(now_s)
            steps.sends, steps.receives = sends, receives
            self._left_out[port] *= 1 - sends / (1 + sends * out_flows[port])
            self._left_in[port] *= 1 - receives / (1 + receives * in_flows[port])
        self._active = used
        super()._share()
        for steps in used:
            port, sent, received = steps.port, 0.0, 0.0
            for flow in self._flows:
                if flow.source == port:
                    sent += flow.bytes_per_s
                if flow.destination == port:
                    received += flow.bytes_per_s
            whole = self._bytes_per_s[port]
            steps.loses = max(
                _loses(steps.sends, sent / whole, out_flows[port]),
                _loses(steps.receives, received / whole, in_flows[port]),
            )


def _loses(share: float, taken: float, flows: int) -> float:
    """Return 1 - p: how far a step falls behind in a second that needs a port for a ``share`` of its time."""
    taken = min(taken, flows / (flows + 1))
    return 1 - 1 / (1 - share + share / (1 - taken))


class StepsAtPort:
    """The steps of one replica, as users of its port."""

    __slots__ = (
        "_clock", "_fabric", "_on_wires_s", "_planned", "_replica", "_watches", "active", "held_s", "loses", "port",
        "receives", "sends", "since_s",
    )  # fmt: skip

    def __init__(self, clock: Clock, fabric: SharedFabric, replica: Replica, on_wires_s: Wires) -> None:
        self._clock, self._fabric, self._replica, self._on_wires_s = clock, fabric, replica, on_wires_s
        self.port = replica.index
        self.active = False  # whether flows are running at the port
        self._watches = False  # whether each step is planned in a turn of its own
        self.held_s = 0.0  # by how much they held up steps, not added to a step so far
        self.loses = 0.0  # seconds of that in a second
        self.since_s = 0.0  # up to when it is counted
        self.sends = self.receives = 0.0  # share of the present step's time
        # When steps begin and end, and the shares of their time in which they send and receive
        self._planned: deque[tuple[float, float, float, float]] = deque(maxlen=STEPS_KEPT)

    def begin(self) -> None:
        """Flows begin at the port."""
        self._replica.catch_up()
        self._watches = True
        self._replica.watch_steps(True)
        self.active, self.since_s, self.loses = True, self._clock.now, 0.0
        for end_s, _, _ in self._replica.in_flight:
            self._look_at(end_s)

    def lasts_s(self, shape: StepShape, alone_s: float) -> float:
        """Return how long a step takes that is planned now; what held up those before it comes on top.

        Nothing of that is left after as long a rest.
        """
        replica = self._replica
        now_s, free_s = replica.engine.now_s, replica.busy_until_s
        start_s = max(now_s, free_s)
        if self.active:
            self._fabric.update()
        elif self._watches and not self.held_s:
            self._watches = False
            replica.watch_steps(False)
        lasts_s = alone_s + max(0.0, self.held_s - (start_s - free_s))
        self.held_s = 0.0
        if alone_s:
            sends_s, receives_s = self._on_wires_s(shape)
            shares = min(1.0, sends_s / alone_s), min(1.0, receives_s / alone_s)
            self._planned.append((start_s, start_s + lasts_s, *shares))
        if self.active:
            if start_s == now_s:
                self._look_at(start_s)
            self._look_at(start_s + lasts_s)
        return lasts_s

    def shares(self, now_s: float) -> tuple[float, float]:
        """Return the shares of its time in which the present step sends and receives, 0 without one."""
        in_flight = self._replica.in_flight
        if not in_flight or in_flight[-1][0] <= now_s:
            return 0.0, 0.0
        for start_s, end_s, sends, receives in self._planned:
            if start_s <= now_s < end_s:
                return sends, receives
        # It was run without a plan: all decode
        engine = self._replica.engine
        shape = StepShape(decode_seqs=engine.group.size, decode_context_tokens=engine.group.context_tokens())
        alone_s = engine.price(shape) if shape.decode_seqs else 0.0
        if not alone_s:
            return 0.0, 0.0
        sends_s, receives_s = self._on_wires_s(shape)
        return min(1.0, sends_s / alone_s), min(1.0, receives_s / alone_s)

    def _look_at(self, time_s: float) -> None:
        self._clock.last_at(time_s).callbacks.append(self._look)

    def _look(self, _: object) -> None:
        if self.active:
            self._fabric.look()
