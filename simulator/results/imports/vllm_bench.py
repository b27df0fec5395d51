"""The JSON of ``vllm bench serve --save-result --save-detailed`` (``vllm/benchmarks/serve.py``).

``itls`` are the seconds between chunks, of which each may carry several tokens. Files of older versions have no
``start_times``, only how long the run took.
"""

from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.results.imports import _bench_arrays
from simulator.results.imports._served import ServedRun, served_run
from simulator.results.imports._values import rows, text
from simulator.results.imports.sglang_bench import is_sglang

TOOL = "vllm bench serve"


def recognises(values: list[Any]) -> bool:
    """Whether every value has its times to first tokens, or their mean, and is not SGLang's."""
    return all(
        isinstance(found, dict) and ("ttfts" in found or "mean_ttft_ms" in found) and not is_sglang(found)
        for found in values
    )


def read(values: list[Any], path: Path) -> list[ServedRun]:
    """Return a run a value; ``--append-result`` makes several lines."""
    runs = []
    for i, found in enumerate(values, 1):
        several = len(values) > 1
        if not _bench_arrays.has_lists(found):
            raise InputError(
                f"{path}{f', line {i}' * several}: only sums and means of {TOOL}, which cannot be scored; expected"
                " input_lens, output_lens, ttfts and itls, as --save-detailed writes them"
            )
        starts = found.get("start_times")
        starts = None if starts is None else rows(starts, f"{path}: start_times")
        lasted_s = _bench_arrays.duration_s(found, path) if starts is None else None
        requests = _bench_arrays.served_requests(found, path, starts)
        name = f"{path.name}{f', line {i}' * several}"
        runs.append(served_run(name, TOOL, requests, model=text(found.get("model_id")), duration_s=lasted_s))
    return runs
