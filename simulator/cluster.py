"""The replicas of a run and the traffic that reaches them."""

import math
import random
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

from numpy.typing import NDArray

from simulator.clock import Clock, Process
from simulator.errors import InputError
from simulator.limits import Limits
from simulator.policy import Router
from simulator.replica import Replica
from simulator.request import Job, RequestState
from simulator.workload.workload import Workload

Row = tuple[int, int, int, int]  # request id, prompt tokens, output tokens, priority


class Cluster:
    """Delivers each request at its arrival time, through the router, to a replica."""

    def __init__(
        self,
        clock: Clock,
        workload: Workload,
        replicas: Sequence[Replica],
        router: Router,
        draw: random.Random,
        limits: Limits,
        overrun_tokens: int = 0,
        frontend_s: float = 0.0,
    ) -> None:
        """Start the arrivals; sequences end at ``limits.max_model_len`` tokens and the overrun.

        ``frontend_s`` is how long an answer takes to its client.
        """
        self.clock = clock
        self.workload = workload
        self.replicas = replicas
        self.router = router
        self.draw = draw
        self.limits = limits
        self.overrun_tokens = overrun_tokens
        self.frontend_s = frontend_s
        self.capacity_tokens = min(each.books.total_blocks for each in replicas) * limits.block_size
        self.arrival_s: list[float] = []  # of each request that has arrived
        self.refused: list[tuple[int, RequestState, float]] = []  # requests that no replica could serve
        self._rows = iter(
            zip(
                range(len(workload)),
                workload.prompt_tokens.tolist(),
                workload.output_tokens.tolist(),
                _listed(workload.priority, len(workload), 0),
                strict=True,
            )
        )
        self._due: list[float] = []  # closed loop: when the next requests arrive
        if workload.concurrency is None:
            clock.process(self._arrive())
        else:
            for replica in replicas:
                replica.books.on_end = self._client_goes_on
            for _ in range(workload.concurrency):
                self._next_request(0.0)

    @property
    def arrived(self) -> int:
        """Requests that have arrived."""
        return len(self.arrival_s)

    def requests_done(self) -> int:
        """Requests that have reached a final state."""
        return len(self.refused) + sum(len(replica.records.ended) for replica in self.replicas)

    def _arrive(self) -> Process:
        """Open loop: every request arrives at its time, whatever becomes of the others."""
        clock, workload = self.clock, self.workload
        leaving: list[tuple[float, int, Replica, Job]] = []
        departures = _listed(workload.leave_s, len(workload), math.nan)
        for arrival_s, leave_s in zip(workload.arrival_s.tolist(), departures, strict=True):
            while leaving and leaving[0][0] < arrival_s:
                yield from self._next_departure(leaving)
            if arrival_s > clock.quiet_until_s:
                clock.quiet_until(arrival_s)
                yield clock.at(arrival_s)
            placed = self._deliver(next(self._rows), arrival_s)
            if placed is not None and leave_s == leave_s:  # not NaN
                replica, job = placed
                heappush(leaving, (max(leave_s, arrival_s), job.id, replica, job))
        while leaving:
            yield from self._next_departure(leaving)
        clock.quiet_until(math.inf)

    def _deliver(self, row: Row, arrival_s: float) -> tuple[Replica, Job] | None:
        """Bring a request that arrives now to a replica; None if no replica could ever serve it."""
        request_id, prompt_tokens, output_tokens, priority = row
        self.arrival_s.append(arrival_s)
        room = self.limits.max_model_len + self.overrun_tokens - prompt_tokens
        if (room <= 0 or prompt_tokens > self.capacity_tokens) and not self.limits.strict_engine:
            self.refused.append((request_id, RequestState.FAILED, arrival_s))
            if self.workload.concurrency is not None:
                self._client_goes_on(arrival_s)
            return None
        room = max(1, room)
        job = Job(
            request_id,
            arrival_s,
            prompt_tokens,
            min(output_tokens, room),
            min(self.workload.max_tokens, room),
            priority,
        )
        chosen = self.router.route(prompt_tokens, self.replicas, self.draw)
        if chosen not in range(len(self.replicas)):
            raise InputError(
                f"policy.routing: {type(self.router).__name__}.route returned {chosen!r};"
                f" expected a number from 0 to {len(self.replicas) - 1}"
            )
        replica = self.replicas[chosen]
        replica.submit(job)
        return replica, job

    def _client_goes_on(self, end_s: float) -> None:
        """Closed loop: a client whose request ended sends its next one as soon as it has the answer."""
        self._next_request(end_s + self.frontend_s)

    def _next_request(self, arrival_s: float) -> None:
        row = next(self._rows, None)
        if row is None:
            return
        heappush(self._due, arrival_s)
        self.clock.at(arrival_s).callbacks.append(lambda _: self._arrive_from_loop(row, arrival_s))
        self._promise_quiet()

    def _arrive_from_loop(self, row: Row, arrival_s: float) -> None:
        heappop(self._due)
        self._deliver(row, arrival_s)
        self._promise_quiet()

    def _promise_quiet(self) -> None:
        """A single replica is left alone until the next request; several may send requests to each other."""
        if len(self.replicas) == 1:
            self.clock.quiet_until(self._due[0] if self._due else math.inf)

    def _next_departure(self, leaving: "list[tuple[float, int, Replica, Job]]") -> Process:
        """Wait for the next client that gives up, and take its job out."""
        time_s, _, replica, job = heappop(leaving)
        if time_s > self.clock.quiet_until_s:
            self.clock.quiet_until(time_s)
            yield self.clock.at(time_s)
        replica.leave(job)


def _listed(column: NDArray[Any] | None, n: int, default: float) -> list[Any]:
    return [default] * n if column is None else column.tolist()
