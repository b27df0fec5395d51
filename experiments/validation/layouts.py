"""Llama-3.1-70B on 2 to 16 H100s in fourteen layouts: one to eight replicas of two, four or eight GPUs.

Prompts of 10,000 and answers of 1,000 tokens in a closed loop, ten requests a client. The source does not name the
engine's version, how requests are spread, or the size of the KV cache. So: the vLLM of those weeks (September 2025)
planned step by step and sampled with PyTorch; replicas are drawn at random, as a Kubernetes service does; and where
the memory sum is a small difference of large numbers, on two GPUs, the cache is what the one-replica rows show.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from experiments.validation.rows import Deployment, table
from experiments.validation.scores import Role, Score, scores_of
from experiments.validation.servers import sampler_of, server_of
from hardware_profiles import kv_capacity, load_gpu, load_model
from policies.routing.random import Random
from simulator.studies.calibration.served import Served, serve
from simulator.workload.workload import Workload

SET = "layouts-70b"
MEMORY_SHARE = 0.95
# Three sequences run at once on two GPUs, never four: 2,063 to 2,590 blocks do that. The sum gives 1,590, off by 0.9
# of the 79 GiB of a card. Rows of one such replica have set it and are not scored.
BLOCKS_ON_TWO_GPUS = 2300


@dataclass(frozen=True)
class LayoutRow:
    """Means over the requests of ``concurrency`` clients on ``replicas`` alike."""

    layout: str
    replicas: int
    tensor_parallel: int
    concurrency: int
    requests: int
    prompt_tokens: int
    output_tokens: int
    tokens_per_s: float  # prompts and answers
    ttft_ms: float
    tpot_ms: float

    @property
    def deployment(self) -> Deployment:
        """One replica."""
        return Deployment("h100-80gb-sxm", "llama-3.1-70b", "vllm", "2025-09", "bf16", self.tensor_parallel)

    @property
    def role(self) -> Role:
        """Whether the size of the KV cache was taken from this row."""
        return "fitted" if self.replicas == 1 and self.tensor_parallel == 2 else "scored"


def layout_rows() -> list[LayoutRow]:
    """Return the rows in file order."""
    return [
        LayoutRow(
            layout=row["layout"],
            replicas=int(row["replicas"]),
            tensor_parallel=int(row["tp"]),
            concurrency=int(row["concurrency"]),
            requests=int(row["num_requests_presumed"]),
            prompt_tokens=int(row["isl"]),
            output_tokens=int(row["osl"]),
            tokens_per_s=float(row["total_tok_s"]),
            ttft_ms=float(row["ttft_mean_ms"]),
            tpot_ms=float(row["tpot_mean_ms"]),
        )
        for row in table("aggregated_layouts_llama-31-70b.csv")
    ]


def layouts(quick: bool) -> Iterator[Score]:
    """Throughput, TTFT and TPOT of every layout at 1 to 256 clients."""
    for row in layout_rows()[:: 4 if quick else 1]:
        measured = {"throughput tok/s": row.tokens_per_s, "TTFT ms": row.ttft_ms, "TPOT ms": row.tpot_ms}

        def predict(row: LayoutRow = row) -> dict[str, float]:
            served = _served(row)
            tokens = row.requests * (row.prompt_tokens + row.output_tokens)
            return {
                "throughput tok/s": tokens / served.duration_s,
                "TTFT ms": 1e3 * float(served.ttft_s.mean()),
                "TPOT ms": 1e3 * float(served.tpot_s.mean()),
            }

        per_replica = row.concurrency / row.replicas
        load = "light" if per_replica <= 16 else "medium" if per_replica <= 64 else "heavy"
        label = f"{row.layout} c{row.concurrency}"
        yield from scores_of(SET, label, row.deployment, load, measured, predict, row.role)


def _served(row: LayoutRow) -> Served:
    gpu, model = load_gpu(row.deployment.gpu), load_model(row.deployment.model)
    blocks = BLOCKS_ON_TWO_GPUS
    if row.tensor_parallel > 2:
        blocks = kv_capacity(
            gpu,
            model,
            gpu_memory_utilization=MEMORY_SHARE,
            tensor_parallel=row.tensor_parallel,
            sampler=sampler_of(row.deployment.engine, row.deployment.engine_version),
        ).num_blocks
    n = row.requests
    workload = Workload(
        row.layout, np.zeros(n), np.full(n, row.prompt_tokens), np.full(n, row.output_tokens), row.output_tokens,
        "measured run", concurrency=row.concurrency,
    )  # fmt: skip
    return serve(workload, server_of(row.deployment, num_gpu_blocks=blocks), row.replicas, Random())
