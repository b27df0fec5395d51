"""The replicas of a run and the traffic that reaches them."""

import math
import random
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from typing import Any, NamedTuple

from numpy.typing import NDArray

from simulator.clock import Clock, Process, Quiet
from simulator.errors import InputError
from simulator.limits import Limits
from simulator.policy import Router
from simulator.replica import Replica
from simulator.request import Job, RequestState
from simulator.workload.workload import Workload


class Request(NamedTuple):
    """A row of the workload."""

    id: int
    arrival_s: float
    leave_s: float  # NaN: never
    prompt_tokens: int
    output_tokens: int
    priority: int


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
        self.longest_tokens = limits.max_model_len + overrun_tokens
        self.capacity_tokens = min(each.books.total_blocks for each in replicas) * limits.block_size
        self.frontend_s = frontend_s
        self.arrival_s: list[float] = []  # of each request that has arrived
        self.refused: list[tuple[int, RequestState, float]] = []  # requests that no replica could serve
        self._chosen: list[int] | None = None  # the replica of each request, where that is known beforehand
        self._due: list[float] = []  # closed loop: when the next requests arrive
        self._requests = iter(_requests(workload))
        if workload.concurrency is not None:
            for replica in replicas:
                replica.books.on_end = self._client_goes_on
            for _ in range(workload.concurrency):
                self._next_request(0.0)
        elif getattr(router, "looks_at_load", True) or len(replicas) == 1:
            quiet = Quiet(clock)  # an arrival can reach any replica
            for replica in replicas:
                replica.quiet = quiet
            clock.process(self._arrive(self._requests, quiet))
        else:
            self._arrive_apart()

    @property
    def arrived(self) -> int:
        """Requests that have arrived."""
        return len(self.arrival_s)

    def requests_done(self) -> int:
        """Requests that have reached a final state."""
        return len(self.refused) + sum(len(replica.records.ended) for replica in self.replicas)

    def _arrive_apart(self) -> None:
        """Open loop with routing decided beforehand: each replica has arrivals of its own, and only they reach it."""
        streams: list[list[Request]] = [[] for _ in self.replicas]
        chosen: list[int] = []
        for request in self._requests:
            index = 0 if self._never_fits(request) else self._route(self._job(request))
            streams[index].append(request)
            chosen.append(index)
        self._chosen = chosen
        for replica, stream in zip(self.replicas, streams, strict=True):
            replica.quiet = Quiet(self.clock)
            self.clock.process(self._arrive(stream, replica.quiet))

    def _arrive(self, requests: Iterable[Request], quiet: Quiet) -> Process:
        """Open loop: every request arrives at its time, whatever becomes of the others."""
        clock = self.clock
        leaving: list[tuple[float, int, Replica, Job]] = []
        for request in requests:
            arrival_s = request.arrival_s
            while leaving and leaving[0][0] < arrival_s:
                yield from self._next_departure(leaving, quiet)
            if arrival_s > quiet.until_s:
                quiet.promise(arrival_s)
                yield clock.at(arrival_s)
            placed = self._deliver(request, arrival_s)
            if placed is not None and request.leave_s == request.leave_s:  # not NaN
                replica, job = placed
                heappush(leaving, (max(request.leave_s, arrival_s), job.id, replica, job))
        while leaving:
            yield from self._next_departure(leaving, quiet)
        quiet.promise(math.inf)

    def _deliver(self, request: Request, arrival_s: float) -> tuple[Replica, Job] | None:
        """Bring a request that arrives now to a replica; None if no replica could ever serve it."""
        self.arrival_s.append(arrival_s)
        if self._never_fits(request):
            self.refused.append((request.id, RequestState.FAILED, arrival_s))
            if self.workload.concurrency is not None:
                self._client_goes_on(None, RequestState.FAILED, arrival_s)
            return None
        job = self._job(request)
        job.arrival_s = arrival_s
        index = self._route(job) if self._chosen is None else self._chosen[request.id]
        replica = self.replicas[index]
        replica.submit(job)
        return replica, job

    def _job(self, request: Request) -> Job:
        room = max(1, self.longest_tokens - request.prompt_tokens)
        return Job(
            request.id,
            request.arrival_s,
            request.prompt_tokens,
            min(request.output_tokens, room),
            min(self.workload.max_tokens, room),
            request.priority,
        )

    def _never_fits(self, request: Request) -> bool:
        tokens = request.prompt_tokens
        too_long = tokens >= self.longest_tokens or tokens > self.capacity_tokens
        return too_long and not self.limits.strict_engine

    def _route(self, job: Job) -> int:
        index = self.router.route(job, self.replicas, self.draw)
        if index not in range(len(self.replicas)):
            raise InputError(
                f"policy.routing: {type(self.router).__name__}.route returned {index!r};"
                f" expected a number from 0 to {len(self.replicas) - 1}"
            )
        return index

    def _client_goes_on(self, job: Job | None, state: RequestState, end_s: float) -> None:
        """Closed loop: a client whose request ended sends its next one as soon as it has the answer."""
        self._next_request(end_s + self.frontend_s)

    def _next_request(self, arrival_s: float) -> None:
        request = next(self._requests, None)
        if request is None:
            return
        heappush(self._due, arrival_s)
        self.clock.at(arrival_s).callbacks.append(lambda _: self._arrive_from_loop(request, arrival_s))
        self._promise_quiet()

    def _arrive_from_loop(self, request: Request, arrival_s: float) -> None:
        heappop(self._due)
        self._deliver(request, arrival_s)
        self._promise_quiet()

    def _promise_quiet(self) -> None:
        """A single replica is left alone until the next request; several may send requests to each other."""
        if len(self.replicas) == 1:
            self.replicas[0].quiet.promise(self._due[0] if self._due else math.inf)

    def _next_departure(self, leaving: list[tuple[float, int, Replica, Job]], quiet: Quiet) -> Process:
        """Wait for the next client that gives up, and take its job out."""
        time_s, _, replica, job = heappop(leaving)
        if time_s > quiet.until_s:
            quiet.promise(time_s)
            yield self.clock.at(time_s)
        replica.leave(job)


def _requests(workload: Workload) -> Iterable[Request]:
    n = len(workload)
    return map(
        Request,
        range(n),
        workload.arrival_s.tolist(),
        _listed(workload.leave_s, n, math.nan),
        workload.prompt_tokens.tolist(),
        workload.output_tokens.tolist(),
        _listed(workload.priority, n, 0),
    )


def _listed(column: NDArray[Any] | None, n: int, default: float) -> list[Any]:
    return [default] * n if column is None else column.tolist()
