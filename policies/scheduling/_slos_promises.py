"""The requests whose SLOs are promised, for the policy ``slos_serve``: by when each needs its next token."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from policies.scheduling._slos_choice import FAR_S, Setting, choice, decoding
from simulator.policy import Job, Ledger


@dataclass
class Promises:
    """Who was promised its bounds of TTFT and TPOT, and by when its next token is due.

    Token i of a request whose first one came at t_1 is due ``t_1 + (i − 1)·TPOT``, so that its mean time per token
    keeps the bound wherever its answer ends (Wang et al., arXiv 2410.14257v2, Eq. 3). The first
    ``job.thinking_tokens`` may have a TPOT of their own.
    """

    thinking_tpot_s: float = 0.0  # of thinking; 0: as of the answer
    step_s: float = FAR_S  # the longest step that lets all of them keep their TPOT
    kept: dict[Job, float] = field(default_factory=dict)  # when each had its first token; before that 0

    def tpot_s(self, job: Job) -> float:
        """Return the bound on the time between a request's next tokens; ``FAR_S`` without one."""
        bound_s = _bound_s(job.request.tpot_slo_s)
        thinks = self.thinking_tpot_s and job.generated_tokens < job.thinking_tokens
        return min(bound_s, self.thinking_tpot_s) if thinks else bound_s

    def due_s(self, job: Job) -> float:
        """Return when the next token of a promised request is due."""
        generated, bound_s = job.generated_tokens, _bound_s(job.request.tpot_slo_s)
        if not generated:
            return job.arrival_s + _bound_s(job.request.ttft_slo_s)
        thought = min(generated, job.thinking_tokens) if self.thinking_tpot_s else 0
        return self.kept[job] + thought * min(bound_s, self.thinking_tpot_s) + (generated - thought) * bound_s

    def _first_due_s(self, job: Job, at_s: float) -> float:
        """Return when a request that comes is to have its next token; one that brings some, within its TPOT."""
        if job.generated_tokens:
            return at_s + self.tpot_s(job)
        return job.arrival_s + _bound_s(job.request.ttft_slo_s)

    def forget(self, step: Ledger) -> None:
        """Drop those who are done or not here any more; once no prompt is left the steps may become longer."""
        gone = [job for job in self.kept if job.completing or job not in step.running]
        if gone:
            waiting = set(step.waiting)
            for job in gone:
                if job.completing or job not in waiting:
                    del self.kept[job]
        if all(decoding(step, job) for job in self.kept):
            self.step_s = min(map(self.tpot_s, self.kept), default=FAR_S)

    def longest_s(self, step: Ledger, start_s: float) -> float:
        """Return how long a step that starts then may last: no longer than until a promised token is due."""
        due_s = min((self.due_s(job) for job in self.kept if decoding(step, job)), default=FAR_S)
        return min(self.step_s, due_s - start_s)

    def promise(self, step: Ledger, new: Sequence[Job], at_s: float) -> None:
        """Decide which of the requests that came are promised their bounds; the others are not."""
        step_s, chosen = self.choice(step, new, at_s)
        if chosen:
            self.step_s = step_s
        for job in chosen:
            self.kept[job] = 0.0
            if job.generated_tokens:
                self.kept[job] = at_s + self.tpot_s(job) - self.due_s(job)

    def choice(self, step: Ledger, new: Sequence[Job], at_s: float) -> tuple[float, list[Job]]:
        """Return the longest step and who of these would be promised their bounds in a step that starts then."""
        kept = {job: self._setting(job, self.due_s(job), True) for job in self.kept}
        come = {job: self._setting(job, self._first_due_s(job, at_s), False) for job in new}
        return choice(step, kept | come, at_s, self.step_s)

    def _setting(self, job: Job, due_s: float, promised: bool) -> Setting:
        return Setting(due_s, self.tpot_s(job), promised)


def _bound_s(bound_s: float) -> float:
    """Return a bound, ``FAR_S`` for none (NaN)."""
    return bound_s if bound_s == bound_s else FAR_S
