"""What SGLang asks of a request before it joins an extend batch."""

from bisect import insort
from enum import Enum, auto
from typing import Literal

from policies.scheduling._sglang_expected import Expected
from policies.scheduling._sglang_running import LONGEST_EXPECTED, RunningBatch, allowed_tokens
from simulator.policy import Job, Ledger


class Added(Enum):
    """What became of a request, and of the batch."""

    MORE = auto()  # it was added, and there is room for others
    NO_TOKEN = auto()  # the KV cache is full
    STOP = auto()  # the step is full


class ExtendBatch:
    """An extend batch while it is put together. Source: SGLang 0.5.3, PrefillAdder in schedule_policy.py.

    The engine allocates KV pages for the whole batch at its end, the ledger at once for each request;
    so what it calls ``rem_total`` is here what is free now less the tokens that are still to come.
    Later versions (0.5.23) ask for a page more, and for what a request may still generate only.
    """

    def __init__(
        self,
        step: Ledger,
        running: RunningBatch,
        max_prefill: int,
        chunk: int | Literal["off"] | None,
        foresee: bool,
    ) -> None:
        """Budgets are in tokens; ``foresee`` admits by when the others will have ended, at ``max_tokens``."""
        self.step = step
        self.page = step.block_size
        self.jobs: list[Job] = []
        self.looked_up = running.looked_up
        self.expected = Expected(step, running)  # tokens still to come for whom the cache holds already
        self.uncounted = 0  # tokens that the engine counts as used and the ledger shows free
        self.rem_input = max_prefill
        self.rem_chunk = step.token_budget if chunk in (None, "off") else min(int(chunk), step.token_budget)
        self._lives = sorted(life for life in running.lives(step) if life[0] > 0) if foresee else None

    def mix_with(self, decoding: int) -> bool:
        """Let the decodes, ``decoding`` requests, join the step; False if there is no memory for that."""
        before = self.step.free_blocks
        if not self.step.decode_all(beyond=True):
            return False
        self.uncounted = decoding - (before - self.step.free_blocks) * self.page
        self.rem_input -= decoding
        self.rem_chunk -= decoding
        return True

    @property
    def rem_total(self) -> float:
        """Tokens that are free now and not expected to be used by any job."""
        return self.cur_rem - self.expected.tokens

    @property
    def cur_rem(self) -> int:
        """Tokens that are free now."""
        return self.step.free_blocks * self.page - self.uncounted

    def go_on(self, job: Job) -> bool:
        """Compute the next chunk of the one prompt that is in flight; False if there is room for none."""
        chunk = min(job.remaining_tokens, self.rem_chunk)
        if not self._surely(chunk):
            chunk = min(chunk, int(self.rem_total))
        held = self.step.blocks_held(job)
        if chunk <= 0 or not self.step.prefill(job, chunk):
            return False
        to_come = self.to_come(job) if chunk == job.remaining_tokens else 0
        self._count(job, chunk, self.step.blocks_held(job) - held, to_come)
        if self._lives is not None:
            self._foresee(self._lives, job)
        return True

    def add(self, job: Job, alone: bool) -> Added:
        """Start a waiting request if it fits.

        0.5.3 waits for ever if one that would run ``alone`` does not, as it may ask for more than there is:
        it counts what a retracted request has generated twice. Here it starts then, unless ``strict_engine``.
        """
        step, page = self.step, self.page
        cached = step.cached_tokens(job)
        extend, to_come = job.known_tokens - cached, self.to_come(job)
        self.looked_up[job.id] = extend
        tokens, need = step.blocks_for(extend) * page, extend + to_come
        if self._lives is not None:
            fits = tokens <= min(self.cur_rem, self.rem_total) and self._lives_fit(self._lives, job, tokens)
        else:
            if tokens >= self.rem_input and self.jobs and need < self.rem_total:
                return Added.STOP
            newly_held = step.blocks_to_admit(job, cached) * page  # found, but evictable until now
            fits = self._surely(need + newly_held) or need < self.rem_total - newly_held
        if not fits and (not alone or step.limits.strict_engine):
            return Added.NO_TOKEN
        chunk = extend if tokens <= self.rem_chunk else self.rem_chunk // page * page
        if alone and not chunk:  # steps of less than a page, with which the engine would not start
            chunk = min(extend, self.rem_chunk)
        if chunk <= 0 or not step.admit(job, chunk):
            return Added.STOP
        del self.looked_up[job.id]
        self._count(job, chunk, step.blocks_for(chunk), to_come if chunk == extend else 0)
        return self._room()

    def to_come(self, job: Job) -> int:
        """Tokens that a request may generate, as far as it is expected to go."""
        return min(allowed_tokens(self.step, job), LONGEST_EXPECTED)

    def _count(self, job: Job, chunk: int, blocks: int, to_come: int) -> None:
        tokens = self.step.blocks_for(chunk) * self.page
        self.jobs.append(job)
        self.expected.add(to_come)
        self.uncounted += tokens - blocks * self.page
        self.rem_input -= tokens
        self.rem_chunk -= tokens

    def _room(self) -> Added:
        if not self._surely(0) and (self.rem_total <= 0 or self.cur_rem <= 0):
            return Added.NO_TOKEN
        return Added.STOP if self.rem_input <= 0 or self.rem_chunk <= 0 else Added.MORE

    def _surely(self, tokens: int) -> bool:
        """Whether more than so many are free and not expected to be used, whatever is expected of each job."""
        return tokens + 1 < self.cur_rem - self.expected.most

    def _lives_fit(self, lives: list[tuple[int, int]], job: Job, tokens: int) -> bool:
        """Whether the cache would hold out if all jobs went on to the end, in order of tokens to come."""
        self._foresee(lives, job)
        free = self.cur_rem - tokens
        for place, (left, held) in enumerate(lives):
            going = len(lives) - place
            if free - left * going <= going:  # a token to spare for each
                return False
            free += held
        return True

    def _foresee(self, lives: list[tuple[int, int]], job: Job) -> None:
        left = allowed_tokens(self.step, job) - job.generated_tokens
        if left > 0:
            insort(lives, (left, job.known_tokens))
