"""How to start the engines of a plan: a line of ``vllm serve`` for each pool, or why there is none."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from simulator.scenario.resolve import ResolvedPool, resolve_pools
from simulator.scenario.scenario import Scenario

# NixlConnector takes these names and leaves the roles to the proxy in front (vLLM, features/nixl_connector_usage).
_ROLES = {"prefill": "kv_producer", "decode": "kv_consumer"}
_FLAGS = {
    "enable_chunked_prefill": "enable-chunked-prefill",
    "enable_prefix_caching": "enable-prefix-caching",
}


def launch_lines(scenario: Scenario, base_dir: Path | None) -> list[str]:
    """Return the command of each pool, and remarks (beginning with ``#``) on what a command does not say."""
    lines: list[str] = []
    pools = resolve_pools(scenario, base_dir)
    for pool in pools:
        role = f"{pool.name}: " if pool.name else "" if pool.role == "both" else f"{pool.role}: "
        name = pool.scheduling.name
        if name != "vllm_v1":
            lines.append(
                f"# {role}no launch line: vLLM does not have the policy {name!r}; it needs an engine that does"
            )
            continue
        lines.append(f"# {role}{pool.replicas // pool.lockstep} x, on {_gpus(pool)} each")
        lines.append(" ".join(shlex.quote(word) for word in _words(scenario, pool)))
        lines += [f"# {remark}" for remark in _remarks(scenario, pool)]
    if scenario.cluster.disaggregated:
        lines.append("# and a proxy that sends each request to a prefill and then to a decode engine")
    elif sum(pool.replicas for pool in pools) > 1:
        lines.append(f"# and a router in front: {scenario.policy.routing.name}")
    return lines


def _gpus(pool: ResolvedPool) -> str:
    return f"{pool.layout.gpus * pool.lockstep} {pool.gpu.name}"


def _words(scenario: Scenario, pool: ResolvedPool) -> Sequence[str]:
    engine, limits, params = scenario.engine, pool.limits, pool.scheduling.params
    words = [
        "vllm", "serve", _checkpoint(scenario, pool),
        "--tensor-parallel-size", str(pool.tensor_parallel_size),
        "--max-num-seqs", str(limits.max_num_seqs),
        "--max-num-batched-tokens", str(limits.max_num_batched_tokens),
        "--gpu-memory-utilization", f"{pool.capacity.gpu_memory_utilization:g}",
        "--max-model-len", str(limits.max_model_len),
    ]  # fmt: skip
    if pool.layout.stages > 1:
        words += ["--pipeline-parallel-size", str(pool.layout.stages)]
    if engine.block_size is not None:
        words += ["--block-size", str(engine.block_size)]
    if engine.num_gpu_blocks is not None:
        words += ["--num-gpu-blocks-override", str(engine.num_gpu_blocks)]
    if quantization := engine.quantization or ("fp8" if scenario.hardware.quantization == "fp8" else None):
        words += ["--quantization", quantization]
    if engine.dtype != "auto":
        words += ["--dtype", engine.dtype]
    if engine.kv_cache_dtype != "auto":
        words += ["--kv-cache-dtype", engine.kv_cache_dtype]
    if pool.lockstep > 1:
        words += ["--data-parallel-size", str(pool.lockstep)]
    if engine.enable_expert_parallel:
        words.append("--enable-expert-parallel")
    if scenario.policy.expert_placement.name == "eplb":
        words.append("--enable-eplb")
    if host := _host_gib(scenario):
        words += ["--kv-offloading-backend", "native", "--kv-offloading-size", f"{host:g}"]
    if pool.speculation is not None:
        words += ["--speculative-config", json.dumps(_speculative_config(scenario))]
    words += [f"--{'' if params[key] else 'no-'}{flag}" for key, flag in _FLAGS.items()]
    if params["async_scheduling"] is not None:
        words.append(f"--{'' if params['async_scheduling'] else 'no-'}async-scheduling")
    if params["policy"] != "fcfs":
        words += ["--scheduling-policy", params["policy"]]
    if params["long_prefill_token_threshold"]:
        words += ["--long-prefill-token-threshold", str(params["long_prefill_token_threshold"])]
    if pool.role != "both":
        words += [
            "--kv-transfer-config",
            f'{{"kv_connector":"NixlConnector","kv_role":"{_ROLES[pool.role]}"}}',
        ]
    return words


def _host_gib(scenario: Scenario) -> float:
    """Return the host memory for KV, where that is the only tier; vLLM's own offloading has no other."""
    tiers = scenario.engine.kv_offloading.tiers
    return tiers[0].capacity_gib if [each.kind for each in tiers] == ["host"] else 0.0


def _speculative_config(scenario: Scenario) -> dict[str, Any]:
    given = scenario.speculation
    config: dict[str, Any] = {
        "method": given.method,
        "num_speculative_tokens": given.num_speculative_tokens,
    }
    return config if given.draft_model is None else config | {"model": given.draft_model}


def _checkpoint(scenario: Scenario, pool: ResolvedPool) -> str:
    """Return the Hugging Face name of a model whose source says it, else what the scenario calls it."""
    match = re.match(r"huggingface\.co/([\w.-]+/[\w.-]+)", pool.model.source)
    return match[1] if match else scenario.hardware.model


def _remarks(scenario: Scenario, pool: ResolvedPool) -> list[str]:
    params, remarks = pool.scheduling.params, []
    if scenario.engine.pp_layer_partition is not None:
        remarks.append(f"VLLM_PP_LAYER_PARTITION={','.join(map(str, pool.layout.layers))}")
    if pool.layout.gpus > pool.layout.gpus_per_node:
        remarks.append(f"GPUs of several nodes, {pool.layout.gpus_per_node} each: start it on a Ray cluster")
    if params["watermark"]:
        remarks.append(f"watermark {params['watermark']:g}: vLLM has no flag for it")
    if params["scheduler_reserve_full_isl"] is not None:
        remarks.append(
            f"scheduler_reserve_full_isl {params['scheduler_reserve_full_isl']}: set it in the config"
        )
    if scenario.hardware.quantization not in (None, "fp8"):
        remarks.append(f"{scenario.hardware.quantization}: serve a checkpoint that is quantised so")
    if scenario.engine.kv_offloading.tiers and not _host_gib(scenario):
        kinds = ", ".join(each.kind for each in scenario.engine.kv_offloading.tiers)
        remarks.append(f"KV tiers ({kinds}): by a connector such as LMCache's, set up by itself")
    if pool.speculation is not None and scenario.speculation.method not in ("ngram", "mtp", "draft_model"):
        remarks.append(
            f"{scenario.speculation.method}: the drafter's checkpoint goes into --speculative-config"
        )
    return remarks
