"""How each set was measured, done again with simulated servers.

Every protocol ends in ``simulator.studies.calibration.served.Served``.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow.parquet as pq

from experiments.validation.rows import BurstRow, ClosedLoopRow, OpenLoopRow, RequestRow
from policies.routing.vllm_dp import VllmDp
from simulator.arrays import Floats, Ints
from simulator.studies.calibration.served import Served, Server, serve
from simulator.workload.library import shipped_samples
from simulator.workload.workload import Workload

REQUESTS_PER_CLIENT = 10  # the sources do not say how many they sent; ten fit what they measured
DISTINCT_PROMPTS = 100  # of the constant-rate runs, used in turn
LONGER_PROMPTS = 1.05  # real prompts there are some 5 % longer than system prompt and question


def closed_loop(row: ClosedLoopRow, server: Server) -> Served:
    """Every client starts at t = 0 and sends its next request when it has its answer."""
    n = row.concurrency * REQUESTS_PER_CLIENT
    draw = np.random.default_rng(0)
    prompt, output = (
        draw.integers(round(row.shortest * tokens), tokens + 1, n)
        for tokens in (row.prompt_tokens, row.output_tokens)
    )
    return serve(_workload(row.row, np.zeros(n), prompt, output, concurrency=row.concurrency), server)


def burst(row: BurstRow, server: Server, seed: int = 0) -> Served:
    """All requests at t = 0, or a closed loop."""
    prompt, output = burst_lengths(row, seed)
    return serve(
        _workload(row.row, np.zeros(row.requests), prompt, output, concurrency=row.concurrency), server
    )


def burst_lengths(row: BurstRow, seed: int) -> tuple[Ints, Ints]:
    """Return prompt and output lengths that add up to the row's totals."""
    n = row.requests
    if row.fixed_lengths:
        prompt, output = np.ones(n), np.ones(n)
    else:
        sample = pq.read_table(shipped_samples()["chat_sharegpt_vllm"])
        drawn = np.random.default_rng(seed).choice(sample.num_rows, n, replace=False)
        prompt, output = (sample[name].to_numpy()[drawn] for name in ("prompt_tokens", "output_tokens"))
    return to_total(prompt, row.total_prompt_tokens), to_total(output, row.total_output_tokens)


def to_total(weights: Ints | Floats, total: int) -> Ints:
    """Return whole numbers >= 1 in proportion to the weights that add up to ``total``."""
    ends = np.round(np.cumsum(weights) * ((total - len(weights)) / np.sum(weights)))
    whole: Ints = np.diff(ends, prepend=0.0).astype(np.int64) + 1
    return whole


def open_loop(row: OpenLoopRow, server: Server, thin: int = 1, seed: int = 0) -> Served:
    """Poisson arrivals at the rate of each stage; a hundred distinct prompts in turn, so that nearly all are cached.

    Gaps in the raw runs have a coefficient of variation of 0.98 to 1.00. As many requests as were sent; ``thin``
    shortens the stages that many times, at the same load.
    """
    stages = []
    begin = 0.0
    lasts_s = row.stage_duration_s / thin
    draw = np.random.default_rng(seed)
    for rate in row.stage_rates_rps:
        # Given their number, the times of a Poisson process are independent and even.
        stages.append(begin + np.sort(draw.uniform(0.0, lasts_s, round(rate * lasts_s))))
        begin += lasts_s
    arrival = np.concatenate(stages)
    n = len(arrival)
    tokens = round(row.prompt_tokens * LONGER_PROMPTS)
    return serve(
        _workload(
            row.row,
            arrival,
            np.full(n, tokens),
            np.full(n, row.output_tokens),
            segments=[((i % DISTINCT_PROMPTS, tokens),) for i in range(n)],
            output_stream=np.arange(n) + DISTINCT_PROMPTS,
        ),
        server,
    )


def replay(rows: Sequence[RequestRow], server: Server) -> Served:
    """Every request at its own time with its own lengths, and the beginning that it shares with an earlier one."""
    content: dict[int, list[tuple[int, int]]] = {}
    for row in sorted(rows, key=lambda each: each.request):
        own = row.prompt_tokens - row.prefix_tokens
        shared = [] if row.prefix_of is None else _first(content[row.prefix_of], row.prefix_tokens)
        content[row.request] = [*shared, *([(row.request, own)] if own else [])]
    return serve(
        _workload(
            "replay",
            np.array([each.arrival_s for each in rows]),
            np.array([each.prompt_tokens for each in rows]),
            np.array([each.output_tokens for each in rows]),
            segments=[tuple(content[each.request]) for each in rows],
            output_stream=np.arange(len(rows)) + len(rows),
        ),
        server,
        router=VllmDp() if server.ranks > 1 else None,
    )


def _first(segments: Sequence[tuple[int, int]], tokens: int) -> list[tuple[int, int]]:
    """Return the segments of the first so many tokens."""
    found = []
    for stream, length in segments:
        if tokens:
            found.append((stream, min(length, tokens)))
            tokens -= found[-1][1]
    return found


def _workload(
    name: str,
    arrival_s: Floats,
    prompt: Ints,
    output: Ints,
    *,
    concurrency: int | None = None,
    segments: Sequence[Sequence[tuple[int, int]]] | None = None,
    output_stream: Ints | None = None,
) -> Workload:
    return Workload(
        name, arrival_s, prompt, output, int(output.max()), "measured run",
        concurrency=concurrency, segments=segments, output_stream=output_stream,
    )  # fmt: skip
