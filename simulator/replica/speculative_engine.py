"""An engine with speculative decoding: each decoding job computes its drafts beside its next token.

As vLLM's V1 scheduler does it (vllm/v1/core/sched/scheduler.py, async_scheduler.py): drafts cost token budget and are
cut to what is left of it, in order of admission; KV blocks are taken for all of them, and for as many more tokens
where the drafter keeps KV of its own; rejected slots are overwritten, their blocks stay with the job. An engine that
plans ahead counts all drafts in flight as accepted, which costs blocks, and plans one step too many for each job that
it cannot be certain to have finished. A prompt carries no drafts, nor does what is computed again after a preemption.
"""

from typing import ClassVar

from simulator.replica.draft_group import DraftGroup
from simulator.replica.engine import Engine
from simulator.replica.job import Job
from simulator.replica.records import DRAFT_COLUMNS
from simulator.replica.request import RequestState
from simulator.replica.speculation import Speculation

# A job that decodes, the drafts that a step computes beside its next token, and how many of them are accepted, which
# nothing but the end of the step tells. Plain tuples: one a job and step is made.
Drafted = tuple[Job, int, int]


class SpeculativeEngine(Engine):
    """An engine whose decode group is a ``DraftGroup``."""

    speculates: ClassVar[bool] = True

    __slots__ = ("_decoding", "_drafting", "_keeps_runs", "_rejected", "_uncertain", "speculation")

    def speculate(self, speculation: Speculation) -> None:
        """Be told what to do about drafts, before anything else is done."""
        self.speculation = speculation
        self._drafting = DraftGroup(self.block_size, self.records.spans)
        self.group = self._drafting
        self._decoding: list[Drafted] = []  # in this step
        self._rejected: dict[Job, int] = {}  # drafts in flight that will turn out wrong
        self._uncertain: dict[Job, int] = {}  # whose last tokens are in flight, more than one; their drafts
        self._keeps_runs: bool = getattr(speculation.acceptance, "keeps_runs", False)  # one's own may not say

    # What a policy may ask

    @property
    def blocks_opening(self) -> int:
        """KV blocks that the next token of every decoding job needs, its drafts included."""
        return self._wanted()[2]

    def blocks_held(self, job: Job) -> int:
        """KV blocks that a job holds now, those of this step included."""
        return job.blocks

    def _wanted(self) -> tuple[list[Drafted], list[tuple[Job, int]], int, int]:
        """Return what each job that can decode in this step computes, in order of admission.

        Also the blocks that jobs take for it, how many these are in all, and how many drafts.
        """
        speculation, size, longest = self.speculation, self.block_size, self.limits.max_model_len
        verify, rejected, budget = speculation.verify, self._rejected, self.token_budget
        answers, keeps_runs = speculation.answers, self._keeps_runs
        most = speculation.tokens(self._drafting.size)
        beyond = 1 + most if speculation.lookahead else 1
        found: list[Drafted] = []
        openers: list[tuple[Job, int]] = []
        all_blocks = all_drafts = 0
        for job in self.running:
            if job.group is None:
                continue
            if budget <= 0:
                break
            computed, accepted = job.computed, 0
            drafts = most if budget > most else budget - 1
            if drafts > longest - 2 - computed:
                drafts = longest - 2 - computed
            if drafts > 0:
                answer = answers.get(job.id) if keeps_runs else None
                runs = None if answer is None else answer.runs.get(drafts)
                if runs is None:
                    drafts, accepted = verify(job, drafts)
                else:
                    accepted = runs[job.generated]
                all_drafts += drafts
            else:
                drafts = 0
            budget -= 1 + drafts
            tokens = computed + drafts + beyond
            if job in rejected:
                tokens += rejected[job]
            blocks = -(-(tokens if tokens < longest else longest) // size) - job.blocks
            if blocks > 0 and not job.reserved:
                openers.append((job, blocks))
                all_blocks += blocks
            found.append((job, drafts, accepted))
        return found, openers, all_blocks, all_drafts

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
        wanted, openers, blocks, drafts = self._wanted()
        too_many = sum([job.computed % self.block_size == 0 for job in ended]) if ended else 0
        blocks += too_many
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
        for job, more in openers:
            self.kv.take(job, more)
        self.token_budget -= len(wanted) + drafts
        shape.draft_tokens += drafts
        shape.decode_seqs += len(wanted)
        left_out = len(wanted) < self._drafting.size
        shape.decode_context_tokens += (
            sum([job.computed + 1 for job, _, _ in wanted]) if left_out else self._drafting.context_base
        )
        self._decoding = wanted
        if self.cache is not None:
            self.cache.drafting(blocks, len(wanted) + len(ended), too_many)
        self.ticks = bool(wanted)
        return True

    def unseen_tokens(self, job: Job) -> int:
        """Return how many tokens of a job are computed that its last ones in flight have made useless.

        Those are one and its drafts, where it got more than one token, or a stop token, with the step in flight.
        """
        if job in self._uncertain:
            return 1 + self._uncertain[job]
        return int(self.limits.stop_tokens and job.output_tokens < job.max_tokens)

    def unschedule_decode(self, job: Job) -> None:
        """Take a job that decodes, and its drafts, out of this step; one that the budget left out is not in it."""
        for place, (each, drafts, _) in enumerate(self._decoding):
            if each is job:
                del self._decoding[place]
                self.token_budget += 1 + drafts
                self.shape.count(1, job.computed, True, -1)
                self.shape.draft_tokens -= drafts
                return

    # What the replica does

    def open(self, now_s: float) -> None:
        """Begin the plan of the next step."""
        self.shape.draft_tokens = 0
        self.shape.draft_passes = self.speculation.tokens(self._drafting.size)
        super().open(now_s)

    def decoded(self) -> list[Job] | None:
        """Give the jobs that decode in this step their tokens; return those that are complete with it."""
        rows, step, cache, ahead = self.records.drafts, self.step, self.cache, self.plans_ahead
        rejected, uncertain, size = self._rejected, self._uncertain, self.block_size
        complete: list[Job] = []
        grown = 0
        rejected.clear()
        uncertain.clear()
        for job, drafts, accepted in self._decoding:
            generated, computed = job.generated, job.computed
            left = job.target_tokens - generated
            tokens = 1 + accepted if accepted < left else left
            rows += (job.id, step, drafts, accepted, tokens)
            if cache is not None and computed % size + tokens >= size:  # a block is full
                cache.grew(job, tokens)
            if ahead:
                if drafts > accepted:
                    rejected[job] = drafts - accepted
                if 1 < tokens == left:
                    uncertain[job] = drafts
            job.computed = computed + tokens
            job.generated = generated + tokens
            grown += tokens
            if tokens == left:
                complete.append(job)
        self._decoding = []
        return self._drafting.grew(grown, complete)

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
