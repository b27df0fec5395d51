"""A replica as others see it: routers, admission, migration, whoever hands requests over."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Sequence

from simulator.clock import Clock
from simulator.replica.books import Books
from simulator.replica.cost import CostModel, StepShape
from simulator.replica.records import RUN_COLUMNS, STEP_COLUMNS, Records
from simulator.replica.request import Job


class View(ABC):
    """What may be asked of a replica at any moment, whatever it has done ahead of time by then."""

    index: int  # in its cluster
    clock: Clock
    cost: CostModel
    records: Records
    # end, completed jobs and whether the decode group ticks, of the steps that are planned
    under_way: deque[tuple[float, Sequence[Job], bool]]
    on_lighter: Callable[[], None] | None  # told when its outstanding tokens may have become fewer
    _books: Books
    _depth: int  # of its pipeline
    _dreaming: bool  # whether its last coast may have to be taken back

    @abstractmethod
    def wake_from_dream(self) -> None:
        """Take back the steps that would not be planned yet, because something may reach it now."""

    @property
    def books(self) -> Books:
        """Its queues and KV blocks as they are at this moment, for others to look at and to change."""
        self.wake_from_dream()
        if self.on_lighter is not None:
            self.on_lighter()
        return self._books

    @property
    def outstanding_tokens(self) -> int:
        """Known tokens of the unfinished requests here."""
        books = self._books
        group = books.group
        tick = group.tick - self._steps_ahead() if self._dreaming else group.tick
        return books._outside_tokens + group.context_base + group.size * tick

    def _steps_ahead(self) -> int:
        """How many steps of its dream are not planned yet."""
        clock = self.clock
        return self._books.ahead(clock.now, self._depth, clock.past(self.index))

    @property
    def _context_tokens(self) -> int:
        """What the next tick of the decode group attends to."""
        return self.outstanding_tokens - self._books._outside_tokens

    @property
    def outstanding_requests(self) -> int:
        """Unfinished requests here."""
        books = self._books
        here = len(books.waiting) + len(books.running) + len(books.swapped) + len(books.seatless)
        return here + len(books.departing) + len(books.incoming)

    @property
    def waiting_requests(self) -> int:
        """Queued requests."""
        return len(self._books.waiting)

    @property
    def running(self) -> Collection[Job]:
        """Running requests, in order of admission."""
        self.wake_from_dream()
        return self._books.running.keys()

    @property
    def free_blocks(self) -> int:
        """Free KV blocks."""
        self.wake_from_dream()
        return self._books.free_blocks

    @property
    def total_blocks(self) -> int:
        """KV blocks that requests can use."""
        return self._books.total_blocks

    @property
    def block_size(self) -> int:
        """Tokens in a KV block."""
        return self._books.block_size

    def cached_tokens(self, job: Job) -> int:
        """Known tokens of a request that the prefix cache holds."""
        return self._books.cached_tokens(job)

    def predicted_ttft_s(self, job: Job) -> float:
        """Seconds to compute all queued prompts and then this one, in steps as full as the budget allows.

        Neither the rest of the step under way nor waiting for a seat or for KV blocks is in it.
        """
        books, group = self._books, self._books.group
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
                    decode_context_tokens=self._context_tokens,
                )
            )

        return (full * step_s(room) if full else 0.0) + (step_s(rest) if rest else 0.0)

    @property
    def last_step_s(self) -> float:
        """Duration of the step that was planned last, 0 before the first."""
        self.wake_from_dream()
        records = self.records
        runs, steps = records.runs, records.steps
        if runs and (not steps or runs[-len(RUN_COLUMNS)] > steps[-1 - len(STEP_COLUMNS)]):
            ends = records.run_ends
            begun_s = ends[-2] if runs[-len(RUN_COLUMNS) + 1] > 1 else runs[-len(RUN_COLUMNS) + 2]
            return ends[-1] - begun_s
        return steps[1 - len(STEP_COLUMNS)] - steps[-len(STEP_COLUMNS)] if steps else 0.0

    def undelivered_tokens(self, job: Job) -> int:
        """Of a running job's generated tokens, those whose steps have not ended yet."""
        self.wake_from_dream()
        if not self.under_way:
            return 0
        ends, first = self.records.prompt_ends, self._books.step - len(self.under_way)
        tokens = 0
        for row in range(len(ends) - 2, -1, -2):
            if ends[row + 1] < first:
                break
            tokens += ends[row] == job.id
        if job._decoding is not None:
            ticks = sum(ticked for _, _, ticked in self.under_way)
            tokens += min(ticks, self._books.group.tick - job._joined_tick)
        return tokens
