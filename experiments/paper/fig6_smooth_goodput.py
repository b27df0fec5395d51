"""Smooth goodput has its best value at a rate in between.

**Question.** Over the rate of requests, is smooth goodput largest at a rate in between, at which a server should be
run? And is that rate higher with chunked prefill?

**Expected.** Below saturation all tokens come in time and it rises with the rate; beyond it every further request
makes all of them wait, and waiting costs more than the tokens are worth. Chunks cost a server work, and give readers
of one token in 0.2 s nothing where whole prompts stall them for less than the text that they have in hand.

**Paper.** Fig. 6 and section 5.2 of v2: smooth goodput rises, peaks at an intermediate rate and falls; chunked
prefill moves the peak to a higher rate. Servers and traffic as in fig. 5, 5 tokens/s, alpha = 2.5. T is the time of
the arrivals here, one for all rates: who is not through by then counts as it stands. The second picture is the
set-up of v1: Qwen2-7B, vLLM 0.5.3.post1, A100-40GB, 20 tokens/s from the first token on, ShareGPT and longer
conversations.

**Test.** *Peak*: a sweep shows it if the largest mean over seeds is at neither end of the rates and the last rate is
shown to be worse (paired over seeds, Holm over all sweeps). *Chunks*: the best rate of each seed, paired with and
without chunks, as a logarithm of the ratio: shown to be higher or lower (Holm over all pairs). Reproduced: a peak in
all sweeps, and chunks move it up in all pairs. Partly: some peak. Not reproduced: none. Both parts stand in the
numbers, and fig. 8 has the chunks' effect on stalls. Other readings: the same test with another user, or over the
first half and quarter of T.

* Triangles below the axis: the capacity of Eq. 6, the highest rate up to which 90 % of requests get every token by
  d_i. Without an allowance for the first token most fail by the time of their prefill, so it is small, or nothing.

Takes about 10 s (quick) and 7 min (full) on two cores, with all other sweeps.
"""

from collections.abc import Sequence

import numpy as np

from experiments.paper._reproduce import Outcome, Study, Verdict, main
from experiments.paper._sweep_pictures import LOOKS, grid_of, legend, line, plain_log, said
from experiments.paper._sweeps import AS_PUBLISHED, Sweep, chunk_pairs, inside, measure, panels
from simulator.stats import Interval, interval, signs

CLAIM = (
    "Smooth goodput rises, peaks at an intermediate rate and then falls; chunked prefill moves the peak to a higher"
    " rate (section 5.2)."
)


def peaks(sweeps: Sequence[Sweep], reading: str = AS_PUBLISHED) -> list[bool]:
    """Return which sweeps show a peak."""
    falls = []
    for sweep in sweeps:
        smooth = sweep.smooth[reading]
        top = int(np.argmax(smooth.mean(axis=0)))
        falls.append((smooth[:, -1] - smooth[:, top]).tolist())
    return [
        inside(sweep.smooth[reading]) and side == -1 for sweep, side in zip(sweeps, signs(falls), strict=True)
    ]


def moved(sweeps: Sequence[Sweep], reading: str = AS_PUBLISHED) -> tuple[list[int], list[Interval]]:
    """Return for each pair whether chunks move the peak up (1), down (-1) or not shown (0); and the log ratios."""
    ratios = [
        np.log(chunked.peak_rps(chunked.smooth[reading]) / whole.peak_rps(whole.smooth[reading])).tolist()
        for whole, chunked in chunk_pairs(sweeps)
    ]
    return signs(ratios), [interval(each) for each in ratios]


def best_load(sweeps: Sequence[Sweep], reading: str = AS_PUBLISHED) -> float:
    """Return the best rate as a load, median over sweeps and seeds; 1 is the bound on what the GPU can do."""
    loads = [sweep.peak_rps(sweep.smooth[reading]) / sweep.load_1_rps for sweep in sweeps]
    return float(np.median(loads))


def outcome(sweeps: Sequence[Sweep], reading: str = AS_PUBLISHED) -> Outcome:
    """Apply the test of this file under a reading."""
    shown, (sides, _) = peaks(sweeps, reading), moved(sweeps, reading)
    if not any(shown):
        return "not reproduced"
    return "reproduced" if all(shown) and all(side == 1 for side in sides) else "partly reproduced"


def judge(sweeps: Sequence[Sweep], first_version: Sequence[Sweep] = ()) -> Verdict:
    """Apply the test under every reading, and say what was measured."""
    shown, (sides, ratios) = peaks(sweeps), moved(sweeps)
    of = [
        f"{', '.join(whole.place[:2])}, {chunked.place.engine}: {100 * np.expm1(ratio.mean):+.0f} %"
        for (whole, chunked), ratio in zip(chunk_pairs(sweeps), ratios, strict=True)
    ]
    below = sum(sweep.smooth[AS_PUBLISHED][:, -1].mean() < 0 for sweep in sweeps)
    titles = [title for title in sweeps[0].smooth if title != AS_PUBLISHED]
    by_reading = [
        f"{said(title)} {sum(peaks(sweeps, title))} (load {best_load(sweeps, title):.2f})" for title in titles
    ]
    numbers = (
        f"{sum(shown)} of {len(sweeps)} sweeps show a peak; at the last rate smooth goodput is below zero in"
        f" {below}. Chunks move the peak up in {sides.count(1)} of {len(sides)} pairs and down in {sides.count(-1)}"
        f" ({'; '.join(of)}). The best load is"
        f" {best_load(sweeps):.2f} in the median. Sweeps with a peak under other readings: {', '.join(by_reading)}."
        + (
            f" The set-up of v1: {sum(peaks(first_version))} of {len(first_version)} sweeps show a peak, and chunks"
            f" move it up in {moved(first_version)[0].count(1)} of {len(moved(first_version)[0])} pairs."
            if first_version
            else ""
        )
    )
    caption = (
        f"{sum(shown)} of {len(sweeps)} servers have a peak (large markers). Chunked prefill moves it up in"
        f" {sides.count(1)} of {len(sides)} pairs and down in {sides.count(-1)}; a reader of 5 tokens/s has text in"
        " hand during most of the stalls that it avoids. Below: the set-up of v1."
    )
    other = {said(title): outcome(sweeps, title) for title in titles}
    return Verdict(outcome(sweeps), CLAIM, numbers, caption, other)


def run(study: Study) -> Verdict:
    """Measure all sweeps of both versions, draw, and judge."""
    sweeps, first_version = measure(study), measure(study, "v1")
    _draw(study, sweeps, "fig6_smooth_goodput", 4.2)
    _draw(study, first_version, "fig6_first_version", 2.4)
    titles = list(sweeps[0].smooth)
    rows = [
        (
            *sweep.place,
            rate,
            float(sweep.classic["throughput"][:, i].mean()),
            float(sweep.attainment[:, i].mean()),
            float(sweep.goodput[:, i].mean()),
            *(float(sweep.smooth[title][:, i].mean()) if title in sweep.smooth else None for title in titles),
        )
        for sweep in (*sweeps, *first_version)
        for i, rate in enumerate(sweep.rates)
    ]
    head = (
        "model",
        "traffic",
        "engine",
        "requests_per_s",
        "tokens_per_s",
        "attainment",
        "goodput_tokens_per_s",
    )
    study.table("fig6_smooth_goodput", dict(zip((*head, *titles), zip(*rows, strict=True), strict=True)))
    return judge(sweeps, first_version)


def _draw(study: Study, sweeps: Sequence[Sweep], name: str, height_in: float) -> None:
    by_panel = panels(sweeps)
    figure, grid = grid_of(by_panel, height_in)
    for key, mine in by_panel.items():
        panel = grid[key]
        for sweep in mine:
            smooth, look = sweep.smooth[AS_PUBLISHED], LOOKS[sweep.place.engine]
            line(panel, sweep.rates, smooth, look, sweep.place.engine)
            top = int(np.argmax(smooth.mean(axis=0)))
            panel.plot(
                sweep.rates[top], smooth[:, top].mean(), marker=look.marker, color=look.color, markersize=6
            )
            capacity_rps = sweep.capacity_rps()
            if capacity_rps:
                panel.plot(
                    capacity_rps,
                    0.0,
                    marker="^",
                    color=look.color,
                    markersize=5,
                    transform=panel.get_xaxis_transform(),
                    clip_on=False,
                )
        best = max(float(each.smooth[AS_PUBLISHED].mean(axis=0).max()) for each in mine)
        panel.set_ylim(-0.3 * best, 1.25 * best)
        panel.axhline(0, color="black", linewidth=0.6)
        plain_log(panel)
    legend(figure, next(iter(grid.values())))
    study.save(figure, name)


if __name__ == "__main__":
    main(run)
