"""Autellix's program-level least attained service: the programs that got least so far run."""

from dataclasses import dataclass, field

from policies.scheduling._swapped import RankedWithSwap
from simulator.policy import Job

FOLDED_EVERY = 64  # arrivals between two looks at which calls have ended


@dataclass
class Autellix(RankedWithSwap):
    """A call starts with the tokens that the earlier calls of its session have got, and sinks by those it gets.

    Tokens count in bins, so that few calls change turns; in a bin the first to come goes first. Predicts nothing.
    Source: Luo et al., "Autellix", arXiv 2502.13965 (PLAS); bins of 400 generated tokens as in its use by JITServe
    (UIUC-MLSys/JITServe, scheduler/policy.py). Its promotion of programs that starve is left out.
    """

    bin_tokens: int = 400  # of service that count as the same
    _base: dict[Job, int] = field(default_factory=dict, init=False)  # tokens of earlier calls of its program
    _calls: dict[int, list[Job]] = field(default_factory=dict, init=False)  # of each session, not yet folded
    _ended: dict[int, int] = field(default_factory=dict, init=False)  # tokens of each session's folded calls
    _arrivals: int = field(default=0, init=False)

    def rank(self, job: Job) -> float:
        """The bin of its program's tokens when it came and of its own."""
        base = self._base.get(job)
        if base is None:
            base = self._base[job] = self._attained(job)
        return (base + job.generated_tokens) // self.bin_tokens

    def _attained(self, job: Job) -> int:
        """Return what its session has got here until now, and count it to that."""
        self._arrivals += 1
        if self._arrivals % FOLDED_EVERY == 0:
            self._fold()
        if job.session < 0:
            return 0
        calls = self._calls.setdefault(job.session, [])
        earlier = sum(each.generated_tokens for each in calls if self.is_here(each))
        calls.append(job)
        return self._ended.get(job.session, 0) + earlier

    def _fold(self) -> None:
        """Forget calls that have ended, but for their tokens, and those that are elsewhere."""
        gone = {job for job in self._base if self.has_ended(job) or not self.is_here(job)}
        self._base = {job: base for job, base in self._base.items() if job not in gone}
        for session, calls in list(self._calls.items()):
            tokens = sum(each.generated_tokens for each in calls if self.has_ended(each))
            self._ended[session] = self._ended.get(session, 0) + tokens
            self._calls[session] = [each for each in calls if each not in gone]
            if not self._calls[session]:
                del self._calls[session]
