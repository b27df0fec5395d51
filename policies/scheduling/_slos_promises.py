"""The requests whose SLOs are promised, for the policy ``slos_serve``: by when each needs its next token."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isnan

from policies.scheduling._slos_choice import FAR_S, NextToken, choice
from simulator.policy import Job, Ledger


@dataclass
class Promises:
    """Who was promised its bounds of TTFT and TPOT, and by when its next token is due.

    Token i of a request whose first one came at t_1 is due ``t_1 + (i − 1)·TPOT``, so that its mean time per token
    keeps the bound wherever its answer ends (Wang et al., arXiv 2410.14257v2, Eq. 3). The first
    ``job.thinking_tokens`` may have a TPOT of their own.
    """

    thinking_tpot_s: float = 0.0  # of thinking; 0: as of the answer
    frontend_s: float = 0.0  # from a token's generation to its client
    step_s: float = FAR_S  # the longest step that lets all of them keep their TPOT
    kept: dict[Job, float] = field(default_factory=dict)  # when each had its first token; before that 0
    # When the next token is due of those who go on with a token a step, and of the others
    decodes: dict[Job, float] = field(default_factory=dict)
    prompts: dict[Job, float] = field(default_factory=dict)

    def asked(self, job: Job) -> bool:
        """Whether a request has any bound; else there is nothing to promise."""
        request = job.request
        return not (isnan(request.ttft_slo_s) and isnan(request.tpot_slo_s))

    def tpot_s(self, job: Job) -> float:
        """Return the bound on the time between a request's next tokens; ``FAR_S`` without one."""
        bound_s = _bound_s(job.request.tpot_slo_s)
        thinks = self.thinking_tpot_s and job.generated_tokens < job.thinking_tokens
        return min(bound_s, self.thinking_tpot_s) if thinks else bound_s

    def due_s(self, job: Job, at_s: float) -> float:
        """Return when a request is to have its next token; one that comes with some, within its TPOT after ``at_s``."""
        generated = job.generated_tokens
        if not generated:
            return job.arrival_s + _bound_s(job.request.ttft_slo_s) - self.frontend_s
        if job not in self.kept:
            return at_s + self.tpot_s(job)
        bound_s = _bound_s(job.request.tpot_slo_s)
        thought = min(generated, job.thinking_tokens) if self.thinking_tpot_s else 0
        return self.kept[job] + thought * min(bound_s, self.thinking_tpot_s) + (generated - thought) * bound_s

    def look(self, step: Ledger, start_s: float) -> float:
        """See how far all of them are; return how long a step that starts then may last.

        That is until the first token is due of those who decode. Who is done, or not here any more, is dropped. Once
        no prompt is left the steps may become longer.
        """
        self.decodes, self.prompts = {}, {}
        waiting: set[Job] | None = None
        for job in [*self.kept]:
            if job.completing:
                del self.kept[job]
            elif job in step.running:
                (self.decodes if job.decodes else self.prompts)[job] = self.due_s(job, start_s)
            else:
                waiting = set(step.waiting) if waiting is None else waiting
                if job in waiting:
                    self.prompts[job] = self.due_s(job, start_s)
                else:
                    del self.kept[job]
        if not self.prompts:
            self.step_s = min(map(self.tpot_s, self.decodes), default=FAR_S)
        return self.longest_s(start_s)

    def longest_s(self, start_s: float) -> float:
        """Return how long a step that starts then may last, as of the last look."""
        return min(self.step_s, min(self.decodes.values(), default=FAR_S) - start_s)

    def promise(self, step: Ledger, new: Sequence[Job], at_s: float) -> None:
        """Decide which of the requests that came are promised their bounds; the others are not."""
        step_s, chosen = self.choice(step, new, at_s)
        if chosen:
            self.step_s = step_s
        for job in chosen:
            self.prompts[job] = due_s = self.due_s(job, at_s)
            self.kept[job] = 0.0
            if job.generated_tokens:
                self.kept[job] = due_s - self.due_s(job, at_s)

    def choice(self, step: Ledger, new: Sequence[Job], at_s: float) -> tuple[float, list[Job]]:
        """Return the longest step and who of these would be promised their bounds in a step that starts then."""
        decodes, prompts, come = (
            {job: NextToken(self.due_s(job, at_s), self.tpot_s(job)) for job in jobs}
            for jobs in (self.decodes, self.prompts, new)
        )
        return choice(step, decodes, prompts, come, at_s, self.step_s)


def _bound_s(bound_s: float) -> float:
    """Return a bound, ``FAR_S`` for none (NaN)."""
    return FAR_S if isnan(bound_s) else bound_s
