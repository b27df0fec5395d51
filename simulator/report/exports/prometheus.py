"""A run as a scrape of vLLM's metrics at its end: Prometheus text, or OpenMetrics, under vLLM's names and buckets.

What a dashboard of a real server shows, it shows of this. Gauges are those of the last moment; means and peaks over the
run have no name there. Smooth goodput and idle latency are added under ``servesim:``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator.arrays import Floats
from simulator.errors import InputError
from simulator.metrics._log import RequestLog
from simulator.metrics._reader import idle_latency_s
from simulator.results.result import Result
from simulator.results.trace_level import kept_tables

# vLLM, v1/metrics/loggers.py
_TTFT_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
_GAP_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
    *(20.0, 40.0, 80.0),
)
_LIFE_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0),
    *(240.0, 480.0, 960.0, 1920.0, 7680.0),
)
_DIGITS = (1, 2, 5)

SUFFIX = ".prom"


def export(result: Result, path: Path, *, openmetrics: bool = False) -> None:
    """Write the text; ``openmetrics`` ends it as that format wants.

    Raises InputError for a result without tokens, whose gaps between tokens are not known.
    """
    if not isinstance(openmetrics, bool):
        raise InputError(f"openmetrics: expected true or false, got {openmetrics!r}")
    if "tokens" not in kept_tables(result.trace_level):
        raise InputError("prometheus: this run kept no tokens; expected a run with trace_level = 'tokens'")
    log = result.log
    if not log.keeps_tokens:
        raise InputError("prometheus: the tokens of this run are too many to be looked at at once")
    named = result.manifest["scenario"].get("hardware", {}).get("model") or "unknown"
    model = named.replace("\\", "\\\\").replace('"', '\\"')
    labels = f'model_name="{model}"'
    lines = [line for family in _families(result, log, openmetrics) for line in family.lines(labels)]
    path.write_text("\n".join(lines + ["# EOF"] * openmetrics) + "\n", encoding="utf-8")


class _Family:
    """One metric: its name, kind, help, and samples as (suffix, more labels, value)."""

    def __init__(self, name: str, kind: str, says: str, samples: Sequence[tuple[str, str, Any]]) -> None:
        self.name, self.kind, self.says, self.samples = name, kind, says, samples

    def lines(self, labels: str) -> Iterator[str]:
        yield f"# HELP {self.name} {self.says}"
        yield f"# TYPE {self.name} {self.kind}"
        for suffix, more, value in self.samples:
            inside = f"{labels},{more}" if more else labels
            yield f"{self.name}{suffix}{{{inside}}} {float(value)!r}"


def _families(result: Result, log: RequestLog, openmetrics: bool) -> Iterator[_Family]:
    def counter(name: str, says: str, samples: Sequence[tuple[str, Any]]) -> _Family:
        # OpenMetrics names a counter without its ending, Prometheus with it.
        base, suffix = (name, "_total") if openmetrics else (f"{name}_total", "")
        return _Family(base, "counter", says, [(suffix, more, value) for more, value in samples])

    done, summary = log.completed, result.summary()
    yield counter("vllm:prompt_tokens", "Prompt tokens of requests with a first token.",
                  [("", log.prompt_tokens[log.token_counts > 0].sum())])  # fmt: skip
    yield counter("vllm:generation_tokens", "Tokens delivered.", [("", log.token_counts.sum())])
    yield counter(
        "vllm:request_success", "Requests that completed.", [('finished_reason="length"', done.sum())]
    )
    if "engine" in summary:
        preempted = summary["engine"]["preemptions"]
        yield counter("vllm:num_preemptions", "Preemptions.", [("", preempted)])
    gaps_s = log.gaps_s
    for name, says, values, bounds in (
        ("time_to_first_token_seconds", "From arrival to first token.", log.ttft_s, _TTFT_S),
        ("inter_token_latency_seconds", "Between two tokens.", gaps_s, _GAP_S),
        ("request_time_per_output_token_seconds", "Mean time between tokens.", log.tpot_s[done], _GAP_S),
        ("e2e_request_latency_seconds", "From arrival to last token.", log.e2e_s[done], _LIFE_S),
        (
            "request_prompt_tokens",
            "Prompt tokens.",
            log.prompt_tokens[done],
            _tokens(log.prompt_tokens[done]),
        ),
        (
            "request_generation_tokens",
            "Tokens delivered.",
            log.token_counts[done],
            _tokens(log.token_counts[done]),
        ),
    ):
        yield _histogram(f"vllm:{name}", says, np.asarray(values, np.float64), bounds)
    idle_s = idle_latency_s(log, result.user)
    yield _histogram(
        "servesim:user_idle_latency_seconds", "How long readers waited for text.", idle_s, _TTFT_S
    )
    smooth = summary["smooth_goodput"]["smooth_goodput_tokens_per_s"]
    if smooth is not None:
        says = "Benefit per second (arXiv 2410.14257)."
        yield _Family("servesim:smooth_goodput_tokens_per_second", "gauge", says, [("", "", smooth)])


def _histogram(name: str, says: str, values: Floats, bounds: Sequence[float]) -> _Family:
    known = values[np.isfinite(values)]
    counts = [int((known <= bound).sum()) for bound in bounds]
    samples: list[tuple[str, str, Any]] = [
        ("_bucket", f'le="{float(bound)!r}"', count) for bound, count in zip(bounds, counts, strict=True)
    ]
    samples += [("_bucket", 'le="+Inf"', len(known)), ("_count", "", len(known)), ("_sum", "", known.sum())]
    return _Family(name, "histogram", says, samples)


def _tokens(values: Floats | Any) -> list[float]:
    """Return 1, 2, 5, 10, ... up to the first that holds all."""
    most, bounds, power = int(np.max(values, initial=1)), [], 1
    while True:
        for digit in _DIGITS:
            bounds.append(float(digit * power))
            if bounds[-1] >= most:
                return bounds
        power *= 10
