"""What the GPUs of a run draw: power caps on the price of steps, and watts of the steps that were simulated."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware_profiles import HardwareCost
from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.capped import CappedCost
from hardware_profiles.power import draw_of, watts
from simulator.arrays import Columns, Floats
from simulator.errors import InputError
from simulator.replica.cost import StepShape
from simulator.results.billing import bills
from simulator.results.tables import Tables
from simulator.scenario.scenario import Scenario

if TYPE_CHECKING:
    from simulator.scenario.resolve import ResolvedPool

CAP, PRICE = "hardware.power_cap_w", "hardware.usd_per_kwh"


def capped(cost: HardwareCost, scenario: Scenario, spread: bool, block_size: int) -> HardwareCost:
    """Return the price of steps under the scenario's cap, if it has one.

    Raises InputError where no watts can be said for what it asks, and for a cap that the GPU cannot have.
    """
    hardware, engine = scenario.hardware, scenario.engine
    key = PRICE if hardware.power_cap_w is None else CAP
    if hardware.power_cap_w is None and hardware.usd_per_kwh is None:
        return cost
    for what, asked in (
        ("speculation", scenario.speculation.on),
        ("engine.step_jitter, as a step's watts are those of its price", engine.step_jitter > 0),
        ("data-parallel ranks that share experts", engine.enable_expert_parallel),
        ("an engine over several stages or nodes", spread and key == CAP),
    ):
        if asked:
            raise InputError(f"{key}: not estimated with {what}; expected it unset")
    draw_of(cost.gpu, key)
    if hardware.power_cap_w is None:
        return cost
    return CappedCost(cost, hardware.power_cap_w, block_size)


def energy_of(
    pools: "list[ResolvedPool]", tables: Tables, manifest: Mapping[str, Any], end_s: float
) -> tuple[dict[str, Any], Columns]:
    """Return what the manifest says of a run's energy, and a column for the table of steps.

    ``above_idle_w``, f64[steps], is what all GPUs of the replica draw in the step beyond idle, W. So the joules of a
    run are the sum of that times the steps' seconds, and idle watts times the GPU seconds paid for.
    """
    place = [pool for pool in pools for _ in range(pool.places)]
    work = {id(pool): _work(pool) for pool in pools}
    prompts, columns, steps_j = tables.prompt_attention(), [np.empty(0)], dict.fromkeys(work, 0.0)
    for replica, steps in tables.steps_by_replica():
        pool = place[replica]
        above_w = _above_idle_w(pool, work[id(pool)], steps, prompts[replica])
        columns.append(above_w)
        steps_j[id(pool)] += float((above_w * (steps["end_s"] - steps["start_s"])).sum())
    arrival_s = tables.requests["arrival_s"]
    start_s = float(arrival_s[0]) if len(arrival_s) else 0.0
    paid = bills(manifest, tables.scaling if len(tables.scaling.get("replica", ())) else None, start_s, end_s)
    draws = [draw_of(pool.gpu, PRICE) for pool in pools]
    said = {
        "seconds": max(0.0, end_s - start_s),
        "pools": [
            {
                "gpu": pool.gpu.name,
                "idle_w": draw.idle_w,
                "power_cap_w": pool.power_cap_w,
                "steps_j": steps_j[id(pool)],
                "idle_j": draw.idle_w * gpu_s,
            }
            for pool, draw, (gpu_s, _) in zip(pools, draws, paid, strict=True)
        ],
    }
    return said, {"above_idle_w": np.concatenate(columns)}


def _work(pool: "ResolvedPool") -> AnalyticCost:
    return AnalyticCost(pool.gpu, pool.model, pool.tensor_parallel_size, pool.cost.overheads)


def _above_idle_w(pool: "ResolvedPool", work: AnalyticCost, steps: Columns, prompts: Floats) -> Floats:
    draw = draw_of(pool.gpu, PRICE)
    names = ("prefill_tokens", "prefill_seqs", "decode_seqs", "decode_context_tokens")
    rows = zip(*(steps[name].tolist() for name in names), *prompts.tolist(), strict=True)
    shape, busy = StepShape(), np.empty((2, len(steps["end_s"])))
    for i, row in enumerate(rows):
        (
            shape.prefill_tokens, shape.prefill_seqs, shape.decode_seqs, shape.decode_context_tokens,
            shape.prefill_attention_pairs, context,
        ) = row  # fmt: skip
        shape.prefill_context_tokens = int(context)
        busy[:, i] = work.busy_s(shape)
    one_w = watts(draw, busy[0], busy[1], steps["end_s"] - steps["start_s"], pool.power_cap_w)
    return np.asarray((one_w - draw.idle_w) * pool.tensor_parallel_size)
