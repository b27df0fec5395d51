"""The day of many requests (W10), and policies beside ``vllm_v1`` (W9): made as said, with bars that can be missed."""

import gc
import json
import tracemalloc

import numpy as np
import pytest

from benchmarks import day, performance, performance_page, policies
from benchmarks.child import Cost
from benchmarks.performance_page import PAGE, filled
from simulator.cluster import handing_over
from simulator.metrics import _segments
from simulator.results import folding, tokens
from simulator.scenario import step_figures
from simulator.scenario.run import run
from simulator.workload.build import build


def test_less_of_the_day_has_the_same_rates():
    rates = []
    for requests in (20_000, 40_000):
        arrival_s = build(day.work(requests).scenario().workload, seed=0).arrival_s
        length_s = day.DAY_S * requests / day.REQUESTS_A_DAY
        hours, _ = np.histogram(arrival_s, np.linspace(0, length_s, 25))
        rates.append(hours / (length_s / 24))
    mean = day.REQUESTS_A_DAY / day.DAY_S
    assert rates[0] == pytest.approx(rates[1], rel=0.25)  # 800 arrivals an hour, and twice as many
    assert rates[1].mean() == pytest.approx(mean, rel=0.02)
    assert rates[1].min() < 0.8 * mean < 1.25 * mean < rates[1].max()


def test_a_request_more_takes_little_memory(monkeypatch):
    """Here in pieces that are as much smaller as these runs are shorter."""
    monkeypatch.setattr(tokens, "KEPT_TOKENS", -1)
    monkeypatch.setattr(_segments, "PART", 1 << 14)
    monkeypatch.setattr(folding, "FOLD_TOKENS", 1 << 17)
    monkeypatch.setattr(handing_over, "EVENTS_BETWEEN", 512)
    monkeypatch.setattr(step_figures, "STEPS_AT_ONCE", 1 << 9)

    def peak(requests):
        gc.collect()
        tracemalloc.start()
        run(day.work(requests).scenario(), only_summary=True).summary()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(200)  # what is loaded once
    few, many = peak(3000), peak(8000)
    assert (many - few) / 5000 < 1000 * day.MOST_KB


@pytest.mark.parametrize(("cpu_s", "missed"), [(119.0, False), (121.0, True)])
def test_a_day_that_costs_too_much_is_said(cpu_s, missed, monkeypatch):
    monkeypatch.setattr(day, "MOST_US", 120.0)
    found = day.Day(1_000_000, 100.0, cpu_s, 600.0)
    assert [value > bar for _, value, bar, _ in found.checks()] == [missed, False]
    assert [value > bar for _, value, bar, _ in day.Day(1_000_000, 1.0, 1.0, 700.0).checks()] == [False, True]
    row = {"requests": 1_000_000, "wall_s": 100.0, "cpu_s": cpu_s, "peak_mb": 900.0}
    known = json.loads(performance.MEASURED.read_text(encoding="utf-8")) | {
        "day": {"rows": [row], "bar_us": 120.0}
    }
    assert ("W10 with 1,000,000 requests" in performance_page.missed(known)) == missed
    said = "(bar 120, **missed**)" if missed else "(bar 120)"
    assert f"| 1,000,000 | 100.0 | {cpu_s:.1f} | {cpu_s:.1f} {said} | 900 |" in filled(
        PAGE.read_text(encoding="utf-8"), known
    )


@pytest.mark.parametrize(("cpu_s", "missed"), [(2.9, False), (3.1, True)])
def test_a_policy_that_costs_too_much_is_said(cpu_s, missed):
    found = policies.Policy("sglang", cpu_s, cpu_s / 2)
    _, value, bar, _ = found.check()
    assert (value > bar) == missed
    known = json.loads(performance.MEASURED.read_text(encoding="utf-8"))
    known["policies"] = {"rows": [{"name": "sglang", "cpu_s": cpu_s, "ratio": cpu_s / 2}], "bar": 1.5}
    assert ("W9" in performance_page.missed(known)) == missed


def test_policies_are_measured_in_turn_with_the_base(monkeypatch):
    seconds = iter([2.0, 3.0, 3.0, 3.0, 3.0, 3.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    asked = []

    def cost(work):
        asked.append(work.settings[-1])
        return Cost(0.0, next(seconds), 0.0)

    monkeypatch.setattr(policies, "whole", cost)
    found = {each.name: each.ratio for each in policies.beside(2)}
    assert asked[:2] == ["policy.scheduling=vllm_v1", "policy.scheduling=smooth"]
    assert found == {"vllm_v1": 1.0, "smooth": 1.75, "sglang": 1.25, "andes": 1.25, "srpt": 1.25, "vtc": 1.25}
