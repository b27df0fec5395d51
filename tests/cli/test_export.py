"""Exports of a saved run: what is in them, and that they are read back."""

import csv
import json
import math

import numpy as np
import pytest

from simulator import Result, Scenario, run
from simulator.metrics import _segments
from simulator.report import exports
from simulator.results import result, tokens
from simulator.studies.calibration.bench_results import read_bench
from tests.commands import servesim
from tests.refusals import folder, refusal  # noqa: F401

POISSON = {"arrivals": "poisson", "rate_rps": 8.0, "requests": 200, "lengths": "chat_azure2023"}
SMALL = {"num_gpu_blocks": 700, "max_model_len": 8000}


def at(level="tokens", workload=POISSON, **more):
    return run(Scenario(workload=workload, run={"trace_level": level}, engine=SMALL, **more))


def exported(made, name, tmp_path, **options):
    exports.export(made, name, tmp_path / "out", options)
    return tmp_path / "out"


def bench(made, tmp_path, **options):
    return json.loads(exported(made, "vllm_bench", tmp_path, **options).read_text(encoding="utf-8"))


def rows(path):
    text = path.read_bytes()
    assert text.count(b"\r\n") == text.count(b"\n")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, strict=True))


def test_csv_files_hold_the_tables(tmp_path):
    made = at(policy={"admission": {"name": "queue_cap", "max_waiting": 1}})
    out = exported(made, "csv", tmp_path)
    for name, table in (("requests", made.requests()), ("tokens", made.tokens())):
        expected, found = table.to_pylist(), rows(out / f"{name}.csv")
        assert len(expected) == len(found)
        assert list(found[0]) == table.column_names
        for one, other in zip(expected, found, strict=True):
            for column, value in one.items():
                text = other[column]
                assert text == ("" if value is None else text if isinstance(value, float) else str(value))
                if isinstance(value, float):
                    assert float(text) == value
    assert {row["state"] for row in rows(out / "requests.csv")} == {"completed", "rejected"}


def test_csv_of_a_run_without_tokens_are_its_requests(tmp_path):
    out = exported(at("requests"), "csv", tmp_path)
    assert [path.name for path in out.iterdir()] == ["requests.csv"]


def test_the_bench_reader_reads_what_was_exported(tmp_path):
    made = at()
    summary = made.summary()["latency"]
    found = read_bench(exported(made, "vllm_bench", tmp_path))
    table = made.requests()
    assert found.detailed
    assert found.ttft_ms[0] == pytest.approx(1e3 * summary["ttft_s"]["mean"], rel=1e-12)
    assert found.tpot_ms[0] == pytest.approx(1e3 * summary["tpot_s"]["mean"], rel=1e-12)
    arrival_s = table["arrival_s"].to_numpy()
    np.testing.assert_array_equal(found.workload.arrival_s, arrival_s - arrival_s[0])
    assert found.workload.prompt_tokens.tolist() == table["prompt_tokens"].to_pylist()
    assert found.workload.output_tokens.tolist() == table["output_tokens"].to_pylist()


def test_statistics_are_those_of_the_summary(tmp_path):
    made = at()
    found, latency = bench(made, tmp_path, percentiles=[50, 90, 99]), made.summary()["latency"]
    for name, key in (("ttft", "ttft_s"), ("tpot", "tpot_s"), ("itl", "tbt_s"), ("e2el", "e2e_s")):
        for statistic, ours in (
            ("mean", "mean"),
            ("median", "p50"),
            ("p50", "p50"),
            ("p90", "p90"),
            ("p99", "p99"),
        ):
            assert found[f"{statistic}_{name}_ms"] == pytest.approx(1e3 * latency[key][ours], rel=1e-9)
    assert found["num_prompts"] == found["completed"] == 200
    assert (found["request_rate"], found["burstiness"], found["max_concurrency"]) == (8.0, 1.0, None)
    itls = np.concatenate(found["itls"])
    assert found["std_itl_ms"] == pytest.approx(1e3 * itls.std(), rel=1e-9)


def plain(found, itls):
    """The two peaks, second by second, from what is in the file."""
    done = [i for i, tokens in enumerate(found["output_lens"]) if tokens]
    first_s = min(found["start_times"][i] for i in done)
    tokens, requests = {}, {}
    for i in done:
        times_s = found["start_times"][i] + found["ttfts"][i] + np.cumsum([0.0, *itls[i]]) - first_s
        for time_s in times_s:
            tokens[math.floor(time_s)] = tokens.get(math.floor(time_s), 0) + 1
        for second in range(math.floor(found["start_times"][i] - first_s), math.floor(times_s[-1]) + 1):
            requests[second] = requests.get(second, 0) + 1
    return max(tokens.values()), max(requests.values())


def test_the_peaks_are_those_of_a_plain_loop(tmp_path):
    found = bench(at(), tmp_path)
    assert (found["max_output_tokens_per_s"], found["max_concurrent_requests"]) == plain(found, found["itls"])


def test_requests_that_did_not_complete_are_failed(tmp_path):
    made = at(policy={"abandonment": {"name": "missed_slo", "e2e_s": 3.0}})
    found, states = bench(made, tmp_path), made.requests()["state"].to_pylist()
    assert 0 < found["failed"] == 200 - states.count("completed")
    assert [tokens > 0 for tokens in found["output_lens"]] == [state == "completed" for state in states]
    counts = made.requests()["delivered_tokens"].to_pylist()
    assert [len(gaps) for gaps in found["itls"]] == [max(0, count - 1) for count in counts]
    assert found["max_output_tokens_per_s"] == plain(found, found["itls"])[0]


def test_tokens_in_parts_give_the_same_file(tmp_path, monkeypatch):
    whole = bench(at(), tmp_path)
    for file in (tokens, result):
        monkeypatch.setattr(file, "KEPT_TOKENS", -1)
    monkeypatch.setattr(_segments, "PART", 300)
    assert bench(at(), tmp_path) == whole


def test_without_tokens_what_is_made_of_their_gaps_is_left_out(tmp_path):
    whole = bench(at(), tmp_path)
    at("requests").save(tmp_path / "o")
    found = bench(Result.load(tmp_path / "o"), tmp_path)
    gone = {
        "itls",
        "max_output_tokens_per_s",
        *(f"{kind}_itl_ms" for kind in ("mean", "median", "std", "p99")),
    }
    assert found == {key: value for key, value in whole.items() if key not in gone}


@pytest.mark.parametrize(
    ("workload", "sent"),
    [
        ({"trace": "azure2023_conv", "limit": 20}, {"max_concurrency": None}),
        (
            {"trace": "azure2023_conv", "limit": 20, "concurrency": 4},
            {"request_rate": "inf", "burstiness": 1.0, "max_concurrency": 4},
        ),
        (
            {**POISSON, "requests": 20, "arrivals": "gamma", "burstiness": 0.5},
            {"request_rate": 8.0, "burstiness": 0.5, "max_concurrency": None},
        ),
        (
            {**POISSON, "requests": 20, "growth": 2.0, "growth_every_s": 60.0},
            {"max_concurrency": None},
        ),
    ],
)
def test_how_requests_were_sent_is_said_where_it_can_be(tmp_path, workload, sent):
    found = bench(at(workload=workload), tmp_path)
    assert {
        key: found[key] for key in ("request_rate", "burstiness", "max_concurrency") if key in found
    } == sent


def test_the_command_reads_a_folder(tmp_path, capsys):
    at("requests").save(tmp_path / "o")
    arguments = ("export", tmp_path / "o", "--to", "vllm_bench", "--out", tmp_path / "new" / "b.json")
    servesim(capsys, *arguments, "--set", "percentiles=[75, 99.9]")
    found = json.loads((tmp_path / "new" / "b.json").read_text())
    assert {"p75_ttft_ms", "p99.9_ttft_ms"} < found.keys()
    assert "p99_ttft_ms" not in found
    servesim(capsys, *arguments, "--overwrite")


@pytest.mark.parametrize(
    ("name", "file"),
    [("vllm_bench", "o.vllm_bench.json"), ("aiperf", "o.aiperf.jsonl"), ("csv", "o.csv")],
)
def test_without_a_path_it_is_written_beside_the_run(tmp_path, capsys, name, file):
    at("tokens").save(tmp_path / "o")
    servesim(capsys, "export", tmp_path / "o", "--to", name)
    assert (tmp_path / file).exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("--to", "cvs", "--out", "x"),
            "--to cvs: no export; did you mean 'csv'? expected one of aiperf, csv, guidellm, mlflow,",
        ),
        (("--to", "csv", "--out", "t.csv"), "--out t.csv: exists; expected a new path, or --overwrite"),
        (
            ("--to", "csv", "--out", "x", "--set", "tokens=no"),
            "--set tokens: csv has no such option; csv has no options",
        ),
        (
            ("--to", "vllm_bench", "--out", "x", "--set", "percentile=[50]"),
            "--set percentile: vllm_bench has no such option; did you mean 'percentiles'?",
        ),
        (
            ("--to", "vllm_bench", "--out", "x", "--set", "percentiles=[101]"),
            "percentiles: expected a list of numbers from 0 to 100, got [101]",
        ),
        (("--to", "csv", "--out", "x"), "no requests in this result, whose run.trace_level is 'summary'"),
        (
            ("--to", "vllm_bench", "--out", "x"),
            "no requests in this result, whose run.trace_level is 'summary'",
        ),
    ],
)
def test_what_cannot_be_exported_is_one_sentence(tmp_path, capsys, arguments, says):
    at("summary", workload={"trace": "azure2023_conv", "limit": 5}).save(tmp_path / "o")
    assert says in refusal(capsys, "export", "o", *arguments)
    assert not (tmp_path / "x").exists()


def test_a_file_without_a_function_is_named(tmp_path, monkeypatch):
    there = exports.exports()
    (tmp_path / "mine.py").write_text("")
    monkeypatch.setattr(exports, "__path__", [*exports.__path__, str(tmp_path)])
    assert exports.exports() == [*there[:3], "mine", *there[3:]]
    with pytest.raises(ValueError, match=r"mine\.py: no function export\(result, path\)"):
        exports.export(at(workload={"trace": "azure2023_conv", "limit": 5}), "mine", tmp_path / "x")
