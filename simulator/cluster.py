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
    ) -> None:
        """Start the arrivals; sequences end at ``limits.max_model_len`` tokens and the overrun."""
        self.clock = clock
        self.workload = workload
        self.replicas = replicas
        self.router = router
        self.draw = draw
        self.limits = limits
        self.overrun_tokens = overrun_tokens
        self.capacity_tokens = min(each.books.total_blocks for each in replicas) * limits.block_size
        self.arrived = 0
        self.refused: list[tuple[int, RequestState, float]] = []  # requests that no replica could serve
        clock.process(self._arrive())

    def requests_done(self) -> int:
        """Requests that have reached a final state."""
        return len(self.refused) + sum(len(replica.records.ended) for replica in self.replicas)

    def _arrive(self) -> Process:
        clock, replicas, route, draw = self.clock, self.replicas, self.router.route, self.draw
        workload, limits = self.workload, self.limits
        longest = limits.max_model_len + self.overrun_tokens
        columns = zip(
            workload.arrival_s.tolist(),
            workload.prompt_tokens.tolist(),
            workload.output_tokens.tolist(),
            _listed(workload.priority, len(workload), 0),
            _listed(workload.leave_s, len(workload), math.nan),
            strict=True,
        )
        everywhere = range(len(replicas))
        leaving: list[tuple[float, int, Replica, Job]] = []
        for request_id, (arrival_s, prompt_tokens, output_tokens, priority, leave_s) in enumerate(columns):
            while leaving and leaving[0][0] < arrival_s:
                yield from self._next_departure(leaving)
            if arrival_s > clock.quiet_until_s:
                clock.quiet_until(arrival_s)
                yield clock.at(arrival_s)
            self.arrived += 1
            if not limits.strict_engine and (
                prompt_tokens >= longest or prompt_tokens > self.capacity_tokens
            ):
                self.refused.append((request_id, RequestState.FAILED, arrival_s))
                continue
            room = max(1, longest - prompt_tokens)
            job = Job(
                request_id,
                arrival_s,
                prompt_tokens,
                min(output_tokens, room),
                min(workload.max_tokens, room),
                priority,
            )
            chosen = route(prompt_tokens, replicas, draw)
            if chosen not in everywhere:
                raise InputError(
                    f"policy.routing: {type(self.router).__name__}.route returned {chosen!r};"
                    f" expected a number from 0 to {len(replicas) - 1}"
                )
            replica = replicas[chosen]
            replica.submit(job)
            if leave_s == leave_s:  # not NaN
                heappush(leaving, (max(leave_s, arrival_s), request_id, replica, job))
        while leaving:
            yield from self._next_departure(leaving)
        clock.quiet_until(math.inf)

    def _next_departure(self, leaving: "list[tuple[float, int, Replica, Job]]") -> Process:
        """Wait for the next client that gives up, and take its job out."""
        time_s, _, replica, job = heappop(leaving)
        if time_s > self.clock.quiet_until_s:
            self.clock.quiet_until(time_s)
            yield self.clock.at(time_s)
        replica.leave(job)


def _listed(column: NDArray[Any] | None, n: int, default: float) -> list[Any]:
    return [default] * n if column is None else column.tolist()
