"""What a replica does with an engine: jobs come and leave, steps begin, are planned and end.

A step has two moments. ``advance`` is when its plan is final: from then on its tokens count as computed, so that a
pipelined engine can plan the next step while this one still runs. ``retire`` is when it ends: jobs that are complete
leave and give seat and blocks back.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final

from simulator.replica.cost import DecodePiece, StepShape
from simulator.replica.decode_group import rank_of
from simulator.replica.draft_trees import ChooseNodes
from simulator.replica.engine_state import LateCache
from simulator.replica.job import RECEIVED, RUNNING, SWAPPED, UNPLACED, WAITING, Job
from simulator.replica.kv import KvPool, PrefixCache
from simulator.replica.ledger import StepLedger
from simulator.replica.limits import Limits
from simulator.replica.request import COMPLETED, RequestState
from simulator.replica.tiered_cache import TieredCache
from simulator.replica.transfers import Transfers

NO_JOBS: Final[Sequence[Job]] = ()


class Engine(StepLedger):
    """A ledger with everything that only the replica may do."""

    speculates: ClassVar[bool] = False  # whether how many tokens a step gives is known only when it has ended

    __slots__ = ("_leaving", "drops_with_next_token", "on_prompt_done", "tiers", "transfers", "withholds")

    def __init__(
        self,
        limits: Limits,
        kv: KvPool,
        *,
        whole: bool = False,
        cache: PrefixCache | None = None,
        late_cache: LateCache | None = None,
        queue_key: Callable[[Job], Any] | None = None,
        price: Callable[[StepShape], float] | None = None,
        decode_piece: Callable[[int, int], DecodePiece] | None = None,
        on_end: Callable[[Job, RequestState, float], None] | None = None,
        plans_ahead: bool = False,
        on_prompt_done: Callable[[Job], None] | None = None,
        withholds: bool = False,
        drops_with_next_token: bool = False,
    ) -> None:
        """``whole``: jobs hold the KV blocks for all of their output from the beginning.

        ``on_prompt_done`` is told of jobs whose part here is done, the token that they have got here being given
        where they go on if it ``withholds`` it; the others are as in ``EngineState``.
        """
        super().__init__(  # each by its name: mypyc hands no ** on to a base
            limits, kv, cache=cache, late_cache=late_cache, queue_key=queue_key, price=price,
            decode_piece=decode_piece, on_end=on_end, plans_ahead=plans_ahead,
        )  # fmt: skip
        self.transfers = Transfers(self, whole=whole)
        self.on_prompt_done = on_prompt_done
        self.withholds = withholds
        self.drops_with_next_token = drops_with_next_token
        self.tiers = cache if isinstance(cache, TieredCache) else None
        self._leaving: list[tuple[Job, RequestState]] = []  # dropped since the last plan

    def submit(self, job: Job) -> None:
        """Queue a job that has just arrived."""
        self.outside_tokens += job.prompt_tokens + job.generated
        self.enqueue(job)

    def leave(self, job: Job, state: RequestState) -> None:
        """Drop a job before the next step is planned; it ends in ``state``."""
        self._leaving.append((job, state))
        self.pending = True

    def open(self, now_s: float) -> None:
        """Begin the plan of the next step."""
        if self.cache is not None:
            self.cache.step_opened()
        if self.lanes is not None:
            self.lanes.open()
        self.now_s, self.token_budget = now_s, self.limits.max_num_batched_tokens
        self.too_many_blocks = 0
        shape = self.shape
        shape.decode_seqs = shape.decode_context_tokens = 0
        if self.chunks:
            self.chunks.clear()
        if shape.prefill_tokens:
            shape.prefill_tokens = shape.prefill_seqs = shape.prefill_context_tokens = 0
            shape.prefill_attention_pairs = 0.0
        if self.changed:
            self.changed = False
            self.preempted.clear()
            shape.swap_out_blocks = 0
            shape.swap_in_blocks = 0
        if self.joined:
            self.joined.clear()
        if self.pending:
            if self._leaving:
                self._drop_leavers()
            self.transfers.settle()

    def settle_requests(self) -> None:
        """Grant requests for blocks where nothing else is to be done before the next plan, which may not be needed."""
        if not self._leaving:
            self.transfers.settle_requests()

    def anything_to_do(self) -> bool:
        """Whether a step could have anything to plan, or jobs to let in or out."""
        return bool(self.waiting or self.running or self.swapped or self.pending or self.transfers.received)

    def anything_to_compute(self) -> bool:
        """Whether running jobs have tokens to compute, or jobs are to be let in or out."""
        return bool(self.group.size or self.partial or self.pending)

    @property
    def most_drafts(self) -> int:
        """How deep the drafts of a job may go: there are none."""
        return 0

    def decode_trees(self, depth: int, width: int, choose: ChooseNodes) -> bool:
        """Schedule one token for every job in the decode group, or refuse: there are no drafts to choose from."""
        return self.decode_all()

    def advance(self) -> Sequence[Job]:
        """Make the plan final; return the jobs that are complete when the step ends."""
        fruitful = self.ticks
        completing = self.decoded() if fruitful else None
        if self.chunks:
            for job, chunk in self.chunks.items():
                self.records.chunks.extend((self.step, job.id, chunk, job.computed))
                job.computed += chunk
                known = job.prompt_tokens + job.generated
                if job.computed == known:
                    fruitful = True
                    self.records.prompt_ends.extend((job.id, self.step))
                    del self.partial[job]
                    self.outside_tokens -= known
                    job.generated += 1
                    if not job.completing:
                        self.group.join(job)
                        continue
                    if self.withholds and job.generated < job.output_tokens:
                        self.records.withheld.extend((job.id, self.step))
                    if completing is None:
                        completing = [job]
                    else:
                        completing.append(job)
        if self.cache is not None:
            self.cache.step_planned(self.chunks)
        self.advanced(fruitful)
        return NO_JOBS if completing is None else completing

    def advanced(self, fruitful: bool) -> None:
        """The plan is final, and gives tokens if it is ``fruitful``."""
        self.step += 1
        self.unended.append((self.too_many_blocks, self.ticks, NO_JOBS))
        self.ticks = False
        self.fruitless_steps = 0 if fruitful else self.fruitless_steps + 1

    def decoded(self) -> list[Job] | None:
        """Give each job that decodes in this step its token; return those that are complete with it."""
        group = self.group
        group.tick += 1
        return group.finished() if group.tick in group.last_ticks else None

    def retire(self, completing: Sequence[Job], end_s: float) -> None:
        """End a step at ``end_s``: the jobs it completed leave."""
        blocks, _, dropped = self.unended.popleft()
        self.kv.free_blocks += blocks
        if dropped:
            completing = sorted([*completing, *dropped], key=rank_of)
        if self.cache is not None:
            self.cache.step_ended(completing)
        if completing:
            self.complete(completing, end_s)

    def complete(self, completing: Sequence[Job], end_s: float) -> None:
        """Let jobs leave that are complete with a step that ends now."""
        for job in completing:
            if job.state is RUNNING:
                del self.running[job]
                if job.fixed_blocks:
                    self.give_fixed(job)
                if job not in self.dropped:
                    self.done_jobs += 1
                    self.done_tokens += job.generated
                    if job.generated < job.output_tokens:
                        self._hand_over(job, end_s)
                        continue
                self.kv.release(job)
            elif job.state is WAITING:  # preempted while its last token was in flight
                if not job.completing:  # which is lost
                    continue
                if job.generated < job.output_tokens and job not in self.dropped:
                    if self.withholds:  # what was to be handed over is lost
                        job.generated -= 1
                    else:
                        job.target_tokens += 1
                    self.outside_tokens += job.known_tokens
                    continue
                self.waiting.remove(job)
            else:  # the client left meanwhile
                continue
            self.record_end(job, COMPLETED, end_s)
        if self.cache is not None:
            for job in completing:
                self.cache.forget(job)

    def _hand_over(self, job: Job, time_s: float) -> None:
        """A job's part here is done; unless it was dropped while its last step here was in flight, it goes on."""
        self.transfers.send(job)
        if self.withholds:
            job.generated -= 1
        dropped = [state for each, state in self._leaving if each is job]
        if dropped:
            self.transfers.end_in_transit(job, dropped[0], time_s)
        else:
            assert self.on_prompt_done is not None
            self.on_prompt_done(job)

    def only_decodes(self, completing: Sequence[Job]) -> bool:
        """Whether all running jobs but those that a step in flight completes decode, and none comes or leaves."""
        size = self.group.size
        if self.swapped or self.pending or not 0 < size == len(self.running) - len(completing):
            return False
        if self.unended and self.unended[-1][0]:  # blocks that are free when that step has ended
            return False
        return self.cache is None or self.cache.can_fast_forward

    def crash(self, now_s: float, ticks_in_flight: int, steps_in_flight: int) -> list[Job]:
        """Lose everything in memory, and the steps in flight; return the jobs that were here.

        They have the tokens of the steps that ended, and nothing computed. The engine is of no use any more.
        """
        # Of a job that was dropped twice the first time counts
        gone = dict(reversed(self._leaving)) | self.dropped
        for job, state in gone.items():
            if job.state in (RUNNING, WAITING, SWAPPED, RECEIVED):
                self.end(job, state, now_s)
        transfers = self.transfers
        jobs = [*self.running, *self.waiting, *self.swapped, *transfers.received, *transfers.sending]
        for job in self.running:
            if job.group is not None:
                self.group.leave(job)
        lost = dict.fromkeys((job.id for job in jobs), 0)
        ended_ticks = self.group.tick - ticks_in_flight
        spans = self.records.rows("spans").T
        for request, first, count in spans[spans[:, 1] + spans[:, 2] > ended_ticks].tolist():
            if request in lost:
                lost[request] += first + count - max(first, ended_ticks)
        ends = self.records.rows("prompt_ends").T
        for request in ends[ends[:, 1] >= self.step - steps_in_flight, 0].tolist():
            if request in lost:
                lost[request] += 1
        drafts = self.records.rows("drafts").T
        for request, _, _, _, tokens in drafts[drafts[:, 1] >= self.step - steps_in_flight].tolist():
            if request in lost:
                lost[request] += tokens
        for job in jobs:
            job.generated -= lost[job.id]
            job.lose_cache()
        lost_jobs = [job for job in jobs if job not in gone]
        for job in lost_jobs:
            job.move(UNPLACED)
        self.records.in_flight = steps_in_flight
        return lost_jobs

    def close(self, steps_in_flight: int) -> None:
        """Settle the record when the simulation ends; steps that have not ended are not in it."""
        for job in self.running:
            if job.group is not None:
                self.group.leave(job)
        self.records.in_flight = steps_in_flight

    def _drop_leavers(self) -> None:
        for job, state in self._leaving:
            if job.state is RUNNING and self.drops_with_next_token:
                self.end_with_next_token(job, state)
                continue
            if job.state is RUNNING:
                self.stop_running(job)
                self.kv.release(job)
            elif job.state is SWAPPED:
                del self.swapped[job]
                self.free_cpu_blocks += job.blocks
            elif job.state is WAITING:
                self.waiting.remove(job)
                if job.blocks:  # its KV has come
                    self.kv.release(job)
            elif job.state is RECEIVED:
                self.transfers.received.remove(job)
                self.kv.release(job)
            else:  # it was served in time
                continue
            self.changed = False  # a departure is no decision of the policy
            if job.completing:
                self.outside_tokens += job.known_tokens
            self.end(job, state, self.now_s)
        self._leaving.clear()
