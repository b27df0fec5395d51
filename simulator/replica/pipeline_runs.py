"""Steps of a pipeline in which all running jobs decode need no plan: batches take turns, one step each after the other.

While no job comes or leaves, the jobs of a batch stay together: they are the next batch once their step has ended.
"""

from collections import deque
from collections.abc import Sequence
from math import inf, nextafter

from simulator.replica.bounds import InFlight
from simulator.replica.cost import StagedCost
from simulator.replica.engine import NO_JOBS
from simulator.replica.filled_blocks import admission_of
from simulator.replica.job import Job
from simulator.replica.pipeline_engine import PipelineEngine, StageTimes
from simulator.replica.prefix_blocks import PrefixBlocks

FEWEST_TURNS = 3  # before a job is complete; for fewer, planning each step is faster


class DecodingBatch:
    """Jobs that decode together, and what each of their steps needs."""

    __slots__ = (
        "context_tokens",
        "filling",
        "jobs",
        "openers",
        "ranks_before",
        "spans",
        "steps",
        "steps_left",
    )

    def __init__(self, jobs: Sequence[Job], block_size: int) -> None:
        """Begin with the next step of these jobs."""
        self.jobs = jobs
        self.steps = 0  # planned since
        self.steps_left = min([job.target_tokens - job.generated for job in jobs]) - 1  # that complete no job
        self.context_tokens = sum([job.computed + 1 for job in jobs])  # of the next step
        self.spans = [number for job in jobs for number in (job.id, 0, 1)]  # with the tick yet to be written
        self.ranks_before = -1  # given when it joined the decode group last; -1: not since
        self.openers: dict[
            int, int
        ] = {}  # how many jobs need a new block in steps = so many (mod block size)
        self.filling: dict[int, list[Job]] = {}  # who fills one, in order of admission
        for job in jobs:
            if not job.reserved:
                opens = -job.computed % block_size
                self.openers[opens] = self.openers.get(opens, 0) + 1
                self.filling.setdefault((opens - 1) % block_size, []).append(job)
        for filling in self.filling.values():
            filling.sort(key=admission_of)


def run_batches(
    engine: PipelineEngine,
    in_flight: InFlight,
    stages: StageTimes,
    cost: StagedCost,
    now_s: float,
    until_s: float,
    spare_blocks: int,
) -> tuple[float, bool]:
    """Plan steps, the first of them now, and end those that end before ``until_s``, as far as they need no plan.

    Does what planning and ending each of them would do, to the last bit. Ends before a step that completes a job, or
    that would leave fewer than ``spare_blocks`` blocks. Returns when it planned last, or would have, and whether a
    step is still to be planned then.
    """
    cache, kv, records, group = engine.cache, engine.kv, engine.records, engine.group
    if not (cache is None or isinstance(cache, PrefixBlocks)):
        return now_s, True
    if until_s == nextafter(now_s, inf) or (in_flight and in_flight[-1][0] >= until_s):  # too few
        return now_s, True
    batches = engine.decoding_batches()
    if batches is None or any(completing for _, completing, _ in in_flight):
        return now_s, True
    if min([job.target_tokens - job.generated for job in engine.running]) <= FEWEST_TURNS:
        return now_s, True
    size, free = engine.block_size, kv.free_blocks - spare_blocks
    most = max(map(len, batches))
    if most > min(engine.limits.max_num_batched_tokens, free):  # each may need a block
        return now_s, True
    turns = deque([DecodingBatch(jobs, size) for jobs in batches])  # the one that is planned next is last
    batch = turns[-1]
    engine.open(now_s)
    engine.park()
    shape, running = engine.shape, len(engine.running)
    tick, ranks, known_tokens, due = group.tick, group.ranks_given, 0, True
    while True:
        seqs, nth = len(batch.jobs), batch.steps % size
        blocks = batch.openers.get(nth, 0)
        if batch.steps >= batch.steps_left or blocks > kv.free_blocks - spare_blocks:
            break
        # Plan it
        kv.free_blocks -= blocks
        if cache is not None:
            steps, filling = batch.steps, batch.filling.get(nth, NO_JOBS)
            cache.decoding_apart(blocks, [(job, (job.computed + steps) // size) for job in filling])
            cache.step_planned(())
        shape.decode_seqs, shape.decode_context_tokens = seqs, batch.context_tokens
        start_s, end_s = stages.run(now_s, cost.stage_s(shape))
        records.steps.extend((
            engine.step, start_s, end_s, 0, 0, seqs, batch.context_tokens, running, 0,
            engine.total_blocks - kv.free_blocks, 0, True,
        ))  # fmt: skip
        batch.spans[1::3] = [tick] * seqs
        records.spans.extend(batch.spans)
        batch.steps += 1
        batch.context_tokens += seqs
        known_tokens += seqs
        tick += 1
        engine.step += 1
        in_flight.append((end_s, NO_JOBS, True))
        engine.unended.append((0, True, NO_JOBS))
        # End the oldest
        if in_flight[0][0] >= until_s:
            due = False
            break
        now_s = in_flight.popleft()[0]
        engine.unended.popleft()
        if cache is not None:
            cache.step_ended(())
        batch = turns.popleft()
        turns.append(batch)
        batch.ranks_before = ranks
        ranks += len(batch.jobs)
    engine.now_s, engine.fruitless_steps = now_s, 0
    group.tick = tick
    engine.outside_tokens += known_tokens
    for each in turns:
        _go_on(each, size)
    engine.unpark([each.jobs for each in turns], group_is_last=due, ranks=ranks)
    return now_s, due


def _go_on(batch: DecodingBatch, block_size: int) -> None:
    """Write into a batch's jobs what its steps have given them."""
    steps, rank = batch.steps, batch.ranks_before
    for job in batch.jobs:
        job.generated += steps
        job.computed += steps
        if steps and not job.reserved:
            job.blocks = -(-job.computed // block_size)
        if rank >= 0:
            rank += 1
            job.rank = rank
            job.recomputes = False
