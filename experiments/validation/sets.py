"""The sets of measured rows: each function re-simulates one and returns predicted beside measured."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from experiments.validation import protocols
from experiments.validation.rows import (
    BurstRow,
    ClosedLoopRow,
    CycleBin,
    Deployment,
    OpenLoopRow,
    burst_rows,
    closed_loop_rows,
    cycle_bins,
    open_loop_rows,
    request_rows,
)
from experiments.validation.scores import Role, Score, scores_of
from experiments.validation.servers import READ_S, closed_loop_server, server_of
from simulator.arrays import Floats
from simulator.replica.cost import StepShape
from simulator.studies.calibration.served import Server

QUICK_EVERY = 4  # --quick: every so many rows of the large sets
OPEN_LOOP_SEEDS = 3  # of Poisson arrivals
QUICK_STAGES = 10  # --quick: stages so many times shorter

RTX_PRO_6000 = Deployment("rtx-pro-6000", "llama-3.1-8b", "vllm", "0.19.0")
TWO_RANKS = Deployment("rtx-pro-6000", "qwen3-30b-a3b", "vllm", "0.19.0", ranks=2)
RTX_4090 = Deployment("rtx-4090", "llama-3.1-8b", "vllm", "0.19.0")
RTX_4090_BLOCKS = 2588  # that the server printed

# Bursts that constants of the A100 were fitted to: what mixed batches lose there (the first), and the kernel
# factor of TensorRT-LLM (the others).
MIXED_BATCH_RUN = "ob006"
TRTLLM_A100_RUNS = ("ob022", "ob023", "ob030")

# Prompts of 128 tokens, a thousand at once: reading them takes an API server as long as the GPU computes. Shown, not
# scored; ``fit_front_end`` has from them how long.
FRONT_END_BOUND_TOKENS = 128


@dataclass(frozen=True)
class ClosedLoopSet:
    """Some of the closed-loop rows; engine constants were fitted to half of them."""

    name: str
    covers: Callable[[ClosedLoopRow], bool]

    def rows(self) -> list[ClosedLoopRow]:
        """Return the set's rows in file order."""
        return [row for row in closed_loop_rows() if self.covers(row)]


QWEN3_32B = ClosedLoopSet(
    "closed-qwen3-32b",
    lambda row: row.deployment.model == "qwen3-32b" and row.deployment.engine == "vllm"
    and row.deployment.weights == "bf16",
)  # fmt: skip
LLAMA_70B_FP8 = ClosedLoopSet(
    "closed-70b-fp8", lambda row: row.deployment.model == "llama-3.1-70b" and row.deployment.weights == "fp8"
)
TRTLLM_8B = ClosedLoopSet(
    "closed-trtllm-8b",
    lambda row: row.deployment.model == "llama-3.1-8b" and row.deployment.engine == "trtllm",
)
SGLANG_32B = ClosedLoopSet(
    "closed-sglang-32b",
    lambda row: row.deployment.engine_version == "0.5.1.post1",
)
SGLANG_8B = ClosedLoopSet(
    "closed-sglang-8b",
    lambda row: row.deployment.engine_version == "0.5.6.post2",
)
CLOSED_LOOPS = (QWEN3_32B, LLAMA_70B_FP8, TRTLLM_8B, SGLANG_32B, SGLANG_8B)


def halves(rows: Sequence[ClosedLoopRow]) -> tuple[list[ClosedLoopRow], list[ClosedLoopRow]]:
    """Split runs in two, alternately within each GPU, engine and size: to fit on, and to score."""
    fitted: list[ClosedLoopRow] = []
    scored: list[ClosedLoopRow] = []
    seen: dict[tuple[str, str, int], int] = {}
    for row in rows:
        key = row.deployment.gpu, row.deployment.engine, row.deployment.tensor_parallel
        seen[key] = seen.get(key, -1) + 1
        (scored if seen[key] % 2 else fitted).append(row)
    return fitted, scored


def closed_loop(chosen: ClosedLoopSet, quick: bool) -> Iterator[Score]:
    """Fixed concurrency, fixed lengths: TPOT, E2E and (as an indication) TTFT."""
    rows = chosen.rows()
    _, scored = halves(rows)
    for row in rows[:: QUICK_EVERY if quick else 1]:
        role: Role = "scored" if row in scored else "fitted"
        d = row.deployment
        measured = {"TPOT ms": row.tpot_ms, "E2E ms": row.e2e_ms, "TTFT ms": row.ttft_ms}
        load = "light" if row.concurrency <= 16 else "medium" if row.concurrency <= 64 else "heavy"
        label = f"{row.row} tp{d.tensor_parallel} c{row.concurrency} {row.prompt_tokens}/{row.output_tokens}"

        def predict(row: ClosedLoopRow = row) -> dict[str, float]:
            served = protocols.closed_loop(row, closed_loop_server(row))
            tpot_ms, ttft_ms = 1e3 * float(served.tpot_s.mean()), 1e3 * float(served.ttft_s.mean())
            # The source's E2E is put together like this, also where lengths vary.
            e2e_ms = ttft_ms + (row.output_tokens - 1) * tpot_ms
            return {"TPOT ms": tpot_ms, "E2E ms": e2e_ms, "TTFT ms": ttft_ms}

        for score in scores_of(chosen.name, label, d, load, measured, predict, role):
            indication = score.metric == "TTFT ms" and role == "scored"
            yield replace(score, role="shown") if indication else score


def is_short(fixed_lengths: bool, prompt_tokens: int, requests: int) -> bool:
    """Whether requests with so many prompt tokens in all are so short that reading them is what takes long."""
    return fixed_lengths and prompt_tokens <= FRONT_END_BOUND_TOKENS * requests


def bursts(quick: bool) -> Iterator[Score]:
    """All requests at once (A100), and two small closed loops (H100): duration and throughput."""
    for row in burst_rows():
        if quick and row.deployment.engine != "vllm":
            continue
        bound = is_short(row.fixed_lengths, row.total_prompt_tokens, row.requests)
        role: Role = "shown" if bound or row.concurrency else "scored"
        if row.row in (MIXED_BATCH_RUN, *TRTLLM_A100_RUNS):
            role = "fitted"
        measured = {
            "duration s": row.duration_s,
            "throughput tok/s": row.output_tok_per_s,
            "TTFT ms": row.ttft_mean_ms,
            "TPOT ms": row.tpot_mean_ms,
        }
        shape = f"{row.total_prompt_tokens / row.requests:.0f}/{row.total_output_tokens / row.requests:.0f}"
        label = f"{row.row} {row.requests} x {shape}" + (f" c{row.concurrency}" if row.concurrency else "")

        def predict(row: BurstRow = row) -> dict[str, float]:
            server = replace(server_of(row.deployment), frontend_request_s=READ_S[row.deployment.engine])
            served = protocols.burst(row, server)
            return {
                "duration s": served.duration_s,
                "throughput tok/s": float(served.output_tokens.sum()) / served.duration_s,
                "TTFT ms": 1e3 * float(served.ttft_s.mean()),
                "TPOT ms": 1e3 * float(served.tpot_s.mean()),
            }

        note = "bound by the API server" if bound else ""
        load = "light" if row.concurrency else "heavy"
        for score in scores_of("burst", label, row.deployment, load, measured, predict, role, note):
            indication = score.metric in ("TTFT ms", "TPOT ms") and role == "scored"
            yield replace(score, role="shown") if indication else score


def open_loops(quick: bool) -> Iterator[Score]:
    """Poisson arrivals, a hundred cached prompts, means over three seeds: TTFT, E2E, and time per token."""
    for row in open_loop_rows():
        measured = {
            "TTFT ms": row.ttft_mean_ms,
            "E2E ms": row.e2e_mean_ms,
            "TPOT ms": (row.e2e_mean_ms - row.ttft_mean_ms) / (row.output_tokens - 1),
        }

        def predict(row: OpenLoopRow = row) -> dict[str, float]:
            server = server_of(
                row.deployment,
                max_num_seqs=row.max_num_seqs,
                max_num_batched_tokens=row.max_num_batched_tokens,
                num_gpu_blocks=row.num_gpu_blocks,
            )
            thin = QUICK_STAGES if quick else 1
            runs = [protocols.open_loop(row, server, thin, seed) for seed in range(OPEN_LOOP_SEEDS)]
            return {
                "TTFT ms": 1e3 * float(np.mean([run.ttft_s.mean() for run in runs])),
                "E2E ms": 1e3 * float(np.mean([run.e2e_s.mean() for run in runs])),
                "TPOT ms": 1e3 * float(np.mean([run.tpot_s.mean() for run in runs])),
            }

        yield from scores_of("open-loop", row.row, row.deployment, "medium", measured, predict)


def step_cycles(quick: bool) -> Iterator[Score]:
    """Traced vLLM steps: the price of a step of so many decodes and contexts against the median cycle."""
    for each in cycle_bins():

        def predict(each: CycleBin = each) -> dict[str, float]:
            cost = server_of(each.deployment, num_gpu_blocks=1000).cost
            # Prices are for whole sequences: weigh the two neighbours of the mean.
            below = int(each.decode_seqs)
            share = each.decode_seqs - below
            context = round(each.decode_context_tokens)
            low, high = (
                cost.step_s(StepShape(decode_seqs=seqs, decode_context_tokens=context))
                for seqs in (below, below + 1)
            )
            return {"step ms": 1e3 * (low * (1 - share) + high * share)}

        load = "light" if each.decode_seqs < 16 else "medium" if each.decode_seqs <= 64 else "heavy"
        yield from scores_of(
            "step-cycles", each.row, each.deployment, load, {"step ms": each.cycle_ms}, predict
        )


def per_request(quick: bool) -> Iterator[Score]:
    """Three hundred requests on an RTX PRO 6000, replayed at their own times: means and 99th percentiles.

    Scored with the beginnings that prompts share; shown as if no two were alike, as before those were known.
    """
    run = "rtxpro6000_llama-31-8b"
    server = partial(server_of, RTX_PRO_6000, max_num_seqs=128, max_num_batched_tokens=2048)
    yield from _replayed("per-request", "300 requests", run, RTX_PRO_6000, "medium", "scored", server)
    unrelated = "300 requests, as if unrelated"
    yield from _replayed(
        "per-request", unrelated, run, RTX_PRO_6000, "medium", "shown", server, related=False
    )


def per_request_4090(quick: bool) -> Iterator[Score]:
    """The same requests on an RTX 4090, which they overload six-fold, so that its KV cache decides.

    Scored with the size of the cache that the memory sum gives, shown with the one that the server printed.
    """
    name, run = "per-request-4090", "rtx4090_llama-31-8b"
    server = partial(server_of, RTX_4090, max_num_seqs=256, max_num_batched_tokens=2048)
    yield from _replayed(name, "300 requests, KV size computed", run, RTX_4090, "heavy", "scored", server)
    printed = partial(server, num_gpu_blocks=RTX_4090_BLOCKS)
    yield from _replayed(name, "300 requests, KV size printed", run, RTX_4090, "heavy", "shown", printed)


def per_request_experts(quick: bool) -> Iterator[Score]:
    """The same of Qwen3-30B-A3B on two ranks, each with half of the experts."""
    server = partial(server_of, TWO_RANKS, max_num_seqs=128, max_num_batched_tokens=2048)
    run = "rtxpro6000_qwen3-30b-a3b_dp2ep2"
    yield from _replayed("per-request-experts", "300 requests", run, TWO_RANKS, "medium", "scored", server)


def _replayed(
    name: str,
    label: str,
    run: str,
    deployment: Deployment,
    load: str,
    role: Role,
    server: Callable[[], Server],
    related: bool = True,
) -> Iterator[Score]:
    rows = request_rows(run)
    if not related:
        rows = [replace(row, prefix_of=None, prefix_tokens=0) for row in rows]
    arrival, first, last, tokens = (
        np.array(column)
        for column in zip(
            *((r.arrival_s, r.first_token_s, r.last_token_s, r.output_tokens) for r in rows), strict=True
        )
    )
    measured = _latencies(first - arrival, (last - first) / (tokens - 1), last - arrival)

    def predict() -> dict[str, float]:
        served = protocols.replay(rows, server())
        return _latencies(served.ttft_s, served.tpot_s, served.e2e_s)

    yield from scores_of(name, label, deployment, load, measured, predict, role)


def _latencies(ttft_s: Floats, tpot_s: Floats, e2e_s: Floats) -> dict[str, float]:
    found = {}
    for name, values in (("TTFT", ttft_s), ("TPOT", tpot_s), ("E2E", e2e_s)):
        found[f"mean {name} ms"] = 1e3 * float(values.mean())
        found[f"p99 {name} ms"] = 1e3 * float(np.percentile(values, 99))
    return found
