"""Results of load tests as something to fit to: the traffic that was sent, and the means measured.

Of ``vllm bench serve --save-result`` with ``--save-detailed`` every request's lengths and start are in the file.
Without, all requests are taken to have the mean lengths, and to have been sent as ``request_rate`` and ``burstiness``
say (gamma gaps).
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.errors import InputError
from simulator.input_files import parse_json, read_text
from simulator.replica.request import RequestState
from simulator.results.imports import ServedRun, read_runs, tool_of, vllm_bench
from simulator.workload.workload import Workload

_MOST_GROUPS, _LEAST_IN_GROUP = (
    8,
    20,
)  # requests in a row, of which one more or less in a batch decides little
_MOST_FAILED = 0.02  # share of requests: more, and what the others met is not what was sent


@dataclass(frozen=True)
class BenchResult:
    """One result: its traffic as a workload, and mean times in milliseconds, of all requests or of groups of them."""

    source: str  # the file's name
    workload: Workload
    ttft_ms: Floats  # f64[groups]
    tpot_ms: Floats
    group: Ints  # i64[requests], of each request
    detailed: bool
    open_loop: bool = False  # the file has each request, and when it was sent whatever came of those before
    by_token: bool = False  # whether the mean TPOT is that of a token, of which short answers decide less

    @property
    def operating_point(self) -> tuple[float, ...]:
        """Return what tells one load from another: rate or clients, and mean lengths, roughly."""
        load = self.workload
        lasts_s = float(load.arrival_s[-1] - load.arrival_s[0])
        rate = (len(load) - 1) / lasts_s if lasts_s > 0 else math.inf
        values = (rate, load.concurrency or 0, load.prompt_tokens.mean(), load.output_tokens.mean())
        return tuple(float(f"{value:.2g}") for value in values)

    def means_ms(self, ttft_s: Floats, tpot_s: Floats) -> Floats:
        """Return f64[2·groups]: mean TTFT of each group, then mean TPOT, of times of each request (NaN: no TPOT)."""
        ones = np.ones(len(self.group))
        tokens = np.where(self.by_token, self.workload.output_tokens - 1.0, ones)
        return np.concatenate([self._means(1e3 * ttft_s, ones), self._means(1e3 * tpot_s, tokens)])

    def _means(self, values: Floats, weights: Floats) -> Floats:
        known = ~np.isnan(values)
        group, groups = self.group[known], len(self.ttft_ms)
        sums = np.bincount(group, values[known] * weights[known], groups)
        counts = np.bincount(group, weights[known], groups)
        return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))


def read_load(path: Path) -> list[BenchResult]:
    """Return the results in a file that ``servesim score`` reads, or in one of sums that vllm bench serve wrote.

    Where a file has each request with the time at which it was sent, means are those of groups of them.
    Raises InputError, naming what is missing, for a file that cannot be simulated again.
    """
    if path.suffix.lower() == ".json" and path.is_file() and tool_of(path) in (None, vllm_bench.TOOL):
        result = read_bench(path)
        if not result.open_loop:
            return [result]
    return [_grouped(run, path) for run in read_runs(path)]


def _grouped(run: ServedRun, path: Path) -> BenchResult:
    """Return a run with its requests in groups, in the order in which they arrived."""
    if not (run.has_times and run.has_prompts):
        what = "how long prompts are" if run.has_times else "when requests were sent"
        raise InputError(f"{path}: does not say {what}; expected a file that does, to simulate it")
    good = (run.state == RequestState.COMPLETED) & (run.prompt_tokens > 0) & (run.output_tokens > 0)
    count, n = len(good), int(good.sum())
    if not n or count - n > _MOST_FAILED * count:
        raise InputError(
            f"{path}: {count - n} of {count} requests failed; expected a run in which nearly all complete"
        )
    arrival_s, first_s, last_s = run.arrival_s[good], run.first_s[good], run.last_s[good]
    prompt, output = run.prompt_tokens[good], run.output_tokens[good]
    workload = Workload(
        path.name, arrival_s - arrival_s[0], prompt, output, int(output.max()), f"{run.tool}, {path.name}"
    )
    groups = max(1, min(_MOST_GROUPS, n // _LEAST_IN_GROUP))
    result = BenchResult(
        run.name,
        workload,
        np.zeros(groups),
        np.zeros(groups),
        np.arange(n) * groups // n,
        True,
        by_token=True,
    )
    several = np.where(output > 1, (last_s - first_s) / np.maximum(output - 1, 1), np.nan)
    means = result.means_ms(first_s - arrival_s, several)
    if not (means > 0).all():  # also where it is NaN
        raise InputError(
            f"{path}: no request has two output tokens, or all come at once, among {n // groups} in a row; expected"
            " some, for the time per token"
        )
    return replace(result, ttft_ms=means[:groups], tpot_ms=means[groups:])


def read_bench(path: Path) -> BenchResult:
    """Return the result in a file; raise InputError, naming the key, for what is not one or cannot be used."""
    try:
        found = parse_json(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON ({error.msg})") from None
    except InputError:
        raise
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected a result of vllm bench serve, got {type(found).__name__}")
    ttft_ms, tpot_ms = _positive(found, "mean_ttft_ms", path), _positive(found, "mean_tpot_ms", path)
    completed = int(_positive(found, "completed", path))
    failed = found.get("failed") or max(0, int(found.get("num_prompts") or completed) - completed)
    if not isinstance(failed, int) or failed > _MOST_FAILED * (completed + failed):
        raise InputError(f"{path}: {failed} requests failed; expected a run in which nearly all complete")
    clients = found.get("max_concurrency")
    if clients is not None and not (isinstance(clients, int) and clients >= 1):
        raise InputError(f"{path}: key 'max_concurrency': expected a whole number or null, got {clients!r}")
    rate = _rate(found, path)
    detailed = bool(found.get("input_lens") and found.get("output_lens"))
    if clients is not None and math.isfinite(rate):
        raise InputError(
            f"{path}: has both request_rate {rate:g} and max_concurrency {clients}; expected a run with one of them"
        )
    try:
        columns = _detailed(found, path, clients, rate) if detailed else _means(found, path, completed, rate)
        arrival_s, prompt, output = columns
        workload = Workload(
            path.name, arrival_s, prompt, output, int(output.max()), f"vllm bench serve, {path.name}",
            concurrency=None if clients is None else min(clients, len(output)),
        )  # fmt: skip
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{path}: {error}") from None
    alike = np.zeros(len(workload), np.int64)
    open_loop = detailed and bool(found.get("start_times") and found.get("ttfts")) and clients is None
    return BenchResult(
        path.name, workload, np.array([ttft_ms]), np.array([tpot_ms]), alike, detailed, open_loop
    )


def _positive(found: dict[str, Any], key: str, path: Path) -> float:
    if key not in found:
        raise InputError(
            f"{path}: key '{key}' is missing; expected a result of vllm bench serve --save-result"
        )
    value = found[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{path}: key '{key}': expected a number above 0, got {value!r}")
    return float(value)


def _rate(found: dict[str, Any], path: Path) -> float:
    try:
        rate = float(found.get("request_rate", "inf"))  # vLLM writes "inf" in quotes
    except (TypeError, ValueError):
        rate = math.nan
    if not rate > 0:
        raise InputError(f"{path}: key 'request_rate': expected a rate, got {found.get('request_rate')!r}")
    return rate


def _detailed(found: dict[str, Any], path: Path, clients: int | None, rate: float) -> tuple[Any, Any, Any]:
    prompt, output = np.asarray(found["input_lens"]), np.asarray(found["output_lens"])
    if prompt.ndim != 1 or prompt.shape != output.shape:
        raise InputError(f"{path}: input_lens and output_lens: expected lists of one length")
    starts = found.get("start_times")
    if clients is not None:
        arrival_s = np.zeros(len(prompt))
    elif starts:
        arrival_s = np.asarray(starts, dtype=np.float64)
        if arrival_s.shape != prompt.shape:
            raise InputError(f"{path}: start_times: expected as many as input_lens")
        arrival_s = arrival_s - arrival_s.min()
    else:
        arrival_s = _gaps(len(prompt), rate, found, path)
    order = np.argsort(arrival_s, kind="stable")
    order = order[output[order] > 0]  # what failed has no output
    return arrival_s[order], prompt[order], output[order]


def _means(found: dict[str, Any], path: Path, completed: int, rate: float) -> tuple[Any, Any, Any]:
    prompt = max(1, round(_positive(found, "total_input_tokens", path) / completed))
    output = max(1, round(_positive(found, "total_output_tokens", path) / completed))
    return _gaps(completed, rate, found, path), np.full(completed, prompt), np.full(completed, output)


def _gaps(n: int, rate: float, found: dict[str, Any], path: Path) -> Any:
    """Return arrivals as vllm bench serve makes them: gamma gaps, then stretched to n / rate seconds."""
    if math.isinf(rate):
        return np.zeros(n)
    shape = _positive({"burstiness": 1.0, **found}, "burstiness", path)
    gaps = np.random.default_rng(0).gamma(shape, 1 / (rate * shape), n)
    times = np.cumsum(gaps)
    return times * (n / rate / times[-1])
