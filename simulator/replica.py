"""One engine instance: a SimPy process that plans, prices, waits and commits, step after step."""

from collections import deque
from itertools import islice

from simulator.clock import Clock, Process, WakeUp
from simulator.cost import CostModel
from simulator.errors import StallError
from simulator.ledger import Ledger
from simulator.policy import Scheduler
from simulator.request import Job

# Steps without a single new token that are always allowed; beyond them as many again as there are
# tokens outstanding, because a step that makes progress computes at least one.
FRUITLESS_STEPS = 1000

# Steps that a replica may run on by itself before it lets the rest of the program have a look.
STEPS_IN_A_ROW = 256


class Replica:
    """A server with one GPU group, its queue and its KV cache."""

    def __init__(self, clock: Clock, policy: Scheduler, cost: CostModel, ledger: Ledger) -> None:
        """Start the process; it sleeps until the first job is submitted."""
        self.clock = clock
        self.policy = policy
        self.cost = cost
        self.ledger = ledger
        self.records = ledger.records
        self._asleep: WakeUp | None = None
        self._fruitless = 0
        clock.process(self._serve())

    @property
    def outstanding_tokens(self) -> int:
        """Known tokens of the unfinished requests here."""
        return self.ledger.outstanding_tokens

    @property
    def outstanding_requests(self) -> int:
        """Unfinished requests here."""
        return len(self.ledger.waiting) + len(self.ledger.running)

    def submit(self, job: Job) -> None:
        """Queue an arriving job; it is seen by any step planned at this instant or later."""
        self.ledger.submit(job)
        if self._asleep is not None:
            self._asleep.ring()
            self._asleep = None

    def _serve(self) -> Process:
        clock, ledger, plan, price = self.clock, self.ledger, self.policy.plan, self.cost.step_s
        running, waiting, shape = ledger.running, ledger.waiting, ledger.shape
        total_blocks, write = ledger.total_blocks, self.records.steps.extend
        in_a_row = 0
        now_s = clock.now
        while True:
            if not running and not waiting:
                yield self._next_arrival()
                now_s = clock.now
            ledger.open(now_s)
            plan(ledger)
            row = (
                shape.prefill_tokens,
                shape.prefill_seqs,
                shape.decode_seqs,
                shape.decode_context_tokens,
                len(running),
                len(waiting),
                total_blocks - ledger.free_blocks,
                len(ledger.preempted),
                ledger.ticks,
            )
            if shape.decode_seqs or shape.prefill_seqs:
                end_s = now_s + price(shape)
            elif ledger.changed:  # somebody was preempted or refused: plan again at once
                end_s = now_s
            else:  # nothing can be done before something arrives
                yield self._next_arrival()
                now_s = clock.now
                continue
            in_a_row += 1
            if end_s >= clock.quiet_until_s or in_a_row > STEPS_IN_A_ROW:
                yield clock.late_at(end_s)
                in_a_row = 0
            write((now_s, end_s, *row))
            now_s = end_s
            if ledger.commit(end_s):
                self._fruitless = 0
            else:
                self._watch()

    def _next_arrival(self) -> WakeUp:
        self._asleep = WakeUp(self.clock)
        return self._asleep

    def _watch(self) -> None:
        """Turn a livelock into an error: steps that go on without ever producing a token."""
        self._fruitless += 1
        if self._fruitless > FRUITLESS_STEPS + self.outstanding_tokens:
            raise StallError(self.stall("keeps planning steps that produce no token for"))

    def stall(self, what: str) -> str:
        """One sentence about a replica that makes no progress."""
        queue: deque[Job] = self.ledger.waiting
        jobs = [*islice(self.ledger.running, 3), *islice(queue, 3)]
        return (
            f"policy {type(self.policy).__name__} {what} {self.outstanding_requests} requests at "
            f"{self.ledger.now_s:.3f} s (the first of them: {', '.join(map(repr, jobs))})"
        )
