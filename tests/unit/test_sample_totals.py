"""Counts, sums of tokens, units and times of the sample files, added up here without any of the reading code."""

import json
from pathlib import Path

import pandas as pd
import pytest

from simulator.workload.reader import Trace
from simulator.workload.recognise import ReadAs

SAMPLES = Path(__file__).parent.parent / "data" / "formats"


def table(name, time, prompt, output, unit_s=None):
    """A CSV: a number of ``unit_s`` seconds, or a date, and two counts."""
    rows = pd.read_csv(SAMPLES / name)
    if unit_s is None:
        dates = pd.to_datetime(rows[time], utc=True, format="ISO8601")
        return rows, (dates - dates.iloc[0]).dt.total_seconds(), rows[prompt], rows[output]
    return rows, rows[time] * unit_s, rows[prompt], rows[output]


def lines(name):
    return [json.loads(line) for line in (SAMPLES / name).read_text().splitlines() if line.strip()]


def weka():
    requests = json.loads((SAMPLES / "weka_session.json").read_text())["requests"]
    return (
        requests,
        [each["t"] for each in requests],
        [each["in"] for each in requests],
        [each["out"] for each in requests],
    )


def bailian():
    rows = lines("bailian.jsonl")
    return rows, *([each[key] for each in rows] for key in ("timestamp", "input_length", "output_length"))


def mooncake():
    rows = lines("mooncake_arxiv_slice_93.jsonl")
    times = [each["timestamp"] / 1000 for each in rows]
    return rows, times, [each["input_length"] for each in rows], [each["output_length"] for each in rows]


def aibrix():
    rows = [
        (batch["timestamp"] / 1000, each)
        for batch in lines("aibrix_workload.jsonl")
        for each in batch["requests"]
    ]
    return (
        rows,
        [at for at, _ in rows],
        [each["Prompt Length"] for _, each in rows],
        [each["Output Length"] for _, each in rows],
    )


def llmservingsim():
    rows = lines("llmservingsim.jsonl")
    plain = [inner for each in rows for inner in each.get("sub_requests", [each])]
    starts = [each["arrival_time_ns"] / 1e9 for each in rows]
    return plain, starts, [each["input_toks"] for each in plain], [each["output_toks"] for each in plain]


def tracelab():
    rows = lines("tracelab_rounds.jsonl")
    prompts, outputs = ([each[key] for each in rows] for key in ("input_tokens_total", "output_tokens"))
    return rows, None, prompts, outputs


def otel():
    spans = json.loads((SAMPLES / "otel_genai_session.json").read_text())["spans"]
    dates = pd.to_datetime([each["start_time"] for each in spans])
    return spans, (dates - dates[0]).total_seconds(), None, None  # it has texts, and no counts


def servegen():
    rows = lines("servegen_offline.jsonl")
    return rows, None, [each["input_length"] for each in rows], None


def vllm_vcr():
    rows = [each for each in lines("inference_simulator_rs.jsonl") if "meta" not in each]
    times = [each["arrival_ms"] / 1000 for each in rows]
    return rows, times, [each["prompt_tokens"] for each in rows], [each["output_tokens"] for each in rows]


def lengths():
    rows = pd.read_csv(SAMPLES / "vidur_lengths.csv")
    return rows, None, rows["num_prefill_tokens"], rows["num_decode_tokens"]


FOUND = {
    "azure2023.csv": lambda: table("azure2023.csv", "TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    "azure2024.csv": lambda: table("azure2024.csv", "TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    "azure_lmm2025.csv": lambda: table("azure_lmm2025.csv", "TIMESTAMP", "ContextTokens", "GeneratedTokens"),
    "burstgpt_v1.csv": lambda: table("burstgpt_v1.csv", "Timestamp", "Request tokens", "Response tokens", 1),
    "vidur_trace.csv": lambda: table(
        "vidur_trace.csv", "arrived_at", "num_prefill_tokens", "num_decode_tokens", 1
    ),
    "splitwise_sim.csv": lambda: table(
        "splitwise_sim.csv", "arrival_timestamp", "prompt_size", "token_size", 1
    ),
    "blis.csv": lambda: table("blis.csv", "arrival_time_us", "input_tokens", "output_tokens", 1e-6),
    "vidur_lengths.csv": lengths,
    "weka_session.json": weka,
    "bailian.jsonl": bailian,
    "mooncake_arxiv_slice_93.jsonl": mooncake,
    "aibrix_workload.jsonl": aibrix,
    "llmservingsim.jsonl": llmservingsim,
    "tracelab_rounds.jsonl": tracelab,
    "otel_genai_session.json": otel,
    "servegen_offline.jsonl": servegen,
    "inference_simulator_rs.jsonl": vllm_vcr,
}


@pytest.mark.parametrize("name", FOUND)
def test_counts_tokens_and_times_are_those_of_the_file(name):
    rows, times_s, prompts, outputs = FOUND[name]()
    trace = Trace(SAMPLES / name)
    found, _ = trace.read()
    assert len(found) == len(rows)
    if prompts is not None:
        assert sorted(found.prompt_tokens.tolist()) == sorted(int(each) for each in prompts)
    if outputs is not None:
        assert sorted(found.output_tokens.tolist()) == sorted(int(each) for each in outputs)
    if times_s is not None:
        known = sorted(
            at
            for at, think in zip(found.arrival_s.tolist(), think_times(found), strict=True)
            if think is None
        )
        expected = sorted(float(each) for each in times_s)
        if name == "weka_session.json":  # whose later turns come at think times
            expected = expected[:1]
        assert known == pytest.approx(expected, abs=2e-9)


def think_times(found):
    if found.think_s is None:
        return [None] * len(found)
    return [None if each != each else each for each in found.think_s.tolist()]


def test_the_row_without_an_answer_of_burstgpt_is_refused_or_left_out():
    trace = Trace(SAMPLES / "burstgpt_v3.csv", ReadAs(skip_bad=True))
    found, _ = trace.read()
    rows = pd.read_csv(SAMPLES / "burstgpt_v3.csv")
    kept = rows[rows["Response tokens"] > 0]
    assert found.prompt_tokens.tolist() == kept["Request tokens"].tolist()
    assert found.arrival_s.tolist() == kept["Timestamp"].tolist()
    assert len(rows) - len(kept) == 1
    assert trace.said == [
        "1 bad rows skipped: 1 as Response tokens: expected a whole number of tokens >= 1 (first: line 5)"
    ]
