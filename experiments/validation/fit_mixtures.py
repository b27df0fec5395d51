"""Fit what mixtures of experts take in servers beyond their kernels, on every second closed loop of InferenceMAX.

    python -m experiments.validation.fit_mixtures            prints the constants for the GPU profiles

Four, alike on all GPUs: what prompts take against the sum of their kernels, the microseconds of a layer with latent
and with sparse attention, and the milliseconds in which SGLang launches a layer's kernels one by one. Which requests
share a step hardly depends on how long it takes, so a request's time per token is nearly linear in them, and its time
to first token where few clients wait for each other. Least squares of the relative errors of both (soft L1), with
slopes by differences, twice.
"""

import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from scipy.optimize import least_squares

from experiments.validation.closed_mixtures import fitted_rows, play, rows
from experiments.validation.mixtures import Row
from hardware_profiles import Gpu, load_gpu
from simulator.arrays import Floats

NAMES = ("served_prompts", "overhead_us", "sparse_overhead_us", "expert_layer_launch_ms")
LAUNCHED_BY = "sglang-0_5"
_START, _STEPS, _LEAST = (1.3, 30.0, 100.0, 1.0), (0.1, 5.0, 5.0, 0.1), (1.0, 0.0, 0.0, 0.0)
ROUNDS = 2
FEW_CLIENTS = 16  # up to so many, times to first token count too, ...
TTFT_WEIGHT = 0.2  # ... less, because waiting and the front end are in them


def with_constants(gpu: Gpu, constants: Floats) -> Gpu:
    """Return a GPU with other constants, in the order of ``NAMES``."""
    experts, latent = gpu.expert_kernels, gpu.latent_kernels
    if experts is None or latent is None:
        raise ValueError(f"{gpu.name}: expected a GPU with [expert_kernels] and [latent_kernels]")
    prompts, overhead_us, sparse_us, launch_ms = constants.tolist()
    changed = {"overhead_us": overhead_us, "sparse_overhead_us": sparse_us}
    engine = gpu.engine_overheads[LAUNCHED_BY].model_copy(update={"expert_layer_launch_ms": launch_ms})
    return gpu.model_copy(
        update={
            "expert_kernels": experts.model_copy(update={"served_prompts": prompts}),
            "latent_kernels": latent.model_copy(update=changed),
            "engine_overheads": {**gpu.engine_overheads, LAUNCHED_BY: engine},
        }
    )


def times(row: Row, constants: Floats) -> Floats:
    """Return a row's mean times per token and to first token with these constants, as shares of those measured."""
    served = play(row, with_constants(load_gpu(row["gpu"]), constants))
    found = np.array([served.tpot_s.mean(), served.ttft_s.mean()])
    return np.asarray(1e3 * found / [float(row["tpot_mean_ms"]), float(row["ttft_mean_ms"])])


def _slopes(row: Row, at: Floats) -> Floats:
    """Return those at some constants, and what a unit of each adds: constants and one x 2."""
    base = times(row, at)
    more = [(times(row, at + np.eye(len(at))[i] * step) - base) / step for i, step in enumerate(_STEPS)]
    return np.array([base, *more])


def fit() -> Floats:
    """Return the constants in the order of ``NAMES``."""
    chosen = fitted_rows()
    few = np.array([int(row["max_concurrency"]) <= FEW_CLIENTS for row in chosen])
    at = np.array(_START)
    for _ in range(ROUNDS):
        with ProcessPoolExecutor() as pool:
            found = np.array(list(pool.map(_slopes, chosen, [at] * len(chosen))))

        def off(x: Floats, found: Floats = found, at: Floats = at) -> Floats:
            shares = found[:, 0] + np.einsum("rcm,c->rm", found[:, 1:], x - at)
            return np.concatenate([shares[:, 0] - 1, TTFT_WEIGHT * (shares[few, 1] - 1)])

        at = np.asarray(
            least_squares(
                off, at, bounds=(_LEAST, np.inf), loss="soft_l1", f_scale=0.05, x_scale=(0.1, 10, 10, 0.3)
            ).x
        )
    return at


def main() -> int:
    """Print the constants, and the median errors of time per token where fitted and elsewhere."""
    constants = fit()
    print(" ".join(f"{name} = {value:.2f}" for name, value in zip(NAMES, constants, strict=True)))
    every = rows()
    for what, chosen in (("fitted", every[::2]), ("scored", every[1::2])):
        errors = [times(row, constants)[0] - 1 for row in chosen]
        print(f"{what}: {len(chosen)} runs, TPOT median {100 * float(np.median(np.abs(errors))):.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
