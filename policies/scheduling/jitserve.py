"""JITServe: every so many steps the window of requests that gain most a second takes the batch."""

from collections import deque
from dataclasses import dataclass, field

from policies.scheduling._gmax import best_window
from policies.scheduling._output_bounds import OutputBounds
from policies.scheduling._promised_gains import GainRule, densities, is_collective
from policies.scheduling._swapped import RankedWithSwap
from simulator.policy import Job, Ledger

OUTSIDE, LATER = 1e6, 1e9  # ranks behind the window's: not chosen, and come after the choice
FORGOTTEN_EVERY = 64  # arrivals between two looks at which requests have ended


@dataclass
class JitServe(RankedWithSwap):
    """Latency, deadline and collective requests by reward over remaining time, chosen by GMAX.

    While requests wait, every ``interval`` steps the ``candidates`` batches of most reward a second are put in order of
    length, and the batch of neighbours that gains most together takes seats and KV from others; between choices
    all go on. Source: Zhang et al., "JITServe" (first "Tempo"), arXiv 2504.20068, and the authors' code.
    """

    interval: int = 50  # steps from one choice to the next
    candidates: float = 2.0  # batches among whose requests the window is chosen (k)
    batch_size: int = 0  # most requests in the window; 0: as many as have seats and KV
    max_swaps: int = 0  # most that start in place of others at a choice; 0: any number
    penalty: float = 1.0  # power of the ratio of time allowed to time taken (the paper's experiments: 100)
    quantile: float = 0.95  # of outputs that are to be no longer than predicted
    ttft_s: float = 2.0  # bound of latency requests that were promised none, s
    tbt_s: float = 0.1  # the same of the time between their tokens, s
    _ranks: dict[Job, float] = field(default_factory=dict, init=False)
    _known: dict[Job, None] = field(default_factory=dict, init=False)  # here, or ended and not yet learned
    _began_s: dict[int, float] = field(default_factory=dict, init=False)  # first arrival of each collection
    _chosen: tuple[int, float] = field(default=(-1, 0.0), init=False)  # step and time of the last choice
    _step_s: deque[float] = field(default_factory=lambda: deque([0.02], maxlen=10), init=False)
    _swaps_left: float = field(default=0.0, init=False)
    _arrivals: int = field(default=0, init=False)
    _outputs: OutputBounds = field(init=False)

    def __post_init__(self) -> None:
        """Refuse what is no quantile or no window."""
        if not 0 < self.quantile <= 1 or self.candidates < 1 or self.interval < 1:
            raise ValueError(
                "expected quantile above 0 and up to 1, candidates and interval of 1 or more; got"
                f" {self.quantile:g}, {self.candidates:g} and {self.interval}"
            )
        self._outputs = OutputBounds(self.quantile)

    def rank(self, job: Job) -> float:
        """Its place in the window or behind; after all of them for one that came since the last choice."""
        if job not in self._known:
            self._meet(job)
        return self._ranks.get(job, LATER)

    def prepare(self, step: Ledger) -> None:
        """Choose if it is time to."""
        super().prepare(step)
        self._swaps_left = 0.0
        if (step.waiting or step.swapped) and step.step >= self._chosen[0] + self.interval:
            self._choose(step)
            self._swaps_left = self.max_swaps or float("inf")

    def would_start(self, step: Ledger, job: Job, starting: list[Job]) -> bool:
        """Only one of the window makes others give way, at a choice."""
        if self._swaps_left <= 0 or self._ranks.get(job, LATER) >= OUTSIDE:
            return False
        self._swaps_left -= 1
        return True

    def _choose(self, step: Ledger) -> None:
        """Rank all who are here."""
        last, last_s = self._chosen
        if last >= 0 and step.step == last + self.interval:  # else there was no queue all the time
            self._step_s.append((step.now_s - last_s) / self.interval)
        self._chosen = step.step, step.now_s
        self._learn()
        jobs = [*step.running, *step.swapped, *step.waiting]
        rule = GainRule(self.ttft_s, self.tbt_s, self.penalty)
        step_s = sum(self._step_s) / len(self._step_s)
        gain = densities(jobs, rule, self._outputs.tokens, step.now_s, step_s, self._began_s)
        jobs.sort(key=lambda job: (-gain[job], job.arrival_s, job.id))
        size = self.batch_size or self._holds(step, jobs)
        likely = jobs[: max(size, int(self.candidates * size))]
        likely.sort(key=lambda job: (job.known_tokens, job.id))
        begins = best_window([gain[job] for job in likely], size)
        window = set(likely[begins : begins + size])
        self._ranks = {job: place + OUTSIDE * (job not in window) for place, job in enumerate(jobs)}
        step.sort_waiting(self.rank)

    def _holds(self, step: Ledger, jobs: list[Job]) -> int:
        """Return how many of these, in order, have seats and KV blocks at once; at least one."""
        size, blocks = 0, 0
        for job in jobs[: step.limits.max_num_seqs]:
            blocks += step.blocks_for(job.known_tokens)
            if blocks > step.total_blocks:
                break
            size += 1
        return max(1, size)

    def _meet(self, job: Job) -> None:
        """Note a request that has come, and now and then which have ended."""
        self._arrivals += 1
        if self._arrivals % FORGOTTEN_EVERY == 0:
            self._learn()
        self._known[job] = None
        if is_collective(job):
            self._began_s.setdefault(job.session, job.arrival_s)

    def _learn(self) -> None:
        """Learn how long the outputs were that have ended here; forget who is elsewhere."""
        for job in [job for job in self._known if self.has_ended(job) or not self.is_here(job)]:
            del self._known[job]
            if self.has_ended(job) and job.completing:
                self._outputs.ended(job)
