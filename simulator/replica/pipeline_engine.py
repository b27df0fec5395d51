"""An engine whose layers are spread over stages: several batches are in flight, each in another stage.

As vLLM's V1 engine does it (vllm/v1/engine/core.py, ``step_with_batch_queue``): as many batches as there are stages are
scheduled before the first of them has ended, each of requests whose next token can be computed. A request that is to
get a token from a batch in flight is in no other until that has ended; chunks of a prompt that give no token follow
one another through the stages. Each stage takes batches in the order in which they were scheduled, one at a time, and
is taken until it has handed its activations on.
"""

from collections import deque
from collections.abc import Sequence
from math import inf

from simulator.replica.cost import StepShape
from simulator.replica.engine import Engine
from simulator.replica.job import Job, JobState


class StageTimes:
    """When each stage is free."""

    __slots__ = ("_free_s",)

    def __init__(self, stages: int) -> None:
        self._free_s = [0.0] * stages

    def run(self, now_s: float, stage_s: Sequence[float]) -> tuple[float, float]:
        """Send a batch through; return when the last stage begins and ends it.

        ``stage_s`` is how long it takes each stage, handing over included.
        """
        free_s = self._free_s
        begun_s = end_s = now_s
        for stage, lasts_s in enumerate(stage_s):
            begun_s = end_s if end_s > free_s[stage] else free_s[stage]
            end_s = begun_s + lasts_s
            free_s[stage] = end_s
        return begun_s, end_s


class PipelineEngine(Engine):
    """An engine whose decode group has the jobs that are in no batch in flight."""

    __slots__ = ("_batches", "_in_flight")

    def begin(self) -> None:
        """Have no batch in flight, before anything else is done."""
        self._batches: deque[list[Job]] = deque()  # of each step in flight, the jobs that go on after it
        self._in_flight: set[Job] = set()  # all of them

    def admit(self, job: Job, tokens: int, reserve_tokens: int = 0) -> bool:
        """As the base class; but a job that was preempted with a token in flight waits for that."""
        if job in self._in_flight and job.state is JobState.WAITING:
            return False
        return super().admit(job, tokens, reserve_tokens)

    def swap_out(self, job: Job, for_job: Job | None = None) -> bool:
        """As the base class; but blocks that a batch in flight writes to stay where they are."""
        return job not in self._in_flight and super().swap_out(job, for_job)

    def advance(self) -> Sequence[Job]:
        """Make the plan final; its jobs can be scheduled again when it has ended."""
        planned = list(self.running) if self.ticks else list(self.chunks)
        completing = super().advance()
        group, batch = self.group, []
        for job in planned:
            if job.group is not None:
                group.leave(job)
                self.outside_tokens += job.known_tokens
                batch.append(job)
        if not group.size:
            group.end_ticks.clear()  # of which none is to come
        self._batches.append(batch)
        self._in_flight.update(batch)
        return completing

    def retire(self, completing: Sequence[Job], end_s: float) -> None:
        """End the oldest step in flight: its jobs are complete, or go on."""
        super().retire(completing, end_s)
        for job in self._batches.popleft():
            self._in_flight.remove(job)
            if job.state is JobState.RUNNING:  # not preempted meanwhile, nor has its client left
                self.outside_tokens -= job.known_tokens
                self.group.join(job)

    def token_in_flight(self, job: Job) -> bool:
        """Whether a job that runs gets a token from a step in flight."""
        return job in self._in_flight

    def only_decodes(self, completing: Sequence[Job]) -> bool:
        """Never: a step has the jobs of its own batch only."""
        return False

    def completion_bound_s(self, ends_s: Sequence[float], rounding: float) -> float:
        """Return a lower bound of when a job is complete or blocks run out, 0 unless all are in flight and decode.

        ``ends_s`` are those of the steps in flight; a product of steps is so much lower by ``rounding``.
        """
        batches, bound_s = self._batches, inf
        if self.waiting or self.pending or self.partial or self.dropped or not self.running:
            return 0.0
        if sum(map(len, batches)) != len(self.running):
            return 0.0
        turns = self.block_size * (self.kv.free_blocks // len(self.running))
        for batch, end_s in zip(batches, ends_s, strict=True):
            seqs = len(batch)
            if seqs:
                context_tokens = sum([job.computed + 1 for job in batch])
                step_s = self.price(StepShape(decode_seqs=seqs, decode_context_tokens=context_tokens))
                steps = min(turns, min([job.target_tokens - job.generated for job in batch]))
                bound_s = min(bound_s, end_s + steps * step_s * rounding)
        return bound_s

    def decoding_batches(self) -> list[list[Job]] | None:
        """Return the batches in flight, the oldest first, and the jobs of the decode group, if there are no others."""
        group, batches = self.group, self._batches
        if self.swapped or self.pending or self.partial or self.dropped or not group.size:
            return None
        if group.size + sum(map(len, batches)) != len(self.running) or not all(batches):
            return None
        next_jobs = [job for job in self.running if job.group is not None]
        if any(job.joined_tick != group.tick for job in next_jobs):
            return None
        if any(blocks or dropped for blocks, _, dropped in self.unended):
            return None
        return [*batches, next_jobs]

    def park(self) -> None:
        """Take all jobs out of the decode group, as if all were in flight."""
        for job in self.running:
            if job.group is not None:
                self.group.leave(job)
                self.outside_tokens += job.known_tokens

    def unpark(self, batches: Sequence[Sequence[Job]], group_is_last: bool, ranks: int) -> None:
        """Have these batches in flight, the oldest first; but the last is the decode group where it is so.

        ``ranks`` were given in the group by the time that its jobs, if there are any, had joined it.
        """
        in_flight = batches[:-1] if group_is_last else batches
        self._batches = deque([list(batch) for batch in in_flight])
        self._in_flight = {job for batch in in_flight for job in batch}
        if not group_is_last:
            self.group.go_on_at(ranks)
            return
        self.group.go_on_at(ranks - len(batches[-1]))
        for job in batches[-1]:
            self.outside_tokens -= job.known_tokens
            self.group.join(job)
