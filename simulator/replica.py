"""One engine instance: a SimPy process that plans, prices, waits and commits, step after step."""

from collections import deque
from collections.abc import Collection, Sequence
from itertools import islice

from simulator.books import NOBODY, STEPS_IN_A_ROW, Books
from simulator.clock import Clock, Process, Quiet, WakeUp
from simulator.cost import CostModel, StepShape
from simulator.errors import StallError
from simulator.policy import Scheduler
from simulator.request import Job

# Steps without a single new token that are always allowed; beyond them as many again as there are
# tokens outstanding, because a step that makes progress computes at least one.
FRUITLESS_STEPS = 1000


class Replica:
    """A server with one GPU group, its queue and its KV cache."""

    def __init__(self, clock: Clock, policy: Scheduler, cost: CostModel, books: Books) -> None:
        """Start the process; it sleeps until the first job is submitted."""
        self.clock = clock
        self.quiet = Quiet(clock)  # a cluster may have several replicas share one
        self.policy = policy
        self.cost = cost
        self.books = books
        self.records = books.records
        self.under_way: deque[tuple[float, Sequence[Job]]] = (
            deque()
        )  # end and completed jobs of planned steps
        self._asleep: WakeUp | None = None
        books.price = cost.step_s
        clock.process(self._serve())

    @property
    def outstanding_tokens(self) -> int:
        """Known tokens of the unfinished requests here."""
        return self.books.outstanding_tokens

    @property
    def outstanding_requests(self) -> int:
        """Unfinished requests here."""
        return len(self.books.waiting) + len(self.books.running) + len(self.books.swapped)

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
        self.books.submit(job)
        self._wake()

    def leave(self, job: Job) -> None:
        """Drop a job whose client has gone, before the next step is planned."""
        self.books.leave(job)
        self._wake()

    def _wake(self) -> None:
        if self._asleep is not None:
            self._asleep.ring()
            self._asleep = None

    def _serve(self) -> Process:
        clock, books, plan, price = self.clock, self.books, self.policy.plan, self.cost.step_s
        quiet = self.quiet
        begin, advance, retire = books.open, books.advance, books.retire
        running, waiting, swapped, shape = books.running, books.waiting, books.swapped, books.shape
        total_blocks, write, under_way = books.total_blocks, self.records.steps.extend, self.under_way
        depth = self.policy.pipeline_depth()
        now_s = busy_until_s = clock.now
        in_a_row = 0
        spare_blocks = self.policy.coast_spare_blocks()
        while True:
            if not waiting and spare_blocks is not None and len(under_way) == depth - 1 and books.steady():
                # Nobody waits and all running jobs decode: the next steps need no plan.
                if depth == 1:
                    _, now_s = books.coast(price, now_s, quiet.until_s, spare_blocks, False)
                elif not under_way[0][1]:
                    begun_s, end_s = books.coast(price, busy_until_s, quiet.until_s, spare_blocks, True)
                    if end_s > busy_until_s:
                        now_s, busy_until_s = begun_s, end_s
                        under_way[0] = end_s, NOBODY
            while len(under_way) < depth and (running or waiting or swapped):
                begin(now_s)
                plan(books)
                start_s = end_s = busy_until_s if busy_until_s > now_s else now_s
                if shape.decode_seqs or shape.prefill_seqs or shape.swap_out_blocks:
                    end_s += price(shape)
                elif not books.changed:  # nothing can be done before something arrives or ends
                    break
                write((
                    books.step, start_s, end_s, shape.prefill_tokens, shape.prefill_seqs, shape.decode_seqs,
                    shape.decode_context_tokens, len(running), len(waiting),
                    total_blocks - books.free_blocks, len(books.preempted), books.ticks,
                ))  # fmt: skip
                under_way.append((end_s, advance()))
                busy_until_s = end_s
                if books.fruitless_steps > FRUITLESS_STEPS:
                    self._watch()
            if not under_way:
                yield self._next_arrival()
                now_s = clock.now
                continue
            end_s, completing = under_way[0]
            in_a_row += 1
            if end_s >= quiet.until_s or in_a_row > STEPS_IN_A_ROW:
                yield clock.late_at(end_s)
                in_a_row = 0
            now_s = end_s
            retire(completing, end_s)
            under_way.popleft()

    def _next_arrival(self) -> WakeUp:
        self._asleep = WakeUp(self.clock)
        return self._asleep

    def _watch(self) -> None:
        """Turn a livelock into an error: steps that go on without ever producing a token."""
        if self.books.fruitless_steps > FRUITLESS_STEPS + self.outstanding_tokens:
            raise StallError(self.stall("keeps planning steps that produce no token for"))

    def stall(self, what: str) -> str:
        """One sentence about a replica that makes no progress."""
        jobs = [*islice(self.books.running, 3), *islice(self.books.waiting, 3)]
        return (
            f"policy {type(self.policy).__name__} {what} {self.outstanding_requests} requests at "
            f"{self.books.now_s:.3f} s (the first of them: {', '.join(map(repr, jobs))})"
        )
