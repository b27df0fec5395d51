"""The JSON lines of SGLang's ``bench_serving --output-file F --output-details``: one line a run, appended to the file.

The tool divides the time between two chunks evenly among the tokens of the second, and counts those of the first chunk
but one nowhere: answers have as many more tokens than times as came with their first chunk.
"""

from pathlib import Path
from typing import Any

from simulator.errors import InputError
from simulator.results.imports import _bench_arrays
from simulator.results.imports._served import ServedRun, served_run
from simulator.results.imports._values import text

TOOL = "SGLang bench_serving"
_ITS_OWN = ("mean_e2e_latency_ms", "total_output_tokens_retokenized", "sharegpt_output_len")


def is_sglang(found: Any) -> bool:
    """Whether a value is a run of this tool."""
    return isinstance(found, dict) and any(name in found for name in _ITS_OWN)


def recognises(values: list[Any]) -> bool:
    """Whether every line is a run of this tool."""
    return all(map(is_sglang, values))


def read(values: list[Any], path: Path) -> list[ServedRun]:
    """Return a run a line."""
    runs = []
    for i, found in enumerate(values, 1):
        name = path.name if len(values) == 1 else f"{path.name}, line {i}"
        if not _bench_arrays.has_lists(found):
            raise InputError(
                f"{path}, line {i}: only sums and means of {TOOL}, which cannot be scored; expected input_lens,"
                " output_lens, ttfts and itls, as --output-details writes them"
            )
        requests = _bench_arrays.served_requests(found, path, None, surplus_first=True)
        notes = [
            "times between chunks are divided evenly among the tokens of a chunk, by the tool that measured"
        ]
        model = text(found.get("model_id")) or text(found.get("model"))
        lasted_s = _bench_arrays.duration_s(found, path)
        runs.append(served_run(name, TOOL, requests, notes=notes, model=model, duration_s=lasted_s))
    return runs
