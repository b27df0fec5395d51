"""The dearer waiting is, the lower the best rate.

**Question.** Alpha is what a second of waiting costs, in tokens. How does the rate of largest smooth goodput move
with it?

**Expected.** Idle time grows with the rate, so a larger alpha can only move the peak to lower rates: to where no
request waits at all, in the end.

**Paper.** Fig. 11 and section 5.2 of v2: smooth goodput for several alpha; a larger one moves the peak to a lower
rate. Its values are not known but for 2.5; here 1 to 20 tokens per second, which for a reader of 5 tokens/s is 0.2 to
4 times the tokens that are read in that time. The lines are those of vLLM 0.24, the test is over all engines.
Servers, traffic and runs are those of fig. 5 and 6; alpha changes the score alone (Eq. 10 is linear in it).

**Test.** The best rate of each seed at the largest alpha against that at the smallest, paired, as a logarithm of the
ratio: shown to be lower (Holm over all sweeps). Reproduced: in all sweeps. Partly: in half of them or more, and shown
to be higher in none. Else not. The same under other readings, with as many times the reading's own alpha.

Takes about 10 s (quick) and 7 min (full) on two cores, with all other sweeps.
"""

from collections.abc import Sequence

import numpy as np

from experiments.paper._protocol import PROTOCOL
from experiments.paper._reproduce import COLOURS, Outcome, Study, Verdict, main
from experiments.paper._sweep_pictures import Look, grid_of, legend, line, plain_log, said
from experiments.paper._sweeps import AS_PUBLISHED, Sweep, measure, panels
from simulator.stats import interval, signs

CLAIM = "A larger alpha moves the peak of smooth goodput to a lower rate (section 5.2)."
ALPHAS = PROTOCOL.sweep.alphas
DRAWN = "vLLM 0.24"
STYLES = (("-", "o"), ("--", "s"), ("-.", "^"), (":", "D"), ("-", "v"))


def falls(sweeps: Sequence[Sweep], reading: str = AS_PUBLISHED) -> tuple[list[int], list[list[float]]]:
    """Return for each sweep whether a large alpha moves the peak down (-1) or up (1), and the log ratios by seed."""
    low, high = (each / PROTOCOL.reader.alpha_tokens for each in (min(ALPHAS), max(ALPHAS)))
    ratios = [
        np.log(
            sweep.peak_rps(sweep.dearer(high, reading)) / sweep.peak_rps(sweep.dearer(low, reading))
        ).tolist()
        for sweep in sweeps
    ]
    return signs(ratios), ratios


def outcome(sweeps: Sequence[Sweep], reading: str = AS_PUBLISHED) -> Outcome:
    """Apply the test of this file under a reading."""
    sides, _ = falls(sweeps, reading)
    if 1 in sides or sides.count(-1) < len(sides) / 2:
        return "not reproduced"
    return "reproduced" if sides.count(-1) == len(sides) else "partly reproduced"


def judge(sweeps: Sequence[Sweep]) -> Verdict:
    """Apply the test under every reading, and say what was measured."""
    sides, ratios = falls(sweeps)
    down, low, high = sides.count(-1), min(ALPHAS), max(ALPHAS)
    changes = [100 * np.expm1(interval(each).mean) for each in ratios]
    least = [
        f"{', '.join(sweep.place)} ({change:+.0f} %)"
        for sweep, change, side in zip(sweeps, changes, sides, strict=True)
        if side != -1
    ]
    titles = [title for title in sweeps[0].smooth if title != AS_PUBLISHED]
    by_reading = [f"{said(title)} {falls(sweeps, title)[0].count(-1)}" for title in titles]
    numbers = (
        f"From alpha = {low:g} to {high:g} the best rate is shown to fall in {down} of {len(sides)} sweeps, by"
        f" {-np.median(changes):.0f} % in the median ({-max(changes):.0f} to {-min(changes):.0f} %)."
        + (f" Not shown: {'; '.join(least)}." if least else "")
        + (f" Under other readings it falls in: {', '.join(by_reading)}." if titles else "")
    )
    caption = (
        f"In {down} of {len(sides)} servers the best rate (large markers) is lower at alpha = {high:g} than at {low:g},"
        f" by {-np.median(changes):.0f} % in the median."
    )
    return Verdict(
        outcome(sweeps), CLAIM, numbers, caption, {said(title): outcome(sweeps, title) for title in titles}
    )


def run(study: Study) -> Verdict:
    """Measure all sweeps, draw, and judge."""
    sweeps = measure(study)
    by_panel = panels([sweep for sweep in sweeps if sweep.place.engine == DRAWN])
    figure, grid = grid_of(by_panel, 4.2)
    for key, (sweep,) in by_panel.items():
        panel = grid[key]
        for alpha, colour, (style, marker) in zip(ALPHAS, COLOURS, STYLES, strict=False):
            smooth = sweep.dearer(alpha / PROTOCOL.reader.alpha_tokens)
            line(panel, sweep.rates, smooth, Look(colour, style, marker), f"alpha = {alpha:g}")
            top = int(np.argmax(smooth.mean(axis=0)))
            panel.plot(sweep.rates[top], smooth[:, top].mean(), marker=marker, color=colour, markersize=6)
        best = float(sweep.dearer(min(ALPHAS) / PROTOCOL.reader.alpha_tokens).mean(axis=0).max())
        panel.set_ylim(-0.3 * best, 1.25 * best)
        panel.axhline(0, color="black", linewidth=0.6)
        plain_log(panel)
    legend(figure, next(iter(grid.values())), columns=5)
    study.save(figure, "fig11_alpha")
    rows = [
        (
            *sweep.place,
            alpha,
            float(np.median(sweep.peak_rps(sweep.dearer(alpha / PROTOCOL.reader.alpha_tokens)))),
        )
        for sweep in sweeps
        for alpha in ALPHAS
    ]
    head = ("model", "traffic", "engine", "alpha", "best_requests_per_s")
    study.table("fig11_alpha", dict(zip(head, zip(*rows, strict=True), strict=True)))
    return judge(sweeps)


if __name__ == "__main__":
    main(run)
