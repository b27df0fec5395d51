"""Which of the paper's conclusions survive under which user model?

Question: smooth goodput peaks at a rate in between; a dearer wait moves the peak down; chunked prefill moves it up. All
three are said of a reader of 5 tokens/s from the arrival on. For whom else do they hold?
Expectation: the first two for all, as idle latency grows with the rate under any model. Chunks help who has no text in
hand, so a fast reader; who waits for the end of an answer loses by them, as they make steps of decodes longer.
Setting: servers, traffic, rates, seeds and horizon of `experiments/paper/protocol.toml` for figure 6, of them
LLaMA-3.1-8B under vLLM 0.24 with and without chunks, all three kinds of traffic: six sweeps, three pairs. No scheduler
here looks at deadlines, so the same runs are scored with each model.
Test: those of figures 6 and 11 (paired over seeds, Holm over the sweeps of a model, each model by itself); alpha from a
quarter of the model's to four times it.
Run time: 5 minutes (--quick: 20 s).  python -m experiments.studies.reader_conclusions [--quick] [--out DIR]
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.paper._protocol import PROTOCOL, swept, windows
from experiments.paper._reproduce import Study, close_pools
from experiments.paper._sweeps import AS_PUBLISHED, CLASSIC, QUICK_SHARE, Place, Sweep, measured_run
from experiments.paper.fig6_smooth_goodput import moved, peaks
from experiments.studies.reader_models import MODELS
from simulator.stats import signs

MODEL, ENGINES = "LLaMA-3.1-8B", ("vLLM 0.24, unchunked", "vLLM 0.24")
DEARER = 4.0


class Row(NamedTuple):
    """What holds for one user model: in how many sweeps, or pairs of them."""

    name: str
    peak: int
    falls: int  # best rate, with alpha
    rises: int
    chunks_up: int
    chunks_down: int
    best_load: float  # median over sweeps and seeds


def measure(study: Study) -> list[Sweep]:
    """Simulate all sweeps; ``smooth`` has each model's, and with dearer waiting."""
    quick = study.quick
    loads = PROTOCOL.sweep.loads[1::2] if quick else PROTOCOL.sweep.loads
    seeds = range(PROTOCOL.quick_seeds if quick else PROTOCOL.seeds)
    found = []
    for traffic, engine in product(PROTOCOL.sweep.traffic, ENGINES):
        load_1_rps = PROTOCOL.sweep.traffic[traffic].load_1_rps.get(MODEL)
        if load_1_rps is None:
            continue
        share = QUICK_SHARE if quick else 1.0
        window = next(iter(windows(traffic, share).values()))
        users = {AS_PUBLISHED: PROTOCOL.reader, **MODELS}
        dearer = {dear(name): replace(user, alpha=DEARER * user.alpha_tokens) for name, user in users.items()}
        readings = {name: (user, window) for name, user in (users | dearer).items()}
        place = Place(MODEL, traffic, engine)
        runs = [swept(*place, load, seed, share=share) for seed in seeds for load in loads]
        rows = study.each(runs, measured_run, readings, label=f"{traffic}, {engine}")
        shape = len(seeds), len(loads)
        smooth = {name: np.reshape([row["smooth"][name] for row in rows], shape) for name in readings}
        classic = {name: np.reshape([row["classic"][name] for row in rows], shape) for name in CLASSIC}
        at_due = [np.reshape([row[key] for row in rows], shape) for key in ("attainment", "goodput")]
        found.append(Sweep(place, load_1_rps * np.array(loads), classic, smooth, *at_due))
    return found


def dear(name: str) -> str:
    """Name a model whose waiting is dearer."""
    return f"{name}, {DEARER:g} alpha"


def conclusions(sweeps: Sequence[Sweep], name: str) -> Row:
    """Apply the tests under one user model, whose f is linear."""
    sides, _ = moved(sweeps, name)
    ratios, loads = [], []
    for sweep in sweeps:
        own, dearer = sweep.smooth[name], sweep.smooth[dear(name)]
        # Smooth goodput is linear in alpha, so its value at any follows from two.
        cheaper = own + (own - dearer) * (1 - 1 / DEARER) / (DEARER - 1)
        ratios.append(np.log(sweep.peak_rps(dearer) / sweep.peak_rps(cheaper)).tolist())
        loads.append(sweep.peak_rps(own) / PROTOCOL.sweep.traffic[sweep.place.traffic].load_1_rps[MODEL])
    changes = signs(ratios)
    return Row(
        name, sum(peaks(sweeps, name)), changes.count(-1), changes.count(1), sides.count(1), sides.count(-1),
        float(np.median(loads)),
    )  # fmt: skip


def main() -> None:
    """Run the study, print the table."""
    parser = argparse.ArgumentParser(description="Which conclusions survive under which user model?")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("results/reader_conclusions"))
    given = parser.parse_args()
    study = Study(given.out / "reader_conclusions", given.quick, jobs=2)
    sweeps = measure(study)
    rows = [conclusions(sweeps, name) for name in MODELS]
    pairs = len(sweeps) // 2
    print("| user model | a peak | best load | dearer: falls | dearer: rises | chunks: up | chunks: down |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        of = [f"{count} of {len(sweeps)}" for count in (row.peak, row.falls, row.rises)]
        of_pairs = [f"{count} of {pairs}" for count in (row.chunks_up, row.chunks_down)]
        print(f"| `{row.name}` | {' | '.join([of[0], f'{row.best_load:.2f}', *of[1:], *of_pairs])} |")
    study.table("reader_conclusions", dict(zip(Row._fields, zip(*rows, strict=True), strict=True)))
    close_pools()


if __name__ == "__main__":
    main()
