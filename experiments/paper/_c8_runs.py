"""What C8 simulates: the options of every choice, for every reader's pace that they are told."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from experiments.paper._c8_choices import SETTINGS, TOLD_V
from experiments.paper._scenarios import base_scenario
from simulator.scenario.scenario import Scenario

Options = Mapping[str, Sequence[Sequence[Scenario]]]  # what is chosen: V, seed
RATES_RPS = tuple(SETTINGS["rates_rps"])
RATE_RPS, OVERLOAD_RPS = SETTINGS["rate_rps"], SETTINGS["overload_rps"]
LARGER_RPS, LONG_RPS = SETTINGS["larger_rps"], SETTINGS["long_rps"]
SPAN_S, LONG_SPAN_S = SETTINGS["arrivals_s"], SETTINGS["long_arrivals_s"]  # of arrivals, and T
V_DEFAULT_S = 0.05


def _scenario(
    seed: int, rate_rps: float, span_s: float, overrides: Mapping[str, Any], **how: Any
) -> Scenario:
    return base_scenario(
        rate_rps=rate_rps,
        requests=round(rate_rps * span_s),
        seed=seed,
        overrides={"metrics.window": span_s, **overrides},
        **how,
    )


def chat(seed: int, rate_rps: float = RATE_RPS, policy: str = "vllm_v1", **more: Any) -> Scenario:
    """Return a run of chat on A100; ``more`` has dotted keys with ``__`` for dots."""
    overrides = {"policy.scheduling": policy, **{key.replace("__", "."): item for key, item in more.items()}}
    return _scenario(seed, rate_rps, SPAN_S, overrides, gpu="a100-80gb-sxm")


def larger(seed: int, policy: str, v_s: float) -> Scenario:
    """Return a run of chat with the larger model on H100."""
    overrides = {"policy.scheduling": policy, "user.v_s_per_token": v_s}
    return _scenario(seed, LARGER_RPS, SPAN_S, overrides, model="qwen-2.5-14b")


def summarising(seed: int, chunked: bool) -> Scenario:
    """Return a run with long prompts on H100, in chunks or whole."""
    lengths = {"workload.lengths": None, "workload.prompt_tokens": 8192, "workload.output_tokens": 256}
    whole = {"policy.scheduling": {"name": "vllm_v1", "enable_chunked_prefill": False}}
    how: Mapping[str, Any] = {"engine.max_num_batched_tokens": 1024} if chunked else whole
    overrides = {**lengths, "engine.max_model_len": 16384, **how}
    return _scenario(seed, LONG_RPS, LONG_SPAN_S, overrides)


def options_of(
    policies: Sequence[str], rates: Sequence[float], seeds: Sequence[int], v_s: Sequence[float]
) -> dict[str, Options]:
    """Return the options of every choice: of each, what serves every V, one scenario a seed."""
    drop: dict[str, Any] = {
        "policy__abandonment": {"name": "missed_slo", "token_deadlines": True, "grace_s": 1.0}
    }

    def told(make: Callable[[int, str, float], Scenario], name: str) -> list[list[Scenario]]:
        return [[make(seed, name, v if name in TOLD_V else V_DEFAULT_S) for seed in seeds] for v in v_s]

    def all_v(make: Callable[[int], Scenario]) -> list[list[Scenario]]:
        return [[make(seed) for seed in seeds]] * len(v_s)

    def on_a100(seed: int, name: str, v: float) -> Scenario:
        return chat(seed, policy=name, user__v_s_per_token=v)

    return {
        "schedulers on A100": {name: told(on_a100, name) for name in policies},
        "schedulers on H100": {name: told(larger, name) for name in policies},
        "rate": {f"{rate:g}": all_v(partial(chat, rate_rps=rate)) for rate in rates},
        "chunks": {n: all_v(partial(summarising, chunked=n == "chunked")) for n in ("whole", "chunked")},
        "abandoning": {
            "keep": all_v(partial(chat, rate_rps=OVERLOAD_RPS)),
            "drop": all_v(partial(chat, rate_rps=OVERLOAD_RPS, **drop)),
        },
    }
