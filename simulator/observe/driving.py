"""Traffic in real time: requests are sent when they are due, when a client is free, or a think time after an answer.

The rules are those of the simulated traffic (``simulator.cluster.traffic``): in an open loop each request is sent at
its time, whatever becomes of the others; of so many clients each sends its next request when it has the answer to the
one before; a session's next turn follows its last answer, and a turn that does not complete ends its session.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from simulator.observe.prompts import PromptTexts
from simulator.observe.sending import Sent, send
from simulator.replica.request import RequestState
from simulator.workload import Workload

if TYPE_CHECKING:
    import httpx

    from simulator.observe.endpoint import Endpoint

LOOKS_EVERY_S = 0.05  # at whether the run is to end, and at the client's own lateness
OnSent = Callable[[float, int, int], None]


@dataclass
class Drive:
    """One run of a workload against a server; ``sent`` are the requests so far that were due, in order of dueness.

    ``max_in_flight`` holds requests back beyond so many at a time (None: no bound). ``until_s`` ends the run so many
    seconds after its start (None: with the last answer).
    """

    client: "httpx.AsyncClient"
    endpoint: "Endpoint"
    prompts: PromptTexts
    max_in_flight: int | None = None
    until_s: float | None = None
    sent: list[Sent] = field(default_factory=list)
    start_s: float = 0.0  # of perf_counter, of the run
    end_s: float = 0.0
    stopped: bool = False  # whether it was asked to end
    oversleeps_s: list[float] = field(default_factory=list)  # of the client's own loop, every LOOKS_EVERY_S
    _answers: dict[int, str] = field(default_factory=dict)
    _next_turn: dict[int, int] = field(
        default_factory=dict
    )  # of each row that a later one of its session waits for
    _done: int = 0
    _left: int = 0  # turns that do not come any more

    async def run(self, on_progress: OnSent | None, should_stop: Callable[[], bool]) -> None:
        """Send all requests, and return when each has ended, the time is up, or it is asked to stop.

        ``on_progress`` gets seconds since the start, requests that ended and requests in all.
        """
        self.start_s = perf_counter()
        sending = asyncio.create_task(self._send_all())
        try:
            while not sending.done():
                slept_s = perf_counter()
                await asyncio.wait({sending}, timeout=LOOKS_EVERY_S)
                now_s = perf_counter()
                if not sending.done():
                    self.oversleeps_s.append(max(now_s - slept_s - LOOKS_EVERY_S, 0.0))
                if on_progress is not None:
                    total = len(self.prompts.workload) - self._left
                    on_progress(now_s - self.start_s, self._done, total)
                if should_stop():
                    self.stopped = True
                    break
                if self.until_s is not None and now_s - self.start_s >= self.until_s:
                    break
        finally:
            self.end_s = perf_counter()
            sending.cancel()
            with suppress(asyncio.CancelledError):
                await sending

    async def _send_all(self) -> None:
        workload = self.prompts.workload
        rows = first_turns(workload, self._next_turn)
        gate = asyncio.Semaphore(self.max_in_flight) if self.max_in_flight is not None else None
        async with asyncio.TaskGroup() as group:
            if workload.concurrency is not None:
                first = iter(rows)
                for _ in range(min(workload.concurrency, len(rows))):
                    group.create_task(self._client(first, gate))
                return
            for row, due in zip(rows, workload.arrival_s[rows].tolist(), strict=True):
                due_s = self.start_s + due
                body = self._body(row)  # made before it is due, so that it makes no request late
                await _sleep_until(due_s)
                group.create_task(self._session(row, due_s, body, gate))

    async def _client(self, rows: Iterator[int], gate: asyncio.Semaphore | None) -> None:
        for row in rows:
            body = self._body(row)
            await self._session(row, perf_counter(), body, gate)

    async def _session(self, row: int, due_s: float, body: bytes, gate: asyncio.Semaphore | None) -> None:
        """Send a request and, while they complete, the turns that follow it."""
        think_s = self.prompts.workload.think_s
        while True:
            sent = await self._one(row, due_s, body, gate)
            turn = self._next_turn.pop(row, None)
            if turn is None:
                return
            if sent.state is not RequestState.COMPLETED:
                while turn is not None:  # the session ends with it
                    self._left += 1
                    turn = self._next_turn.pop(turn, None)
                return
            assert think_s is not None
            self._answers[row] = sent.answer.text
            row, due_s = turn, sent.end_s + float(think_s[turn])
            body = self._body(row)
            await _sleep_until(due_s)

    async def _one(self, row: int, due_s: float, body: bytes, gate: asyncio.Semaphore | None) -> Sent:
        sent = Sent(row, due_s)
        self.sent.append(sent)
        asked_s = perf_counter()
        async with gate or nullcontext():
            sent.held_s = perf_counter() - asked_s if gate is not None else 0.0
            await send(self.client, self.endpoint, body, sent, self._patience_s(row))
        self._done += 1
        return sent

    def _body(self, row: int) -> bytes:
        output = int(self.prompts.workload.output_tokens[row])
        return self.endpoint.body(self.prompts.of(row, self._answers), output)

    def _patience_s(self, row: int) -> float:
        """Return after how many seconds the client of a request gives up."""
        workload = self.prompts.workload
        if workload.leave_s is None or np.isnan(workload.leave_s[row]):
            return self.endpoint.timeout_s
        return min(self.endpoint.timeout_s, float(workload.leave_s[row] - workload.arrival_s[row]))


def first_turns(workload: Workload, next_turn: dict[int, int]) -> list[int]:
    """Return the rows that wait for no answer; note in ``next_turn`` which row follows which answer."""
    session, think_s = workload.session, workload.think_s
    if session is None or think_s is None:
        return list(range(len(workload)))
    first: list[int] = []
    last: dict[int, int] = {}
    for row, (each, thought) in enumerate(zip(session.tolist(), think_s.tolist(), strict=True)):
        if each in last and thought == thought:  # not NaN
            next_turn[last[each]] = row
        else:
            first.append(row)
        if each >= 0:
            last[each] = row
    return first


async def _sleep_until(time_s: float) -> None:
    await asyncio.sleep(max(time_s - perf_counter(), 0.0))
