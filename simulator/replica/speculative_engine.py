"""An engine with speculative decoding: each decoding job computes its drafts beside its next token.

As vLLM's V1 scheduler does it (vllm/v1/core/sched/scheduler.py, async_scheduler.py): drafts cost token budget and are
cut to what is left of it, in order of admission; KV blocks are taken for all of them, and for as many more tokens
where the drafter keeps KV of its own; rejected slots are overwritten, their blocks stay with the job. An engine that
plans ahead counts all drafts in flight as accepted, which costs blocks, and plans one step too many for each job that
it cannot be certain to have finished. A prompt carries no drafts, nor does what is computed again after a preemption.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from simulator.replica.cost import DecodePiece, StepShape
from simulator.replica.draft_group import DraftGroup
from simulator.replica.engine import Engine
from simulator.replica.job import Job
from simulator.replica.kv import KvPool, PrefixCache
from simulator.replica.limits import Limits
from simulator.replica.records import DRAFT_COLUMNS
from simulator.replica.request import RequestState
from simulator.replica.speculation import Speculation


class SpeculativeEngine(Engine):
    """An engine whose decode group is a ``DraftGroup``."""

    speculates: ClassVar[bool] = True

    __slots__ = ("_decoding", "_drafting", "_rejected", "_uncertain", "speculation")

    def __init__(
        self,
        limits: Limits,
        kv: KvPool,
        speculation: Speculation,
        *,
        whole: bool = False,
        cache: PrefixCache | None = None,
        queue_key: Callable[[Job], Any] | None = None,
        price: Callable[[StepShape], float] | None = None,
        decode_piece: Callable[[int, int], DecodePiece] | None = None,
        on_end: Callable[[Job, RequestState, float], None] | None = None,
        plans_ahead: bool = False,
        on_prompt_done: Callable[[Job], None] | None = None,
        withholds: bool = False,
        drops_with_next_token: bool = False,
    ) -> None:
        """As ``Engine``; ``decode_piece`` is not used, since no two steps of decodes cost alike."""
        super().__init__(
            limits, kv, whole=whole, cache=cache, queue_key=queue_key, price=price, decode_piece=None, on_end=on_end,
            plans_ahead=plans_ahead, on_prompt_done=on_prompt_done, withholds=withholds,
            drops_with_next_token=drops_with_next_token,
        )  # fmt: skip
        self.speculation = speculation
        self._drafting = DraftGroup(kv.block_size, self.records.spans)
        self.group = self._drafting
        self._decoding: list[tuple[Job, int]] = []  # jobs that decode in this step, and their drafts
        self._rejected: dict[Job, int] = {}  # drafts in flight that will turn out wrong
        self._uncertain: dict[Job, int] = {}  # whose last tokens are in flight, more than one; their drafts

    # What a policy may ask

    @property
    def blocks_opening(self) -> int:
        """KV blocks that the next token of every decoding job needs, its drafts included."""
        return sum(blocks for _, _, blocks in self._wanted())

    def blocks_held(self, job: Job) -> int:
        """KV blocks that a job holds now, those of this step included."""
        return job.blocks

    def _wanted(self) -> list[tuple[Job, int, int]]:
        """Return the jobs that can decode in this step, in order of admission; drafts and new blocks of each."""
        speculation, limits, size = self.speculation, self.limits, self.block_size
        most = speculation.tokens(self._drafting.size)
        budget, found = self.token_budget, []
        for job in self.running:
            if job.group is None:
                continue
            if budget <= 0:
                break
            drafts = min(most, budget - 1, limits.max_model_len - 1 - job.computed - 1)
            if drafts > 0:
                answer = speculation.answer(job.id, job.output_tokens)
                drafts = min(speculation.acceptance.verify(answer, job.generated, drafts)[0], drafts)
            drafts = max(drafts, 0)
            budget -= 1 + drafts
            tokens = job.computed + self._rejected.get(job, 0) + 1 + drafts
            if speculation.lookahead:
                tokens += most
            blocks = -(-min(tokens, limits.max_model_len) // size) - job.blocks
            found.append((job, drafts, 0 if job.reserved or blocks < 0 else blocks))
        return found

    # What a policy may do

    def decode_all(self, beyond: bool = False) -> bool:
        """Schedule a token for every job in the decode group, and its drafts, as far as the budget goes; or refuse.

        It refuses, and changes nothing, where KV blocks lack, or the budget for one token of each. With ``beyond`` also
        one, which is thrown away, of each job whose last one is in flight.
        """
        if self.ticks:
            raise ValueError("decode_all() was called twice in one step")
        ended = [job for job in self.running if job.completing] if beyond else ()
        if self._drafting.size + len(ended) > self.token_budget:
            return False
        self.token_budget -= len(ended)
        wanted = self._wanted()
        too_many = sum(job.computed % self.block_size == 0 for job in ended)
        blocks = sum(more for _, _, more in wanted) + too_many
        if blocks > self.kv.free_blocks:
            self.token_budget += len(ended)
            if self.cache is not None:
                self.cache.decode_refused(blocks)
            return False
        shape = self.shape
        self.kv.free_blocks -= too_many
        self.too_many_blocks += too_many
        for job in ended:
            shape.count(1, job.computed, True, 1)
        for job, drafts, more in wanted:
            if more:
                self.kv.take(job, more)
            self.token_budget -= 1 + drafts
            shape.count(1, job.computed, True, 1)
            shape.draft_tokens += drafts
            self._decoding.append((job, drafts))
        if self.cache is not None:
            self.cache.drafting(len(wanted))
        self.ticks = bool(wanted)
        return True

    def decode_unseen_ends(self) -> None:
        """Compute once more each job that is complete with the step in flight, where nothing but its tokens tells.

        Those are the ones that got more than one token, or a stop token, with it.
        """
        stop_tokens = self.limits.stop_tokens
        for job in self.running:
            if not job.completing or job.generated < job.output_tokens:
                continue
            if job in self._uncertain or (stop_tokens and job.output_tokens < job.max_tokens):
                if self.token_budget <= 0:
                    break
                drafts = min(self._uncertain.get(job, 0), self.token_budget - 1)
                self.token_budget -= 1 + drafts
                self.shape.count(1, job.computed, True, 1)
                self.shape.draft_tokens += drafts

    def stop_running(self, job: Job) -> None:
        """Take a job off the running ones, and out of this step if it is in it; keep its blocks."""
        if job.group is None or job not in self.running:
            super().stop_running(job)
            return
        for place, (other, drafts) in enumerate(self._decoding):
            if other is job:
                del self._decoding[place]
                self.token_budget += 1 + drafts
                self.shape.count(1, job.computed, True, -1)
                self.shape.draft_tokens -= drafts
                break
        self._drafting.leave(job)
        self.outside_tokens += job.known_tokens
        del self.running[job]
        self.changed = True

    # What the replica does

    def open(self, now_s: float) -> None:
        """Begin the plan of the next step."""
        self.shape.draft_tokens = 0
        self.shape.draft_passes = self.speculation.tokens(self._drafting.size)
        super().open(now_s)

    def only_decodes(self, completing: Sequence[Job]) -> bool:
        """Never: how many tokens the next step gives has to be drawn."""
        return False

    def decoded(self) -> list[Job] | None:
        """Give the jobs that decode in this step their tokens; return those that are complete with it."""
        acceptance, records, cache = self.speculation.acceptance, self.records, self.cache
        grown, ahead = [], self.plans_ahead
        self._rejected.clear()
        self._uncertain.clear()
        for job, drafts in self._decoding:
            accepted = 0
            if drafts:
                answer = self.speculation.answer(job.id, job.output_tokens)
                _, accepted = acceptance.verify(answer, job.generated, drafts)
                if not 0 <= accepted <= drafts:
                    raise ValueError(f"verify() accepted {accepted} of {drafts} drafts")
            left = job.target_tokens - job.generated
            tokens = min(1 + accepted, left)
            records.drafts.extend((job.id, self.step, drafts, accepted, tokens))
            if cache is not None:
                cache.grew(job, tokens)
            if ahead and drafts > accepted:
                self._rejected[job] = drafts - accepted
            if ahead and 1 < tokens == left:
                self._uncertain[job] = drafts
            grown.append((job, tokens))
        self._decoding.clear()
        return self._drafting.grow(grown) or None

    def record_end(self, job: Job, state: RequestState, time_s: float) -> None:
        """Record the final state of a job, whose random numbers are of no use any more."""
        self.speculation.answers.pop(job.id, None)
        super().record_end(job, state, time_s)

    def token_in_flight(self, job: Job) -> bool:
        """Whether a job that runs gets a token from the step that was planned last, and has not ended."""
        return bool(self.unended) and (
            self.records.drafted(job.id, self.step - 1) is not None or super().token_in_flight(job)
        )

    def lose_token(self, job: Job) -> None:
        """Take back the tokens that a job, which has just stopped running, was to get from the step in flight."""
        place = self.records.drafted(job.id, self.step - 1) if self.unended else None
        if place is None:
            super().lose_token(job)
            return
        row, completing = self.records.drafts, job.completing
        tokens = row[place + len(DRAFT_COLUMNS) - 1]
        del row[place : place + len(DRAFT_COLUMNS)]
        job.generated -= tokens
        self.outside_tokens += job.known_tokens if completing else -tokens
