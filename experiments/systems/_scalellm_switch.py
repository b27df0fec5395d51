"""ScaleLLM's other half: the layout of eight GPUs changes while they serve, where load falls and where it rises."""

from collections.abc import Mapping

from experiments.paper._reproduce import Study
from experiments.systems._findings import Finding, all_or_some
from experiments.systems._measured import Numbers, ratio
from simulator.scenario.scenario import Scenario
from simulator.stats import paired

POOLS = {"1 x TP8": ("wide", 1, 8), "4 x TP2": ("narrow", 4, 2)}  # replicas, GPUs of each
SWITCH = "switch"
SERVED = (*POOLS, SWITCH)
FALLS, RISES = "falls", "rises"
ORDERS = (FALLS, RISES)
BUSY_RPS, QUIET_RPS = 160.0, 6.0  # more than one engine over all GPUs can bear; a few requests at once


def changing(study: Study, order: str, served: str, seed: int) -> Scenario:
    """Return a busy and a quiet time, in that order or the other; a switch begins in the layout of the first."""
    busy_s, quiet_s = (15.0, 200.0) if study.quick else (30.0, 600.0)
    phases = [(BUSY_RPS, busy_s), (QUIET_RPS, quiet_s)]
    if order == RISES:
        phases.reverse()
    (first, at_s), (second, then_s) = phases
    starts_with = "narrow" if order == FALLS else "wide"
    pools = {
        name: {
            "tensor_parallel_size": gpus,
            "replicas": replicas if name == starts_with else 0,
            "max_replicas": replicas,
        }
        for name, replicas, gpus in POOLS.values()
    }
    if served != SWITCH:
        name, replicas, gpus = POOLS[served]
        pools = {name: {"tensor_parallel_size": gpus, "replicas": replicas}}
    scaling = {"min_replicas": 0, "max_gpus": 8, "provision_s": 0.0} if served == SWITCH else {}
    return Scenario(
        seed=seed,
        hardware={"gpu": "h100-80gb-sxm", "model": "llama-3.1-8b"},
        engine={"max_num_seqs": 256},
        cluster={"pools": pools, "scaling": scaling},
        workload={
            "lengths": "chat_sharegpt_vllm",
            "arrivals": "poisson",
            "duration_s": at_s + then_s,
            "load_points": [[0.0, first], [at_s, first], [at_s + 0.1, second], [at_s + then_s, second]],
        },
        policy={
            "scheduling": "vllm_v1",
            "routing": "least_loaded",
            "scaling": "layout_switch" if served == SWITCH else "none",
        },
        user={"v_s_per_token": 0.05, "first_token_allowance_s": 1.0},
    )


def switch(found: Mapping[tuple[str, str], Numbers]) -> Finding:
    """Judge whether a layout that changes is faster than both that do not."""
    faster, said = [], []
    for order in ORDERS:
        at = {each: found[order, each] for each in SERVED}
        best = min(POOLS, key=lambda each: float(at[each]["e2e_s"].mean()))
        gain = ratio(at[SWITCH], at[best], "e2e_s")
        worth = paired(at[SWITCH]["worth"].tolist(), at[best]["worth"].tolist())
        faster.append(gain.high < 1)
        each_s = ", ".join(f"{each} {at[each]['e2e_s'].mean():.2f} s" for each in SERVED)
        said.append(
            f"{gain.text('.2f')} where load {order} ({each_s}; worth of a token {worth.text('+.3f')})"
        )
    return Finding(
        "A layout that changes while it serves is faster than either that does not (expected)",
        all_or_some(faster),
        f"Mean E2E of the switch over that of the better layout, llama-3.1-8b, {BUSY_RPS:g}/s and {QUIET_RPS:g}/s:"
        f" {'; '.join(said)}. Until what runs has ended and the model is loaded, 8.0 s, all that come wait.",
    )
