"""SLOs-Serve: promise only what can be kept, keep it by deadlines, and serve the others with what is left."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from policies.scheduling._slos_batch import PacedStep
from policies.scheduling._slos_promises import Promises
from simulator.policy import Job, Ledger, Scheduler, StepShape, check_share

MOST_AT_ONCE = 32  # requests that one plan decides on; the next one goes on with the others


@dataclass
class SlosServe(Scheduler):
    """A request that comes is promised its ``ttft_slo_s`` and ``tpot_slo_s`` if all promises can be kept with it.

    A step lasts no longer than until the next token is due. In it are first the decodes that cannot wait for the step
    after, then promised prompts in order of their deadlines, then decodes ahead of their bounds. Requests that were
    declined, or have no bounds, get what is left, and give their KV blocks up to promised ones.
    Source: Chen et al., "SLOs-Serve", arXiv 2504.08784, admission and batch formation.
    """

    thinking_tpot_s: float = 0.0  # bound on the time between thinking tokens, s; 0: that of the answer
    acceptance_rate: float = 0.8  # with which a draft is taken to be right, where there is speculation
    watermark: float = 0.01  # share of KV blocks kept free when starting one that was declined beside others
    _promises: Promises = field(init=False)
    _end_s: float = field(default=0.0, init=False)  # when the step that was planned last ends
    _seen: set[Job] = field(default_factory=set, init=False)  # who has been decided on

    def __post_init__(self) -> None:
        """Refuse what is no share; have promised nothing."""
        check_share("watermark", self.watermark)
        check_share("acceptance_rate", self.acceptance_rate)
        self._promises = Promises(self.thinking_tpot_s)

    def told_frontend(self, frontend_s: float) -> Self:
        """TTFT is measured at the client."""
        self._promises.frontend_s = frontend_s
        return self

    def native_engine(self) -> str:
        """None was released: a prototype."""
        return "prototype"

    def fast_forward_spare_blocks(self) -> int:
        """Where all can decode in time, they do."""
        return 0

    def goes_on_decoding(self, step: Ledger) -> bool:
        """Whether all decodes are in time together, however long they become."""
        longest_s = self._promises.look(step, max(step.now_s, self._end_s))
        more = sum(job.prompt_tokens + job.max_tokens for job in step.running)
        return step.price(StepShape(decode_seqs=step.group.size, decode_context_tokens=more)) <= longest_s

    def decoded(self, begun_s: float, ends_s: Sequence[float], first_tick: int) -> None:
        """Hear when the next step starts."""
        self._end_s = ends_s[-1]

    def promises(self, step: Ledger, job: Job, at_s: float) -> bool:
        """Whether a step that starts then would promise a request its bounds beside those who came before it."""
        if not self._promises.asked(job):
            return True
        new = [each for each in self._new(step) if self._promises.asked(each)]
        if len(new) >= MOST_AT_ONCE:
            return False
        self._promises.look(step, at_s)
        _, before = self._promises.choice(step, new, at_s)
        _, chosen = self._promises.choice(step, [*new, job], at_s)
        return job in chosen and len(chosen) > len(before)

    def plan(self, step: Ledger) -> None:
        """Decide on who came; then decodes that are due, promised prompts, other decodes, other prompts."""
        promises, start_s = self._promises, max(step.now_s, self._end_s)
        new = self._new(step)
        promises.look(step, start_s)
        if new:
            asked = [job for job in new if promises.asked(job)]
            promises.promise(step, asked[:MOST_AT_ONCE], start_s)
            self._seen.update(set(new) - set(asked[MOST_AT_ONCE:]))
        if len(self._seen) > 2 * (len(step.waiting) + len(step.running)) + MOST_AT_ONCE:
            self._seen.intersection_update([*step.waiting, *step.running])
        paced = PacedStep(step, promises, start_s, self.acceptance_rate)
        paced.decode()
        paced.compute_prompts()
        paced.serve_others(self._seen, int(self.watermark * step.total_blocks))
        self._end_s = paced.end()

    def _new(self, step: Ledger) -> list[Job]:
        """Return who waits and has not been decided on, in the queue's order."""
        return [job for job in step.waiting if job not in self._seen]
