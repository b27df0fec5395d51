"""One engine instance: a SimPy process that plans, prices, waits and commits, step after step."""

from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Literal

from simulator.books import NOBODY, STEPS_IN_A_ROW, Books
from simulator.clock import Clock, Process, Quiet, WakeUp
from simulator.cost import CostModel, StepShape
from simulator.errors import StallError
from simulator.policy import Scheduler
from simulator.records import RUN_COLUMNS, STEP_COLUMNS, Records
from simulator.request import Job, RequestState

# Steps without a single new token that are always allowed; beyond them as many again as there are
# tokens outstanding, because a step that makes progress computes at least one.
FRUITLESS_STEPS = 1000


class _Never:
    """In place of a ``Quiet``, for replicas that must not run ahead."""

    until_s = 0.0


_NEVER = _Never()


class Replica:
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
        self.cost = cost
        self.past: list[Records] = []  # of the lives before each crash
        self.index = 0  # in its cluster
        self.role: Literal["both", "prefill", "decode"] = "both"
        self.up = True
        self.on_end: Callable[[Job, RequestState, float], None] | None = None  # told of every end
        self.on_hand_off: Callable[[Job], None] | None = None  # told whose part here is done
        # told of the jobs whose part here a planned step completes, when it begins and when it ends
        self.on_last_chunk: Callable[[Sequence[Job], float, float], None] | None = None
        self._policy, self._books = policy, books
        self._begin_anew()
        self.restart()

    def _begin_anew(self) -> None:
        """Have nothing in memory."""
        self.policy = self._policy()
        self.books = self._books(self.policy)
        self.books.price = self.cost.step_s
        self.listen()
        self.records = self.books.records
        # end, completed jobs and whether the decode group ticks, of the steps that are planned
        self.under_way: deque[tuple[float, Sequence[Job], bool]] = deque()
        self._asleep: WakeUp | None = None

    def listen(self) -> None:
        """Have the books tell what ``on_end`` and ``on_hand_off`` are to hear."""
        self.books.on_end = self.on_end
        self.books.on_hand_off = self.on_hand_off

    def restart(self) -> None:
        """Serve, from now on."""
        self.clock.process(self._serve())

    @property
    def outstanding_tokens(self) -> int:
        """Known tokens of the unfinished requests here."""
        return self.books.outstanding_tokens

    @property
    def outstanding_requests(self) -> int:
        """Unfinished requests here."""
        books = self.books
        here = len(books.waiting) + len(books.running) + len(books.swapped) + len(books.seatless)
        return here + len(books.departing) + len(books.incoming)

    @property
    def waiting_requests(self) -> int:
        """Queued requests."""
        return len(self.books.waiting)

    @property
    def running(self) -> Collection[Job]:
        """Running requests, in order of admission."""
        return self.books.running.keys()

    @property
    def free_blocks(self) -> int:
        """Free KV blocks."""
        return self.books.free_blocks

    @property
    def total_blocks(self) -> int:
        """KV blocks that requests can use."""
        return self.books.total_blocks

    @property
    def block_size(self) -> int:
        """Tokens in a KV block."""
        return self.books.block_size

    def cached_tokens(self, job: Job) -> int:
        """Known tokens of a request that the prefix cache holds."""
        return self.books.cached_tokens(job)

    def predicted_ttft_s(self, job: Job) -> float:
        """Seconds to compute all queued prompts and then this one, in steps as full as the budget allows.

        Neither the rest of the step under way nor waiting for a seat or for KV blocks is in it.
        """
        books, group = self.books, self.books.group
        tokens = max(1, books.uncomputed_tokens + job.known_tokens - books.cached_tokens(job))
        room = max(1, books.limits.max_num_batched_tokens - group.size)
        full, rest = divmod(tokens, room)

        def step_s(chunk: int) -> float:
            return self.cost.step_s(
                StepShape(
                    prefill_tokens=chunk,
                    prefill_seqs=1,
                    prefill_attention_pairs=0.5 * chunk * chunk,
                    prefill_context_tokens=chunk,
                    decode_seqs=group.size,
                    decode_context_tokens=group.context_tokens(),
                )
            )

        return (full * step_s(room) if full else 0.0) + (step_s(rest) if rest else 0.0)

    def submit(self, job: Job) -> None:
        """Queue an arriving job; it is seen by any step planned at this instant or later."""
        job.server = self
        self.books.submit(job)
        self.wake()

    def leave(self, job: Job, state: RequestState) -> None:
        """Drop a job before the next step is planned; it ends in ``state``."""
        self.books.leave(job, state)
        self.wake()

    def crash(self) -> list[Job]:
        """Stop, and lose everything in memory; return the jobs that were here. ``restart`` brings it back."""
        ticks = sum(ticked for _, _, ticked in self.under_way)
        jobs = self.books.crash(self.clock.now, ticks, len(self.under_way))
        self.past.append(self.records)
        self._begin_anew()
        return jobs

    @property
    def last_step_s(self) -> float:
        """Duration of the step that was planned last, 0 before the first."""
        records = self.records
        runs, steps = records.runs, records.steps
        if runs and (not steps or runs[-len(RUN_COLUMNS)] > steps[-1 - len(STEP_COLUMNS)]):
            ends = records.run_ends
            begun_s = ends[-2] if runs[-len(RUN_COLUMNS) + 1] > 1 else runs[-len(RUN_COLUMNS) + 2]
            return ends[-1] - begun_s
        return steps[1 - len(STEP_COLUMNS)] - steps[-len(STEP_COLUMNS)] if steps else 0.0

    def undelivered_tokens(self, job: Job) -> int:
        """Of a running job's generated tokens, those whose steps have not ended yet."""
        if not self.under_way:
            return 0
        ends, first = self.records.prompt_ends, self.books.step - len(self.under_way)
        tokens = 0
        for row in range(len(ends) - 2, -1, -2):
            if ends[row + 1] < first:
                break
            tokens += ends[row] == job.id
        if job._decoding is not None:
            ticks = sum(ticked for _, _, ticked in self.under_way)
            tokens += min(ticks, self.books.group.tick - job._joined_tick)
        return tokens

    @property
    def asleep(self) -> bool:
        """Whether it waits for something to come."""
        return self._asleep is not None

    def wake(self) -> None:
        """Have a look at the books, if it sleeps."""
        if self._asleep is not None:
            self._asleep.ring()
            self._asleep = None

    def _serve(self) -> Process:
        clock, books, plan, price = self.clock, self.books, self.policy.plan, self.cost.step_s
        ahead, late_at = (_NEVER, self.quiet.late_at) if self.couples else (self.quiet, clock.late_at)
        begin, advance, retire = books.open, books.advance, books.retire
        running, waiting, swapped, shape = books.running, books.waiting, books.swapped, books.shape
        seatless = books.seatless
        total_blocks, write, under_way = books.total_blocks, self.records.steps.extend, self.under_way
        depth = self.policy.pipeline_depth()
        now_s = busy_until_s = clock.now
        in_a_row = 0
        spare_blocks = self.policy.coast_spare_blocks()
        while True:
            if not waiting and spare_blocks is not None and len(under_way) == depth - 1 and books.steady():
                # Nobody waits and all running jobs decode: the next steps need no plan.
                if depth == 1:
                    _, now_s = books.coast(price, now_s, ahead.until_s, spare_blocks, False)
                elif not under_way[0][1]:
                    begun_s, end_s = books.coast(price, busy_until_s, ahead.until_s, spare_blocks, True)
                    if end_s > busy_until_s:
                        now_s, busy_until_s = begun_s, end_s
                        under_way[0] = end_s, NOBODY, True
            while len(under_way) < depth and (running or waiting or swapped or seatless or books.claims):
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
                if completing and self.on_last_chunk is not None:
                    self.on_last_chunk(completing, start_s, end_s)
                busy_until_s = end_s
                if books.fruitless_steps > FRUITLESS_STEPS:
                    self._watch()
            if not under_way:
                yield self._next_arrival()
                if self.books is not books:
                    return  # it crashed meanwhile
                now_s = clock.now
                continue
            end_s, completing, _ = under_way[0]
            in_a_row += 1
            if end_s >= ahead.until_s or in_a_row > STEPS_IN_A_ROW:
                yield late_at(end_s)
                if self.books is not books:
                    return
                in_a_row = 0
            now_s = end_s
            retire(completing, end_s)
            under_way.popleft()

    def _next_arrival(self) -> WakeUp:
        self._asleep = WakeUp(self.clock)
        return self._asleep

    def _watch(self) -> None:
        """Turn a livelock into an error: steps that go on without ever producing a token.

        Not while blocks are held for jobs on their way, which will be free some day.
        """
        on_the_way = self.books.departing or self.books.incoming
        if not on_the_way and self.books.fruitless_steps > FRUITLESS_STEPS + self.outstanding_tokens:
            raise StallError(self.stall("keeps planning steps that produce no token for"))

    def stall(self, what: str) -> str:
        """One sentence about a replica that makes no progress."""
        jobs = [*islice(self.books.running, 3), *islice(self.books.waiting, 3)]
        return (
            f"policy {type(self.policy).__name__} {what} {self.outstanding_requests} requests at "
            f"{self.books.now_s:.3f} s (the first of them: {', '.join(map(repr, jobs))})"
        )
