"""Exports that other tools read: a Mooncake trace gives the requests back, a scrape says what the summary says."""

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from simulator import InputError, Scenario, run
from simulator.metrics._reader import idle_latency_s
from simulator.report.exports import export
from simulator.workload import build

CHAT = {"arrivals": "poisson", "rate_rps": 40.0, "requests": 120, "lengths": "chat_azure2023"}
LITTLE = {"num_gpu_blocks": 700, "max_model_len": 8000}


@pytest.fixture(scope="module")
def result():
    return run(Scenario(workload=CHAT, engine=LITTLE))


def test_a_mooncake_trace_gives_the_requests_back(result, tmp_path):
    path = tmp_path / "trace.jsonl"
    export(result, "mooncake", path)
    again = build(Scenario(workload={"trace": str(path)}).workload, 0)
    log = result.log
    assert again.prompt_tokens.tolist() == log.prompt_tokens.tolist()
    assert again.output_tokens.tolist() == log.output_tokens.tolist()
    assert again.arrival_s == pytest.approx(log.arrival_s - log.arrival_s[0], abs=0.0006)
    assert again.segments is not None
    cached = run(
        Scenario(
            workload={"trace": str(path)},
            policy={"scheduling": {"name": "vllm_v1", "enable_prefix_caching": True}},
        )
    )
    assert cached.summary()["engine"]["prefix_hit_tokens"] == 0  # every prompt has blocks of its own


@pytest.mark.parametrize(("openmetrics", "parse"), [(False, parse_text), (True, parse_openmetrics)])
def test_a_scrape_says_what_the_run_says(result, tmp_path, openmetrics, parse):
    path = tmp_path / "metrics.txt"
    export(result, "prometheus", path, {"openmetrics": openmetrics})
    text = path.read_text()
    found = {
        sample.name: sample.value
        for family in parse(text)
        for sample in family.samples
        if "le" not in sample.labels
    }
    log, summary = result.log, result.summary()
    assert found["vllm:generation_tokens_total"] == len(log.delivered_s)
    assert found["vllm:request_success_total"] == log.completed.sum()
    assert found["vllm:num_preemptions_total"] == summary["engine"]["preemptions"] > 0
    assert found["vllm:time_to_first_token_seconds_count"] == log.n
    assert found["vllm:time_to_first_token_seconds_sum"] == pytest.approx(log.ttft_s.sum())
    assert found["vllm:inter_token_latency_seconds_count"] == len(log.delivered_s) - log.n
    assert found["vllm:e2e_request_latency_seconds_sum"] == pytest.approx(log.e2e_s.sum())
    assert found["vllm:request_prompt_tokens_sum"] == log.prompt_tokens.sum()
    idle_s = idle_latency_s(log, result.user)
    assert found["servesim:user_idle_latency_seconds_sum"] == pytest.approx(idle_s.sum())
    smooth = summary["smooth_goodput"]["smooth_goodput_tokens_per_s"]
    assert found["servesim:smooth_goodput_tokens_per_second"] == smooth


def test_buckets_hold_what_is_at_most_their_bound(result, tmp_path):
    path = tmp_path / "metrics.txt"
    export(result, "prometheus", path)
    ttft_s = result.log.ttft_s
    for family in parse_text(path.read_text()):
        counts = [(float(s.labels["le"]), s.value) for s in family.samples if "le" in s.labels]
        assert counts == sorted(counts)
        assert [count for _, count in counts] == sorted(count for _, count in counts)
        if family.name == "vllm:time_to_first_token_seconds":
            assert counts == [(bound, (ttft_s <= bound).sum()) for bound, _ in counts]
        if family.name == "vllm:request_generation_tokens":
            *_, (last, _), (infinite, _) = counts
            assert np.isinf(infinite)
            assert last >= result.log.token_counts.max()


def test_what_a_scrape_needs_is_said(tmp_path):
    low = run(Scenario(workload=CHAT, run={"trace_level": "requests"}))
    with pytest.raises(InputError, match="trace_level = 'tokens'"):
        export(low, "prometheus", tmp_path / "m.txt")
    with pytest.raises(InputError, match="openmetrics: expected true or false"):
        export(low, "prometheus", tmp_path / "m.txt", {"openmetrics": "yes"})
