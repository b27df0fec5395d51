"""What a recording of SGLang's scheduler is in our terms: policy, limits, and the columns that only it has."""

from typing import Any

from policies.scheduling.sglang import Sglang
from simulator.replica.job import Job
from simulator.replica.limits import Limits

NO_LIMIT = 1 << 20  # of tokens in a step: SGLang has none besides those of its prompts


def scheduler_of(settings: dict[str, Any]) -> Sglang:
    """The policy with the recorded options."""
    chunk = settings["chunked_prefill_size"]
    names = (
        "schedule_policy", "schedule_conservativeness", "disable_overlap_schedule", "disable_radix_cache",
        "enable_mixed_chunk", "enable_priority_scheduling", "priority_scheduling_preemption_threshold",
        "max_prefill_tokens", "ignore_eos",
    )  # fmt: skip
    return Sglang(
        chunked_prefill_size="off" if chunk < 0 else chunk, **{name: settings[name] for name in names}
    )


def limits_of(settings: dict[str, Any], strict_engine: bool) -> Limits:
    """The recorded engine's limits."""
    page = settings["page_size"]
    return Limits(
        settings["max_running_requests"],
        NO_LIMIT,
        settings["context_length"],
        settings["max_total_tokens"] // page,
        page,
        strict_engine=strict_engine,
    )


def order(probe: Any, job: Job, tokens: int, computed: int) -> int:
    """The place of a request in its batch: prompts first, then the running batch."""
    policy = probe.policy
    return [*policy._extended, *policy._batch.jobs].index(job)


def planned(probe: Any) -> dict[str, Any]:
    """What else is recorded of a plan: its kind, the estimate, and who computes a token too many."""
    engine, policy = probe.engine, probe.policy
    decodes = policy._in_flight == "decode" or policy._mixed
    batch = [*policy._extended, *policy._batch.jobs] if decodes else []
    beyond = [job.id for job in batch if job.completing and job in engine.running]
    mixed = policy._mixed and policy._in_flight == "extend"
    mixed = mixed and (bool(beyond) or (engine.ticks and engine.group.size > 0))
    return {
        "kind": "mixed" if mixed else policy._in_flight,
        "ratio": policy._batch.ratio,
        "beyond": beyond,
        "free_after_sched": engine.free_blocks * engine.block_size,
    }


def retired(probe: Any) -> dict[str, Any]:
    """What else is recorded when a batch has ended: free tokens, and those in the tree."""
    engine = probe.engine
    return {
        "free_after_step": engine.free_blocks * engine.block_size,
        "cached": 0 if engine.cache is None else engine.cache.tree.tokens,
    }
