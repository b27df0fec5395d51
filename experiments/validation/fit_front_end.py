"""Fit what an API server takes to read a request, on GPUStack's bursts of 128-token prompts, which are not scored.

    python -m experiments.validation.fit_front_end           prints each run, and the median by engine

All requests come at once, and an engine has none before all are read: what a burst lasts beyond the steps that it
takes, divided by its requests. It differs by model and machine, and is below 0 where those
steps are priced too high; the median is of all.
"""

import sys

import numpy as np

from experiments.validation import mixtures, protocols
from experiments.validation.rows import burst_rows
from experiments.validation.servers import server_of
from experiments.validation.sets import is_short


def seconds_per_request() -> dict[str, list[tuple[str, float]]]:
    """Return what each burst lasts beyond its steps, in seconds a request, by engine, with the run's name."""
    found: dict[str, list[tuple[str, float]]] = {}
    for row in burst_rows():
        if is_short(row.fixed_lengths, row.total_prompt_tokens, row.requests):
            beyond_s = row.duration_s - protocols.burst(row, server_of(row.deployment)).duration_s
            name = f"{row.row} {row.deployment.model} {row.deployment.gpu}"
            found.setdefault(row.deployment.engine, []).append((name, beyond_s / row.requests))
    for each in (*mixtures.rows_of(mixtures.SET), *mixtures.rows_of(mixtures.LATENT)):
        if mixtures.is_burst_of_short_prompts(each) and not each["not_expressed"]:
            lasted_s = int(each["output_tokens"]) / float(each["output_tok_s"])
            beyond_s = lasted_s - mixtures.play(each, read_s=0.0).duration_s
            name = f"{each['row']} {each['model']} {each['gpu']}"
            found.setdefault(each["engine"], []).append((name, beyond_s / int(each["requests"])))
    return found


def main() -> int:
    """Print them."""
    for engine, runs in seconds_per_request().items():
        for name, seconds in runs:
            print(f"{engine:8} {name:42} {1e3 * seconds:6.2f} ms")
        print(
            f"{engine:8} median of {len(runs)}: {1e3 * float(np.median([each for _, each in runs])):.2f} ms"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
