"""What a step computes that may last no longer than a given time, for the policy ``slos_serve``."""

from collections.abc import Collection
from copy import copy
from itertools import accumulate

from policies.scheduling._preemption import ongoing
from policies.scheduling._slos_choice import FAR_S
from policies.scheduling._slos_drafts import decode_with_drafts
from policies.scheduling._slos_promises import Promises
from policies.scheduling._slos_weights import most_that, tokens_within
from simulator.policy import Job, Ledger, StepShape

SOON = 1e-6  # share of a step by which rounding may make a token seem due after the next one


class PacedStep:
    """A step, filled in order of urgency up to the time when the next promised token is due."""

    def __init__(self, step: Ledger, promises: Promises, start_s: float, rate: float) -> None:
        """Find out how long the step may last that starts then; a draft is right with the chance ``rate``."""
        self._step, self._promises, self._start_s, self._rate = step, promises, start_s, rate
        self.longest_s = promises.longest_s(start_s)
        self._prompts = sorted(promises.prompts, key=lambda job: (promises.prompts[job], job.id))
        self._done: list[Job] = []  # whose prompts are complete with this step

    def decode(self) -> None:
        """Have those decode that must, and of the others as many as fit beside all promised prompts.

        Those must whose next token is due before the end of the step after this one.
        """
        step, due = self._step, self._promises.decodes
        soon_s = self._start_s + self.longest_s + (1 - SOON) * self._promises.step_s
        first = [job for job, due_s in due.items() if due_s < soon_s]
        later = sorted((job for job, due_s in due.items() if due_s >= soon_s), key=due.__getitem__)
        others = [job for job in step.running if job not in due and job.decodes and not job.completing]
        later += others
        count, shape = self._beside(first, later)
        for job in later[count:]:
            if job.group is not None:
                step.hold(job)
        while not decode_with_drafts(step, shape, self._bound_s, self._rate, self.longest_s):
            self._give_way()
        for job in [job for job in (*first, *later[:count]) if job in step.partial]:
            while job in step.partial and not step.prefill(job, 1):
                self._give_way(job)

    def _beside(self, first: list[Job], later: list[Job]) -> tuple[int, StepShape]:
        """Return how many later decodes fit beside the first and all promised prompts, and the shape of all that.

        At least one of them all.
        """
        step = self._step
        shape, left = copy(step.shape), step.token_budget - len(first)
        shape.draft_passes = 0
        shape.decode_seqs += len(first)
        shape.decode_context_tokens += sum(job.known_tokens for job in first)
        for job in self._prompts:
            tokens = min(job.remaining_tokens, left)
            if tokens > 0:
                shape.count(tokens, job.computed_tokens, False, 1)
                left -= tokens
        contexts = [*accumulate((job.known_tokens for job in later), initial=shape.decode_context_tokens)]
        seqs = shape.decode_seqs

        def fits(count: int) -> bool:
            shape.decode_seqs, shape.decode_context_tokens = seqs + count, contexts[count]
            return step.price(shape) <= self.longest_s

        most = min(left, len(later))
        count = most_that(fits, most) or int(not first and not self._prompts and most > 0)
        fits(count)  # which leaves the shape as it is with so many
        return count, shape

    def _bound_s(self, job: Job) -> float:
        return self._promises.tpot_s(job) if job in self._promises.kept else FAR_S

    def compute_prompts(self) -> None:
        """Compute promised prompts in order of their deadlines."""
        step = self._step
        for job in self._prompts:
            running = job in step.running
            if not running and not self._make_room(job):
                continue
            tokens = tokens_within(self._step, job, self.longest_s)
            if not tokens:
                return
            complete = tokens == job.remaining_tokens
            if running:
                while job in step.running and not step.prefill(job, tokens):
                    self._give_way(job)
            else:
                step.admit(job, tokens, job.known_tokens)
            if complete and job in step.running:
                self._done.append(job)

    def serve_others(self, declined: Collection[Job], keep_free: int) -> None:
        """Compute other prompts with what is left; one starts if so many KV blocks stay free beside others."""
        step, kept = self._step, self._promises.kept
        for job in ongoing(step):
            if not job.decodes and job not in kept:
                tokens = tokens_within(self._step, job, self.longest_s)
                if not tokens or not step.prefill(job, tokens):
                    return
        for job in (
            [] if step.preempted else [job for job in step.waiting if job in declined and job not in kept]
        ):
            tokens = tokens_within(self._step, job, self.longest_s) if step.seats else 0
            needed = step.blocks_to_admit(job, job.known_tokens) + (keep_free if step.running else 0)
            if not tokens or needed > step.free_blocks or not step.admit(job, tokens, job.known_tokens):
                return

    def end(self) -> float:
        """Return when the step ends; those whose prompts it completes have their first token then."""
        step = self._step
        if not step.shape.decode_seqs and not step.shape.prefill_seqs:
            return self._start_s
        end_s = self._start_s + step.price(step.shape)
        for job in self._done:
            if not job.generated_tokens and job in self._promises.kept:
                self._promises.kept[job] = end_s
        return end_s

    def _make_room(self, job: Job) -> bool:
        """Have others give way until a waiting request has a seat and blocks for its prompt; False if none is left."""
        step, kept = self._step, self._promises.kept
        while not step.seats or step.blocks_to_admit(job, job.known_tokens) > step.free_blocks:
            if all(other in kept or other.completing for other in step.running):
                return False
            self._give_way(job)
        return True

    def _give_way(self, for_job: Job | None = None) -> None:
        """Preempt the request that started last: one without a promise, else one whose promise is then broken."""
        step, kept = self._step, self._promises.kept
        victim = max(
            step.running,
            key=lambda job: (not job.completing, job not in kept, job is not for_job, job.admission),
        )
        kept.pop(victim, None)
        step.preempt(victim, for_job=for_job if victim is not for_job else None)
