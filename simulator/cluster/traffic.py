"""How requests arrive: at their times, or when somebody has the answer that he waited for."""

import math
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator.clock import Clock, Quiet, Steps
from simulator.replica.request import Job, RequestState
from simulator.workload.workload import Workload

ROWS_AT_ONCE = 16_384  # that are turned from columns into requests, which take ten times the memory


class Request(NamedTuple):
    """A row of the workload."""

    row: int
    arrival_s: float
    leave_s: float  # NaN: never
    prompt_tokens: int
    output_tokens: int
    priority: int
    tenant: int
    predicted_tokens: int
    session: int
    think_s: float  # NaN: it arrives at arrival_s


class Placed(NamedTuple):
    """A request whose replica is known before it arrives."""

    request: Request
    replica: int
    job: Job | None  # None: it can never be served


class Feed:
    """The requests that arrive at one replica, which fetches them whenever it looks: no event is needed."""

    __slots__ = ("_deliver", "_next", "_requests", "next_s")

    def __init__(self, requests: Iterator[Placed], deliver: Callable[[Placed], None]) -> None:
        self._requests, self._deliver = requests, deliver
        self.next_s = -math.inf  # when the next one arrives; infinite: none does
        self._next: Placed | None = None
        self._look()

    def bring(self, now_s: float) -> None:
        """Deliver what has arrived by now."""
        while self.next_s <= now_s:
            assert self._next is not None
            self._deliver(self._next)
            self._look()

    def stop(self) -> None:
        """Bring nothing more."""
        self._next, self.next_s = None, math.inf

    def _look(self) -> None:
        self._next = next(self._requests, None)
        self.next_s = math.inf if self._next is None else self._next.request.arrival_s


class Traffic:
    """Delivers the requests of a workload: open loop, a number of clients, or sessions.

    Requests are numbered in the order in which they arrive; ``rows`` are theirs in the workload.
    """

    def __init__(
        self, clock: Clock, quiet: Quiet, workload: Workload, rows: "array[int]", deliver: Callable[..., None]
    ) -> None:
        """``deliver(request, number, arrival_s)`` is called when a request arrives."""
        self.clock = clock
        self.quiet = quiet
        self.rows = rows
        self.arrived = 0
        self.workload = workload
        self.feeds: list[Feed] = []  # of replicas that fetch what arrives
        self.only = range(0)  # the replicas whose feeds bring anything
        self._arrival_s = array("d")
        self.to_come = len(workload)  # requests that may still arrive
        self.concurrency = workload.concurrency
        self.closed = workload.concurrency is not None or workload.think_s is not None
        self._deliver_to = deliver
        self._requests = _requests(workload)
        self._next_turn: dict[int, Request] = {}  # of each row that a later one of its session waits for

    def start(self) -> None:
        """Let requests arrive wherever ``deliver`` brings them."""
        if self.concurrency is not None:
            self._requests = iter(self._first_turns())
            for _ in range(self.concurrency):
                self._next_client(0.0)
        else:
            self.clock.process(self._arrive(self._first_turns()))

    def start_apart(
        self, place: Callable[[Request], Placed], replicas: int, deliver: Callable[[Placed], None]
    ) -> "list[Feed]":
        """Open loop where each request's replica is known beforehand: return what arrives at each of them."""
        self.rows.extend(range(len(self.workload)))
        queues: list[deque[Placed]] = [deque() for _ in range(replicas)]
        self.only = range(replicas)

        def requests_of(queue: deque[Placed]) -> Iterator[Placed]:
            while True:
                while not queue:
                    request = next(self._requests, None)
                    if request is None:
                        return
                    placed = place(request)
                    if placed.replica in self.only:
                        queues[placed.replica].append(placed)
                yield queue.popleft()

        def arrive(placed: Placed) -> None:
            self.to_come -= 1
            self.arrived = max(self.arrived, placed.request.row + 1)
            deliver(placed)

        self.feeds = [Feed(requests_of(queue), arrive) for queue in queues]
        return self.feeds

    def keep_to(self, replicas: range) -> None:
        """Bring what arrives to these replicas only."""
        self.only = replicas
        for replica, feed in enumerate(self.feeds):
            if replica not in replicas:
                feed.stop()

    def close(self) -> None:
        """The simulation is over: what would have arrived before the clock was stopped has arrived."""
        for feed in self.feeds:
            feed.bring(math.nextafter(self.clock.stops_at_s, 0.0) if self.clock.stopped else -math.inf)

    @property
    def arrival_s(self) -> NDArray[np.float64]:
        """When each request arrived."""
        if self.feeds:
            return self.workload.arrival_s[: self.arrived]
        return np.array(self._arrival_s, np.float64)

    def answered(self, number: int, state: RequestState, time_s: float) -> None:
        """A request has ended; whoever waited for its answer has it at ``time_s`` and goes on."""
        turn = self._next_turn.pop(self.rows[number], None)
        if turn is not None and state == RequestState.COMPLETED:
            self._arrive_at(turn, time_s + turn.think_s)
            return
        while turn is not None:  # the session ends with it
            self.to_come -= 1
            turn = self._next_turn.pop(turn.row, None)
        if self.concurrency is not None:
            self._next_client(time_s)

    def _first_turns(self) -> Iterable[Request]:
        """Return the requests that arrive at a given time; the others follow the one before in their session."""
        if not self.closed:
            return self._requests
        first: list[Request] = []
        last: dict[int, int] = {}
        for request in self._requests:
            if request.session in last and request.think_s == request.think_s:  # not NaN
                self._next_turn[last[request.session]] = request
            else:
                first.append(request)
            if request.session >= 0:
                last[request.session] = request.row
        return first

    def _arrive(self, requests: Iterable[Request]) -> Steps:
        """Open loop: every request arrives at its time, whatever becomes of the others."""
        clock, quiet = self.clock, self.quiet
        for request in requests:
            if request.arrival_s > clock.now:
                yield quiet.arrival_at(request.arrival_s)
            self._deliver(request, request.arrival_s)
        quiet.arrivals_are_over()

    def _deliver(self, request: Request, arrival_s: float) -> None:
        number, self.arrived = self.arrived, self.arrived + 1
        self.rows.append(request.row)
        self._arrival_s.append(arrival_s)
        self.to_come -= 1
        self._deliver_to(request, number, arrival_s)

    def _next_client(self, arrival_s: float) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._arrive_at(request, arrival_s)

    def _arrive_at(self, request: Request, arrival_s: float) -> None:
        self.quiet.at(arrival_s).callbacks.append(lambda _: self._deliver(request, arrival_s))


def _requests(workload: Workload) -> Iterator[Request]:
    for first in range(0, len(workload), ROWS_AT_ONCE):
        rows = range(first, min(first + ROWS_AT_ONCE, len(workload)))
        yield from map(
            Request,
            rows,
            _listed(workload.arrival_s, rows),
            _listed(workload.leave_s, rows, math.nan),
            _listed(workload.prompt_tokens, rows),
            _listed(workload.output_tokens, rows),
            _listed(workload.priority, rows, 0),
            _listed(workload.tenant, rows, 0),
            _listed(workload.predicted_tokens, rows, workload.max_tokens),
            _listed(workload.session, rows, -1),
            _listed(workload.think_s, rows, math.nan),
        )


def _listed(column: NDArray[Any] | None, rows: range, default: float = 0) -> list[Any]:
    return [default] * len(rows) if column is None else column[rows.start : rows.stop].tolist()
