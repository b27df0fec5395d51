"""A replica as others see it: routers, admission, migration, hand-offs."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence

from simulator.clock import Clock
from simulator.replica.bounds import InFlight
from simulator.replica.cost import CostModel, StepShape
from simulator.replica.effects import Effects
from simulator.replica.engine import Engine
from simulator.replica.job import Job
from simulator.replica.policy import Scheduler
from simulator.replica.prediction import predicted_tbt_s, predicted_ttft_s
from simulator.replica.records import DRAFT_COLUMNS, RUN_COLUMNS, STEP_COLUMNS, Records
from simulator.replica.state import ReplicaState


class View(ABC):
    """What may be asked of a replica at any moment: it catches up with the clock and answers."""

    __slots__ = (
        "_engine", "_running", "_to_plan", "clock", "cost", "effects", "in_flight", "index", "policy", "state",
    )  # fmt: skip

    index: int  # in its cluster
    state: ReplicaState
    clock: Clock
    cost: CostModel
    # end, completed jobs and whether the decode group ticks, of the steps that are planned and have not ended
    in_flight: InFlight
    effects: Effects
    policy: Scheduler
    _engine: Engine
    _to_plan: bool
    _running: bool

    @abstractmethod
    def catch_up(self) -> None:
        """Be where the clock is."""

    @abstractmethod
    def _load_fell(self) -> None: ...

    @abstractmethod
    def _set_timer(self, due_s: float) -> None: ...

    @property
    def records(self) -> Records:
        """What it has recorded by now."""
        self.catch_up()
        return self._engine.records

    @property
    def recorded(self) -> Records:
        """What it has recorded so far, which may be less than it will have by now."""
        return self._engine.records

    @recorded.setter
    def recorded(self, records: Records) -> None:
        """Put other records in their place."""
        self._engine.records = records

    @property
    def unsettled(self) -> tuple[int, int]:
        """From which step and which tick on what it has recorded may change, or be looked at."""
        engine, ahead = self._engine, len(self.in_flight) + 1
        return engine.step - ahead, engine.group.tick - ahead

    @property
    def asleep(self) -> bool:
        """Whether it has nothing to do until something comes."""
        self.catch_up()
        return not (self.in_flight or self._to_plan)

    @property
    def engine(self) -> Engine:
        """Its queues and KV blocks as they are at this moment, for others to look at and to change."""
        self.catch_up()
        if self.effects.load_fell is not None:
            self._load_fell()
        if self.effects.ended is not None and self.in_flight and not self._running:
            self._set_timer(self.in_flight[0][0])
        return self._engine

    def expect(self, job: Job) -> None:
        """A job has been sent here, though nothing of it is here yet; no step that is planned before sees it."""
        self._engine.transfers.expect(job)

    @property
    def outstanding_tokens(self) -> int:
        """Known tokens of the unfinished requests here."""
        self.catch_up()
        return self._engine.outstanding_tokens

    @property
    def outstanding_requests(self) -> int:
        """Unfinished requests here."""
        self.catch_up()
        engine = self._engine
        here = (
            len(engine.waiting) + len(engine.running) + len(engine.swapped) + len(engine.transfers.received)
        )
        return here + len(engine.transfers.sending) + len(engine.transfers.reserved)

    @property
    def waiting_requests(self) -> int:
        """Queued requests."""
        self.catch_up()
        return len(self._engine.waiting)

    @property
    def waiting(self) -> Sequence[Job]:
        """Queued requests, in the queue's order."""
        self.catch_up()
        return self._engine.waiting

    @property
    def draining(self) -> bool:
        """Whether it takes no more requests and finishes those it has."""
        return self.state.draining

    @property
    def running(self) -> Collection[Job]:
        """Running requests, in order of admission."""
        self.catch_up()
        return self._engine.running.keys()

    @property
    def free_blocks(self) -> int:
        """Free KV blocks."""
        self.catch_up()
        return self._engine.free_blocks

    @property
    def total_blocks(self) -> int:
        """KV blocks that requests can use."""
        return self._engine.total_blocks

    @property
    def block_size(self) -> int:
        """Tokens in a KV block."""
        return self._engine.block_size

    @property
    def price(self) -> Callable[[StepShape], float]:
        """How long a step of some shape is expected to take, seconds."""
        return self._engine.price

    def cached_tokens(self, job: Job) -> int:
        """Known tokens of a request that the prefix cache holds."""
        self.catch_up()
        tokens = self._engine.cached_tokens(job)
        self._looked_for(job)
        return tokens

    def predicted_ttft_s(self, job: Job) -> float:
        """Seconds until a job that came now would have its first token, as far as can be told."""
        self.catch_up()
        left_s = max(0.0, self.in_flight[-1][0] - self.clock.now) if self.in_flight else 0.0
        predicted_s = predicted_ttft_s(self._engine, job, left_s)
        self._looked_for(job)
        return predicted_s

    def promises(self, job: Job) -> bool:
        """Whether its policy would promise a job that came now its bounds, in the next step to be planned."""
        self.catch_up()
        start_s = self.in_flight[-1][0] if self.in_flight else self.clock.now
        promised = self.policy.promises(self._engine, job, start_s)
        self._looked_for(job)
        return promised

    def _looked_for(self, job: Job) -> None:
        """Keep nothing of what was found out about a job that is not here, and may never come."""
        if job.replica is not self:
            self._engine.forget(job)

    def predicted_tbt_s(self, job: Job) -> float:
        """Seconds between its tokens when a job that came now decodes, with all who are here."""
        self.catch_up()
        return predicted_tbt_s(self._engine, job)

    @property
    def last_step_s(self) -> float:
        """Duration of the step that was planned last, 0 before the first."""
        self.catch_up()
        records = self._engine.records
        runs, steps = records.runs, records.steps
        if runs and (not steps or runs[-len(RUN_COLUMNS)] > steps[-1 - len(STEP_COLUMNS)]):
            ends = records.run_ends
            begun_s = ends[-2] if runs[-len(RUN_COLUMNS) + 1] > 1 else runs[-len(RUN_COLUMNS) + 2]
            return ends[-1] - begun_s
        return steps[1 - len(STEP_COLUMNS)] - steps[-len(STEP_COLUMNS)] if steps else 0.0

    def undelivered_tokens(self, job: Job) -> int:
        """Of a running job's generated tokens, those whose steps have not ended yet."""
        self.catch_up()
        if not self.in_flight:
            return 0
        ends, first = self._engine.records.prompt_ends, self._engine.step - len(self.in_flight)
        tokens = 0
        for row in range(len(ends) - 2, -1, -2):
            if ends[row + 1] < first:
                break
            tokens += ends[row] == job.id
        drafts, width = self._engine.records.drafts, len(DRAFT_COLUMNS)
        for row in range(len(drafts) - width, -1, -width):
            if drafts[row + 1] < first:
                break
            tokens += drafts[row + width - 1] if drafts[row] == job.id else 0
        group, ticks = self._engine.group, sum(ticked for _, _, ticked in self.in_flight)
        if job.group is not None:
            tokens += min(ticks, group.tick - job.joined_tick)
        spans, ended_ticks = self._engine.records.spans, group.tick - ticks
        for row in range(len(spans) - 3, -1, -3):  # of those who have left it
            request, joined, count = spans[row : row + 3]
            if joined + count <= ended_ticks:
                break
            tokens += min(count, joined + count - ended_ticks) if request == job.id else 0
        return tokens
