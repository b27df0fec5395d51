"""How an urgent request takes seats from others in SGLang."""

from policies.scheduling._sglang_extend import ExtendBatch
from policies.scheduling._sglang_running import LONGEST_EXPECTED, RunningBatch, allowed_tokens
from simulator.policy import Job


def make_way(batch: ExtendBatch, job: Job, running: RunningBatch, threshold: int) -> bool:
    """Retract all that are less urgent than a waiting job by more, if it then has the tokens it needs.

    Two slips are the engine's: what the job needs is what was to be extended when it was looked at last, nothing
    before; and for each victim what is expected of the job is taken off, not of the victim.
    Source: SGLang 0.5.3, PrefillAdder.preempt_to_schedule in schedule_policy.py.
    """
    step = batch.step
    there = (pair for pair in running.to_come(step) if pair[0] in step.running)
    victims = {each: left for each, left in there if each.priority - job.priority > threshold}
    need = running.looked_up.get(job.id, 0) + batch.to_come(job) - batch.rem_total
    if not victims or need > sum(victims.values()):
        return False
    left = min(allowed_tokens(step, job) - job.generated_tokens, LONGEST_EXPECTED)
    for victim in sorted(victims, key=lambda each: (each.priority, running.queued(each)), reverse=True):
        running.send_back(step, victim, job)
        batch.expected.take_off(left * running.ratio)
    running.jobs = [each for each in running.jobs if each not in victims]
    return True
