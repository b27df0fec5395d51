"""JITServe's three kinds of requests, as a trace: latency, deadline, and collections of calls with one deadline."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from simulator.arrays import Floats
from simulator.results.folders import whole
from simulator.results.result import Result
from simulator.rng import stream
from simulator.workload import WorkloadSpec, build

TTFT_S, TBT_S = 2.0, 0.1  # of latency requests
DEADLINE_S = 20.0  # of deadline requests, and of collections for each of their stages
READER_S_PER_TOKEN = 0.05  # of latency requests; the others are waited for whole
STAGES, CALLS = (2, 3, 4), (1, 2, 3)  # of a collection, and of each of its stages: each number as often
# As many calls of each kind: a collection has 6 of them on the mean
SHARES = {"latency": 6 / 13, "deadline": 6 / 13, "collective": 1 / 13}
CALLS_PER_ARRIVAL = 18 / 13
PROMISES = ("ttft_slo_s", "e2e_slo_s", "task_slo_s")  # of which each kind has one, in order


def write_traffic(path: Path, rate_rps: float, requests: int, seed: int) -> None:
    """Write a trace of Poisson arrivals that come to ``rate_rps`` requests/s; lengths are those of Azure's chat."""
    spec = WorkloadSpec(
        arrivals="poisson", rate_rps=rate_rps / CALLS_PER_ARRIVAL, requests=requests, lengths="chat_azure2023"
    )
    drawn = build(spec, seed)
    lengths = iter(zip(drawn.prompt_tokens.tolist(), drawn.output_tokens.tolist(), strict=True))
    with whole(path) as part:
        lines = (json.dumps(row) for row in _rows(drawn.arrival_s, lengths, seed))
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _rows(arrival_s: Floats, lengths: Iterator[tuple[int, int]], seed: int) -> Iterator[dict[str, Any]]:
    """Return the rows of requests; the last collection is whole, or left out."""
    rng = stream(seed, "kinds of requests")
    node = 0
    left = len(arrival_s)
    for number, at_s in enumerate(arrival_s.tolist()):
        kind = str(rng.choice(list(SHARES), p=list(SHARES.values())))
        stages = [1]
        if kind == "collective":
            stages = rng.choice(CALLS, size=rng.choice(STAGES)).tolist()
        if sum(stages) > left:
            return
        left -= sum(stages)
        row: dict[str, Any] = {"session_id": str(number), "arrival_s": at_s}
        if kind == "latency":
            row |= {"ttft_slo_s": TTFT_S, "tpot_slo_s": TBT_S, "v_s_per_token": READER_S_PER_TOKEN}
            row |= {"first_token_allowance_s": TTFT_S}
        else:
            bound_s = DEADLINE_S * len(stages)
            row |= {"e2e_slo_s" if kind == "deadline" else "task_slo_s": bound_s}
            row |= {"v_s_per_token": 0.0, "first_token_allowance_s": DEADLINE_S}
        after: list[int] = []
        for calls in stages:
            stage = list(range(node, node + calls))
            for each in stage:
                prompt, output = next(lengths)
                yield {**row, "node": each, "after": after, "think_time_s": 0.0, "prompt_tokens": prompt,
                       "output_tokens": output}  # fmt: skip
            node += calls
            after = stage


class InTime(NamedTuple):
    """Tokens that count, and all that were asked for."""

    tokens: float
    of_tokens: float


def in_time(result: Result) -> dict[str, InTime]:
    """Return the tokens in time of each kind (service goodput, arXiv 2504.20068, times the time).

    Latency: the i-th output token by TTFT + i TBT. Deadline: prompt and output, if complete in time. Collective: those
    of all its calls, if the last one is in time.
    """
    table, log = result.requests(), result.log
    of = {name: table[name].to_numpy() for name in ("arrival_s", "end_s", "session", *PROMISES)}
    complete = log.token_counts == log.output_tokens
    tokens = log.prompt_tokens + log.output_tokens
    took_s = of["end_s"] - of["arrival_s"]
    latency, deadline, collective = (~np.isnan(of[name].astype(float)) for name in PROMISES)
    row = np.repeat(np.arange(len(log.arrival_s)), log.token_counts)
    place = np.arange(len(row)) - log.token_offsets[row]
    due_s = log.arrival_s[row] + TTFT_S + place * TBT_S
    on_time = np.bincount(row, log.delivered_s <= due_s, minlength=len(complete))
    kept = complete & (took_s <= of["e2e_slo_s"])
    for session in np.unique(of["session"][collective]):
        calls = collective & (of["session"] == session)
        bound_s = of["task_slo_s"][calls][0]
        whole_s = of["end_s"][calls].max() - of["arrival_s"][calls].min()
        kept[calls] = complete[calls].all() and whole_s <= bound_s
    return {
        "latency": InTime(float(on_time[latency].sum()), float(log.output_tokens[latency].sum())),
        "deadline": InTime(float(tokens[deadline & kept].sum()), float(tokens[deadline].sum())),
        "collective": InTime(float(tokens[collective & kept].sum()), float(tokens[collective].sum())),
    }
