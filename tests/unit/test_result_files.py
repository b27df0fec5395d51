"""Result files of load testers: every format has the same four requests, and its own traps."""

import json

import numpy as np
import pytest

from simulator.errors import InputError
from simulator.replica.request import RequestState
from simulator.results import imports
from simulator.results.imports import formats, read_runs
from simulator.results.imports._served import in_chunks
from tests import result_files as files
from tests.result_files import FIRST_AND_LAST, REQUESTS, WRITERS, path_of

FROM_SENT = [times for _, _, times in REQUESTS]


def read(tmp_path, name, text=None):
    (run,) = read_runs(path_of(tmp_path, name, text))
    return run


def refused(tmp_path, name, text):
    with pytest.raises(InputError) as error:
        read_runs(path_of(tmp_path, name, text))
    assert "\n" not in str(error.value)
    return str(error.value).replace(f"{tmp_path}/", "")


def after_sending(run):
    return np.split(
        run.delivered_s - np.repeat(run.arrival_s, run.output_tokens), np.cumsum(run.output_tokens)
    )[:-1]


def test_each_format_is_written_here_and_no_other():
    assert set(formats()) == set(WRITERS)


@pytest.mark.parametrize("name", WRITERS)
def test_the_same_requests_come_out_of_each_format(name, tmp_path):
    run = read(tmp_path, name)
    assert run.tool == formats()[name].TOOL
    assert run.output_tokens.tolist() == [len(times) for times in FROM_SENT]
    assert run.state.tolist() == [RequestState.COMPLETED] * 4
    assert run.first_s - run.arrival_s == pytest.approx([times[0] for times in FROM_SENT], abs=3e-7)
    assert run.last_s - run.arrival_s == pytest.approx([times[-1] for times in FROM_SENT], abs=3e-7)
    if name != "genai_perf":
        assert run.prompt_tokens.tolist() == [prompt for _, prompt, _ in REQUESTS]
    if name != "sglang_bench":
        assert run.arrival_s - run.arrival_s[0] == pytest.approx([sent for sent, _, _ in REQUESTS], abs=3e-7)
    assert run.token_times == ("first and last" if name in FIRST_AND_LAST else "each")
    if run.token_times == "each":
        for found, expected in zip(after_sending(run), FROM_SENT, strict=True):
            assert found == pytest.approx(expected, abs=1e-9)


def test_what_files_do_not_say_is_said(tmp_path):
    assert read(tmp_path, "vllm_bench").notes == []
    assert "does not say when requests were sent" in " ".join(read(tmp_path, "sglang_bench").notes)
    genai = read(tmp_path, "genai_perf")
    assert not genai.has_prompts
    assert "each chunk is counted as one token" in " ".join(genai.notes)
    assert "how long prompts are" in " ".join(genai.notes)
    assert read(tmp_path, "guidellm").notes == ["only the first and the last token of an answer have times"]


@pytest.mark.parametrize(
    ("chunks", "tokens", "expected"),
    [
        (3, 3, [0, 1, 2]),
        (2, 5, [0, 0, 0, 1, 1]),
        (1, 4, [0, 0, 0, 0]),
        (5, 3, [0, 2, 4]),
        (4, 1, [0]),
        (3, 4, [0, 0, 1, 2]),
    ],
)
def test_tokens_are_spread_evenly_over_chunks(chunks, tokens, expected):
    assert in_chunks(chunks, tokens).tolist() == expected


def test_chunks_of_several_tokens_are_counted_and_said(tmp_path):
    run = read(tmp_path, "vllm_bench", files.vllm_bench(output_lens=[6, 6, 3, 3]))
    assert [round(float(time), 6) for time in after_sending(run)[0]] == [
        0.06355, 0.06355, 0.07657, 0.07657, 0.090552, 0.090552,
    ]  # fmt: skip
    assert "1 of 4 answers have more tokens than chunks" in run.notes[0]
    assert "1 of 4 answers have fewer tokens than chunks" in run.notes[1]
    # SGLang's tool drops the tokens of the first chunk but one
    run = read(tmp_path, "sglang_bench", files.sglang_bench(output_lens=[5, 6, 3, 4]))
    assert [round(float(time), 6) for time in after_sending(run)[0]] == [
        0.06355, 0.06355, 0.06355, 0.07657, 0.090552,
    ]  # fmt: skip
    assert any("counted with the first chunk" in note for note in run.notes)


def test_requests_without_tokens_have_failed(tmp_path):
    requests = [*REQUESTS, (1.1, 30, [])]
    run = read(tmp_path, "vllm_bench", files.vllm_bench(requests))
    assert run.state.tolist() == [RequestState.COMPLETED] * 4 + [RequestState.FAILED]
    assert np.isnan(run.first_s[-1])
    assert run.end_s[-1] == run.arrival_s[-1]


def test_requests_are_ordered_by_when_they_were_sent(tmp_path):
    run = read(tmp_path, "vllm_bench", files.vllm_bench(REQUESTS[::-1]))
    assert run.prompt_tokens.tolist() == [prompt for _, prompt, _ in REQUESTS]


def test_lines_of_a_file_are_runs(tmp_path):
    path = path_of(tmp_path, "sglang_bench", 2 * files.sglang_bench())
    assert [run.name for run in read_runs(path)] == ["sglang_bench.json, line 1", "sglang_bench.json, line 2"]
    path = path_of(tmp_path, "vllm_bench", files.vllm_bench() + "\n" + files.vllm_bench())
    assert len(read_runs(path)) == 2


def test_aiperf_knows_warm_up_cancelled_failed_and_not_streamed(tmp_path):
    warm, cancelled, failed, whole = files.aiperf_records()
    warm["metadata"]["benchmark_phase"] = "warmup"
    begin = cancelled["metadata"]["request_start_ns"]
    cancelled |= {"error": {"code": 499}, "metrics": {"error_isl": {"value": 717, "unit": "tokens"}}}
    cancelled["metadata"] |= {"was_cancelled": True, "cancellation_time_ns": begin + 20_000_000}
    failed |= {"error": {"code": 500}, "metrics": {}}
    for name in ("time_to_first_token", "inter_chunk_latency"):
        del whole["metrics"][name]
    whole["metrics"]["request_latency"] = {"value": 0.098058, "unit": "s"}
    whole["metrics"]["reasoning_token_count"] = {"value": 3, "unit": "tokens"}
    run = read(tmp_path, "aiperf", files.lines([warm, cancelled, failed, whole]))
    assert run.state.tolist() == [
        RequestState.ABANDONED_BY_USER, RequestState.FAILED, RequestState.COMPLETED,
    ]  # fmt: skip
    assert run.end_s[0] - run.arrival_s[0] == pytest.approx(0.02)
    assert run.prompt_tokens.tolist() == [717, -1, 715]
    assert run.delivered_s - run.arrival_s[2] == pytest.approx([0.098058] * 4)
    assert run.thinking_tokens.tolist() == [-1, -1, 3]
    assert run.notes[0] == "1 requests of the warm-up are left out"


def test_aiperf_without_chunks_has_first_and_last_tokens(tmp_path):
    records = list(files.aiperf_records())
    for record in records:
        del record["metrics"]["inter_chunk_latency"]
    run = read(tmp_path, "aiperf", files.lines(records))
    assert run.token_times == "first and last"
    assert run.last_s - run.arrival_s == pytest.approx([times[-1] for times in FROM_SENT])


def test_genai_perf_counts_chunks_that_carry_text_and_believes_usage(tmp_path):
    found = json.loads(files.genai_perf(REQUESTS[:1]))
    request = found["experiments"][0]["requests"][0]
    first, *_, last = request["response_timestamps"]
    usage = {"choices": [], "usage": {"prompt_tokens": 871, "completion_tokens": 6}}
    request["response_timestamps"] = [first, *request["response_timestamps"], last, last]
    request["response_outputs"] = [
        files.event(role="assistant", content=""),
        *request["response_outputs"],
        {"response": "data: " + json.dumps(usage)},
        {"response": "data: [DONE]"},
    ]
    run = read(tmp_path, "genai_perf", json.dumps(found))
    assert (run.prompt_tokens.tolist(), run.output_tokens.tolist()) == ([871], [6])
    assert run.first_s[0] == pytest.approx(0.06355)
    assert run.last_s[0] == pytest.approx(0.090552)


def test_guidellm_has_a_run_a_benchmark_and_old_names(tmp_path):
    found = json.loads(files.guidellm())
    old = {"start_time": 5.0, "first_token_time": 5.1, "last_token_time": 5.6, "end_time": 5.7}
    cut = {"prompt_tokens": 9, "output_tokens": 2, **old}
    error = {"start_time": 6.0, "end_time": 6.5, "prompt_tokens": 3, "output_tokens": None}
    found["benchmarks"].append(
        {"requests": {"successful": [cut], "incomplete": [cut], "errored": [error, {}]}}
    )
    _, run = read_runs(path_of(tmp_path, "guidellm", json.dumps(found)))
    assert run.state.tolist() == [RequestState.COMPLETED, RequestState.UNFINISHED, RequestState.FAILED]
    assert (run.first_s[0], run.last_s[0], run.end_s[1]) == pytest.approx((0.1, 0.6, 0.7))
    assert run.notes[0] == "1 requests were never sent and are left out"


def test_inference_perf_has_new_names_and_errors(tmp_path):
    requests = list(files.inference_perf_requests())
    for request in requests:
        info = request["info"]
        request["info"] = {
            "request_metrics": {"text": {"input_tokens": info["input_tokens"]}},
            "response_metrics": {name: info[name] for name in ("output_tokens", "output_token_times")},
        }
    requests[1] |= {"error": {"error_type": "timeout"}, "info": {}}
    requests[2]["info"]["response_metrics"]["output_token_times"] = []
    run = read(tmp_path, "inference_perf", json.dumps(requests))
    assert run.prompt_tokens.tolist() == [871, -1, 52, 715]
    assert run.state[1] == RequestState.FAILED
    assert run.first_s[2] == run.last_s[2] == pytest.approx(1.016787 + 0.050872)


SUMS = {
    "vllm_bench": {"mean_ttft_ms": 50.0, "completed": 4},
    "sglang_bench": {"mean_e2e_latency_ms": 50.0},
    "aiperf": {"aiperf_version": "0.13.0", "request_latency": {"avg": 1.0}},
    "guidellm": {"benchmarks": [{"metrics": {}}]},
    "inference_perf": {"load_summary": {}, "successes": {}},
}


@pytest.mark.parametrize("name", SUMS)
def test_files_of_sums_say_what_is_needed(name, tmp_path):
    message = refused(tmp_path, name, json.dumps(SUMS[name]))
    assert "only sums" in message
    assert "; expected" in message


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("vllm_bench", "", "vllm_bench.json: the file is empty"),
        ("vllm_bench", "{", "vllm_bench.json, line 1: not JSON"),
        ("vllm_bench", "{}", "vllm_bench.json: no known result file"),
        ("vllm_bench", files.vllm_bench(ttfts=[1, "x", 1, 1]), 'ttfts[1][0] is "x"; expected a number'),
        ("vllm_bench", files.vllm_bench(itls=[[1], [], []]), "itls has 3 entries; expected 4"),
        ("vllm_bench", files.vllm_bench(itls=[[-1], [], [], []]), "itls[0][0] is -1; expected a number from 0"),
        ("vllm_bench", files.vllm_bench(output_lens=[2.5, 1, 1, 1]), "output_lens[0] is 2.5; expected a whole"),
        ("vllm_bench", files.vllm_bench(output_lens=[0, 0, 0, 0]), "none of its 4 requests got a token"),
        ("vllm_bench", files.vllm_bench(start_times=[1e16, 1, 1, 1]), "start_times[0] is 1e+16; expected"),
        ("vllm_bench", files.vllm_bench(start_times=[float("nan"), 1, 1, 1]), "start_times[0] is NaN; expected"),
        ("sglang_bench", files.sglang_bench(duration=None), "duration is not there; expected a number"),
        ("aiperf", files.aiperf().replace('"ms"', '"h"'), 'line 1: the unit of request_latency is "h"'),
        ("aiperf", files.aiperf() + "{}\n", "line 5: metadata is not there; expected a JSON object"),
        ("aiperf", files.aiperf() + "nope\n", "aiperf.json, line 5: not JSON"),
        ("genai_perf", '{"experiments": []}', "no run in this file of GenAI-Perf"),
        ("guidellm", '{"benchmarks": [{"requests": {}}]}', "benchmarks[0]: no requests; expected some"),
        ("requests_csv", "arrival_s,osl\n", "no column first_token_s; expected one, beside arrival_s"),
        ("requests_csv", files.requests_csv().replace("871", "many"), "line 2: prompt_tokens is 'many'"),
        ("requests_csv", files.requests_csv().replace("1.028074", "9"), "line 5: its first token comes 7.9"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_one_sentence_with_its_place(name, text, message, tmp_path):
    assert message in refused(tmp_path, name, text)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: not found; expected a result file"):
        read_runs(tmp_path / "none.json")


MINE = """
from simulator.results.imports._served import ServedRequest, served_run

TOOL = "my script"


def recognises(values):
    return values[0] == "mine"


def read(values, path):
    return [served_run(path.name, TOOL, [ServedRequest("the only one", 0.0, 5, 2, first_s=1.0, last_s=2.0)])]
"""


def test_a_format_of_ones_own_is_one_file(tmp_path, monkeypatch):
    (tmp_path / "my_format.py").write_text(MINE)
    monkeypatch.setattr(imports, "__path__", [*imports.__path__, str(tmp_path)])
    run = read(tmp_path, "vllm_bench", '"mine"')
    assert (run.tool, run.output_tokens.tolist(), run.last_s.tolist()) == ("my script", [2], [2.0])
