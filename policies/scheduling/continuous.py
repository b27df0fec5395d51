"""Continuous batching with chunked prompts, and every way to choose a victim and to preempt it."""

from dataclasses import dataclass

from policies.scheduling._preemption import Mechanism, VictimRule, fill, go_on, make_room
from simulator.policy import Ledger, Scheduler, check_share


@dataclass(frozen=True)
class Continuous(Scheduler):
    """Every decode gets a token; ongoing prompts, then the queue, fill the step up.

    When KV blocks run out, the victim gives its blocks up and computes them again from the head of the
    queue, or keeps them in host memory and comes back before any other is admitted. No request starts in that step.
    Source: Kwon et al., "PagedAttention", SOSP 2023 (arXiv 2309.06180), section 4.5.
    """

    preemption: Mechanism = "recompute"  # recompute, swap (to host memory), or cheapest in added step time
    victim: VictimRule = "latest"  # latest arrival, priority, most_slack or least_progress gives way
    watermark: float = 0.01  # share of KV blocks kept free when starting beside running requests

    def __post_init__(self) -> None:
        """Refuse a watermark that would keep the whole cache free."""
        check_share("watermark", self.watermark)

    def native_engine(self) -> str:
        """None was released: a prototype."""
        return "prototype"

    def fast_forward_spare_blocks(self) -> int:
        """With an empty queue, whatever fits goes on."""
        return 0

    def plan(self, step: Ledger) -> None:
        """Decodes, ongoing prompts, then requests that come back, then new ones."""
        make_room(step, self.preemption, self.victim)
        step.decode_all()
        go_on(step)
        if not step.preempted:
            fill(step, int(self.watermark * step.total_blocks))
