"""SGLang's running batch: who decodes, how many tokens are still to come, and who gives way."""

from collections.abc import Iterator, Sequence
from typing import Literal

from simulator.policy import Job, Ledger

INITIAL_RATIO, LEAST_SHARE, DECAY_STEPS = 0.7, 0.14, 600  # of the tokens still allowed, the share to come
LONGEST_EXPECTED = 4096  # tokens to come beyond which no request is expected to go
RETRACT_STEPS = 20  # tokens that every request is expected to get once requests were retracted


class RunningBatch:
    """The requests that decode, as the engine sees them: who has ended stays until the next decode step.

    ``ratio`` (new_token_ratio) is how much of what the requests may still generate is expected to come. It
    falls with every decode step until memory runs out. Source: SGLang 0.5.3, schedule_batch.py.
    """

    def __init__(self, conservativeness: float) -> None:
        """``conservativeness`` scales the ratio that is started with."""
        self.jobs: list[Job] = []
        self.ratio = self._initial_ratio = min(INITIAL_RATIO * conservativeness, 1.0)
        self._least_ratio = self._initial_ratio * LEAST_SHARE
        self._unseen_from = 0
        self._most_tokens = 0  # that a request of the batch may have, or may have had
        # Of requests that wait: tokens to extend when they were looked at last
        self.looked_up: dict[int, int] = {}
        self._retractions = 0
        # Of requests that were retracted: when they joined the queue
        self._back: dict[int, tuple[float, int]] = {}

    def merge(self, ready: list[Job], in_flight: Literal["", "extend", "decode"]) -> None:
        """Add those whose prompts are computed.

        ``in_flight`` is the step whose result is not known yet: all got a token in a decode step, only
        those who are ready in one that extended prompts.
        """
        before = len(self.jobs)
        self.jobs += ready
        for job in ready:
            if job.max_tokens > self._most_tokens:
                self._most_tokens = job.max_tokens
        self._unseen_from = 0 if in_flight == "decode" else before if in_flight else len(self.jobs)

    def take_out(self) -> list[Job]:
        """Empty the batch, which joins another one; return who was in it."""
        jobs, self.jobs = self.jobs, []
        return jobs

    def filter(self, step: Ledger) -> bool:
        """Drop jobs that ended or were preempted; return whether there were any."""
        before = len(self.jobs)
        running = step.running
        if before != len(running) - len(step.partial):
            self.jobs = [job for job in self.jobs if job in running]
        return len(self.jobs) < before

    def bring(self, step: Ledger, joined: Sequence[Job]) -> None:
        """Add those whose KV has come from other replicas, after those who are still there."""
        self.jobs = [job for job in self.jobs if job in step.running and job not in joined]
        self.merge([*joined], "")

    def most_expected(self) -> float:
        """Return what ``expected`` is at most, without looking at each request."""
        return len(self.jobs) * (min(self._most_tokens, LONGEST_EXPECTED) + 1) * self.ratio

    def expected(self, step: Ledger) -> float:
        """Tokens that are expected to come for all requests."""
        return sum(tokens for _, tokens in self.to_come(step))

    def to_come(self, step: Ledger) -> Iterator[tuple[Job, float]]:
        """Each request with the tokens that are expected to come."""
        for place, job in enumerate(self.jobs):
            yield job, min(allowed_tokens(step, job) - self._seen(step, place), LONGEST_EXPECTED) * self.ratio

    def lives(self, step: Ledger) -> Iterator[tuple[int, int]]:
        """Of each request, the tokens that it may still generate and those that it holds."""
        for place, job in enumerate(self.jobs):
            seen = self._seen(step, place)
            yield allowed_tokens(step, job) - seen, job.prompt_tokens + seen

    def reset_ratio(self) -> None:
        """Expect as many tokens as at the start."""
        self.ratio = self._initial_ratio

    def decay_ratio(self, steps: int = 1) -> None:
        """Expect a little less, as memory was enough for so many decode steps."""
        decay, least = (self._initial_ratio - self._least_ratio) / DECAY_STEPS, self._least_ratio
        for _ in range(steps):
            if self.ratio == least:
                break
            self.ratio = max(self.ratio - decay, least)

    def decode(self, step: Ledger, jobs: list[Job]) -> bool:
        """Schedule a token of each job, if the engine finds memory enough; else change nothing.

        Planning ahead it takes a token to be in flight of each, so that after a step that extended prompts it looks for
        the pages of a token later.
        """
        page = step.block_size
        if page > 1 and step.plans_ahead and self._unseen_from and len(jobs) > step.free_blocks:
            seen = {job: self._seen(step, place) for place, job in enumerate(self.jobs)}
            if sum((job.prompt_tokens + seen[job]) % page == 0 for job in jobs) > step.free_blocks:
                return False
        return step.decode_all(beyond=True)

    def retract(self, step: Ledger) -> bool:
        """Send requests to the end of the queue until the rest can decode, and schedule that.

        First goes the job with the fewest output tokens, of those the one with the longest prompt. The last one
        stays, unless the memory that it lacks is held by no other. False if it has to wait.
        """
        seen = {job: self._seen(step, place) for place, job in enumerate(self.jobs)}
        order = sorted(self.jobs, key=lambda job: (seen[job], -job.prompt_tokens), reverse=True)
        while not self.decode(step, order):
            if len(order) > 1:
                self.send_back(step, order.pop())
            elif step.limits.strict_engine or len(step.running) > len(step.partial) + 1:
                return False  # the engine ends with an assertion, or a prompt is about to free memory
            else:
                step.preempt(next(iter(step.partial), order[0]), at_head=False)
        self.jobs = [job for job in order if job in step.running]
        step.rank_decodes(self.jobs)
        if self.jobs:
            tokens = sum(seen[job] + RETRACT_STEPS for job in self.jobs)
            self.ratio = min(1.0, tokens / sum(allowed_tokens(step, job) for job in self.jobs))
        return True

    def send_back(self, step: Ledger, job: Job, for_job: Job | None = None) -> None:
        """Retract a request to the end of the queue; the token that is in flight is lost."""
        step.preempt(job, at_head=False, keeps_token=False, for_job=for_job)
        self.looked_up.pop(job.id, None)
        self._retractions += 1
        self._back[job.id] = step.now_s, self._retractions

    def queued(self, job: Job) -> tuple[float, int, int]:
        """Where a request stands in the order of joining the queue."""
        return *self._back.get(job.id, (job.arrival_s, 0)), job.id

    def _seen(self, step: Ledger, place: int) -> int:
        """Output tokens that the engine knows of: not the one of a step in flight."""
        job = self.jobs[place]
        return job.generated_tokens - (place >= self._unseen_from and job in step.running)


def allowed_tokens(step: Ledger, job: Job) -> int:
    """Output tokens that a request may have: what its client asked for, cut to what fits the cache alone."""
    return max(1, min(job.max_tokens, step.total_blocks * step.block_size - 2 - job.prompt_tokens))
