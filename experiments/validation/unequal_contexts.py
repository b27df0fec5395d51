"""Attention of batches whose contexts differ, measured, against the table's attention at their mean.

A step's price knows the sum of the contexts of its decodes, not their spread. The rows say what that costs: of ``n``
decodes ``nb`` have contexts ``skew`` times as long as those of the rest, with or without a prompt's chunk beside them.
"""

from collections.abc import Iterator
from typing import Any

import pyarrow.parquet as pq

from experiments.validation.rows import FOLDER, Deployment
from experiments.validation.scores import Score
from hardware_profiles import HardwareCost, load_gpu, load_model, step_cost
from simulator.replica.cost import StepShape

SET = "unequal-contexts"
QUICK_EVERY = 10
# The source's times are sums over three: at equal contexts 2.97 to 3.00 times those of its own attention tables.
REPEATS = 3
_GPUS = {"RTX4090": "rtx-4090", "RTXPRO6000": "rtx-pro-6000"}
_MODELS = {"Llama-3.1-8B": "llama-3.1-8b", "Qwen3-32B": "qwen3-32b"}


def unequal_contexts(quick: bool) -> Iterator[Score]:
    """The attention part of a step, one layer, in microseconds; the three deployments that have tables."""
    costs: dict[Deployment, HardwareCost] = {}
    for row in pq.read_table(FOLDER / "unequal_contexts.parquet").to_pylist()[:: QUICK_EVERY if quick else 1]:
        deployment = Deployment(
            _GPUS[row["gpu"]], _MODELS[row["model"]], "vllm", "0.19.0", "bf16", int(row["tp"])
        )
        cost = costs.get(deployment)
        if cost is None:
            gpu, model = load_gpu(deployment.gpu), load_model(deployment.model)
            cost = step_cost(gpu, model, "tabulated", tensor_parallel=deployment.tensor_parallel)
            costs[deployment] = cost
        beside = "beside a chunk" if row["pc"] else "decodes alone"
        label = f"{row['nb']} of {row['n']} x {row['skew']:.3g} of {row['kvs']}"
        label += f" + {row['pc']} after {row['kp']}" if row["pc"] else ""
        yield Score(
            SET, label, deployment.gpu, deployment.model, "kernels", "light" if row["n"] < 32 else "heavy",
            f"attention us, {beside}", float(row["t_skew_us"]) / REPEATS, attention_us(cost, row),
        )  # fmt: skip


def attention_us(cost: HardwareCost, row: dict[str, Any]) -> float:
    """Return the microseconds that a layer's attention takes: all kernels less those of tokens and sequences."""
    n, chunk, prior = row["n"], row["pc"], row["kp"]
    contexts = row["kvs"] * (row["nb"] * row["skew"] + n - row["nb"])
    shape = StepShape(
        prefill_tokens=chunk,
        prefill_seqs=1 if chunk else 0,
        prefill_attention_pairs=chunk * prior + chunk * chunk / 2,
        prefill_context_tokens=chunk + prior if chunk else 0,
        decode_seqs=n,
        decode_context_tokens=round(contexts),
    )
    seqs = n + (1 if chunk else 0)
    others_s = cost.other_kernels_s(n + chunk, seqs)
    added_s = cost.overheads.prefill_step_ms * 1e-3 if chunk else 0.0
    attention_s = (cost.step_s(shape) - others_s - added_s) / cost.overheads.kernel_factor
    return 1e6 * attention_s / cost.model.num_hidden_layers
