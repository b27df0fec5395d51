"""The analytic form against every shipped table of dense models that it was not fitted to.

Its coefficients come from llama-3.1-8b and qwen-2.5-14b in 16 bits on one GPU. Here it prices other models, 2 to 8
GPUs, and weights of 8 and 4 bits; kernels only.
"""

import dataclasses
from collections.abc import Iterator

from experiments.validation.scores import Role, Score
from hardware_profiles import Gpu, list_models, list_tables, load_gpu, load_model, step_cost
from hardware_profiles.quantisation.scheme import UNIFORM
from simulator.replica.cost import StepShape

SET = "own-tables"
GPUS = ("a100-80gb-sxm", "h100-80gb-sxm", "h200-sxm", "b200-sxm", "l40s")
FITTED = ("llama-3.1-8b", "qwen-2.5-14b")
_CHUNKS, _PRIORS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384), (0, 1024, 4096, 16384)
_BATCHES, _CONTEXTS = (1, 4, 16, 32, 64, 128, 256), (256, 1024, 4096, 8192)


def own_tables(quick: bool) -> Iterator[Score]:
    """Prefills and decodes of every table, one score a step."""
    for name in GPUS:
        gpu = load_gpu(name)
        for stem, tensor_parallel in list_tables(gpu)[:: 4 if quick else 1]:
            base, _, weights = stem.rpartition("-")
            if weights not in UNIFORM:
                base, weights = stem, "bf16"
            if base in list_models() and _dense(base):
                role: Role = (
                    "fitted" if base in FITTED and (weights, tensor_parallel) == ("bf16", 1) else "scored"
                )
                yield from _of_table(gpu, base, weights, tensor_parallel, role)


def _of_table(gpu: Gpu, base: str, weights: str, tensor_parallel: int, role: Role) -> Iterator[Score]:
    model = load_model(base)
    if weights != "bf16":
        model = dataclasses.replace(model, quantization=UNIFORM[weights])
    tabulated, analytic = (
        step_cost(gpu, model, kind, tensor_parallel=tensor_parallel) for kind in ("tabulated", "analytic")
    )
    shapes = [
        ("prefill", f"{new} after {prior}", _prefill(new, prior)) for new in _CHUNKS for prior in _PRIORS
    ]
    shapes += [
        ("decode", f"{seqs} of {context}", StepShape(decode_seqs=seqs, decode_context_tokens=seqs * context))
        for seqs in _BATCHES
        for context in _CONTEXTS
    ]
    for kind, label, shape in shapes:
        yield Score(
            SET, f"{label} tp{tensor_parallel}", gpu.name, base, weights, f"{tensor_parallel} GPUs",
            f"{kind} ms, {weights}", 1e3 * tabulated.kernel_s(shape), 1e3 * analytic.kernel_s(shape), role,
        )  # fmt: skip


def _dense(name: str) -> bool:
    model = load_model(name)
    return model.active_linear_parameters == model.linear_parameters


def _prefill(new: int, prior: int) -> StepShape:
    return StepShape(
        prefill_tokens=new,
        prefill_seqs=1,
        prefill_attention_pairs=new * prior + new * new / 2,
        prefill_context_tokens=new + prior,
    )
