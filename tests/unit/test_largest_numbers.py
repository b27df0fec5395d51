"""Every number of a scenario has a largest value, and with it a run ends in finite numbers or in one sentence."""

import json
from contextlib import suppress

import pytest

from simulator.errors import InputError
from simulator.scenario.cluster import ClusterSpec
from simulator.scenario.engine import EngineSpec
from simulator.scenario.run import run
from simulator.scenario.scenario import Metrics, Run, Scenario
from simulator.workload.spec import WorkloadSpec

REQUESTS = {"arrivals": "poisson", "rate_rps": 5.0, "requests": 20, "prompt_tokens": 20, "output_tokens": 3}
SESSIONS = REQUESTS | {"session_turns": 3.0, "think_s": 1.0}
GAMMA = REQUESTS | {"arrivals": "gamma", "burstiness": 1.0}
LOAD = REQUESTS | {"load_points": [[0.0, 1.0], [3.0, 2.0]], "load_period_s": 6.0}
SPIKES = REQUESTS | {"spike_factor": 2.0, "spike_s": 1.0, "spike_every_s": 2.0, "spikes": "random"}
GROWTH = REQUESTS | {"growth": 1.1, "growth_every_s": 2.0}
PREDICTED = REQUESTS | {"predictor": "lognormal", "predictor_sigma": 1.0}
TRACE = {"trace": "azure2023_conv", "limit": 20}
TRAFFIC = {
    "rate_rps": [REQUESTS, SESSIONS, GAMMA, LOAD, GROWTH, TRACE],
    "session_turns": [SESSIONS],
    "think_s": [SESSIONS],
    "max_think_s": [SESSIONS],
    "burstiness": [GAMMA],
    "load_period_s": [LOAD],
    "load_time_scale": [LOAD],
    "spike_factor": [SPIKES],
    "spike_s": [SPIKES],
    "spike_every_s": [SPIKES],
    "growth": [GROWTH],
    "growth_every_s": [GROWTH],
    "predictor_sigma": [PREDICTED],
    "patience_s": [REQUESTS],
    "prompt_tokens": [REQUESTS],
    "max_tokens": [REQUESTS],
    "rate_scale": [TRACE],
    "start_s": [TRACE],
    "end_s": [TRACE],
}
CASES = [{"workload": base | {key: value}} for key, bases in TRAFFIC.items() for base in bases
         for value in (1e-300, 1e9, 1e10, 1e12, 1e18, 1e308, 50_000_000)]  # fmt: skip
CASES += [
    {"workload": REQUESTS, section: {key: value, **more}}
    for value in (1e-300, 1e-9, 1e10, 1e12, 1e308)
    for section, more, keys in [
        ("run", {}, ["horizon_s"]),
        ("metrics", {}, ["window"]),
        ("user", {"f": "linear"}, ["v_s_per_token", "alpha", "weight_input", "weight_output"]),
        ("user", {"f": "quadratic"}, ["alpha", "first_token_allowance_s"]),
        ("user", {"f": "exponential"}, ["alpha", "f_scale_s"]),
        ("slo", {}, ["ttft_s", "tpot_s", "tail_tbt_s", "e2e_s"]),
    ]
    for key in keys
]
CASES += [
    {"workload": REQUESTS, "cluster": cluster}
    for value in (1e-300, 1e-9, 1e10, 1e12, 1e308)
    for cluster in (
        {"faults": {"mtbf_s": value, "repair_s": 1e-3, "retries": 0}},
        {"faults": {"mtbf_s": 2.0, "repair_s": value}},
        {"faults": {"events": [{"kind": "crash", "replica": 0, "at_s": 1.0, "for_s": value}]}},
        {"faults": {"events": [{"kind": "slow", "replica": 0, "at_s": 1.0, "for_s": 1.0, "factor": value}]}},
        {"prefill": {}, "decode": {}, "link": {"bandwidth_gb_s": value}},
        {"prefill": {}, "decode": {}, "link": {"latency_s": value}},
    )
]
CASES += [
    {"workload": REQUESTS, "policy": {kind: {"name": name, key: value}}}
    for value in (1e-300, 1e18, 1e308, 10**19)
    for kind, name, key in [
        ("delivery", "jitter", "delay_s"),
        ("delivery", "paced", "hold_s"),
        ("admission", "token_bucket", "burst_tokens"),
        ("scheduling", "sarathi", "chunk_size"),
    ]
]


def numbers(schema, where=""):
    """Each number of a JSON schema, with its place."""
    if isinstance(schema, dict):
        if schema.get("type") in ("number", "integer"):
            yield where, schema
        for key, each in schema.items():
            yield from numbers(each, f"{where}.{key}")
    elif isinstance(schema, list):
        for each in schema:
            yield from numbers(each, where)


@pytest.mark.parametrize("section", [WorkloadSpec, ClusterSpec, EngineSpec, Metrics, Run])
def test_every_number_has_a_largest_value(section):
    found = dict(numbers(section.model_json_schema()))
    assert found
    assert [w for w, each in found.items() if not {"maximum", "exclusiveMaximum", "enum"} & each.keys()] == []


@pytest.mark.parametrize("tables", CASES, ids=str)
def test_extreme_numbers_end_in_finite_ones_or_in_a_sentence(tables):
    with suppress(InputError):
        json.dumps(run(Scenario(**tables)).summary(), allow_nan=False)


def test_a_session_of_more_turns_than_there_may_be_requests_is_refused():
    with pytest.raises(InputError, match=r"workload.session_turns: expected a number <= 5e\+07, got 1e\+18"):
        Scenario(workload=SESSIONS | {"session_turns": 1e18})
