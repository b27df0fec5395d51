"""Andes: the KV cache goes to the readers whose experience gains most from it, those ahead make way."""

from dataclasses import dataclass, field

from policies.scheduling._preemption import Mechanism, fill, give_way, go_on, make_room, start
from simulator.policy import Job, Ledger, Scheduler, StepShape, check_share


@dataclass
class Andes(Scheduler):
    """While requests wait, choose anew every few steps which run: most QoE gained per token of context first.

    The gain is what QoE would be after ``horizon_s`` of being served less that of waiting; a request not
    chosen is preempted, at most ``max_preemptions`` times. Between choices the cache is filled in order.
    Source: Liu et al., "Andes" (arXiv 2404.16283), greedy packing; one batch size instead of a search for it.
    """

    interval: int = 10  # steps from one choice to the next
    horizon_s: float = 10.0  # how far ahead QoE is predicted, s
    max_preemptions: int = 1  # times that a request may be preempted by choice
    preemption: Mechanism = "swap"  # recompute, swap (to host memory), or cheapest in added step time
    watermark: float = 0.01  # share of KV blocks kept free when starting beside running requests
    _next_choice: int = field(default=0, init=False)  # step

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
        """Choose if it is time to, then decodes, ongoing prompts and what is to start."""
        keep_free = int(self.watermark * step.total_blocks)
        chosen: list[Job] = []
        if (step.waiting or step.swapped) and step.running and step.step >= self._next_choice:
            self._next_choice = step.step + self.interval
            chosen = self._choose(step, keep_free)
        by_choice = len(step.preempted)
        make_room(step, self.preemption, "most_slack")
        step.decode_all()
        go_on(step)
        if len(step.preempted) > by_choice:
            return
        for job in chosen:
            if not start(step, job, min(job.remaining_tokens, step.token_budget), keep_free):
                self._next_choice = step.step + 1  # its place is kept by choosing again
                return
        if not by_choice:
            fill(step, keep_free)

    def _choose(self, step: Ledger, keep_free: int) -> list[Job]:
        """Preempt who is to make way; return who is to start, best first."""
        jobs = [*step.running, *step.swapped, *step.waiting]
        room = step.total_blocks - keep_free
        fit = len(jobs) <= step.limits.max_num_seqs and sum([self._blocks(step, job) for job in jobs]) <= room
        if fit:  # whatever they gain, all are chosen
            jobs = jobs[len(step.running) :]
        gain = self._gains(step, jobs)
        jobs.sort(key=lambda job: (-gain[job] / job.known_tokens, job.due_s, job.id))
        if fit:
            return jobs
        # Who has been preempted often enough stays, whatever others would gain.
        stays = {job for job in step.running if job.preemptions >= self.max_preemptions}
        blocks, seats = room, step.limits.max_num_seqs - len(stays)
        blocks -= sum(self._blocks(step, job) for job in stays)
        chosen: list[Job] = []
        for job in jobs:
            if job not in stays and seats and self._blocks(step, job) <= blocks:
                chosen.append(job)
                blocks -= self._blocks(step, job)
                seats -= 1
        keeps = stays.union(chosen)
        starts = [job for job in chosen if job not in step.running]
        if starts:
            for job in [job for job in step.running if job not in keeps]:
                give_way(step, job, self.preemption, starts[0])
        return starts

    def _blocks(self, step: Ledger, job: Job) -> int:
        """KV blocks that a request holds or would hold, and those until the next choice."""
        return step.blocks_for(job.known_tokens + self.interval)

    def _gains(self, step: Ledger, jobs: list[Job]) -> dict[Job, float]:
        """What each request's QoE would gain by being served from now on."""
        now_s, group, tokens = step.now_s, step.group, step.limits.max_num_batched_tokens
        seqs = max(1, group.size)
        decode = StepShape(decode_seqs=seqs, decode_context_tokens=max(1, group.context_tokens()))
        rate = 1 / max(step.price(decode), 1e-9)
        prompt = StepShape()
        prompt.count(tokens, 0, False, 1)
        s_per_token = step.price(prompt) / tokens
        return {
            job: _gain(job, now_s, self.horizon_s, rate, s_per_token * (job.remaining_tokens - 1))
            for job in jobs
        }


def _gain(job: Job, now_s: float, horizon_s: float, rate: float, delay_s: float) -> float:
    """QoE at the horizon if ``rate`` tokens a second come after a delay, less QoE if none come.

    The reader is taken for a steady one from the deadline of the next token on.

    QoE is 1 less the area between tokens expected and tokens there, as a share of the area expected. What
    was late until now is late either way.
    """
    pace = 1 / max(job.pace_s, 1e-6)  # a pace of 0 is a reader without limit
    behind = (now_s - job.due_s) * pace + 1  # tokens expected by now and not there
    expected_s = horizon_s + now_s - job.arrival_s - job.allowance_s
    if expected_s <= 0:
        return 0.0
    delay_s = min(delay_s, horizon_s)
    waiting = _area(behind, pace, horizon_s)
    late = _area(behind, pace, delay_s)
    late += _area(behind + pace * delay_s, pace - rate, horizon_s - delay_s)
    return (waiting - late) / (0.5 * pace * expected_s * expected_s)


def _area(start: float, slope: float, length: float) -> float:
    """Area of a line above zero."""
    end = start + slope * length
    if start <= 0 and end <= 0:
        return 0.0
    if start >= 0 and end >= 0:
        return 0.5 * (start + end) * length
    top = max(start, end)
    return 0.5 * top * top / abs(slope)
