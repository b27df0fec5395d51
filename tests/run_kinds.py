"""Small runs of every kind that leaves something of its own behind, as tables of a scenario."""

from simulator import Result, Scenario, run

CHAT = {"arrivals": "poisson", "rate_rps": 40.0, "requests": 60, "lengths": "chat_azure2023"}
APART = {"prefill": {"replicas": 1}, "decode": {"replicas": 1}}

KINDS = {
    "plain": {},
    "late delivery": {"policy": {"delivery": {"name": "jitter"}}},
    "disaggregated": {"cluster": APART},
    "migration": {
        "cluster": {"replicas": 2},
        "engine": {"num_gpu_blocks": 600},
        "policy": {
            "migration": {"name": "llumnix", "interval_s": 0.1, "send_below": 40.0, "receive_above": 41.0}
        },
    },
    "faults": {"cluster": {"replicas": 2, "faults": {"mtbf_s": 2.0, "repair_s": 0.5, "retries": 0}}},
    "autoscaling": {
        "cluster": {"scaling": {"max_replicas": 3, "provision_s": 0.1, "load_s": 0.1}},
        "policy": {"scaling": {"name": "queue_length", "interval_s": 0.2}},
    },
    "sessions": {
        "workload": CHAT | {"session_turns": 3.0, "think_s": 0.2, "max_prompt_tokens": 4000},
    },
    "prefix caching": {
        "workload": CHAT | {"session_turns": 3.0, "think_s": 0.2, "max_prompt_tokens": 4000},
        "policy": {"scheduling": {"name": "vllm_v1", "enable_prefix_caching": True}},
    },
    "cut off": {"run": {"horizon_s": 0.5}},
    "dropping": {"policy": {"admission": {"name": "queue_cap"}}, "cluster": {"replicas": 2}},
    "unlike pools": {
        "cluster": {
            "pools": {
                "small": {"gpu": "l40s", "quality": 0.4, "usd_per_request": 0.001},
                "large": {"quality": 0.9, "usd_per_request": 0.002},
            }
        },
        "policy": {"routing": "cascade"},
    },
    "classes": {
        "workload": {
            "arrivals": "poisson",
            "rate_rps": 40.0,
            "requests": 60,
            "classes": {
                "chat": {"share": 0.5, "lengths": "chat_azure2023", "slo": {"ttft_s": 0.1}},
                "tools": {"share": 0.5, "prompt_tokens": 200, "output_tokens": 9, "v_s_per_token": 0.0},
            },
        },
        "user": {"alpha": 5.0},
    },
    "drafts": {"speculation": {"method": "eagle3"}},
    "energy": {"hardware": {"usd_per_kwh": 0.1}},
    "KV tiers": {
        "workload": CHAT | {"session_turns": 3.0, "think_s": 0.2, "max_prompt_tokens": 4000},
        "engine": {
            "num_gpu_blocks": 600,
            "kv_offloading": {"tiers": [{"kind": "host", "capacity_gib": 1.0}]},
        },
    },
    "pipeline": {"engine": {"pipeline_parallel_size": 2}},
    "ranks": {
        "hardware": {"model": "qwen3-30b-a3b"},
        "engine": {"data_parallel_size": 2, "enable_expert_parallel": True},
    },
    "read by sentences": {"user": {"reads": "sentence", "fatigue": 0.1, "thinking_share": 0.3}},
}


def made(kind: str, level: str) -> Result:
    """Return a run of a kind, of which so much is kept."""
    scenario = {"workload": CHAT, "slo": {"ttft_s": 0.05}, **KINDS[kind]}
    scenario["run"] = {**scenario.get("run", {}), "trace_level": level}
    return run(Scenario(**scenario))
