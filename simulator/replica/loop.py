"""The loop of one engine: a passive state machine that is never ahead of what asks.

Its steps depend only on what was submitted and when, so they are computed as late as one looks: ``run_until``.
Nothing is predicted, so nothing is taken back.
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import islice
from math import inf, nextafter
from typing import Final, cast

from simulator.errors import StallError
from simulator.replica.adaptive_engine import AdaptiveEngine
from simulator.replica.arriving import decode_with_arrivals, start_all
from simulator.replica.cost import StagedCost
from simulator.replica.draft_runs import DraftRunEngine
from simulator.replica.engine import NO_JOBS
from simulator.replica.fast_forward import fast_forward
from simulator.replica.job import Job
from simulator.replica.pipeline_engine import PipelineEngine, StageTimes
from simulator.replica.pipeline_runs import run_batches
from simulator.replica.view import View

# Steps without a single new token that are always allowed while no request ends; beyond them as many again as there
# are tokens outstanding, because a step that makes progress computes at least one.
FRUITLESS_STEPS: Final = 1000


class StepLoop(View):
    """An engine whose steps end and are planned, one after the other."""

    __slots__ = (
        "_admits_all", "_depth", "_ends_unseen", "_goes_on", "_hears", "_late", "_now_s", "_plans_ends",
        "_spare_blocks", "_stages", "busy_until_s",
    )  # fmt: skip

    busy_until_s: float  # when the last planned step ends
    _now_s: float  # when it plans next, or planned last
    _late: bool  # whether it plans in an extra turn of this instant
    _depth: int  # steps planned before the first of them has ended
    _ends_unseen: bool  # whether a step is planned before the stop tokens of the one before are seen
    _plans_ends: bool  # whether the policy plans a token beyond each last one in flight
    _spare_blocks: int | None  # what a step that is run without a plan leaves free; None: each is planned
    _stages: StageTimes | None  # where the layers are spread over several
    _hears: bool  # whether the policy is asked before such steps, and told of them
    _admits_all: bool  # whether all that waits is admitted, if it fits, where all jobs decode
    _goes_on: bool  # whether such steps go on where a job is complete

    @abstractmethod
    def _chunks(self, start_s: float, end_s: float) -> None: ...

    @abstractmethod
    def _rest(self, now_s: float) -> None: ...

    def run_until(self, time_s: float, most_steps: float = inf) -> bool:
        """Decide all that is decided before ``time_s``; steps that end before it have ended.

        Returns whether it came so far; it stops early after ``most_steps`` plans.
        """
        in_flight = self.in_flight
        if not self._to_plan and (not in_flight or in_flight[0][0] >= time_s):
            return True
        engine, forwards, waits_for = self._engine, self._spare_blocks is not None, self._depth - 1
        staged, waiting, tiers = self._stages is not None, engine.waiting, engine.tiers
        self._running = True
        while True:
            if self._to_plan:
                if self._now_s >= time_s or (self._late and time_s == nextafter(self._now_s, inf)):
                    break
                if most_steps <= 0:
                    self._running = False
                    return False
                most_steps -= 1
                self._to_plan = self._late = False
                none_new = forwards and (not waiting or (self._admits_all and waiting[-1].brought))
                alike = none_new and (len(in_flight) == waits_for or staged)
                if not (alike and self._fast_forward(time_s)):
                    self._plan()
                    if not in_flight:
                        self._running = False
                        self._rest(self._now_s)
                        return True
            if not in_flight or in_flight[0][0] >= time_s:
                break
            self._now_s, completing, _ = in_flight[0]
            if tiers is not None:
                tiers.now_s = self._now_s
            engine.retire(completing, self._now_s)
            if self._engine is not engine:
                return True  # that was the end of it
            in_flight.popleft()
            self._to_plan = True
        self._running = False
        return True

    def _plan(self) -> None:
        """Plan as many steps as the pipeline holds."""
        engine, in_flight, now_s, depth = self._engine, self.in_flight, self._now_s, self._depth
        running, waiting, shape, transfers = engine.running, engine.waiting, engine.shape, engine.transfers
        tiers = engine.tiers
        # Whether it is asked, too, where all that runs is complete when the steps in flight end
        ends_unseen = self._ends_unseen
        always, lanes = self._spare_blocks is None or ends_unseen or self._hears, engine.lanes
        while len(in_flight) < depth and (
            waiting or (running and (always or engine.anything_to_compute()))
            or engine.swapped or transfers.received or transfers.requests
        ):  # fmt: skip
            lighter = engine.pending
            if tiers is not None:
                tiers.now_s = now_s
            engine.open(now_s)
            if ends_unseen:
                engine.decode_unseen_ends()
            completing = start_all(engine) if self._admits_all else None
            if completing is None:
                self.policy.plan(engine)
            if isinstance(engine, AdaptiveEngine):
                engine.trim_drafts()
            start_s = end_s = self.busy_until_s if self.busy_until_s > now_s else now_s
            if lanes is not None and lanes.busy_s >= 0:
                end_s += lanes.busy_s
            elif shape.decode_seqs or shape.prefill_seqs or shape.swap_out_blocks:
                if self._stages is None:
                    end_s += self.cost.step_s(shape)
                else:
                    start_s, end_s = self._stages.run(now_s, cast(StagedCost, self.cost).stage_s(shape))
            elif not engine.changed:  # nothing can be done before something arrives or ends
                if in_flight or not transfers.restart_last_received():
                    break
                continue
            if tiers is not None:
                end_s = tiers.step_end_s(start_s, end_s)
            self._begin(start_s, end_s, lighter, completing)

    def _begin(
        self, start_s: float, end_s: float, lighter: bool, completing: Sequence[Job] | None = None
    ) -> Sequence[Job]:
        """Make the planned step final, record it, and return the jobs that are complete when it ends.

        ``lighter``: jobs had come or left before it was planned; ``completing`` are known where it is final already.
        """
        engine, shape, effects = self._engine, self._engine.shape, self.effects
        engine.records.steps.extend((
            engine.step, start_s, end_s, shape.prefill_tokens, shape.prefill_seqs, shape.decode_seqs,
            shape.decode_context_tokens, len(engine.running), len(engine.waiting),
            engine.total_blocks - engine.kv.free_blocks, len(engine.preempted), engine.ticks,
        ))  # fmt: skip
        ticks = engine.ticks
        if completing is None:
            completing = engine.advance()
        else:
            engine.advanced(True)
        self.in_flight.append((end_s, completing, ticks))
        self.busy_until_s = end_s
        if effects.load_fell is not None and (completing or lighter or engine.changed):
            self._load_fell()
        if effects.chunks is not None and (engine.chunks or engine.preempted):
            self._chunks(start_s, end_s)
        if engine.fruitless_steps > FRUITLESS_STEPS:
            self._watch()
        return completing

    def _fast_forward(self, time_s: float) -> bool:
        """Run steps in which all jobs decode, of which those before ``time_s`` are planned; False if one is to plan."""
        engine, in_flight = self._engine, self.in_flight
        pipelined = bool(in_flight)
        before = in_flight[0][1] if pipelined else NO_JOBS
        if before and self._ends_unseen:
            return False
        if engine.pending:
            engine.settle_requests()
        spare_blocks = self._spare_blocks  # None where what comes now has steps be watched
        if self._stages is not None and spare_blocks is not None and not self._hears:
            self._now_s, due = run_batches(
                cast(PipelineEngine, engine), in_flight, self._stages, cast(StagedCost, self.cost),
                self._now_s, time_s, spare_blocks,
            )  # fmt: skip
            self.busy_until_s = in_flight[-1][0] if in_flight else self.busy_until_s
            return not due
        if spare_blocks is None or not engine.only_decodes(before) or (self._hears and engine.speculates):
            return False
        if self._hears:
            engine.open(self._now_s)  # what it looks at is as in a plan
            if not self.policy.goes_on_decoding(engine):
                return False
        start_s = self.busy_until_s if pipelined else self._now_s
        first_step, size, due, engine.too_many_blocks = engine.step, engine.group.size, False, 0
        if engine.waiting:
            begun_s, end_s, completing = decode_with_arrivals(engine, start_s, spare_blocks)
        elif engine.speculates:
            drafts = cast(DraftRunEngine, engine)
            begun_s, end_s, completing = drafts.run_drafts(start_s, time_s, spare_blocks, pipelined)
        else:
            beyond, told = self._plans_ends and pipelined, self.policy if self._hears else None
            begun_s, end_s, before, completing, due = fast_forward(
                engine, start_s, time_s, spare_blocks, pipelined, before, self._goes_on, beyond, told
            )
        if engine.step == first_step:
            return False
        if pipelined and engine.step > first_step + 1:
            in_flight[0] = begun_s, before, True
            engine.unended[0] = 0, True, NO_JOBS
        in_flight.append((end_s, completing, True))
        engine.unended.append((engine.too_many_blocks, True, NO_JOBS))
        self.busy_until_s = end_s
        if (completing or engine.group.size < size) and self.effects.load_fell is not None:
            self._load_fell()
        if due:
            self._now_s, _, _ = in_flight.popleft()
            engine.unended.popleft()
        return not due

    def _watch(self) -> None:
        """End a livelock: steps that go on without a token, and without a request that ends.

        Not while blocks are held for jobs on their way, which will be free some day. Jobs that wait with their KV may
        hold the blocks that a running one lacks, which preempts itself again and again: then one of them gives way.
        Else it is an error.
        """
        engine = self._engine
        if engine.transfers.any or engine.fruitless_steps <= FRUITLESS_STEPS + self.outstanding_tokens:
            return
        if not engine.transfers.restart_last_received():
            raise StallError(self.stall("keeps planning steps that produce no token for"))
        engine.fruitless_steps = 0

    def stall(self, what: str) -> str:
        """One sentence about a replica that makes no progress."""
        jobs = [*islice(self._engine.running, 3), *islice(self._engine.waiting, 3)]
        return (
            f"policy {type(self.policy).__name__} {what} {self.outstanding_requests} requests at "
            f"{self._engine.now_s:.3f} s (the first of them: {', '.join(map(repr, jobs))})"
        )
