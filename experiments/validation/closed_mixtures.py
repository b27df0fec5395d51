"""Closed loops of mixtures of experts on H100, H200 and B200: InferenceMAX's, as aiconfigurator has collected them.

Lengths from 0.8 to 1 of the nominal ones, ten requests a client; DeepSeek-R1 and GLM-5 under SGLang, gpt-oss-120b,
MiniMax-M2.5 and Kimi-K2.5 under vLLM. Where two runs of DeepSeek-R1 differ, which the source does not explain, one may
draft tokens: the slower is taken. Every second row is fitted to (``fit_mixtures``), the others are scored.
SGLang is set as its launch scripts set it (InferenceX, benchmarks/single_node, spring 2026).
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from experiments.validation.mixtures import Row, server_of
from experiments.validation.protocols import REQUESTS_PER_CLIENT
from experiments.validation.rows import Deployment, table
from experiments.validation.scores import Role, Score, scores_of
from hardware_profiles import Gpu, load_gpu
from simulator.studies.calibration.served import Served, serve
from simulator.workload.workload import Workload

SET = "closed-mixtures"
QUICK_EVERY = 16
_SHORTEST = 0.8  # of the nominal lengths
_WHOLE_PROMPTS = {"max_num_batched_tokens": "32768"}  # chunked_prefill_size and max_prefill_tokens
_LAUNCHED = {  # what is not SGLang's default; gpu_memory_utilization is mem_fraction_static
    ("h200-sxm", "deepseek-r1"): {**_WHOLE_PROMPTS, "gpu_memory_utilization": "0.82"},
    ("h200-sxm", "glm-5-fp8"): {"gpu_memory_utilization": "0.85"},
    ("b200-sxm", "deepseek-r1"): {
        **_WHOLE_PROMPTS, "gpu_memory_utilization": "0.82", "kv_cache": "fp8", "scheduler_recv_interval": "30",
    },
    ("b200-sxm", "glm-5-fp8"): {**_WHOLE_PROMPTS, "gpu_memory_utilization": "0.85", "kv_cache": "fp8"},
}  # fmt: skip
_FEW_CLIENTS, _FEW_CLIENTS_INTERVAL = 16, "10"  # below so many, scheduler_recv_interval is less


def rows() -> list[Row]:
    """Return the rows, with what their server is made from."""
    given = {"quantization": "", "ranks": "1", "overlapped": "1", "gpu_memory_utilization": ""}
    limits = {"max_num_seqs": "", "max_num_batched_tokens": ""}
    return [{**given, **limits, **row, **_launched(row)} for row in table("closed_loops_mixtures.csv")]


def _launched(row: Row) -> Row:
    launched = dict(_LAUNCHED.get((row["gpu"], row["model"]), {}))
    if "scheduler_recv_interval" in launched and int(row["max_concurrency"]) < _FEW_CLIENTS:
        launched["scheduler_recv_interval"] = _FEW_CLIENTS_INTERVAL
    return launched


def fitted_rows() -> list[Row]:
    """Return the rows that constants are fitted to: every second."""
    return rows()[::2]


def closed_mixtures(quick: bool) -> Iterator[Score]:
    """TPOT, and as an indication TTFT."""
    every = rows()
    for i in range(1 if quick else 0, len(every), QUICK_EVERY if quick else 1):
        row = every[i]
        role: Role = "scored" if i % 2 else "fitted"
        clients, size = int(row["max_concurrency"]), int(row["tensor_parallel"])
        deployment = Deployment(
            row["gpu"], row["model"], row["engine"], row["engine_version"], row["weights"], size
        )

        def predict(row: Row = row) -> dict[str, float]:
            served = play(row, load_gpu(row["gpu"]))
            return {
                "TPOT ms": 1e3 * float(served.tpot_s.mean()),
                "TTFT ms": 1e3 * float(served.ttft_s.mean()),
            }

        measured = {"TPOT ms": float(row["tpot_mean_ms"]), "TTFT ms": float(row["ttft_mean_ms"])}
        label = (
            f"{row['row']} {row['model']} tp{size} c{clients} {row['prompt_tokens']}/{row['output_tokens']}"
        )
        load = "light" if clients <= 16 else "medium"
        for score in scores_of(SET, label, deployment, load, measured, predict, role):
            indication = score.metric == "TTFT ms" and role == "scored"
            yield replace(score, role="shown") if indication else score


def play(row: Row, gpu: Gpu) -> Served:
    """Serve a row's requests on its server with this GPU."""
    clients = int(row["max_concurrency"])
    n = clients * REQUESTS_PER_CLIENT
    draw = np.random.default_rng(0)
    prompt, output = (
        draw.integers(round(_SHORTEST * tokens), tokens + 1, n)
        for tokens in (int(row["prompt_tokens"]), int(row["output_tokens"]))
    )
    workload = Workload(
        row["row"], np.zeros(n), prompt, output, int(output.max()), "measured run", concurrency=clients
    )
    return serve(workload, server_of(row, gpu))
