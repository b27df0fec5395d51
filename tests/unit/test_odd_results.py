"""Result files of load tests with requests that tools seldom write: what is read of them, or the sentence."""

import json
import re

import pytest

from simulator.errors import InputError
from simulator.replica.request import RequestState
from simulator.results.imports import read_runs

S_NS = 1_000_000_000
CSV = "arrival_s,prompt_tokens,output_tokens,first_token_s,last_token_s,state\n"


def read(folder, name, content):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    (found,) = read_runs(path)
    return found


def genai(*requests):
    return {"experiments": [{"requests": list(requests)}]}


def streamed(outputs, at_s=0):
    stamps = [(at_s + i + 1) * S_NS for i in range(len(outputs))]
    return {"timestamp": at_s * S_NS, "response_timestamps": stamps, "response_outputs": outputs}


def said_by(event):
    return {"response": f"data: {json.dumps(event)}"}


def line(metrics, **metadata):
    about = {"request_start_ns": 5 * S_NS, "benchmark_phase": "profiling", **metadata}
    return json.dumps({"metadata": about, "metrics": metrics, "error": None}) + "\n"


def metric(value, unit):
    return {"value": value, "unit": unit}


LENGTHS = {
    "input_sequence_length": metric(9, "tokens"),
    "output_sequence_length": metric(3, "tokens"),
}
BENCH = {"input_lens": [9], "output_lens": [1], "ttfts": [0.5], "itls": [[]], "errors": [""]}


def guidellm(**ended):
    return {"benchmarks": [{"requests": ended}]}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("f.json", genai(), "experiments[0]: no requests; expected some"),
        (
            "f.json",
            genai({"timestamp": 0, "response_timestamps": [S_NS], "response_outputs": []}),
            "0 response_outputs; expected 1, one a time in response_timestamps",
        ),
        ("f.csv", CSV, "no requests; expected a row for each"),
        ("f.csv", CSV + "0,9,3,1e400,2,\n", "first_token_s is Infinity; expected"),
        ("f.csv", CSV + ",9,3,1,2,\n", "line 2: arrival_s is empty; expected a number of seconds"),
        ("f.csv", CSV + "0,9,3,1,2,lost\n", "line 2: state is 'lost'; expected one of"),
        ("f.csv", CSV + "0,9,2000000,1,2,\n", "line 2: 2000000 output tokens; expected from 1 to 1,048,576"),
        (
            "f.jsonl",
            line(LENGTHS, benchmark_phase="warmup"),
            "only requests of the warm-up; expected some of",
        ),
        ("f.jsonl", line(LENGTHS), "request_latency is not there; expected it, or time_to_first_token"),
        (
            "f.jsonl",
            line(LENGTHS | {"time_to_first_token": metric(5, "ms")}),
            "request_latency is not there; expected it, or inter_chunk_latency",
        ),
        (
            "f.json",
            guidellm(successful=[{"prompt_tokens": 9, "output_tokens": 3}]),
            "requests.successful[0]: request_start is not there; expected seconds since 1970",
        ),
        (
            "f.json",
            guidellm(successful=[{"start_time": 1.0, "prompt_tokens": 9, "output_tokens": 3}]),
            "requests.successful[0]: request_end is not there; expected it of a request that completed",
        ),
        (
            "f.json",
            guidellm(successful=[{"start_time": 1.0, "end_time": 2.0, "prompt_tokens": 9}]),
            "requests.successful[0]: output_tokens is not there; expected it of a request that completed",
        ),
        ("f.json", BENCH | {"duration": 0}, "duration is 0; expected a number of seconds above 0"),
    ],
)
def test_what_cannot_be_scored_is_said(name, content, said, tmp_path):
    with pytest.raises(InputError, match=re.escape(said)) as error:
        read(tmp_path, name, content)
    assert str(error.value).startswith(str(tmp_path / name))


def test_a_row_without_tokens_is_a_failure_or_what_it_says(tmp_path):
    found = read(tmp_path, "f.csv", CSV + "0,9,3,1,2,\n1,9,,,,\n2,9,0,,,abandoned_by_user\n")
    assert found.state.tolist() == [
        RequestState.COMPLETED,
        RequestState.FAILED,
        RequestState.ABANDONED_BY_USER,
    ]
    assert found.output_tokens.tolist() == [3, 0, 0]


def test_an_answer_that_guidellm_did_not_stream_comes_at_its_end(tmp_path):
    rows = [{"start_time": 1.0, "end_time": 3.5, "prompt_tokens": 9, "output_tokens": 4}]
    found = read(tmp_path, "f.json", guidellm(successful=rows))
    assert (found.first_s.tolist(), found.last_s.tolist()) == ([2.5], [2.5])


def test_a_chunk_of_genai_perf_counts_if_it_has_text(tmp_path):
    found = read(
        tmp_path,
        "f.json",
        genai(
            streamed(["Hello", "data: [DONE]"]),  # no events of OpenAI's
            streamed([said_by({"token": 5}), said_by({"usage": {"completion_tokens": 1}})], at_s=1),
            streamed([said_by(["Hello"]), said_by({"choices": [{"delta": {}}]})], at_s=2),
            streamed([said_by({"choices": [{"delta": {}}]})], at_s=3),
        ),
    )
    assert found.output_tokens.tolist() == [1, 1, 1, 0]
    assert found.state.tolist() == [RequestState.COMPLETED] * 3 + [RequestState.FAILED]
    assert found.first_s[:3].tolist() == [1.0, 2.0, 3.0]
