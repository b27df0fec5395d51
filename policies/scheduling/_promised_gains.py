"""What requests of JITServe's three classes gain if they are served now, and how long they still take."""

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan

from simulator.policy import Job

PREFILL_WEIGHT, DECODE_WEIGHT = 1.0, 8.0  # what a token of the prompt and of the output counts
LEAST_S = 1e-6  # that anything takes


@dataclass(frozen=True)
class GainRule:
    """Rewards fall with the ratio of the time allowed to the time it will take, to the power ``penalty``."""

    ttft_s: float  # of latency requests that were promised nothing
    tbt_s: float
    penalty: float

    def in_time(self, allowed_s: float, takes_s: float) -> float:
        """Return what is left of a reward: all of it if the time allowed suffices."""
        return float(max(1e-6, min(1.0, allowed_s / max(takes_s, LEAST_S))) ** self.penalty)

    def gain(self, job: Job, output_tokens: float, served_s: float, step_s: float, left_s: float) -> float:
        """Return the reward of a latency or deadline request.

        ``served_s`` is the time since its arrival, ``left_s`` what it still takes in steps of ``step_s``.
        """
        request, generated = job.request, job.generated_tokens
        if not isnan(request.e2e_slo_s):
            whole = PREFILL_WEIGHT * job.prompt_tokens + DECODE_WEIGHT * output_tokens
            return whole * self.in_time(request.e2e_slo_s, served_s + left_s)
        ttft_s = self.ttft_s if isnan(request.ttft_slo_s) else request.ttft_slo_s
        tbt_s = self.tbt_s if isnan(request.tpot_slo_s) else request.tpot_slo_s
        prefill = PREFILL_WEIGHT * job.prompt_tokens
        if not generated:
            prefill *= self.in_time(ttft_s, served_s + step_s)
        decode = output_tokens - generated
        share = self.in_time(ttft_s + output_tokens * tbt_s, served_s + left_s)
        return prefill + DECODE_WEIGHT * (generated + decode * share)


def is_collective(job: Job) -> bool:
    """Whether all requests of its session have one deadline."""
    return job.session >= 0 and not isnan(job.request.task_slo_s)


def densities(
    jobs: list[Job],
    rule: GainRule,
    output_tokens: Callable[[Job], float],
    now_s: float,
    step_s: float,
    began_s: dict[int, float],
) -> dict[Job, float]:
    """Return each request's reward over its remaining time; those of a collection here share one.

    Its requests are rewarded for the end of all of them: their remaining times add up, as they may have to take turns.
    ``began_s`` says when each session's first request came.
    """
    found: dict[Job, float] = {}
    together: dict[int, list[tuple[Job, float]]] = {}
    for job in jobs:
        tokens = output_tokens(job)
        if is_collective(job):
            together.setdefault(job.session, []).append((job, tokens))
            continue
        left_s = max(LEAST_S, step_s * (tokens - job.generated_tokens))
        found[job] = rule.gain(job, tokens, now_s - job.arrival_s, step_s, left_s) / left_s
    for session, calls in together.items():
        left_s = max(LEAST_S, step_s * sum(tokens - job.generated_tokens for job, tokens in calls))
        share = rule.in_time(calls[0][0].request.task_slo_s, now_s - began_s[session] + left_s)
        whole = sum(PREFILL_WEIGHT * job.prompt_tokens + DECODE_WEIGHT * tokens for job, tokens in calls)
        found |= dict.fromkeys((job for job, _ in calls), whole * share / left_s)
    return found
