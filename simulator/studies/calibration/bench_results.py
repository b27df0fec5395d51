"""Results of ``vllm bench serve --save-result``: the traffic that was sent, and the means measured.

With ``--save-detailed`` every request's lengths and start are in the file. Without, all requests are taken
to have the mean lengths, and to have been sent as ``request_rate`` and ``burstiness`` say (gamma gaps).
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from simulator.errors import InputError
from simulator.input_files import parse_json, read_text
from simulator.workload.workload import Workload

_MOST_FAILED = 0.02  # share of requests: more, and what the others met is not what was sent


@dataclass(frozen=True)
class BenchResult:
    """One result: its traffic as a workload, and the means that it reports in milliseconds."""

    source: str  # the file's name
    workload: Workload
    mean_ttft_ms: float
    mean_tpot_ms: float
    detailed: bool

    @property
    def operating_point(self) -> tuple[float, ...]:
        """Return what tells one load from another: rate or clients, and mean lengths, roughly."""
        load = self.workload
        lasts_s = float(load.arrival_s[-1] - load.arrival_s[0])
        rate = (len(load) - 1) / lasts_s if lasts_s > 0 else math.inf
        values = (rate, load.concurrency or 0, load.prompt_tokens.mean(), load.output_tokens.mean())
        return tuple(float(f"{value:.2g}") for value in values)


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
    return BenchResult(path.name, workload, ttft_ms, tpot_ms, detailed)


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
