"""A network whose transfers share bandwidth: what moving a KV cache between replicas waits for.

Every port can send and can receive at some rate. The flows in flight share these rates max-min
fairly: all are raised together until a port is full or a flow reaches its cap; that one stays, the others
go on rising. Rates change only when a flow starts, ends or is changed, or a port's bandwidth changes, so
nothing happens in between.
"""

import math
from collections.abc import Sequence
from types import EllipsisType

from simulator.clock import Clock
from simulator.cluster.flow import Done, Flow


class Fabric:
    """``ports`` ports of ``bytes_per_s`` (one for all, or one each) in either direction.

    A flow begins ``latency_s`` after ``send``, or as much later as is asked for.

    A flow ends when the clock reaches the time it is due, never by counting bytes down to zero: a
    remainder too small to move the clock is due at once, so no time is ever waited for twice.
    """

    def __init__(
        self, clock: Clock, ports: int, bytes_per_s: float | Sequence[float], latency_s: float
    ) -> None:
        rates = [bytes_per_s] * ports if isinstance(bytes_per_s, int | float) else list(bytes_per_s)
        if not all(0 < each < math.inf for each in rates):
            raise ValueError(f"bytes_per_s must be positive and finite, not {bytes_per_s}")
        if not 0 <= latency_s < math.inf:
            raise ValueError(f"latency_s must be finite and not negative, not {latency_s}")
        self._clock = clock
        self._latency_s = latency_s
        self._as_new_bytes_per_s = rates
        self._bytes_per_s = rates.copy()
        self._left_out = self._left_in = self._bytes_per_s  # what flows may take of it
        self._foresees = True  # whether a flow that begins later may be given its rate before
        self._flows: list[Flow] = []  # in the order they were sent
        # Bytes of flows that are over, added once each: with whole bytes these sums are exact.
        self._out_bytes = [0.0] * ports
        self._in_bytes = [0.0] * ports
        self._wakes = 0  # of which only the last counts; what is on the clock cannot be taken back
        self._next_s = math.inf

    def send(
        self,
        source: int,
        destination: int,
        size_bytes: float,
        done: Done | None,
        *,
        cap_bytes_per_s: float = math.inf,
        after_s: float = 0.0,
    ) -> Flow:
        """Start a flow and call ``done()`` when its last byte has arrived; ``after_s`` is added to the latency.

        With ``done=None`` the flow stays open at its size, taking no bandwidth, until it is resized with
        a ``done`` or cancelled.
        """
        ports = len(self._bytes_per_s)
        if not (0 <= source < ports and 0 <= destination < ports):
            self._check_port(source)
            self._check_port(destination)
        if source == destination:
            raise ValueError(f"a flow needs two ports, not {source} twice")
        _check_flow(size_bytes, cap_bytes_per_s)
        now_s, flows = self._clock.now, self._flows
        begins_s = now_s + (self._latency_s + after_s)
        flow = Flow(source, destination, size_bytes, cap_bytes_per_s, now_s, done, begins_s)
        if not size_bytes:
            flow.restart(now_s)
        flows.append(flow)
        if begins_s > now_s:  # until then it takes nothing from the others
            if len(flows) == 1 and done is not None and self._foresees:
                flow.run(self._alone_bytes_per_s(flow), begins_s)  # if no other comes in between
                self._wake_at(flow.due_s)
            else:
                self._wake_at(min(begins_s, self._next_s))
        else:
            self.update()
            self._share()
        return flow

    def resize(
        self,
        flow: Flow,
        size_bytes: float,
        cap_bytes_per_s: float = math.inf,
        done: Done | EllipsisType | None = ...,
    ) -> None:
        """Change a flow's size (bytes, not below what is sent) and cap; keep its ``done`` unless given.

        A flow that has begun goes on at once, without another latency.
        """
        _check_flow(size_bytes, cap_bytes_per_s)
        if flow not in self._flows:
            raise ValueError("the flow is finished or cancelled")
        self.update()
        if size_bytes < flow.sent_bytes:
            raise ValueError(f"{flow.sent_bytes} bytes are sent already, more than {size_bytes}")
        flow.size_bytes = size_bytes
        flow.cap_bytes_per_s = cap_bytes_per_s
        if not isinstance(done, EllipsisType):
            flow.done = done
        flow.restart(self._clock.now)
        self._share()

    def cancel(self, flow: Flow) -> None:
        """End a flow where it is: what is sent stays sent, and ``done`` is not called any more."""
        flow.done = None  # also where it finished this instant and its turn has not come
        if flow in self._flows:
            self.update()
            self._close(flow)
            self._share()

    def set_bandwidth(self, port: int, factor: float) -> None:
        """Let a port send and receive at ``factor`` times its bandwidth as new."""
        self._check_port(port)
        if not 0 < factor < math.inf:
            raise ValueError(f"factor must be positive and finite, not {factor}")
        self.update()
        self._bytes_per_s[port] = self._as_new_bytes_per_s[port] * factor
        self._share()

    def update(self) -> None:
        """Count what every flow has sent by now."""
        now_s = self._clock.now
        for flow in self._flows:
            flow.update(now_s)

    @property
    def active_flows(self) -> int:
        """How many flows are neither finished nor cancelled, idle ones included."""
        return len(self._flows)

    @property
    def sent_bytes(self) -> float:
        """All bytes that have crossed by now."""
        return sum(self.bytes_out)

    @property
    def bytes_out(self) -> list[float]:
        """The bytes each port has sent by now."""
        self.update()
        total = self._out_bytes.copy()
        for flow in self._flows:
            total[flow.source] += flow.sent_bytes
        return total

    @property
    def bytes_in(self) -> list[float]:
        """The bytes each port has received by now."""
        self.update()
        total = self._in_bytes.copy()
        for flow in self._flows:
            total[flow.destination] += flow.sent_bytes
        return total

    def _check_port(self, port: int) -> None:
        if not 0 <= port < len(self._bytes_per_s):
            raise ValueError(f"there is no port {port}; ports are 0 to {len(self._bytes_per_s) - 1}")

    def _close(self, flow: Flow) -> None:
        self._flows.remove(flow)
        flow.bytes_per_s = 0.0
        self._out_bytes[flow.source] += flow.sent_bytes
        self._in_bytes[flow.destination] += flow.sent_bytes

    def _share(self) -> None:
        """Give every flow its rate from now on, and wait for the next change."""
        now_s = self._clock.now
        running = []
        for flow in self._flows:
            if flow.begins_s > now_s:
                flow.restart(now_s)  # it may not be alone any more
            elif now_s < flow.due_s:
                running.append(flow)
        if len(running) == 1:
            running[0].run(self._alone_bytes_per_s(running[0]), now_s)
        elif running:
            self._fill(running, now_s)
        next_s = math.inf
        for flow in self._flows:
            wakes_s = flow.wakes_s(now_s)
            if wakes_s < next_s:
                next_s = wakes_s
        self._wake_at(next_s)

    def _alone_bytes_per_s(self, flow: Flow) -> float:
        """Return the rate of a flow that shares its ports with no other."""
        ports = self._left_out[flow.source], self._left_in[flow.destination]
        return min(flow.cap_bytes_per_s, *ports)

    def _wake_at(self, time_s: float) -> None:
        """Let ``time_s`` be when anything changes next."""
        if time_s != self._next_s:
            self._next_s = time_s
            self._wakes += 1
            if time_s < math.inf:
                self._clock.call_at(time_s, self._wake, self._wakes)

    def _fill(self, flows: list[Flow], now_s: float) -> None:
        """Raise the rates of ``flows`` together; one that meets a full port or its cap stays there."""
        left_out = {flow.source: self._left_out[flow.source] for flow in flows}  # bytes/s
        left_in = {flow.destination: self._left_in[flow.destination] for flow in flows}
        users_out, users_in = dict.fromkeys(left_out, 0), dict.fromkeys(left_in, 0)
        for flow in flows:
            users_out[flow.source] += 1
            users_in[flow.destination] += 1
        while flows:
            limits = [
                min(
                    flow.cap_bytes_per_s,
                    left_out[flow.source] / users_out[flow.source],
                    left_in[flow.destination] / users_in[flow.destination],
                )
                for flow in flows
            ]
            lowest = min(limits)
            rising = []
            for flow, limit in zip(flows, limits, strict=True):
                if limit > lowest:
                    rising.append(flow)
                    continue
                flow.run(lowest, now_s)
                left_out[flow.source] -= lowest
                left_in[flow.destination] -= lowest
                users_out[flow.source] -= 1
                users_in[flow.destination] -= 1
            flows = rising

    def _wake(self, wake: int) -> None:
        """Finish the flows that are due, in the order they were sent, and let new ones begin."""
        if wake != self._wakes:
            return
        self._next_s = math.inf
        now_s = self._clock.now
        arrived = [flow for flow in self._flows if flow.due_s <= now_s and flow.done is not None]
        others = len(arrived) < len(self._flows) or not self._foresees  # have to be looked at
        if others:
            self.update()
        for flow in arrived:
            flow.sent_bytes, flow.finished_s = flow.size_bytes, now_s
            self._close(flow)
        if others:
            self._share()
        for flow in arrived:
            done, flow.done = flow.done, None  # which knows the flow: nothing is to be left of them
            if done is not None:
                done()


def _check_flow(size_bytes: float, cap_bytes_per_s: float) -> None:
    if not 0 <= size_bytes < math.inf:
        raise ValueError(f"size_bytes must be finite and not negative, not {size_bytes}")
    if not cap_bytes_per_s > 0:
        raise ValueError(f"cap_bytes_per_s must be positive, not {cap_bytes_per_s}")
