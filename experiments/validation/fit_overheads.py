"""Fit what an engine adds to the kernels, on one half of the closed-loop runs; the other half scores it.

    python -m experiments.validation.fit_overheads            prints the blocks for the GPU profiles

With all requests' lengths fixed, which requests share a step hardly depends on how long steps take. So a
request's time between its first and last token is, to a very good approximation, a sum over given steps:

    kernel_factor·Σ kernels + step_ms·steps + prefill_step_ms·steps with a prompt + per_sequence_ms·Σ sequences

Least squares of the relative errors (soft L1, so that a few runs of another kind do not decide), then the
runs are simulated again with the new constants, until these stay.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from experiments.validation import protocols, sets
from experiments.validation.rows import BurstRow, ClosedLoopRow, burst_rows
from experiments.validation.servers import closed_loop_server, engine_of, overheads_of, server_of
from hardware_profiles import load_gpu
from hardware_profiles.gpu import EngineOverheads
from simulator.arrays import Floats
from simulator.studies.calibration.served import Served

ROUNDS = 3
NAMES = ("kernel_factor", "step_ms", "prefill_step_ms", "per_sequence_ms")
LOWEST, HIGHEST = np.array([0.7, 0.0, 0.0, 0.0]), np.array([1.4, 10.0, 40.0, 0.2])
SCALE = np.array([0.1, 0.5, 5.0, 0.02])
MANY_CLIENTS = 40


@dataclass(frozen=True)
class Fit:
    """The constants of an engine on a GPU, and their errors where fitted."""

    gpu: str
    block: str
    overheads: EngineOverheads
    runs: int
    median_pct: float  # of time per token
    mean_pct: float


def fit(rows: Sequence[ClosedLoopRow], start: EngineOverheads) -> tuple[EngineOverheads, Floats]:
    """Return constants fitted to the rows' TPOT, and the relative errors left; needs 8 rows or more.

    Runs of forty clients and more do not tell what a step takes from what its sequences take: where there are no
    others, ``step_ms`` stays as at the start.
    """
    if len(rows) < 2 * len(NAMES):
        raise ValueError(
            f"{len(rows)} runs do not determine {len(NAMES)} constants; expected {2 * len(NAMES)}"
        )
    few = min(row.concurrency for row in rows) < MANY_CLIENTS
    free = [place for place, name in enumerate(NAMES) if few or name != "step_ms"]
    measured = np.array([row.tpot_ms for row in rows])
    x = np.array([getattr(start, name) for name in NAMES])
    chosen = start
    for _ in range(ROUNDS):
        features = np.array([_features(row, chosen) for row in rows])

        def off(some: Floats, features: Floats = features) -> Floats:
            x[free] = some
            return np.asarray((features[:, :-1] @ x + features[:, -1]) / measured - 1)

        found = least_squares(
            off,
            x[free],
            bounds=(LOWEST[free], HIGHEST[free]),
            loss="soft_l1",
            f_scale=0.05,
            x_scale=SCALE[free],
        )
        errors = off(found.x)
        chosen = chosen.model_copy(
            update=dict(zip(NAMES, (round(float(each), 4) for each in x), strict=True))
        )
    return chosen, errors


def _features(row: ClosedLoopRow, overheads: EngineOverheads) -> list[float]:
    """Return milliseconds of kernels, steps, steps with a prompt, sequences and idling per output token."""
    return per_token(protocols.closed_loop(row, closed_loop_server(row, overheads)), overheads)


def per_token(served: Served, overheads: EngineOverheads) -> list[float]:
    """Split the mean time per token into what each constant multiplies, and what none does."""
    steps = served.steps
    lasted_ms = 1e3 * (steps["end_s"] - steps["start_s"])
    seqs = (steps["decode_seqs"] + steps["prefill_seqs"]).astype(float)
    prompts = (steps["prefill_seqs"] > 0).astype(float)
    added_ms = overheads.step_ms + overheads.per_sequence_ms * seqs + overheads.prefill_step_ms * prompts
    columns = ((lasted_ms - added_ms) / overheads.kernel_factor, np.ones_like(seqs), prompts, seqs, lasted_ms)
    first, last = (
        np.searchsorted(steps["end_s"], times - overheads.frontend_s - 1e-9)
        for times in (served.first_token_s, served.last_token_s)
    )
    tokens = served.output_tokens - 1
    sums = []
    for column in columns:
        total = np.concatenate([[0.0], np.cumsum(column)])
        sums.append(float(np.mean((total[last + 1] - total[first + 1]) / tokens)))
    busy_ms = sums.pop()
    return [*sums, 1e3 * float(served.tpot_s.mean()) - busy_ms]


def fits() -> list[Fit]:
    """Fit every engine on every GPU that has enough runs."""
    groups: dict[tuple[str, str], list[ClosedLoopRow]] = {}
    for chosen in sets.CLOSED_LOOPS:
        for row in sets.halves(chosen.rows())[0]:
            key = row.deployment.gpu, engine_of(row.deployment).overheads
            groups.setdefault(key, []).append(row)
    found = []
    for (gpu, block), rows in groups.items():
        start = overheads_of(load_gpu(gpu), engine_of(rows[0].deployment))
        overheads, errors = fit(rows, start)
        size = 100 * np.abs(errors)
        found.append(Fit(gpu, block, overheads, len(rows), float(np.median(size)), float(size.mean())))
    return found


def fit_kernel_factor(rows: Sequence[BurstRow], start: EngineOverheads) -> EngineOverheads:
    """Return overheads with the kernel factor that makes the durations of bursts right on average."""
    chosen = start
    for _ in range(ROUNDS):
        off = [
            np.log(
                protocols.burst(row, server_of(row.deployment, overheads=chosen)).duration_s / row.duration_s
            )
            for row in rows
        ]
        factor = round(chosen.kernel_factor * float(np.exp(-np.mean(off))), 4)
        chosen = chosen.model_copy(update={"kernel_factor": factor})
    return chosen


def fit_trtllm_a100() -> Fit:
    """Fit TensorRT-LLM on A100 to its bursts of Qwen3-32B; those of Qwen3-14B are scored."""
    rows = [row for row in burst_rows() if row.row in sets.TRTLLM_A100_RUNS]
    overheads = fit_kernel_factor(rows, load_gpu("h100-80gb-sxm").overheads("trtllm-1_0"))
    errors = [
        100
        * abs(
            protocols.burst(row, server_of(row.deployment, overheads=overheads)).duration_s / row.duration_s
            - 1
        )
        for row in rows
    ]
    return Fit(
        "a100-80gb-sxm", "trtllm-1_0", overheads, len(rows), float(np.median(errors)), float(np.mean(errors))
    )


def main() -> int:
    """Print the fitted blocks, and how well they fit the runs that they were fitted to."""
    for each in fits():
        print(
            f"# {each.gpu}: {each.runs} runs, off by a median {each.median_pct:.1f} %, mean {each.mean_pct:.1f} %"
        )
        print(f"[engine_overheads.{each.block}]")
        for name in NAMES:
            print(f"{name} = {getattr(each.overheads, name):g}")
        print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
