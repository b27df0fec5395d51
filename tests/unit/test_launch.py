"""The command that starts what a plan found: what its simulation was set to, as vLLM has it."""

import json
import shlex
from itertools import pairwise

import pytest

from simulator.scenario.scenario import default_scenario
from simulator.studies.plan.launch import launch_lines


def launched(*settings):
    """Return the words of the first command, by name where they have one, and the remarks."""
    lines = launch_lines(default_scenario(settings), None)
    words = shlex.split(next((line for line in lines if not line.startswith("#")), ""))
    given = pairwise([*words, "--"])
    flags = {
        name: None if value.startswith("--") else value for name, value in given if name.startswith("--")
    }
    return flags, [line for line in lines if line.startswith("#")]


@pytest.mark.parametrize(
    ("settings", "flags"),
    [
        (["engine.tensor_parallel_size=2"], {"--tensor-parallel-size": "2"}),
        (["engine.pipeline_parallel_size=2"], {"--pipeline-parallel-size": "2"}),
        (["engine.block_size=32"], {"--block-size": "32"}),
        (["engine.num_gpu_blocks=900"], {"--num-gpu-blocks-override": "900"}),
        (["engine.kv_cache_dtype=fp8", "engine.dtype=half"], {"--kv-cache-dtype": "fp8", "--dtype": "half"}),
        (["engine.quantization=fp8"], {"--quantization": "fp8"}),
        (["hardware.quantization=fp8"], {"--quantization": "fp8"}),
        (
            ["hardware.model=qwen3-30b-a3b", "engine.data_parallel_size=2", "engine.enable_expert_parallel=true",
             "policy.expert_placement=eplb"],
            {"--data-parallel-size": "2", "--enable-expert-parallel": None, "--enable-eplb": None},
        ),
        (
            ['engine.kv_offloading.tiers=[{kind = "host", capacity_gib = 64.0}]'],
            {"--kv-offloading-backend": "native", "--kv-offloading-size": "64"},
        ),
        (
            ["policy.scheduling.policy=priority", "policy.scheduling.long_prefill_token_threshold=512",
             "policy.scheduling.async_scheduling=false", "policy.scheduling.enable_prefix_caching=false"],
            {"--scheduling-policy": "priority", "--long-prefill-token-threshold": "512", "--no-async-scheduling": None,
             "--no-enable-prefix-caching": None},
        ),
    ],
)  # fmt: skip
def test_a_setting_is_a_flag(settings, flags):
    plain, _ = launched()
    found, _ = launched(*settings)
    assert flags.items() <= found.items()
    assert not flags.items() & plain.items()


def test_drafts_are_a_config():
    flags, remarks = launched("speculation.method=eagle3", "speculation.num_speculative_tokens=5")
    assert json.loads(flags["--speculative-config"]) == {"method": "eagle3", "num_speculative_tokens": 5}
    assert any("checkpoint goes into --speculative-config" in each for each in remarks)


@pytest.mark.parametrize(
    ("settings", "remark"),
    [
        (["hardware.quantization=int4"], "int4: serve a checkpoint that is quantised so"),
        (["policy.scheduling.watermark=0.01"], "watermark 0.01: vLLM has no flag for it"),
        (
            ["policy.scheduling.scheduler_reserve_full_isl=false"],
            "scheduler_reserve_full_isl False: set it in the config",
        ),
        (
            ['engine.kv_offloading.tiers=[{kind = "shared", capacity_gib = 64.0}]'],
            "KV tiers (shared): by a connector such as LMCache's, set up by itself",
        ),
        (["engine.tensor_parallel_size=2", "hardware.gpus_per_node=1"], "GPUs of several nodes, 1 each"),
        (
            ["engine.pipeline_parallel_size=2", "engine.pp_layer_partition=[20, 12]"],
            "VLLM_PP_LAYER_PARTITION=20,12",
        ),
        (["policy.scheduling=smooth"], "no launch line: vLLM does not have the policy 'smooth'"),
        (["cluster.prefill.replicas=1", "cluster.decode.replicas=1"], "and a proxy that sends each request"),
        (["cluster.replicas=2"], "and a router in front: round_robin"),
    ],
)
def test_what_no_flag_says_is_a_remark(settings, remark):
    _, remarks = launched(*settings)
    assert any(remark in each for each in remarks), remarks


def test_each_role_has_its_part_of_the_transfer():
    lines = launch_lines(default_scenario(["cluster.prefill.replicas=1", "cluster.decode.replicas=2"]), None)
    roles = [json.loads(shlex.split(line)[-1])["kv_role"] for line in lines if not line.startswith("#")]
    assert roles == ["kv_producer", "kv_consumer"]
