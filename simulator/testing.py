"""For the unit tests of a policy: a job, an empty engine, and a ledger that only writes down what it is told."""

from collections.abc import Callable, Sequence
from typing import Any

from simulator.replica.cost import StepShape
from simulator.replica.decode_group import DecodeGroup
from simulator.replica.draft_trees import ChooseNodes, DraftTree
from simulator.replica.engine import Engine
from simulator.replica.job import Job, JobState
from simulator.replica.kv import CountedBlocks, PrefixRule
from simulator.replica.lanes import Lanes
from simulator.replica.limits import Limits
from simulator.replica.reading import ReadingCurve
from simulator.replica.request import Request


def new_job(
    number: int = 0,
    arrival_s: float = 0.0,
    prompt_tokens: int = 100,
    output_tokens: int = 50,
    max_tokens: int | None = None,
    *,
    pace_s: float = 0.05,
    allowance_s: float = 0.0,
    curve: ReadingCurve | None = None,
    **fields: Any,
) -> Job:
    """Return the job of a request that has just arrived; ``fields`` are optional ones of ``Request``."""
    most = output_tokens if max_tokens is None else max_tokens
    request = Request(number, arrival_s, prompt_tokens, output_tokens, **fields)
    return Job(
        request, number, arrival_s, output_tokens=output_tokens, max_tokens=most, pace_s=pace_s,
        allowance_s=allowance_s, curve=curve, thinking_tokens=max(0, request.thinking_tokens),
    )  # fmt: skip


def new_engine(limits: Limits, **parts: Any) -> Engine:
    """Return an engine with nothing in it that counts its KV blocks; ``parts`` as for ``Engine``."""
    return Engine(limits, CountedBlocks(limits.num_gpu_blocks, limits.block_size), **parts)


class FakeLedger:
    """A ``Ledger`` of given jobs whose verbs do nothing but check the budgets; ``did`` tells which were called."""

    def __init__(self, limits: Limits, *, waiting: Sequence[Job] = (), running: Sequence[Job] = ()) -> None:
        """Have these jobs; set any field to what the test needs."""
        self.limits, self.block_size, self.total_blocks = limits, limits.block_size, limits.num_gpu_blocks
        self.free_blocks, self.token_budget = limits.num_gpu_blocks, limits.max_num_batched_tokens
        self.now_s, self.step, self.ticks, self.plans_ahead, self.in_flight = 0.0, 0, False, False, False
        self.waiting, self.running = list(waiting), dict.fromkeys(running)
        self.partial = {job: None for job in running if job.remaining_tokens}
        self.swapped: dict[Job, None] = {}
        self.joined: list[Job] = []
        self.preempted: list[Job] = []
        self.group, self.shape = DecodeGroup(limits.block_size, []), StepShape()
        self.price: Callable[[StepShape], float] = lambda shape: 0.0
        self.blocks_opening = self.outstanding_tokens = self.uncomputed_tokens = 0
        self.trees: list[tuple[Job, DraftTree]] = []
        self.most_drafts = 0
        self.lanes: Lanes | None = None
        self.did: list[tuple[str, int, int]] = []  # verb, job, tokens
        for job in running:
            job.state = JobState.RUNNING

    @property
    def seats(self) -> int:
        """How many more jobs may run."""
        return self.limits.max_num_seqs - len(self.running)

    def blocks_for(self, tokens: int) -> int:
        """Return the KV blocks that ``tokens`` tokens fill."""
        return -(-tokens // self.block_size)

    def blocks_held(self, job: Job) -> int:
        """Return the KV blocks that a job holds."""
        return job.blocks

    def cached_tokens(self, job: Job) -> int:
        """Return 0: nothing is cached."""
        return 0

    def blocks_to_admit(self, job: Job, tokens: int) -> int:
        """Return the KV blocks that ``tokens`` tokens fill."""
        return self.blocks_for(tokens)

    def prefix_ranks(self, rule: PrefixRule) -> dict[Job, float]:
        """Return nothing: no prefix is known."""
        return {}

    def last_running(self) -> Job:
        """Return the last of the running jobs."""
        return next(reversed(self.running))

    def decode_all(self, beyond: bool = False) -> bool:
        """Note it."""
        self.did.append(("decode_all", -1, self.group.size))
        return True

    def decode_trees(self, depth: int, width: int, choose: ChooseNodes) -> bool:
        """Note how many nodes are chosen of the ``trees``, in all."""
        self.did.append(("decode_trees", -1, sum(choose(self.trees))))
        return True

    def rank_decodes(self, jobs: Sequence[Job]) -> None:
        """Note it."""
        self.did.append(("rank_decodes", -1, len(jobs)))

    def pad(self, padding: StepShape) -> bool:
        """Note it, if the budget holds it."""
        tokens = padding.prefill_tokens + padding.decode_seqs
        self.did.append(("pad", -1, tokens))
        self.token_budget -= tokens
        return True

    def prefill(self, job: Job, tokens: int) -> bool:
        """Note it, if the budget holds it."""
        return self._chunk("prefill", job, tokens)

    def admit(self, job: Job, tokens: int, reserve_tokens: int = 0) -> bool:
        """Note it and let the job run, if seats, budget and blocks hold it."""
        if self.seats <= 0 or not self._chunk("admit", job, tokens):
            return False
        self.waiting.remove(job)
        self.running[job] = None
        return True

    def swap_in(self, job: Job, tokens: int) -> bool:
        """Note it, if the budget holds it."""
        return self._chunk("swap_in", job, tokens)

    def preempt(
        self, job: Job, at_head: bool = True, keeps_token: bool = True, for_job: Job | None = None
    ) -> None:
        """Note it and put the job into the queue."""
        self._leave("preempt", job)
        self.waiting.insert(0 if at_head else len(self.waiting), job)

    def swap_out(self, job: Job, for_job: Job | None = None) -> bool:
        """Note it and let the job be swapped."""
        self._leave("swap_out", job)
        self.swapped[job] = None
        return True

    def hold(self, job: Job) -> None:
        """Note it."""
        self.partial[job] = None
        self.did.append(("hold", job.id, 0))

    def fail(self, job: Job) -> None:
        """Note it and drop the job."""
        self.waiting.remove(job)
        self.did.append(("fail", job.id, 0))

    def move_to_head(self, job: Job) -> None:
        """Put a waiting job at the head of the queue."""
        self.waiting.remove(job)
        self.waiting.insert(0, job)

    def sort_waiting(self, key: Callable[[Job], Any]) -> None:
        """Reorder the waiting queue."""
        self.waiting.sort(key=key)

    def _chunk(self, verb: str, job: Job, tokens: int) -> bool:
        blocks = self.blocks_for(job.computed + tokens) - job.blocks
        if tokens > self.token_budget or blocks > self.free_blocks:
            return False
        self.token_budget -= tokens
        self.free_blocks -= blocks
        self.did.append((verb, job.id, tokens))
        return True

    def _leave(self, verb: str, job: Job) -> None:
        del self.running[job]
        self.partial.pop(job, None)
        self.free_blocks += job.blocks
        self.preempted.append(job)
        self.did.append((verb, job.id, 0))
