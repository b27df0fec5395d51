"""Scoring what a real server did: our own export gives our own summary, and what is not known is not shown."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import Result, Scenario, run
from simulator.errors import InputError
from simulator.metrics import RequestLog
from simulator.report import exports
from simulator.report.exports import _exact
from simulator.report.panels_over_time import draw_in_flight
from simulator.report.style import axes
from simulator.results.imports import _values, read_runs
from simulator.results.measured import MeasuredResult, measured_result
from simulator.results.vocabulary import numbers
from tests import result_files as files
from tests.commands import servesim
from tests.refusals import folder, refusal  # noqa: F401
from tests.result_files import path_of

CHAT = {"arrivals": "poisson", "rate_rps": 40.0, "requests": 120, "lengths": "chat_azure2023"}
RUNS = {
    "open loop": {},
    "a trace": {"workload": {"trace": "azure2023_code", "limit": 100, "rate_scale": 4.0}},
    "preempted": {"engine": {"num_gpu_blocks": 700, "max_model_len": 8000}},
    "late delivery": {"policy": {"delivery": {"name": "jitter"}}},
    "disaggregated": {"cluster": {"prefill": {"replicas": 1}, "decode": {"replicas": 1}}},
    "clients": {"workload": {"concurrency": 9, "requests": 40, "prompt_tokens": 300, "output_tokens": 30,
                             "arrivals": "burst"}},
    "other readers": {"user": {"preset": "paper_v2"}, "metrics": {"window": "whole", "also": ["fluid_rate"]}},
    "targets": {"slo": {"ttft_s": 0.2, "tail_tbt_s": 0.04, "e2e_s": 9.0}, "run": {"trim_warmup": 0.1}},
}  # fmt: skip


def refused(call):
    with pytest.raises(InputError) as error:
        call()
    return str(error.value)


def without_engine(summary):
    return {name: family for name, family in summary.items() if name not in ("engine", "cost")}


@pytest.mark.parametrize("kind", RUNS)
def test_the_score_of_our_own_export_is_our_own_summary_to_the_last_digit(kind, tmp_path):
    scenario = Scenario(**({"workload": CHAT} | RUNS[kind]))
    made = run(scenario)
    exports.export(made, "vllm_bench", tmp_path / "bench.json")
    (served,) = read_runs(tmp_path / "bench.json")
    scored = measured_result(served, tmp_path / "bench.json", scenario.model_dump(mode="json"))
    assert made.log.completed.all()
    np.testing.assert_array_equal(scored.log.delivered_s, made.log.delivered_s)
    assert scored.summary() == without_engine(made.summary())


def numbers_of(summary):
    return {name: value for name, value in numbers(without_engine(summary)) if value is not None}


@pytest.mark.parametrize("kind", ["open loop", "late delivery", "preempted"])
def test_the_score_of_our_aiperf_export_is_our_own_summary_to_a_nanosecond(kind, tmp_path):
    scenario = Scenario(**({"workload": CHAT} | RUNS[kind]))
    made = run(scenario)
    exports.export(made, "aiperf", tmp_path / "profile_export.jsonl")
    (served,) = read_runs(tmp_path / "profile_export.jsonl")
    scored = measured_result(served, tmp_path, scenario.model_dump(mode="json"))
    first_s = made.log.arrival_s[0]
    assert np.abs(scored.log.delivered_s - (made.log.delivered_s - first_s)).max() < 2e-9
    found, expected = numbers_of(scored.summary()), numbers_of(made.summary())
    assert found.keys() == expected.keys()
    for name in found.keys() - {"window.start_s", "window.end_s"}:
        assert found[name] == pytest.approx(expected[name], rel=1e-6, abs=1e-8), name


def test_requests_that_did_not_complete_are_errors_in_aiperf_files(tmp_path):
    made = run(Scenario(workload=CHAT | {"patience_s": 1.0}))
    exports.export(made, "aiperf", tmp_path / "p.jsonl")
    (served,) = read_runs(tmp_path / "p.jsonl")
    states = made.requests()["state"].to_pylist()
    assert 0 < states.count("abandoned_by_user") < len(states)
    np.testing.assert_array_equal(served.state, made.log.state)
    assert np.abs(served.end_s - (made.log.end_s - made.log.arrival_s[0])).max() < 2e-9


times = st.lists(st.floats(0, 100, allow_subnormal=False), min_size=2, max_size=8).map(sorted)


@given(times)
def test_differences_of_times_give_the_times_back(all_s):
    start_s, *later_s = all_s
    written = json.loads(
        _exact.dumps({"gaps": _exact.gaps_s(start_s, np.array(later_s))}), parse_float=_values._exact
    )
    assert _values.seconds_after(start_s, written["gaps"]).tolist() == later_s


def test_a_gap_that_no_float_gives_back_is_written_with_all_digits():
    def given_back(end_s):
        gap = end_s - start_s
        return any(start_s + each == end_s for each in (gap, math.nextafter(gap, 0), math.nextafter(gap, 1)))

    start_s = math.nextafter(0.2, 1)  # with a bit that no number from 0.25 to 0.5 has
    end_s = next(each for each in (0.49, math.nextafter(0.49, 1)) if not given_back(each))
    gap = end_s - start_s
    text = _exact.dumps({"gaps": _exact.gaps_s(start_s, np.array([end_s]))})
    assert json.loads(text)["gaps"] == [pytest.approx(gap)]
    assert _values.seconds_after(start_s, json.loads(text, parse_float=_values._exact)["gaps"]).tolist() == [
        end_s
    ]


def test_a_scored_folder_is_read_back_and_shown(capsys, folder):  # noqa: F811
    bench = path_of(".", "vllm_bench")
    out = servesim(capsys, "score", bench, "--out", "scored", "--set", "slo.ttft_s=0.06")
    assert out.startswith("vllm_bench.json, a real server, file of vllm bench serve\n\nAnswer ")
    assert "Model     llama\n" in out
    assert re.search("TTFT <= 0.06 s +75.0 %  of arrived", out)
    assert servesim(capsys, "show", "scored") == out
    shown = servesim(capsys, "show", "scored", "--set", "slo.ttft_s=0.02")
    assert re.search("TTFT <= 0.02 s +(.*?)  of", shown).group(1).split() == ["0", "%"]
    loaded = Result.load("scored")
    assert isinstance(loaded, MeasuredResult)
    assert sorted(path.name for path in Path("scored").iterdir()) == [
        "manifest.json", "overview.png", "requests.parquet", "summary.json", "tokens.parquet",
    ]  # fmt: skip
    assert loaded.tokens().column_names == ["request_id", "token_index", "delivered_s"]
    assert loaded.requests()["state"].to_pylist() == ["completed"] * 4
    assert "no steps in this result of a real server: its engine is not known" in refused(loaded.steps)
    perfetto = ("export", "scored", "--to", "perfetto", "--out", "x.json")
    assert "of a real server the steps are not known" in refusal(capsys, *perfetto)
    servesim(capsys, "export", "scored", "--to", "vllm_bench", "--out", "again.json")
    assert (
        servesim(capsys, "score", "again.json", "--set", "slo.ttft_s=0.06").split("\n", 1)[1]
        == out.split("\n", 1)[1]
    )


def test_without_token_times_nothing_is_shown_by_token(capsys, folder):  # noqa: F811
    table = path_of(".", "requests_csv")
    classic = servesim(capsys, "score", table, "--out", "classic", "--set", "slo.tpot_s=0.02")
    assert "nothing by token" in classic
    assert re.search("smooth goodput +-  tokens/s", classic)
    assert "User model" not in classic
    assert servesim(capsys, "show", "classic") == classic
    assert "no tokens in this result" in refused(Result.load("classic").tokens)
    found = Result.load("classic").summary()
    assert found["smooth_goodput"].keys() == {"not_measured"}
    assert (found["latency"]["tbt_s"]["count"], found["latency"]["ttft_s"]["count"]) == (0, 4)
    assert found["throughput"]["output_tokens_per_s"] is None
    sentence = refusal(capsys, "score", str(table), "--set", "slo.tail_tbt_s=1")
    assert sentence == "slo.tail_tbt_s: requests_csv.csv has no times between tokens; expected no such bound"


def test_even_tokens_bound_smooth_goodput_from_above(capsys, folder):  # noqa: F811
    made = run(Scenario(workload=CHAT | {"rate_rps": 80.0}, metrics={"window": "whole"}))
    exports.export(made, "csv", Path("csv"))
    (served,) = read_runs(Path("csv/requests.csv"))
    scored = measured_result(served, Path("x"), made.manifest["scenario"], spread_evenly=True)
    even, exact = scored.summary(), made.summary()
    key = "smooth_goodput_tokens_per_s"
    assert exact["smooth_goodput"][key] < even["smooth_goodput"][key]
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        assert even["latency"][name] == exact["latency"][name]
    assert even["throughput"] == exact["throughput"]
    idle = scored.log.last_token_s
    np.testing.assert_array_equal(idle, made.log.last_token_s)


def test_unknown_prompts_and_times_are_not_made_up(capsys, folder):  # noqa: F811
    genai, sglang = path_of(".", "genai_perf"), path_of(".", "sglang_bench")
    assert "22 prompt" not in (out := servesim(capsys, "score", genai))
    assert "-  tokens/s with prompts" in out
    assert (
        refusal(capsys, "score", str(genai), "--set", "user.weight_input=1")
        == "user.weight_input: genai_perf.json does not say how long prompts are; expected 0"
    )
    out = servesim(capsys, "score", sglang)
    assert "Rates count what falls into 1.20000 s, from the first arrival to the last event." in out
    assert "expected none of them" in refusal(capsys, "score", str(sglang), "--set", "run.trim_warmup=0.1")
    (served,) = read_runs(sglang)
    found = measured_result(served, sglang, Scenario().model_dump(mode="json")).summary()
    tokens = sum(len(each) for _, _, each in files.REQUESTS)
    assert found["throughput"]["output_tokens_per_s"] == pytest.approx(tokens / 1.2)
    assert "how long prompts are" in refusal(capsys, "replay", str(genai))
    assert "when requests were sent" in refusal(capsys, "replay", str(sglang))
    servesim(capsys, "score", genai, "--out", "g", "--no-plot")
    assert "does not say how long prompts" in refusal(
        capsys, "export", "g", "--to", "vllm_bench", "--out", "b.json"
    )


def test_several_runs_are_compared(capsys, folder):  # noqa: F811
    path_of(".", "aiperf")
    path_of(".", "sglang_bench", 2 * files.sglang_bench())
    out = servesim(capsys, "score", "aiperf.json", "sglang_bench.json", "--out", "all", "--no-plot")
    assert out.splitlines()[0].split("  ")[-1].strip() == "diff"
    assert "aiperf.json" in out.splitlines()[0]
    assert sorted(path.name for path in Path("all").iterdir()) == [
        "aiperf.json", "sglang_bench.json--line-1", "sglang_bench.json--line-2",
    ]  # fmt: skip
    path_of(".", "guidellm")
    assert "expected files of one kind" in refusal(capsys, "score", "aiperf.json", "guidellm.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.json"], "none.json: not found; expected a result file of a load test"),
        (["s.toml"], "s.toml, line 1: not JSON"),
        (["t.csv"], "t.csv: no column first_token_s; expected one, beside arrival_s"),
        (
            ["t.csv", "--set", "hardware.gpu=l4"],
            "--set hardware.gpu=l4: a saved run can be measured anew only",
        ),
    ],
)
def test_what_cannot_be_scored_is_refused(capsys, folder, arguments, message):  # noqa: F811
    assert message in refusal(capsys, "score", *arguments)


def test_in_flight_is_what_a_client_waits_for():
    log = RequestLog.from_lists([0.0, 2.0], [[1.0, 4.0], [8.0]], end_s=[4.0, 8.0])
    _, ((panel,),) = axes()
    draw_in_flight(panel, log)
    streaming, waiting = (each.get_data() for each in panel.patches)
    for data, request_s in ((streaming, 3.0 + 0.0), (waiting, 1.0 + 6.0)):
        assert (data.values * np.diff(data.edges)).sum() == pytest.approx(request_s)


def test_inspect_says_which_tools_results_a_file_has_and_what_takes_them(tmp_path, capsys):
    export = tmp_path / "bench.json"
    exports.export(run(Scenario(workload=CHAT)), "vllm_bench", export)
    said = refusal(capsys, "inspect", str(export))
    assert f"{export}: results of a load test (vllm bench serve)" in said
    assert f"servesim score {export}" in said
    other = tmp_path / "other.json"
    other.write_text('{"a": 1}')
    assert "load test" not in refusal(capsys, "inspect", str(other))
