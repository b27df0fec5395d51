"""One engine instance: a SimPy process that plans, prices, waits and commits, step after step."""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from math import inf
from typing import Literal, Protocol

from simulator.clock import Clock, Quiet, Steps, WakeUp
from simulator.errors import StallError
from simulator.replica.books import NOBODY, STEPS_IN_A_ROW, Books
from simulator.replica.cost import CostModel
from simulator.replica.policy import Scheduler
from simulator.replica.records import RUN_COLUMNS, Records
from simulator.replica.request import Job, RequestState
from simulator.replica.view import View

# Steps without a single new token that are always allowed; beyond them as many again as there are
# tokens outstanding, because a step that makes progress computes at least one.
FRUITLESS_STEPS = 1000


class _Never:
    """In place of a ``Quiet``, for replicas that must not run ahead."""

    until_s = 0.0


_NEVER = _Never()


class Arrivals(Protocol):
    """What arrives at a replica that fetches it."""

    next_s: float  # when the next request arrives

    def bring(self, now_s: float) -> None:
        """Submit what has arrived by now."""


class _Nothing:
    """No arrivals: whoever has something brings it."""

    next_s = inf

    def bring(self, now_s: float) -> None:
        """Nothing comes."""


class Replica(View):
    """A server with one GPU group, its queue and its KV cache."""

    def __init__(
        self,
        clock: Clock,
        policy: Callable[[], Scheduler],
        cost: CostModel,
        books: Callable[[Scheduler], Books],
    ) -> None:
        """Start the process; it sleeps until the first job is submitted."""
        self.clock = clock
        self.quiet = Quiet(clock)  # a cluster may have several replicas share one
        self.couples = False  # whether its steps' ends reach others, so that none may run past them
        self.dreams = False  # whether it decodes on though something may reach it, and takes that back then
        self.cost = cost
        self.arrivals: Arrivals = _Nothing()
        self.past: list[Records] = []  # of the lives before each crash
        self.index = 0  # in its cluster
        self.role: Literal["both", "prefill", "decode"] = "both"
        self.up = True
        self.draining = self.released = False  # goes when it has no more requests; has gone or not come
        self.on_idle: Callable[[float], None] = lambda now_s: None  # told when there is nothing left to do
        self.on_end: Callable[[Job, RequestState, float], None] | None = None  # told of every end
        self.on_hand_off: Callable[[Job], None] | None = None  # told whose part here is done
        # told of the jobs whose part here a planned step completes, when it begins and when it ends
        self.on_last_chunk: Callable[[Sequence[Job], float, float], None] | None = None
        self.on_lighter = None
        self._new_policy, self._new_books = policy, books
        self._dreaming = False  # whether its last coast may have to be taken back
        self._begin_anew()
        self.restart()

    def _begin_anew(self) -> None:
        """Have nothing in memory."""
        self.policy = self._new_policy()
        self._depth, self._spare_blocks = self.policy.pipeline_depth(), self.policy.coast_spare_blocks()
        self._before: tuple[float, Sequence[Job], bool] = 0.0, NOBODY, False  # the last coast
        self._books = self._new_books(self.policy)
        self._books.price = self.cost.step_s
        self._books.decode_piece = getattr(self.cost, "decode_piece", None)
        self.listen()
        self.records = self._books.records
        self.under_way = deque()
        self._asleep: WakeUp | None = None

    def listen(self) -> None:
        """Have the books tell what ``on_end`` and ``on_hand_off`` are to hear."""
        self._books.on_end = self.on_end
        self._books.on_hand_off = self.on_hand_off

    def restart(self) -> None:
        """Serve, from now on."""
        self._process = self.clock.process(self._serve())

    def submit(self, job: Job) -> None:
        """Queue an arriving job; it is seen by any step planned at this instant or later."""
        job.server = self
        if self._dreaming:
            self.wake_from_dream()
        self._books.submit(job)
        self.wake()

    def leave(self, job: Job, state: RequestState) -> None:
        """Drop a job before the next step is planned; it ends in ``state``."""
        self.books.leave(job, state)
        self.wake()

    def crash(self) -> list[Job]:
        """Stop, and lose everything in memory; return the jobs that were here. ``restart`` brings it back."""
        books = self.books
        ticks = sum(ticked for _, _, ticked in self.under_way)
        jobs = books.crash(self.clock.now, ticks, len(self.under_way))
        self.past.append(self.records)
        self._begin_anew()
        self.on_idle(self.clock.now)
        return jobs

    @property
    def asleep(self) -> bool:
        """Whether it waits for something to come."""
        return self._asleep is not None

    def wake(self) -> None:
        """Have a look at the books, if it sleeps."""
        if self._asleep is not None:
            self._asleep.ring(self.index)
            self._asleep = None

    def wake_from_dream(self) -> None:
        """Take back the steps that would not be planned yet, because something may reach it now."""
        if not self._dreaming:
            return
        self._dreaming = False
        books, depth, under_way = self._books, self._depth, self.under_way
        books.cut_short(self._steps_ahead())
        ends, steps = self.records.run_ends, int(self.records.runs[1 - len(RUN_COLUMNS)])
        under_way.clear()
        if steps < depth:
            under_way.append(self._before)
        under_way.extend((end_s, NOBODY, True) for end_s in ends[-min(steps, depth) :])
        self.clock.redirect(self._process, self._late_at(under_way[0][0], self.index))

    def _coast(self, start_s: float, until_s: float) -> tuple[float, bool]:
        """Run steps that need no plan; return when the last one ends, and whether some may have to be taken back."""
        books, under_way, spare_blocks = self._books, self.under_way, self._spare_blocks
        dreams = self.dreams and not books.numbered
        assert spare_blocks is not None
        pipelined, first_step = self._depth > 1, books.step
        if pipelined and under_way[0][1]:  # when those complete, their seats and blocks are free
            _, end_s, completing = books.coast(start_s, inf, spare_blocks, True, 1)
        else:
            until_s = inf if dreams else until_s
            begun_s, end_s, completing = books.coast(
                start_s, until_s, spare_blocks, pipelined, to_completion=not dreams
            )
        steps = books.step - first_step
        if steps:
            if pipelined and steps > 1:
                self._before = under_way[0]
                under_way[0] = begun_s, NOBODY, True
            under_way.append((end_s, completing, True))
            if completing and self.on_lighter is not None:
                self.on_lighter()
        return end_s, dreams and steps > 1

    def _serve(self) -> Steps:
        clock, books, plan, price = self.clock, self._books, self.policy.plan, self.cost.step_s
        quiet, rank = (_NEVER if self.couples else self.quiet), self.index
        late_at = self._late_at = (self.quiet if self.couples else clock).late_at
        begin, advance, retire = books.open, books.advance, books.retire
        running, waiting, swapped, shape = books.running, books.waiting, books.swapped, books.shape
        seatless = books.seatless
        total_blocks, write, under_way = books.total_blocks, self.records.steps.extend, self.under_way
        depth = self._depth
        may_coast, arrivals = self._spare_blocks is not None, self.arrivals
        now_s = busy_until_s = clock.now
        in_a_row = 0
        while True:
            dreaming = False
            if arrivals.next_s <= now_s:
                arrivals.bring(now_s)
            full = len(under_way) == depth - 1  # but for the next step
            if not waiting and may_coast and full and books.steady(under_way[0][1] if under_way else NOBODY):
                until_s = min(quiet.until_s, arrivals.next_s)
                busy_until_s, dreaming = self._coast(busy_until_s if under_way else now_s, until_s)
            while len(under_way) < depth and (running or waiting or swapped or seatless or books.claims):
                lighter = books.doors
                begin(now_s)
                plan(books)
                start_s = end_s = busy_until_s if busy_until_s > now_s else now_s
                if shape.decode_seqs or shape.prefill_seqs or shape.swap_out_blocks:
                    end_s += price(shape)
                elif not books.changed:  # nothing can be done before something arrives or ends
                    if under_way or not books.turn_away():
                        break
                    continue
                write((
                    books.step, start_s, end_s, shape.prefill_tokens, shape.prefill_seqs, shape.decode_seqs,
                    shape.decode_context_tokens, len(running), len(waiting),
                    total_blocks - books.free_blocks, len(books.preempted), books.ticks,
                ))  # fmt: skip
                ticks = books.ticks
                completing = advance()
                under_way.append((end_s, completing, ticks))
                if (completing or lighter or books.changed) and self.on_lighter is not None:
                    self.on_lighter()
                if completing and self.on_last_chunk is not None:
                    self.on_last_chunk(completing, start_s, end_s)
                busy_until_s = end_s
                if books.fruitless_steps > FRUITLESS_STEPS:
                    self._watch()
            if not under_way and arrivals.next_s < inf:
                now_s = arrivals.next_s
                in_a_row += 1
                if now_s >= quiet.until_s or in_a_row > STEPS_IN_A_ROW:
                    yield late_at(now_s, rank)
                    in_a_row = 0
                continue
            if not under_way:
                yield self._next_arrival(now_s)
                if self._books is not books:
                    return  # it crashed meanwhile
                now_s = clock.now
                continue
            now_s, completing, _ = under_way[0]
            in_a_row += 1
            if now_s >= quiet.until_s or in_a_row > STEPS_IN_A_ROW:
                self._dreaming = dreaming
                yield late_at(now_s, rank)
                if self._books is not books:
                    return
                in_a_row = 0
                if dreaming:
                    self._dreaming = False
                    now_s, completing, _ = under_way[0]
                    busy_until_s = under_way[-1][0]
            retire(completing, now_s)
            under_way.popleft()

    def _next_arrival(self, now_s: float) -> WakeUp:
        self.on_idle(now_s)
        self._asleep = WakeUp(self.clock)
        return self._asleep

    def _watch(self) -> None:
        """Turn a livelock into an error: steps that go on without ever producing a token.

        Not while blocks are held for jobs on their way, which will be free some day.
        """
        on_the_way = self._books.departing or self._books.incoming
        if not on_the_way and self._books.fruitless_steps > FRUITLESS_STEPS + self.outstanding_tokens:
            raise StallError(self.stall("keeps planning steps that produce no token for"))

    def stall(self, what: str) -> str:
        """One sentence about a replica that makes no progress."""
        jobs = [*islice(self._books.running, 3), *islice(self._books.waiting, 3)]
        return (
            f"policy {type(self.policy).__name__} {what} {self.outstanding_requests} requests at "
            f"{self._books.now_s:.3f} s (the first of them: {', '.join(map(repr, jobs))})"
        )
