"""Classic metrics against the rate show no operating point.

**Question.** Which rate should a server be run at? Throughput, TTFT, TPOT, TBT and the queue, over the rate of
requests: does any of them have a best value at a rate in between?

**Expected.** None: throughput only rises and levels off, the others only get worse.

**Paper.** Fig. 5 and section 5.2 of v2: one A100-SXM4-80GB, LLaMA-3.1-8B and Qwen2.5-14B, ShareGPT, LooGLE and a real
trace, vLLM. Its version, chunk size and rates are not known; here vLLM 0.5 and 0.24, each with chunked prefill and
without. Throughput, mean TTFT, median and mean TPOT, median and tail (p99) TBT, and the queue: the mean number of
requests that wait while the engine steps.

**Test.** A metric shows an operating point in a sweep if its best mean over seeds is at neither end of the rates, and
is shown to be better than at both (paired over seeds, one-sided; Holm over all metrics and sweeps). Reproduced: no
metric in any sweep. Partly: in fewer than 10 % of them (`some` of the protocol). Else not. These metrics do not know
the user, so there are no other readings.

Takes about 10 s (quick) and 7 min (full) on two cores, with all other sweeps.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np

from experiments.paper._reproduce import SOME, Outcome, Study, Verdict, axes, label_panels, main
from experiments.paper._sweep_pictures import LOOKS, legend, line, plain_log
from experiments.paper._sweeps import CLASSIC, Place, Sweep, chunk_pairs, measure, panels
from simulator.arrays import Floats
from simulator.stats import holm, p_above

CLAIM = "Throughput, TTFT, TPOT, TBT and queue length over the request rate show no operating point (section 5.2)."
ROWS = {
    "throughput,\ntokens/s": ("throughput",),
    "mean TTFT, s": ("TTFT mean",),
    "TPOT, ms:\nmean (median thin)": ("TPOT mean", "TPOT median"),
    "TBT, ms:\np99 (median thin)": ("TBT p99", "TBT median"),
    "requests waiting,\nmean": ("queue",),
}
SCALE = {"TPOT mean": 1e3, "TPOT median": 1e3, "TBT p99": 1e3, "TBT median": 1e3}


def operating_points(sweeps: Sequence[Sweep]) -> list[tuple[Place, str, float]]:
    """Return where a classic metric is shown to be best in between: sweep, metric and rate in requests/s."""
    tested, p_values = [], []
    for sweep, name in product(sweeps, CLASSIC):
        better: Floats = sweep.classic[name] * (1 if name == "throughput" else -1)
        top = int(np.argmax(better.mean(axis=0)))
        ends = [(better[:, top] - better[:, end]).tolist() for end in (0, -1)]
        inside = 0 < top < len(sweep.rates) - 1
        p_values.append(max(map(p_above, ends)) if inside else 1.0)
        tested.append((sweep.place, name, float(sweep.rates[top])))
    return [found for found, shown in zip(tested, holm(p_values), strict=True) if shown]


def judge(sweeps: Sequence[Sweep]) -> Verdict:
    """Apply the test of this file."""
    found = operating_points(sweeps)
    of = len(sweeps) * len(CLASSIC)
    outcome: Outcome = "partly reproduced" if len(found) < SOME * of else "not reproduced"
    names = [f"{name} ({', '.join(place)}: {rate:.2g}/s)" for place, name, rate in found]
    last = [
        each.classic["throughput"][:, -1].mean() / each.classic["throughput"].mean(axis=0).max()
        for each in sweeps
    ]
    chunks = [
        float(chunked.classic["TBT p99"][:, mid].mean() / whole.classic["TBT p99"][:, mid].mean())
        for whole, chunked in chunk_pairs(sweeps)
        for mid in [len(whole.rates) // 2]
    ]
    numbers = (
        f"Of {of} curves ({len(CLASSIC)} metrics, {len(sweeps)} sweeps) {len(found)} are shown to be best at a rate in"
        f" between{': ' if names else ''}{'; '.join(names)}. At the highest rate throughput is {np.mean(last):.0%} of"
        f" its maximum on average. In the middle of the rates p99 TBT with chunks is {min(chunks):.2f} to"
        f" {max(chunks):.2f} times that without."
    )
    caption = (
        f"{len(found)} of {of} curves have a best rate in between; at twice what a GPU can do throughput is still"
        f" {np.mean(last):.0%} of its maximum."
    )
    return Verdict(outcome if found else "reproduced", CLAIM, numbers, caption)


def run(study: Study) -> Verdict:
    """Measure all sweeps, draw, and judge."""
    sweeps = measure(study)
    for model in dict.fromkeys(sweep.place.model for sweep in sweeps):
        _draw(study, [sweep for sweep in sweeps if sweep.place.model == model])
    rows = [
        (*sweep.place, rate, *(float(sweep.classic[name][:, i].mean()) for name in CLASSIC))
        for sweep in sweeps
        for i, rate in enumerate(sweep.rates)
    ]
    head = ("model", "traffic", "engine", "requests_per_s", *CLASSIC)
    study.table("fig5_classic", dict(zip(head, zip(*rows, strict=True), strict=True)))
    return judge(sweeps)


def _draw(study: Study, sweeps: Sequence[Sweep]) -> None:
    by_traffic = {traffic: mine for (_, traffic), mine in panels(sweeps).items()}
    figure, grid = axes(len(ROWS), len(by_traffic), width="text", height_in=7.4)
    for (i, names), (j, traffic) in product(enumerate(ROWS.values()), enumerate(by_traffic)):
        panel = grid[i, j]
        for sweep, name in product(by_traffic[traffic], names):
            how = {} if name == names[0] else {"linewidth": 0.5, "markersize": 0}
            label = sweep.place.engine if name == names[0] else "_"
            values = sweep.classic[name] * SCALE.get(name, 1.0)
            line(panel, sweep.rates, values, LOOKS[sweep.place.engine], label, **how)
        plain_log(panel)
        panel.set_ylim(bottom=0)
        if i == 0:
            panel.set_title(f"{sweeps[0].place.model}, {traffic}")
        if i == len(ROWS) - 1:
            panel.set_xlabel("requests/s")
    for panel, title in zip(grid[:, 0], ROWS, strict=True):
        panel.set_ylabel(title)
    label_panels(grid)
    legend(figure, grid[0, 0])
    name = sweeps[0].place.model.lower().replace(".", "_").replace("-", "_")
    study.save(figure, f"fig5_{name}")


if __name__ == "__main__":
    main(run)
