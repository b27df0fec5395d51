"""The same four served requests as every load tester writes them, by the documented names of their fields."""

import csv
import io
import json
from itertools import pairwise
from pathlib import Path

# sent (s), prompt tokens, when each chunk came (s after it was sent); one token a chunk
REQUESTS = [
    (0.0, 871, [0.06355, 0.07657, 0.090552]),
    (0.298456, 717, [0.05585, 0.071005, 0.08338, 0.095493, 0.110836, 0.124567]),
    (1.016787, 52, [0.0226, 0.035665, 0.050872]),
    (1.028074, 715, [0.05575, 0.067787, 0.083312, 0.098058]),
]
EPOCH_NS = 1_759_813_207_000_000_000
FIRST_AND_LAST = ("guidellm", "requests_csv")


def gaps(times):
    return [later - sooner for sooner, later in pairwise(times)]


def bench(requests=REQUESTS):
    """The lists of vllm bench serve."""
    return {
        "input_lens": [prompt for _, prompt, _ in requests],
        "output_lens": [len(times) for _, _, times in requests],
        "ttfts": [times[0] if times else 0.0 for _, _, times in requests],
        "itls": [gaps(times) for _, _, times in requests],
        "duration": 1.2,
        "completed": sum(bool(times) for _, _, times in requests),
    }


def vllm_bench(requests=REQUESTS, **more):
    found = {"model_id": "llama", "start_times": [100.0 + sent for sent, _, _ in requests], **bench(requests)}
    return json.dumps(found | more)


def sglang_bench(requests=REQUESTS, **more):
    return json.dumps({"backend": "sglang", "mean_e2e_latency_ms": 100.0, **bench(requests)} | more) + "\n"


def aiperf_records(requests=REQUESTS):
    def ms(value):
        return {"value": value, "unit": "ms"}

    for sent, prompt, times in requests:
        begin = EPOCH_NS + round(sent * 1e9)
        yield {
            "metadata": {
                "request_start_ns": begin,
                "request_end_ns": begin + round(times[-1] * 1e9),
                "benchmark_phase": "profiling",
                "was_cancelled": False,
                "cancellation_time_ns": None,
            },
            "metrics": {
                "input_sequence_length": {"value": prompt, "unit": "tokens"},
                "output_sequence_length": {"value": len(times), "unit": "tokens"},
                "time_to_first_token": ms(1e3 * times[0]),
                "inter_chunk_latency": ms([1e3 * gap for gap in gaps(times)]),
                "request_latency": ms(1e3 * times[-1]),
            },
            "error": None,
        }


def lines(records):
    return "".join(json.dumps(record) + "\n" for record in records)


def aiperf(requests=REQUESTS):
    return lines(aiperf_records(requests))


def event(**choice):
    return {"response": "data: " + json.dumps({"choices": [{"index": 0, "delta": choice}]}) + "\n\n"}


def genai_perf_requests(requests=REQUESTS):
    for sent, _, times in requests:
        begin = EPOCH_NS + round(sent * 1e9)
        yield {
            "timestamp": begin,
            "response_timestamps": [begin + round(time * 1e9) for time in times],
            "response_outputs": [event(content="word") for _ in times],
        }


def genai_perf(requests=REQUESTS):
    return json.dumps({"experiments": [{"requests": list(genai_perf_requests(requests))}], "version": "1"})


def guidellm_request(sent, prompt, times):
    begin = EPOCH_NS / 1e9 + sent
    return {
        "prompt_tokens": prompt,
        "output_tokens": len(times),
        "info": {
            "timings": {
                "request_start": begin,
                "first_token_iteration": begin + times[0],
                "last_token_iteration": begin + times[-1],
                "request_end": begin + times[-1],
            }
        },
    }


def guidellm(requests=REQUESTS):
    found = {"successful": [guidellm_request(*each) for each in requests], "incomplete": [], "errored": []}
    return json.dumps({"args": {"model": "llama"}, "benchmarks": [{"requests": found, "metrics": {}}]})


def inference_perf_requests(requests=REQUESTS):
    for sent, prompt, times in requests:
        begin = 500.0 + sent
        yield {
            "start_time": begin,
            "end_time": begin + times[-1],
            "request": "{}",
            "info": {
                "input_tokens": prompt,
                "output_tokens": len(times),
                "output_token_times": [begin + time for time in times],
            },
            "error": None,
        }


def inference_perf(requests=REQUESTS):
    return json.dumps(list(inference_perf_requests(requests)))


def requests_csv(requests=REQUESTS):
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["arrival_s", "prompt_tokens", "output_tokens", "first_token_s", "last_token_s"])
    for sent, prompt, times in requests:
        writer.writerow([sent, prompt, len(times), sent + times[0], sent + times[-1]])
    return text.getvalue()


WRITERS = {
    each.__name__: each
    for each in (vllm_bench, sglang_bench, aiperf, genai_perf, guidellm, inference_perf, requests_csv)
}


def path_of(folder, name, text=None):
    """Write a file of a format, its own four requests or another text; return its path."""
    path = Path(folder) / f"{name}.{'csv' if name == 'requests_csv' else 'json'}"
    path.write_text(WRITERS[name]() if text is None else text, encoding="utf-8")
    return path
