"""Continuous batching with chunked prompts, and every way to choose a victim, to preempt it, and when."""

from dataclasses import dataclass
from typing import Literal

from policies.scheduling._preemption import Mechanism, VictimRule, fill, fill_by_due, go_on, make_room, whole
from policies.scheduling._step_time import longest_chunk
from policies.scheduling._triggers import fits_beside, seat_the_late, shorten
from simulator.policy import Job, Ledger, Scheduler, check_share

Trigger = Literal["memory", "tbt", "due"]


@dataclass(frozen=True)
class Continuous(Scheduler):
    """Every decode gets a token; ongoing prompts, then the queue, fill the step up.

    When KV blocks run out, the victim gives its blocks up and computes them again from the head of the
    queue, or keeps them in host memory and comes back before any other is admitted. No request starts in that step.
    Source: Kwon et al., "PagedAttention", SOSP 2023 (arXiv 2309.06180), section 4.5. The triggers are our own.
    """

    preemption: Mechanism = "recompute"  # recompute, swap (to host memory), or cheapest in added step time
    victim: VictimRule = "latest"  # latest arrival, priority, most_slack or least_progress gives way
    watermark: float = 0.01  # share of KV blocks kept free when starting beside running requests
    trigger: Trigger = (
        "memory"  # gives way where KV runs out; besides for short steps (tbt), or late readers (due)
    )
    tbt_s: float = 0.05  # tbt: longest step that is put up with, s
    pause_s: float = 1.0  # due: a request gives way only if its reader has text for so long, s

    def __post_init__(self) -> None:
        """Refuse a watermark that would keep the whole cache free."""
        check_share("watermark", self.watermark)

    def native_engine(self) -> str:
        """None was released: a prototype."""
        return "prototype"

    def fast_forward_spare_blocks(self) -> int | None:
        """With an empty queue, whatever fits goes on, unless steps are watched."""
        return None if self.trigger == "tbt" else 0

    def plan(self, step: Ledger) -> None:
        """Decodes, ongoing prompts, then requests that come back, then new ones."""
        keep_free = int(self.watermark * step.total_blocks)
        if self.trigger == "tbt":
            shorten(step, self.tbt_s, self.preemption, self.victim)
        elif self.trigger == "due":
            seat_the_late(step, self.pause_s, self.preemption, keep_free)
        make_room(step, self.preemption, self.victim)
        step.decode_all()
        go_on(step, self._chunk)
        if not step.preempted:
            if self.trigger == "due":
                fill_by_due(step, keep_free)
            else:
                fill(step, keep_free, self._chunk)

    def _chunk(self, step: Ledger, job: Job) -> int:
        """How many tokens of a request go into the step: all that it holds, unless it is not to take too long."""
        most = whole(step, job)
        if self.trigger != "tbt" or not most or not step.group.size:  # no gap to keep short
            return most
        if job not in step.running and not fits_beside(step, job, self.tbt_s):
            return 0
        return longest_chunk(step, job, most, self.tbt_s)
