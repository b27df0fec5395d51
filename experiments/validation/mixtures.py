"""Mixtures of experts on A100, H100, H200, B200 and MI300X: summaries of GPUStack and of SGLang's cookbook.

Of these models no kernel was measured: prices are the formula's, with what experts take besides as fitted to tables of
Qwen3-30B-A3B and Mixtral-8x7B. Engines are those of other sets, with the sampler that vLLM then had. GPUStack sends all
at t = 0, keeps some in flight, or sends at a constant rate; the cookbook's tool draws lengths as in ``sglang_blocks``,
where a run finds what those before it on its page left cached. SGLang's memory and chunks are its defaults by GPU.
Rows that cannot be expressed are yielded with the reason, and counted as not simulated.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from experiments.validation.protocols import burst_lengths
from experiments.validation.rows import BurstRow, Deployment, table
from experiments.validation.scores import Role, Score, scores_of
from experiments.validation.servers import (
    READ_S,
    Engine,
    overheads_of,
    sampler_of,
    scheduler_of,
    sglang,
    trtllm,
    vllm,
)
from experiments.validation.sets import is_short
from experiments.validation.sglang_blocks import after_the_page
from hardware_profiles import (
    Gpu,
    HardwareCost,
    Model,
    kv_capacity,
    load_gpu,
    load_model,
    native_rules,
    step_cost,
)
from hardware_profiles.expert_parallel import RanksCost, rank_model
from hardware_profiles.quantisation.scheme import KV_BYTES_PER_VALUE, UNIFORM
from hardware_profiles.sglang_memory import chunked_prefill_size, mem_fraction_static
from policies.routing.round_robin import RoundRobin
from policies.scheduling.sglang import Sglang
from simulator.arrays import Ints
from simulator.errors import InputError
from simulator.policy import Scheduler
from simulator.replica.limits import Limits
from simulator.studies.calibration.served import Served, Server, serve
from simulator.workload.workload import Workload

SET = "mixtures"
LATENT = "mixtures-latent"  # the models of which no step was measured: latent or sparse attention
QUICK_EVERY = 8
_SHORT = "bursts of such short prompts reach 38 to 184 requests/s; what bounds them is not known"

Row = dict[str, str]


def mixtures(quick: bool) -> Iterator[Score]:
    """Models with grouped-query attention: TPOT, output throughput, and as an indication TTFT."""
    yield from _scores(SET, quick)


def latent_mixtures(quick: bool) -> Iterator[Score]:
    """The same of DeepSeek, GLM-4.7-Flash, GLM-5 and GLM-5.2, whose attention was measured nowhere."""
    yield from _scores(LATENT, quick)


def rows_of(name: str) -> list[Row]:
    """Return the rows of a set, those that cannot be expressed included."""
    latent = ("deepseek", "glm-4.7", "glm-5", "zai-org/GLM-5")
    return [
        row
        for row in table("mixtures_of_experts.csv")
        if row["model"].startswith(("deepseek-ai", *latent)) == (name == LATENT)
    ]


def _scores(name: str, quick: bool) -> Iterator[Score]:
    for row in rows_of(name)[:: QUICK_EVERY if quick else 1]:
        deployment = Deployment(
            row["gpu"], row["model"], row["engine"], row["engine_version"], row["weights"],
            int(row["tensor_parallel"]), int(row["ranks"]),
        )  # fmt: skip
        clients = int(row["max_concurrency"] or row["requests"])
        load = "light" if clients <= 16 else "medium" if clients <= 64 else "heavy"
        prompt, output = (int(row[key]) for key in ("prompt_tokens", "output_tokens"))
        n = 1 if row["lengths"] == "uniform" else int(row["requests"])
        short = is_burst_of_short_prompts(row)
        role: Role = "shown" if short or row["not_expressed"] else "scored"
        label = (
            f"{row['row']} {row['model']} tp{int(row['tensor_parallel']) * int(row['ranks'])}"
            f" {row['requests']} x {prompt / n:.0f}/{output / n:.0f}"
        )
        note = _SHORT if short else row["remark"]

        def predict(row: Row = row) -> dict[str, float]:
            if row["not_expressed"]:
                raise InputError(row["not_expressed"])
            served = play(row)
            return {
                "TPOT ms": 1e3 * float(served.tpot_s.mean()),
                "throughput tok/s": float(served.output_tokens.sum()) / served.duration_s,
                "TTFT ms": 1e3 * float(served.ttft_s.mean()),
            }

        metrics = {"TPOT ms": "tpot_mean_ms", "throughput tok/s": "output_tok_s", "TTFT ms": "ttft_mean_ms"}
        measured = {metric: float(row[column]) for metric, column in metrics.items() if row[column]}
        for score in scores_of(name, label, deployment, load, measured, predict, role, note):
            indication = score.metric == "TTFT ms" and role == "scored"
            yield replace(score, role="shown") if indication else score


def is_burst_of_short_prompts(row: Row) -> bool:
    """As ``is_short`` of a row."""
    return is_short(row["lengths"] == "fixed", int(row["prompt_tokens"]), int(row["requests"]))


def play(row: Row, read_s: float | None = None) -> Served:
    """Serve a row's requests on its server, each with the output bound that its client sends.

    ``read_s``: what the API server takes for a request; None: what GPUStack's do.
    """
    if row["lengths"] == "uniform":
        longest = {"isl_max": row["prompt_tokens"], "osl_max": row["output_tokens"]}
        return after_the_page({**row, **longest}, server_of(row))
    prompt, output = _lengths(row)
    n = len(prompt)
    rate = float(row["rate_rps"]) if row["rate_rps"] else None
    workload = Workload(
        row["row"], np.zeros(n) if rate is None else np.arange(n) / rate, prompt, output, int(output.max()),
        "measured run", concurrency=int(row["max_concurrency"]) if row["max_concurrency"] else None,
        limit_tokens=output,
    )  # fmt: skip
    server = replace(server_of(row), frontend_request_s=READ_S[row["engine"]] if read_s is None else read_s)
    return serve(workload, server, router=RoundRobin() if server.ranks > 1 else None)


def _lengths(row: Row) -> tuple[Ints, Ints]:
    n, prompt, output = (int(row[key]) for key in ("requests", "prompt_tokens", "output_tokens"))
    fixed = row["lengths"] == "fixed"
    totals: Any = BurstRow(row["row"], _NOWHERE, "", n, prompt, output, fixed, None, 0.0, 0.0, 0.0, 0.0)
    return burst_lengths(totals, 0)


_NOWHERE = Deployment("", "", "", "")


def engine_of(row: Row) -> Engine:
    """Return how the row's engine is simulated: by the overheads of the one that plans as it does."""
    if row["engine"] == "sglang":
        return sglang("sglang-0_5")
    if row["engine"] == "trtllm":
        return trtllm("trtllm-1_0", "orca")
    overlapped = row["overlapped"] == "1"
    return vllm("vllm-0_15-async" if overlapped else "vllm-0_12-sync", overlapped)


def model_of(row: Row) -> Model:
    """Return the row's model with the weights of its checkpoint."""
    model = load_model(row["model"])
    if row.get("kv_cache"):
        model = replace(model, kv_bytes_per_value=KV_BYTES_PER_VALUE[row["kv_cache"]])
    return replace(model, quantization=UNIFORM[row["quantization"]]) if row["quantization"] else model


def server_of(row: Row, chosen_gpu: Gpu | None = None) -> Server:
    """Return the row's server, maybe with a GPU of one's own; InputError where its model does not fit its GPUs."""
    engine, gpu, model = engine_of(row), chosen_gpu or load_gpu(row["gpu"]), model_of(row)
    tp, ranks = int(row["tensor_parallel"]), int(row["ranks"])
    chosen = overheads_of(gpu, engine)
    seqs = int(row["max_num_seqs"] or engine.max_num_seqs or gpu.default_max_num_seqs * ranks) // ranks
    tokens = int(
        row["max_num_batched_tokens"] or engine.max_num_batched_tokens or gpu.default_max_num_batched_tokens
    )
    of_free, is_sglang = engine.kv_share_of_free, engine.policy == "sglang"
    share = float(row["gpu_memory_utilization"] or of_free or 0.9)
    if is_sglang:
        tokens = int(row["max_num_batched_tokens"] or chunked_prefill_size(gpu))
        share = float(row["gpu_memory_utilization"] or mem_fraction_static(gpu, tp, ranks, tokens))
        tokens //= ranks  # srt/server_args.py: data-parallel attention divides chunked_prefill_size
    capacity = kv_capacity(
        gpu,
        model if ranks == 1 else rank_model(model, ranks, tp),
        gpu_memory_utilization=share,
        share_of_free=of_free is not None,
        activations_outside=is_sglang,
        max_num_batched_tokens=tokens,
        max_num_seqs=min(seqs, gpu.default_max_num_seqs),  # SGLang does not reserve for all of its many seats
        tensor_parallel=tp,
        sampler=sampler_of(row["engine"], row["engine_version"]),
    )
    blocks, block_size, beside = capacity.num_blocks, 16, capacity.fixed_kv
    if is_sglang:  # whose windows have a pool of their own
        blocks, block_size, beside = blocks * block_size, 1, None
    longest = min(model.max_position_embeddings, (blocks - 1) * block_size)
    limits = Limits(seqs, tokens, longest, blocks, block_size, fixed_kv=beside)
    cost = _cost(gpu, model, tp, ranks, chosen)
    recv_interval = int(row.get("scheduler_recv_interval", 1))

    def scheduler() -> Scheduler:
        if not is_sglang:
            return scheduler_of(engine)
        return Sglang(
            disable_radix_cache=row.get("lengths") != "uniform",  # else no two prompts are alike
            max_prefill_tokens=max(tokens, 16384),
            scheduler_recv_interval=recv_interval,
        )

    return Server(cost, limits, scheduler, chosen.frontend_s, native_rules(scheduler()), ranks)


def _cost(gpu: Gpu, model: Model, tp: int, ranks: int, overheads: Any) -> HardwareCost:
    if ranks == 1:
        return step_cost(gpu, model, tensor_parallel=tp, overheads=overheads)
    return RanksCost(gpu, model, ranks, "auto", tp, overheads)
