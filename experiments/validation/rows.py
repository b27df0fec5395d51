"""The measured rows, read from the tables beside this file (``NOTICE.md`` there says whose they are)."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Deployment:
    """A model on GPUs under an engine: everything that a step's price and the KV cache depend on."""

    gpu: str  # name of a GPU profile
    model: str  # name of a model profile
    engine: str  # vllm, trtllm or sglang
    engine_version: str
    weights: str = "bf16"
    tensor_parallel: int = 1
    ranks: int = 1  # data-parallel ones, which divide the experts of all layers among them


@dataclass(frozen=True)
class ClosedLoopRow:
    """Means over the requests of ``concurrency`` clients, each with one request in flight at any time."""

    row: str
    deployment: Deployment
    concurrency: int
    prompt_tokens: int
    output_tokens: int
    ttft_ms: float
    tpot_ms: float
    e2e_ms: float

    @property
    def shortest(self) -> float:
        """The shortest length, as a share of the longest: InferenceMAX draws from 0.8 to 1, others do not."""
        return 0.8 if self.deployment.engine_version == "unknown" else 1.0

    @property
    def max_num_batched_tokens(self) -> int | None:
        """The budget of a step that the source gave the engine; None: the engine's default.

        AIConfigurator 0.12 starts vLLM and TensorRT-LLM for its benchmarks with 128 seats and a budget of the seats,
        the prompt and 1,500 tokens (generator/rule_plugin/benchmark/vllm.rule, trtllm.rule).
        """
        runs_of_its_own = "0.12.0", "1.0.0rc3"
        return 128 + self.prompt_tokens + 1500 if self.deployment.engine_version in runs_of_its_own else None

    @property
    def max_prefill_tokens(self) -> int | None:
        """The same of SGLang's prompts (sglang.rule); 0.5.1 ran by its defaults, as its times to first token show."""
        return self.prompt_tokens + 1500 if self.deployment.engine_version == "0.5.6.post2" else None


@dataclass(frozen=True)
class BurstRow:
    """A ``vllm bench serve`` summary: all requests at t = 0, or a closed loop with ``concurrency``."""

    row: str
    deployment: Deployment
    launch: str
    requests: int
    total_prompt_tokens: int
    total_output_tokens: int
    fixed_lengths: bool  # else drawn from ShareGPT
    concurrency: int | None
    duration_s: float
    output_tok_per_s: float
    ttft_mean_ms: float
    tpot_mean_ms: float


@dataclass(frozen=True)
class OpenLoopRow:
    """Means of a run with Poisson arrivals in stages, prompts drawn in turn from a hundred distinct ones."""

    row: str
    deployment: Deployment
    requests: int
    prompt_tokens: int  # system prompt and question, as requested
    output_tokens: int
    stage_rates_rps: tuple[float, ...]
    stage_duration_s: float
    max_num_seqs: int
    max_num_batched_tokens: int
    num_gpu_blocks: int
    ttft_mean_ms: float
    e2e_mean_ms: float


@dataclass(frozen=True)
class CycleBin:
    """Median time from one vLLM step to the next, over traced steps of about equal batch size."""

    row: str
    deployment: Deployment
    steps: int
    decode_seqs: float  # mean
    decode_context_tokens: float  # sum over the sequences, from the use of the KV cache
    cycle_ms: float


@dataclass(frozen=True)
class RequestRow:
    """One request of a replayed trace, times in seconds since the first one was queued."""

    prompt_tokens: int
    output_tokens: int
    arrival_s: float
    first_token_s: float
    last_token_s: float
    request: int  # its number in the load file
    prefix_of: int | None = None  # the earlier request whose prompt begins with the same tokens
    prefix_tokens: int = 0  # so many


_GPUS = {
    "A100-80GB-SXM": "a100-80gb-sxm",
    "H100-80GB-SXM": "h100-80gb-sxm",
    "H200-SXM": "h200-sxm",
    "B200-SXM": "b200-sxm",
}
_MODELS = {
    "Qwen/Qwen3-8B": "qwen3-8b",
    "Qwen/Qwen3-14B": "qwen3-14b",
    "Qwen/Qwen3-32B": "qwen3-32b",
    "meta-llama/Llama-3.1-70B": "llama-3.1-70b",
    "meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b",
    "nvidia/Llama-3.1-8B-Instruct-FP8": "llama-3.1-8b",
    "codellama-34b": "codellama-34b",
    "llama-2-70b-hf": "llama-2-70b",
    "mixtral-8x7b-v0-1": "mixtral-8x7b",
}


def closed_loop_rows() -> list[ClosedLoopRow]:
    """Return the closed-loop rows in file order."""
    return [
        ClosedLoopRow(
            row=row["row"],
            deployment=_deployment(row),
            concurrency=int(row["concurrency"]),
            prompt_tokens=int(row["isl"]),
            output_tokens=int(row["osl"]),
            ttft_ms=float(row["ttft_ms"]),
            tpot_ms=float(row["tpot_ms"]),
            e2e_ms=float(row["e2e_ms_derived"]),
        )
        for row in table("closed_loop_concurrency.csv")
    ]


def burst_rows() -> list[BurstRow]:
    """Return the bursts, and the small closed loops that the same source measured."""
    return [
        BurstRow(
            row=row["row"],
            deployment=_deployment(row),
            launch=row["launch"],
            requests=int(row["num_requests"]),
            total_prompt_tokens=round(float(row["total_input_tokens"])),
            total_output_tokens=round(float(row["total_output_tokens"])),
            fixed_lengths=bool(row["isl"]),
            concurrency=round(float(row["max_concurrency"])) if row["max_concurrency"] else None,
            duration_s=float(row["duration_s"]),
            output_tok_per_s=float(row["output_tok_s"]),
            ttft_mean_ms=float(row["ttft_mean_ms"]),
            tpot_mean_ms=float(row["tpot_mean_ms"]),
        )
        for row in table("burst_vllm_bench.csv")
    ]


def open_loop_rows() -> list[OpenLoopRow]:
    """Return the runs in stages."""
    return [
        OpenLoopRow(
            row=_short(row["experiment"]),
            deployment=_traced(row),
            requests=int(row["num_requests"]),
            prompt_tokens=int(row["system_prompt_len"]) + int(row["question_len"]),
            output_tokens=int(row["output_len"]),
            stage_rates_rps=tuple(float(rate) for rate in row["stage_rates_rps"].split("+")),
            stage_duration_s=float(row["stage_duration_s"]),
            max_num_seqs=int(row["max_num_seqs"]),
            max_num_batched_tokens=int(row["max_num_batched_tokens"]),
            num_gpu_blocks=int(row["total_kv_blocks"]),
            ttft_mean_ms=float(row["ttft_mean_ms"]),
            e2e_mean_ms=float(row["e2e_mean_ms"]),
        )
        for row in table("openloop_inference_sim_stepml.csv")
    ]


def cycle_bins() -> list[CycleBin]:
    """Return the traced step cycles by batch size; contexts are used KV blocks times 16 tokens."""
    blocks = {
        row["experiment"]: int(row["total_kv_blocks"]) for row in table("openloop_inference_sim_stepml.csv")
    }
    return [
        CycleBin(
            row=f"{_short(row['experiment'])} {float(row['mean_decode_reqs']):.0f} running",
            deployment=_traced(row),
            steps=int(row["n"]),
            decode_seqs=float(row["mean_decode_reqs"]),
            decode_context_tokens=float(row["mean_kv_usage"]) * blocks[row["experiment"]] * 16,
            cycle_ms=float(row["cycle_median_ms"]),
        )
        for row in table("stepml_step_cycles_binned.csv")
    ]


def request_rows(run: str) -> list[RequestRow]:
    """Return the 300 requests of a run of vLLM 0.19, by arrival.

    ``run``: ``rtxpro6000_llama-31-8b``, ``rtx4090_llama-31-8b`` or, of two GPUs, ``rtxpro6000_qwen3-30b-a3b_dp2ep2``.
    Which prompts begin alike is given for Llama-3.1-8B: both cards had one load file, and one recording says it.
    """
    alike = {}
    if run.endswith("llama-31-8b"):
        alike = {
            row["request"]: row for row in table("perrequest_rtx4090_llama-31-8b.csv") if row["prefix_of"]
        }
    rows = []
    for row in table(f"perrequest_{run}.csv"):
        prefix = alike.get(row["request"])
        rows.append(
            RequestRow(
                prompt_tokens=int(row["isl"]),
                output_tokens=int(row["osl"]),
                arrival_s=float(row["arrival_s"]),
                first_token_s=float(row["first_token_s"]),
                last_token_s=float(row["last_token_s"]),
                request=int(row["request"]),
                prefix_of=int(prefix["prefix_of"]) if prefix else None,
                prefix_tokens=int(prefix["prefix_tokens"]) if prefix else 0,
            )
        )
    return sorted(rows, key=lambda each: each.arrival_s)


@cache
def table(name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file of this folder."""
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _deployment(row: dict[str, str]) -> Deployment:
    return Deployment(
        gpu=_GPUS[row["gpu"]],
        model=_MODELS[row["model"]],
        engine=row["engine"],
        engine_version=row["engine_version"],
        weights=row["weights"],
        tensor_parallel=int(row["tp"]),
    )


def _traced(row: dict[str, str]) -> Deployment:
    """The H100 of the traced runs, vLLM 0.15.1."""
    return Deployment(
        gpu="h100-80gb-sxm",
        model=_MODELS[row["model"]],
        engine="vllm",
        engine_version="0.15.1",
        tensor_parallel=int(row["tp"]),
    )


def _short(experiment: str) -> str:
    """An experiment's name without the date and time before it."""
    return experiment.split("-", 2)[2]
