"""Cost models of every shipped GPU."""

from hypothesis import strategies as st

from hardware_profiles import (
    AnalyticCost,
    Gpu,
    HardwareCost,
    list_gpus,
    list_tables,
    load_gpu,
    load_model,
    step_cost,
)
from hardware_profiles.fit import step_shape
from simulator.replica.cost import StepShape

MODELS = ("llama-3.1-8b", "qwen-2.5-14b")
H100 = load_gpu("h100-80gb-sxm")
RTX = load_gpu("rtx-pro-6000")
LLAMA = load_model("llama-3.1-8b")


def every_cost() -> dict[str, HardwareCost]:
    found: dict[str, HardwareCost] = {}
    for name in list_gpus():
        gpu = load_gpu(name)
        found[f"{name} analytic"] = AnalyticCost(gpu, LLAMA)
        if (LLAMA.name, 1) in list_tables(gpu):
            found[f"{name} tabulated"] = step_cost(gpu, LLAMA, "tabulated")
    return found


COSTS = every_cost()
costs = st.sampled_from(list(COSTS.values()))


def step(prefill: list[tuple[int, int]], decode: list[int]) -> StepShape:
    """Return the shape of a step with prefills (n, prior) and decodes with these contexts."""
    shape = step_shape(prefill, len(decode))
    shape.decode_context_tokens = sum(decode)
    return shape


def without_mixing(gpu: Gpu) -> Gpu:
    """The step tables add prefill and decode up; the GPU's profile says what that leaves out."""
    return gpu.model_copy(update={"mixed_batch": None})
