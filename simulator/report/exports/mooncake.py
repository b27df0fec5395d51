"""The requests of a run as a Mooncake trace in JSON lines, which AIPerf and others replay on real servers.

Times are whole milliseconds, as the format has them. A run's tables do not say which prompts began alike, so each
prompt has blocks of its own: nothing is found in a prefix cache when it is replayed.
"""

import json
from pathlib import Path

from simulator.results.result import Result

BLOCK_TOKENS = 512  # of one entry of hash_ids

SUFFIX = ".jsonl"


def export(result: Result, path: Path) -> None:
    """Write a line a request that arrived, in order of arrival; the first arrives at 0.

    Raises InputError for a result of the trace level "summary".
    """
    requests = result.requests()
    columns = (requests[name].to_pylist() for name in ("arrival_s", "prompt_tokens", "output_tokens"))
    first_s, block = None, 0
    with path.open("w", encoding="utf-8") as file:
        for arrival_s, prompt, output in zip(*columns, strict=True):
            first_s = arrival_s if first_s is None else first_s
            blocks = -(-prompt // BLOCK_TOKENS)
            row = {
                "timestamp": round(1000 * (arrival_s - first_s)),
                "input_length": prompt,
                "output_length": output,
                "hash_ids": list(range(block, block + blocks)),
            }
            block += blocks
            file.write(json.dumps(row) + "\n")
