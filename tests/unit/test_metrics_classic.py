"""Classic metrics against hand-computed examples and against loops that spell the definitions out."""

import importlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import simulator.metrics
from simulator.errors import InputError
from simulator.metrics import RequestLog, Slo, UserModel, stability, summarise
from simulator.metrics._segments import ordered_rows, row_max, row_quantile, running_max
from simulator.metrics._summary import metric_names, on_request
from simulator.replica.request import RequestState
from tests.unit.test_metrics_reader import logs, tokens_of

# Completed with three tokens; completed with one; dropped after two; never served.
EXAMPLE = RequestLog.from_lists(
    [0.0, 1.0, 2.0, 3.0],
    [[1.0, 1.5, 3.0], [1.25], [4.0, 8.0], []],
    prompt_tokens=[10, 20, 30, 40],
    output_tokens=[3, 1, 5, 7],
    state=[
        RequestState.COMPLETED,
        RequestState.COMPLETED,
        RequestState.ABANDONED_BY_SYSTEM,
        RequestState.UNFINISHED,
    ],
    end_s=[3.0, 1.25, 9.0, 10.0],
)


def summary_of(log: RequestLog, slo: Slo | None = None) -> dict[str, Any]:
    return summarise(log, UserModel(), slo or Slo())


def test_latencies_by_hand_and_what_each_is_over() -> None:
    latency = summary_of(EXAMPLE)["latency"]
    assert latency["ttft_s"] == pytest.approx(
        {
            "count": 3,
            "over": "requests with a first token",
            "mean": 3.25 / 3,
            "p50": 1.0,
            "p90": 1.8,
            "p95": 1.9,
            "p99": 1.98,
            "max": 2.0,
        }
    )
    assert (latency["tbt_s"]["count"], latency["tbt_s"]["mean"], latency["tbt_s"]["max"]) == (3, 2.0, 4.0)
    assert latency["tbt_s"]["p50"] == 1.5
    assert latency["tbt_max_per_request_s"]["mean"] == pytest.approx((1.5 + 4.0) / 2)
    assert latency["tbt_p99_per_request_s"]["max"] == 4.0
    assert (latency["tpot_s"]["count"], latency["tpot_s"]["mean"]) == (2, (1.0 + 4.0) / 2)
    assert (latency["e2e_s"]["count"], latency["e2e_s"]["max"]) == (2, 3.0)
    assert latency["e2e_s"]["over"] == "completed requests"


def test_throughput_by_hand_counts_every_delivered_token() -> None:
    throughput = summary_of(EXAMPLE)["throughput"]
    assert throughput["requests_per_s"] == pytest.approx(0.2)
    assert throughput["output_tokens_per_s"] == pytest.approx(0.6)
    assert throughput["total_tokens_per_s"] == pytest.approx((6 + 60) / 10)


def test_states_have_a_count_and_a_share_of_arrived() -> None:
    states = summary_of(EXAMPLE)["states"]
    assert states["arrived"] == 4
    assert states["completed"] == {"count": 2, "share_of_arrived": 0.5}
    assert states["abandoned_by_system"] == {"count": 1, "share_of_arrived": 0.25}
    assert states["rejected"] == {"count": 0, "share_of_arrived": 0.0}


def test_attainment_is_over_arrived_and_single_tokens_keep_every_gap_bound() -> None:
    slo = summary_of(EXAMPLE, Slo(ttft_s=0.5, tpot_s=1.0, tail_tbt_s=1.49, e2e_s=3.0))["slo"]
    assert slo["attainment"] == {"ttft_s": 0.25, "tpot_s": 0.5, "tail_tbt_s": 0.5, "e2e_s": 0.5}
    assert slo["attainment_all"] == 0.25
    assert slo["goodput_requests_per_s"] == pytest.approx(0.1)
    assert slo["goodput_tokens_per_s"] == pytest.approx(0.1)


def test_the_tail_bound_looks_at_the_gap_that_was_asked_for() -> None:
    # Request 0 has gaps 0.5 and 1.5: p99 is 1.49, max is 1.5.
    p99, largest = (
        summary_of(EXAMPLE, Slo(tail_tbt_s=1.495, tail_tbt=tail))["slo"] for tail in ("p99", "max")
    )
    assert p99["attainment_all"] == 0.5
    assert largest["attainment_all"] == 0.25


def test_a_gap_that_is_the_bound_but_for_rounding_keeps_it() -> None:
    """Steady gaps of 0.2 s differ from 0.2 in their last bits, as differences of absolute times do."""
    log = RequestLog.from_lists([0.0], [[3.1 + 0.2 * i for i in range(50)]])
    for tail in ("p99", "max"):
        assert summary_of(log, Slo(tail_tbt_s=0.2, tail_tbt=tail))["slo"]["attainment_all"] == 1
        assert summary_of(log, Slo(tail_tbt_s=0.1999, tail_tbt=tail))["slo"]["attainment_all"] == 0


def test_without_bounds_there_is_no_goodput_to_report() -> None:
    slo = summary_of(EXAMPLE)["slo"]
    assert slo["attainment"] == {}
    assert slo["attainment_all"] is None
    assert slo["goodput_tokens_per_s"] is None


def test_token_slo_by_hand() -> None:
    user = UserModel(v_s_per_token=1.0)
    token_slo = summarise(EXAMPLE, user, Slo())["token_slo"]
    assert token_slo["attainment"] == 0.5
    assert token_slo["goodput_tokens_per_s"] == pytest.approx(0.4)
    # Slacks 0, 0.5, 0 | 0.75 | -1, -4.
    assert token_slo["tokens_on_time_share_of_delivered"] == pytest.approx(4 / 6)
    assert token_slo["deadline_slack_s"]["mean"] == pytest.approx(-3.75 / 6)


@given(logs())
def test_latencies_equal_the_definitions_spelled_out(log: RequestLog) -> None:
    ttft, gaps, tpot, e2e, tails = [], [], [], [], []
    for r, row in enumerate(tokens_of(log)):
        own = [row[i] - row[i - 1] for i in range(1, len(row))]
        gaps += own
        if row:
            ttft.append(row[0] - log.arrival_s[r])
        if own:
            tpot.append((row[-1] - row[0]) / (len(row) - 1))
            tails.append((np.percentile(own, 99), max(own)))
        if log.state[r] == RequestState.COMPLETED:
            e2e.append(row[-1] - log.arrival_s[r])
    latency = summary_of(log)["latency"]
    for name, values in (
        ("ttft_s", ttft),
        ("tbt_s", gaps),
        ("tpot_s", tpot),
        ("e2e_s", e2e),
        ("tbt_p99_per_request_s", [tail[0] for tail in tails]),
        ("tbt_max_per_request_s", [tail[1] for tail in tails]),
    ):
        assert latency[name]["count"] == len(values)
        if values:
            assert latency[name]["mean"] == pytest.approx(sum(values) / len(values), abs=1e-9)
            assert latency[name]["max"] == pytest.approx(max(values), abs=1e-9)
            for p in (50, 90, 95, 99):
                assert latency[name][f"p{p}"] == pytest.approx(np.percentile(values, p), abs=1e-9)


@given(
    logs(),
    st.builds(Slo, *[st.sampled_from([None, 0.5, 2.0, 6.0])] * 4, tail_tbt=st.sampled_from(["p99", "max"])),
)
def test_goodput_equals_a_loop_over_requests(log: RequestLog, slo: Slo) -> None:
    good = good_tokens = 0
    for r, row in enumerate(tokens_of(log)):
        own = [row[i] - row[i - 1] for i in range(1, len(row))]
        tail = (max(own) if slo.tail_tbt == "max" else float(np.percentile(own, 99))) if own else 0.0
        spread = (row[-1] - row[0]) / len(own) if own else 0.0
        if log.state[r] != RequestState.COMPLETED:
            continue
        values = (row[0] - log.arrival_s[r], spread, tail, row[-1] - log.arrival_s[r])
        bounds = (slo.ttft_s, slo.tpot_s, slo.tail_tbt_s, slo.e2e_s)
        if all(bound is None or value <= bound for value, bound in zip(values, bounds, strict=True)):
            good += 1
            good_tokens += len(row)
    measures = summary_of(log, slo)["slo"]
    if measures["attainment"]:
        assert measures["requests_meeting_all"] == good
        assert measures["attainment_all"] == good / log.n
        assert measures["goodput_requests_per_s"] == pytest.approx(good / log.window_s)
        assert measures["goodput_tokens_per_s"] == pytest.approx(good_tokens / log.window_s)


@given(logs())
def test_states_add_up_and_smooth_goodput_never_beats_throughput(log: RequestLog) -> None:
    summary = summary_of(log)
    states = summary["states"]
    assert sum(states[state.name.lower()]["count"] for state in RequestState) == states["arrived"] == log.n
    throughput = summary["throughput"]["output_tokens_per_s"]
    assert summary["smooth_goodput"]["smooth_goodput_tokens_per_s"] <= throughput + 1e-9
    json.dumps(summary, allow_nan=False)


@given(st.lists(st.lists(st.floats(-1e3, 1e3), max_size=20), max_size=12), st.floats(0, 1))
def test_rows_end_to_end_equal_rows_one_by_one(rows: list[list[float]], quantile: float) -> None:
    values = np.array([value for row in rows for value in row], dtype=float)
    offsets = np.cumsum([0, *map(len, rows)])
    largest = row_max(values, offsets)
    quantiles = row_quantile(ordered_rows(values, offsets), offsets, quantile)
    running = np.split(running_max(values, offsets), offsets[1:-1])
    for r, row in enumerate(rows):
        if row:
            assert largest[r] == max(row)
            assert quantiles[r] == pytest.approx(np.quantile(row, quantile), abs=1e-9)
            assert running[r].tolist() == [max(row[: i + 1]) for i in range(len(row))]
        else:
            assert math.isnan(largest[r])
            assert math.isnan(quantiles[r])


def test_a_log_of_nothing_has_a_summary_without_numbers() -> None:
    summary = summary_of(RequestLog.from_lists([], []), Slo(ttft_s=1.0))
    assert summary["states"]["arrived"] == 0
    assert summary["states"]["completed"]["share_of_arrived"] is None
    assert summary["latency"]["ttft_s"]["p99"] is None
    assert summary["slo"]["attainment_all"] is None
    assert summary["smooth_goodput"]["smooth_goodput_tokens_per_s"] is None
    assert summary["stability"]["unstable"] is False


def test_answers_of_one_token_have_no_gaps() -> None:
    latency = summary_of(RequestLog.from_lists([0.0, 1.0], [[1.0], [3.0]]))["latency"]
    assert latency["ttft_s"]["count"] == 2
    for name in ("tbt_s", "tbt_p99_per_request_s", "tbt_max_per_request_s", "tpot_s"):
        assert latency[name]["count"] == 0
        assert latency[name]["mean"] is None


def test_columns_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="token_offsets"):
        replace(EXAMPLE, token_offsets=np.array([0, 3, 4, 6, 9]))
    with pytest.raises(ValueError, match="state has 2 rows"):
        replace(EXAMPLE, state=np.zeros(2, np.int8))


@pytest.mark.parametrize(
    "fields", [{"ttft_s": 0.0}, {"tpot_s": math.nan}, {"e2e_s": -1.0}, {"tail_tbt": "p50"}]
)
def test_a_bound_that_makes_no_sense_is_refused_by_field(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=rf"slo\.{next(iter(fields))}"):
        Slo(**fields)


def test_a_new_file_is_a_new_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "longest_answer.py").write_text(
        "def measure(log, user, slo):\n    return {'tokens': int(log.token_counts.max())}\n"
    )
    (tmp_path / "_helper.py").write_text("raise RuntimeError('a file that is no metric was imported')\n")
    monkeypatch.setattr(simulator.metrics, "__path__", [*simulator.metrics.__path__, str(tmp_path)])
    summary = summary_of(EXAMPLE)
    assert summary["longest_answer"] == {"tokens": 3}
    assert list(summary) == [name for name in metric_names() if name not in on_request()] == sorted(summary)
    assert list(summarise(EXAMPLE, UserModel(), Slo(), on_request())) == metric_names()


def test_every_file_without_an_underscore_measures() -> None:
    folder = Path(simulator.metrics.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    assert set(metric_names()) == files
    for name in files:
        assert callable(importlib.import_module(f"simulator.metrics.{name}").measure)


def queue_at(load: float, seed: int, n: int = 2000) -> RequestLog:
    """A single server with Poisson arrivals and one-second jobs of one token each: M/D/1."""
    arrivals = np.cumsum(np.random.default_rng(seed).exponential(1 / load, n))
    done, free = [], 0.0
    for arrival in arrivals.tolist():
        free = max(free, arrival) + 1.0
        done.append([free])
    return RequestLog.from_lists(arrivals.tolist(), done)


def cut_at(log: RequestLog, horizon_s: float) -> RequestLog:
    arrived = [a for a in log.arrival_s.tolist() if a <= horizon_s]
    rows = [[t for t in row if t <= horizon_s] for row in tokens_of(log)[: len(arrived)]]
    return RequestLog.from_lists(arrived, rows, end_of_run_s=horizon_s)


@pytest.mark.parametrize("seed", range(5))
def test_a_queue_above_capacity_is_called_unstable_and_one_below_is_not(seed: int) -> None:
    for load, expected in ((0.5, False), (0.9, False), (1.3, True), (2.0, True)):
        whole = queue_at(load, seed)
        for log in (whole, cut_at(whole, 0.6 * float(whole.arrival_s[-1]))):
            measures = stability.measure(log, UserModel(), Slo())
            assert measures["unstable"] is expected, (load, measures)
            assert (measures["reason"] is not None) is expected


def test_a_run_that_serves_no_request_is_unstable_even_without_a_trend() -> None:
    log = RequestLog.from_lists(np.linspace(0, 1, 200).tolist(), [[]] * 200, end_of_run_s=10.0)
    measures = stability.measure(log, UserModel(), Slo())
    assert measures["unstable"]
    assert "had not received a token" in measures["reason"]
