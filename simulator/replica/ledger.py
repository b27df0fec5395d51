"""The plan of one step, written by a policy through verbs that refuse what does not fit.

A ledger's verbs are the only writers of an engine's queues and KV pool. A verb that cannot be honoured (no token
budget, seat or block left) changes nothing and returns ``False``: that is how a policy finds out that the step is
full. A verb that makes no sense (a job that is not waiting, more tokens than it has) is a bug in the policy and
raises ``ValueError``.
"""

from collections.abc import Callable, Sequence
from typing import Any

from simulator.replica.cost import StepShape
from simulator.replica.engine_state import EngineState
from simulator.replica.job import RUNNING, SWAPPED, WAITING, Job
from simulator.replica.kv import PrefixCache, PrefixRule
from simulator.replica.request import RequestState
from simulator.replica.shortage import cause


class StepLedger(EngineState):
    """What a policy sees of its engine, and what it may do to it in one step: ``policy.Ledger`` for real."""

    __slots__ = ()

    # What a policy may ask

    @property
    def outstanding_tokens(self) -> int:
        """Known tokens of all unfinished jobs: queued, being computed and in the cache."""
        return self.outside_tokens + self.group.context_base + self.group.size * self.group.tick

    @property
    def uncomputed_tokens(self) -> int:
        """Known tokens that are still to be computed before all jobs here decode."""
        return self.outside_tokens - sum(job.computed for job in self.partial)

    @property
    def blocks_opening(self) -> int:
        """KV blocks that one token for every decoding job needs."""
        return self.group.openers[self.group.tick % self.block_size]

    def cached_tokens(self, job: Job) -> int:
        """Known tokens that a waiting job would find computed already: in a prefix cache, or as it has brought them."""
        if job.waits_with_kv:
            return job.computed
        return 0 if self.cache is None else self.cache.cached_tokens(job)

    def blocks_to_admit(self, job: Job, tokens: int) -> int:
        """Free blocks that a waiting job takes to hold its first ``tokens`` tokens, cached ones included."""
        fixed = 0 if self.limits.fixed_kv is None else self.fixed_blocks(job)
        if job.brought and job.waits_with_kv:
            return max(0, self.blocks_for(tokens) - job.blocks) + fixed
        return fixed + (
            -(-tokens // self.block_size) if self.cache is None else self.cache.blocks_to_admit(job, tokens)
        )

    def prefix_ranks(self, rule: PrefixRule) -> dict[Job, float]:
        """Where waiting jobs stand by what a radix tree holds of them, SGLang's two ways; smallest first."""
        return {} if self.cache is None else self.cache.prefix_ranks(rule, self.waiting)

    def last_running(self) -> Job:
        """The running job that was admitted last."""
        return next(reversed(self.running))

    # What a policy may do

    def decode_all(self, beyond: bool = False) -> bool:
        """Schedule one token for every job in the decode group, or refuse and change nothing.

        With ``beyond`` also one, which is thrown away, of each job whose last one is in flight: an engine does that
        if it plans the next step before it has looked for ends. It takes KV until the step has ended.
        """
        if self.ticks:
            raise ValueError("decode_all() was called twice in one step")
        group = self.group
        size = group.size
        ended: list[Job] = []
        if beyond and len(self.running) > size + len(self.partial):
            ended = [job for job in self.running if job.group is None and job.completing]
        if size or ended:
            kv, cache, seqs = self.kv, self.cache, size + len(ended)
            too_many = sum(job.computed % self.block_size == 0 for job in ended) if ended else 0
            blocks = group.openers[group.tick % self.block_size] + too_many
            if blocks > kv.free_blocks or seqs > self.token_budget:
                if cache is not None:
                    cache.decode_refused(blocks)
                return False
            kv.free_blocks -= blocks
            self.too_many_blocks += too_many
            if cache is not None:
                cache.decoding(blocks, seqs)
            self.token_budget -= seqs
            shape = self.shape
            shape.decode_seqs += size
            shape.decode_context_tokens += group.context_base + size * group.tick
            for job in ended:
                shape.count(1, job.computed, True, 1)
            self.ticks = size > 0
        return True

    def rank_decodes(self, jobs: Sequence[Job]) -> None:
        """Let those of these jobs that complete with the same step do so in this order; others come after them."""
        self.group.rank(jobs)

    def pad(self, padding: StepShape) -> bool:
        """Compute what no client gets beside what is scheduled, such as the padding of a batch, or refuse."""
        tokens = padding.prefill_tokens + padding.decode_seqs
        if tokens > self.token_budget:
            return False
        if padding.prefill_tokens and not self.chunks:
            raise ValueError("padding of prompts without a prompt in the step")
        shape = self.shape
        self.token_budget -= tokens
        shape.prefill_tokens += padding.prefill_tokens
        shape.prefill_attention_pairs += padding.prefill_attention_pairs
        shape.prefill_context_tokens += padding.prefill_context_tokens
        shape.decode_seqs += padding.decode_seqs
        shape.decode_context_tokens += padding.decode_context_tokens
        return True

    def hold(self, job: Job) -> None:
        """Take a job out of the decode group: it goes on by ``prefill(job, 1)``, or sits this step out.

        It comes back to the group by itself with its next token.
        """
        if job.group is None or self.ticks:
            raise ValueError(f"{job} is not in a decode group that could still leave it out")
        self.group.leave(job)
        self.partial[job] = None
        self.outside_tokens += job.known_tokens

    def prefill(self, job: Job, tokens: int) -> bool:
        """Schedule ``tokens`` more of a running job's known tokens, or refuse and change nothing."""
        if job not in self.partial:
            raise ValueError(f"{job} is not running with tokens left to compute")
        return self._schedule(job, tokens)

    def admit(self, job: Job, tokens: int, reserve_tokens: int = 0) -> bool:
        """Start a waiting job with ``tokens`` of its known tokens, or refuse and change nothing.

        ``reserve_tokens`` takes the blocks for that many tokens at once; with 0 tokens nothing is computed as yet. Of
        a job that has brought its KV along no more is computed than is missing.
        """
        if job.state is not WAITING:
            raise ValueError(f"{job} is not waiting but {job.state.name.lower()}")
        if len(self.running) >= self.limits.max_num_seqs or job.generated >= job.target_tokens:
            return False  # in the latter case it was preempted in this step, with its last token in flight
        if self.limits.fixed_kv is not None:
            self.take_fixed(job)
        if job.brought or self.cache is None:
            most = min(tokens, job.remaining_tokens) if job.brought else tokens
            started = self._schedule(job, most, reserve_tokens)
        else:
            started = self._schedule_after_prefix(self.cache, job, tokens, reserve_tokens)
        if not started:
            self.give_fixed(job)
            return False
        if job.brought:
            if self.cache is not None:
                self.cache.seated(job)
        elif self.cache is None and self.late_cache is not None:  # nothing can be found as yet
            self.records.look_up(job.id, job.known_tokens, 0, job.preemptions > 0)
        if self.waiting[0] is job:
            self.waiting.popleft()
        else:
            self.waiting.remove(job)
        job.move(RUNNING)
        self.running[job] = self.partial[job] = None
        job.admission = self.admissions
        self.admissions += 1
        return True

    def preempt(
        self, job: Job, at_head: bool = True, keeps_token: bool = True, for_job: Job | None = None
    ) -> None:
        """Give all of a running job's blocks back and put it at the head (or the end) of the queue.

        What it had computed is lost and computed again later; tokens already delivered stay
        delivered. If it was scheduled in this step, its tokens go back to the budget. A job that has
        grown beyond the whole cache fails (with ``strict_engine`` it is queued all the same). Unless it
        ``keeps_token``, that of a step in flight is lost and computed again, too. ``for_job`` is recorded: which
        request the policy lets ahead, where it is not one that lacks blocks.
        """
        self.find_again()
        why = cause(self, for_job)
        self.stop_running(job)
        if not keeps_token:
            self.lose_token(job)
        self.lose_cache(job, *why)
        self.preempted.append(job)
        needed = self.blocks_for(job.known_tokens) + self.fixed_blocks(job)
        outgrown = needed > self.total_blocks and not job.completing
        if outgrown and not self.limits.strict_engine:
            self.end(job, RequestState.FAILED, self.now_s)
        else:
            self.enqueue(job, at_head)
        if self.cache is not None:
            self.cache.preempted()

    def swap_out(self, job: Job, for_job: Job | None = None) -> bool:
        """Move a running job's blocks to host memory, or refuse if that is full or its last token is in flight.

        ``for_job`` is recorded, as by ``preempt``. Raises ValueError with a prefix cache, whose blocks stay where they
        can be found.
        """
        if self.cache is not None or self.late_cache is not None:
            raise ValueError(f"{job} cannot be swapped out, as its KV blocks belong to a prefix cache")
        blocks = self.blocks_held(job)
        if blocks > self.free_cpu_blocks or job.completing:
            return False
        why = cause(self, for_job)
        self.stop_running(job)
        self.kv.release(job)
        job.move(SWAPPED)
        job.blocks = blocks  # now on the host
        job.preemptions += 1
        self.free_cpu_blocks -= blocks
        self.swapped[job] = None
        self.preempted.append(job)
        self.shape.swap_out_blocks += blocks
        self.records.preemptions.extend((self.step, job.id, job.computed, *why))
        return True

    def swap_in(self, job: Job, tokens: int) -> bool:
        """Bring a swapped job back and schedule ``tokens`` of it, or refuse and change nothing."""
        blocks = job.blocks
        if job not in self.swapped:
            raise ValueError(f"{job} is not swapped out")
        if self.seats <= 0 or blocks + self.fixed_blocks(job) > self.kv.free_blocks:
            return False
        self.kv.free_blocks -= blocks
        self.take_fixed(job)
        if not self._schedule(job, tokens):
            self.give_fixed(job)
            self.kv.free_blocks += blocks
            return False
        del self.swapped[job]
        self.free_cpu_blocks += blocks
        self.shape.swap_in_blocks += blocks
        self.changed = True
        job.move(RUNNING)
        self.running[job] = self.partial[job] = None
        return True

    def fail(self, job: Job) -> None:
        """Refuse a waiting or swapped job for good: it can never be served here."""
        if job in self.swapped:
            del self.swapped[job]  # as in vLLM, its host memory is not given back
        else:
            self.waiting.remove(job)
            if job.blocks:  # its KV has come
                self.kv.release(job)
        self.end(job, RequestState.FAILED, self.now_s)
        self.changed = True

    def move_to_head(self, job: Job) -> None:
        """Put a waiting job at the head of the queue, as far as the queue's order lets it."""
        self.waiting.remove(job)
        self._insert(job, at_head=True)

    def sort_waiting(self, key: Callable[[Job], Any]) -> None:
        """Reorder the waiting queue; equals stay as they are, and jobs that come later join at the end."""
        ordered = sorted(self.waiting, key=key)
        self.waiting.clear()
        self.waiting.extend(ordered)

    # How the verbs do it

    def _schedule_after_prefix(self, cache: PrefixCache, job: Job, tokens: int, reserve_tokens: int) -> bool:
        """Give a job what is found of it, and a chunk of ``tokens`` after that, or refuse and change nothing."""
        cached = cache.cached_tokens(job)
        if not (tokens > 0 or 0 == tokens < reserve_tokens) or tokens > job.known_tokens - cached:
            raise ValueError(f"cannot schedule {tokens} tokens of {job}, of which {cached} are cached")
        blocks = cache.blocks_to_admit(job, max(cached + tokens, reserve_tokens))
        if tokens > self.token_budget or blocks > self.kv.free_blocks:
            return False
        self.records.look_up(job.id, job.known_tokens, cache.begin(job), job.preemptions > 0)
        return self._schedule(job, tokens, reserve_tokens)

    def _schedule(self, job: Job, tokens: int, reserve_tokens: int = 0) -> bool:
        """Take budget and blocks for a chunk of a job."""
        computed = job.computed
        if not (tokens > 0 or 0 == tokens < reserve_tokens) or tokens > job.remaining_tokens:
            raise ValueError(f"cannot schedule {tokens} tokens of {job}")
        if job in self.chunks:
            raise ValueError(f"{job} is already scheduled in this step")
        blocks = -(-max(computed + tokens, reserve_tokens) // self.block_size) - job.blocks
        if tokens > self.token_budget or blocks > self.kv.free_blocks:
            return False
        if blocks > 0:
            self.kv.take(job, blocks)
        if reserve_tokens >= job.prompt_tokens + job.max_tokens:
            job.reserved = True  # it will never ask for more
        if tokens:
            self.token_budget -= tokens
            self.chunks[job] = tokens
            self.shape.count(tokens, computed, tokens == 1 and job.decodes, 1)
            if self.cache is not None:
                self.cache.chunk(job, computed, tokens)
        return True
