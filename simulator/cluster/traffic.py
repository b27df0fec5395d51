"""How requests arrive: at their times, or when a client has the answer that it waited for."""

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, repeat

import numpy as np

from simulator.arrays import Floats
from simulator.clock import URGENT, Clock
from simulator.cluster.agent_graph import AgentGraph
from simulator.replica.request import COMPLETED, DEFAULTS, Request, RequestState
from simulator.workload.workload import Workload

ROWS_AT_ONCE = 16_384  # that are turned from columns into requests, which take ten times the memory


class Traffic:
    """Delivers the requests of a workload: open loop, a number of clients, or sessions.

    Requests are numbered in the order in which they arrive.
    """

    def __init__(
        self, clock: Clock, workload: Workload, deliver: Callable[..., None], promised: Mapping[str, float]
    ) -> None:
        """``deliver(request, number, arrival_s)`` is called when a request arrives.

        ``promised`` are optional fields of those requests that do not say them.
        """
        self.clock = clock
        self.arrived = 0
        self._in_order = False  # whether they are numbered as in the workload, and arrive when that says
        self._rows = array("q")
        self.workload = workload
        self._arrival_s = array("d")
        self.to_come = len(workload)  # requests that may still arrive
        self.concurrency = workload.concurrency
        self.closed = (
            workload.concurrency is not None or workload.think_s is not None or workload.waits_for is not None
        )
        self._sent_s = -math.inf  # when a client sent the last request
        self._deliver_to = deliver
        self._requests = _requests(workload, promised)
        self._graph = None if workload.waits_for is None else AgentGraph(workload)
        self._next_turn: dict[int, Request] = {}  # of each row that a later one of its session waits for

    def start(self) -> None:
        """Let requests arrive wherever ``deliver`` brings them."""
        if self.concurrency is not None:
            self._requests = iter(self._first_turns())
            for client in range(self.concurrency):
                self._next_client(self.workload.ramp_s * client / self.concurrency)
        else:
            self._requests = iter(self._first_turns())
            self.clock.call_at(self.clock.now, self._arrive, next(self._requests, None), URGENT)

    def walk(self) -> Iterator[None]:
        """Open loop where nothing but arrivals is ever scheduled: let one request arrive at each step of this."""
        clock, self._in_order = self.clock, True
        for request in self._requests:
            if request.arrival_s >= clock.stops_at_s:
                return
            clock.advance_to(request.arrival_s)
            self._deliver(request, request.arrival_s)
            yield

    def have_arrived(self, requests: int) -> None:
        """Note that the first so many requests have arrived, elsewhere."""
        self.arrived, self._in_order = requests, True
        self.to_come = len(self.workload) - requests

    @property
    def rows(self) -> Sequence[int]:
        """The row in the workload of each request that has arrived."""
        return range(self.arrived) if self._in_order else self._rows

    @property
    def arrival_s(self) -> Floats:
        """When each request arrived."""
        return (
            self.workload.arrival_s[: self.arrived]
            if self._in_order
            else np.array(self._arrival_s, np.float64)
        )

    def answered(self, number: int, state: RequestState, time_s: float) -> None:
        """A request has ended; the client that waited for its answer has it at ``time_s`` and goes on."""
        if self._graph is not None:
            ready, lost = self._graph.answered(self._rows[number], state)
            self.to_come -= lost
            for request in ready:
                thought = request.think_s == request.think_s  # not NaN
                self._arrive_at(request, time_s + (request.think_s if thought else 0.0))
            return
        turn = self._next_turn.pop(self._rows[number], None)
        if turn is not None and state == COMPLETED:
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
        if self._graph is not None:
            return self._graph.first(self._requests)
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

    def _arrive(self, request: Request | None) -> None:
        """Open loop: every request arrives at its time, whatever becomes of the others."""
        clock, requests = self.clock, self._requests
        while request is not None:
            if request.arrival_s > clock.now:
                clock.call_at(request.arrival_s, self._arrive, request)
                return
            self._deliver(request, request.arrival_s)
            request = next(requests, None)

    def _deliver(self, request: Request, arrival_s: float) -> None:
        number, self.arrived = self.arrived, self.arrived + 1
        if not self._in_order:
            self._rows.append(request.row)
            self._arrival_s.append(arrival_s)
        self.to_come -= 1
        self._deliver_to(request, number, arrival_s)

    def _next_client(self, arrival_s: float) -> None:
        request = next(self._requests, None)
        if request is None:
            return
        gap_s = self.workload.send_gap_s
        if gap_s:  # one process sends for all clients
            arrival_s = self._sent_s = max(arrival_s, self._sent_s + gap_s)
        self._arrive_at(request, arrival_s)

    def _arrive_at(self, request: Request, arrival_s: float) -> None:
        self.clock.call_at(arrival_s, lambda _: self._deliver(request, arrival_s))


def _requests(workload: Workload, promised: Mapping[str, float]) -> Iterator[Request]:
    optional = [(workload.optional.get(name), promised.get(name, usual)) for name, usual in DEFAULTS.items()]
    for place, name in enumerate(DEFAULTS):
        column, bound_s = optional[place]
        if column is not None and name in promised:
            optional[place] = np.where(np.isnan(column), bound_s, column), bound_s
    for first in range(0, len(workload), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        yield from map(
            Request,
            count(first),
            workload.arrival_s[rows].tolist(),
            workload.prompt_tokens[rows].tolist(),
            workload.output_tokens[rows].tolist(),
            *(repeat(default) if column is None else column[rows].tolist() for column, default in optional),
        )
