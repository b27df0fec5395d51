"""What pricing a step costs: the measured tables against the analytic form, in turn within one run."""

import statistics
import timeit

from hardware_profiles import AnalyticCost, HardwareCost, TabulatedCost, load_gpu, load_model, step_cost
from hardware_profiles.fit import step_shape
from simulator.replica.cost import StepShape

Check = tuple[str, float, float, str]  # what, measured, bar, unit

CALLS, ROUNDS = 20_000, 25
STEPS = {
    "decode-only step": step_shape(decodes=64, context_tokens=1500),
    "mixed step": step_shape([(1000, 300)], decodes=64, context_tokens=1500),
}


def one_call_s(cost: HardwareCost, shape: StepShape) -> float:
    price = cost.step_s
    return timeit.timeit(lambda: price(shape), number=CALLS) / CALLS


def checks() -> list[Check]:
    found: list[Check] = []
    gpu, model = load_gpu("h100-80gb-sxm"), load_model("llama-3.1-8b")
    analytic, tabulated = AnalyticCost(gpu, model), step_cost(gpu, model, "tabulated")
    assert isinstance(tabulated, TabulatedCost)
    for what, shape in STEPS.items():
        pairs = [(one_call_s(analytic, shape), one_call_s(tabulated, shape)) for _ in range(ROUNDS)]
        form_s, table_s = (statistics.median(times) for times in zip(*pairs, strict=True))
        print(f"{what}: analytic {form_s * 1e6:.2f} us, tabulated {table_s * 1e6:.2f} us")
        ratio = statistics.median(table / form for form, table in pairs)
        found.append((f"{what}, tabulated / analytic", ratio, 2.0, "x"))
    return found


def main() -> int:
    missed = 0
    for what, measured, bar, unit in checks():
        missed += measured > bar
        print(
            f"{'ok    ' if measured <= bar else 'MISSED'}  {what}: {measured:.2f} {unit} (bar {bar:g} {unit})"
        )
    return 1 if missed else 0
