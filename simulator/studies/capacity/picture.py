"""The picture of a search for a rate: the target's metric and smooth goodput over the rate."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simulator.report.style import BLUE, GREEN, GREY, RED, axes, drawing, plain_log_scale
from simulator.results.vocabulary import measure_of
from simulator.stats import interval
from simulator.studies.capacity.book import Ask
from simulator.studies.capacity.outcome import CapacityOutcome
from simulator.studies.capacity.target import MEASURES, SMOOTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw(outcome: CapacityOutcome) -> "Figure":
    """Draw the target's metric and smooth goodput over the rate, with 95 % intervals and the answer."""
    with drawing():
        return _drawn(outcome)


def _drawn(outcome: CapacityOutcome) -> "Figure":
    both = outcome.target.key != SMOOTH
    figure, grid = axes(1 + both, 1, width=5.2, height_in=4.6 if both else 3.0, sharex=True)
    answer, top, bottom = outcome.answer, grid[0, 0], grid[-1, 0]
    if both:
        values = {ask: seen.value for ask, seen in answer.runs.items()}
        _panel(outcome, top, values, outcome.target.key)
        top.set_ylabel(measure_of(outcome.target.key).axis)
        bound = outcome.target.bound
        if bound is not None:
            top.axhline(bound.value, color=GREY, linestyle="--", linewidth=0.9)
            top.annotate(
                _words(outcome), (1, bound.value), (-4, 3), ha="right", color=GREY, fontsize=7,
                xycoords=("axes fraction", "data"), textcoords="offset points",
            )  # fmt: skip
            _frame(top, outcome, bound.value)
    smooth = {
        ask: math.nan if (value := found[SMOOTH]) is None else value
        for ask, found in outcome.found.items()
        if ask in answer.runs
    }
    _panel(outcome, bottom, smooth, SMOOTH)
    bottom.set_ylabel(MEASURES[SMOOTH].axis)
    bottom.set_xlabel(f"{outcome.of}/s")
    rates = [ask.rate for ask in answer.runs]
    if max(rates) > 20 * min(rates):
        bottom.set_xscale("log")
        plain_log_scale(bottom.xaxis)
    _let_the_best_be_seen(bottom, [value for value in smooth.values() if math.isfinite(value)])
    bottom.yaxis.set_major_formatter("{x:,.0f}")
    top.set_title(_title(outcome))
    handles, labels = bottom.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    (bottom if both else top).legend(unique.values(), unique.keys(), loc="best")
    return figure


def _panel(outcome: CapacityOutcome, panel: "Axes", values: Mapping[Ask, float], key: str) -> None:
    answer = outcome.answer
    shown = {each.rate for each in answer.shown}
    joined: dict[float, list[float]] = {}  # by rate, faint behind the marks
    for ask, value in values.items():
        if math.isfinite(value):
            joined.setdefault(ask.rate, []).append(value)
    at = sorted(joined)
    panel.plot(
        at, [interval(joined[rate]).mean for rate in at], color=GREY, linewidth=0.7, alpha=0.5, zorder=1
    )
    for rate in sorted({ask.rate for ask in values}):
        here = [ask for ask in outcome.asks(rate) if math.isfinite(values[ask])]
        if not here:
            continue
        saturated = 2 * sum(answer.runs[ask].saturated is not None for ask in here) >= len(here)
        kind = "saturated" if saturated else "keeps up"
        found = interval([values[ask] for ask in here])
        style: dict[str, Any] = {"color": RED if saturated else BLUE, "marker": "X" if saturated else "o"}
        if rate in shown and math.isfinite(found.half):
            ends = found.within(*measure_of(key).possible)
            reach = [[max(found.mean - ends.low, 0.0)], [max(ends.high - found.mean, 0.0)]]
            panel.errorbar(
                [rate], [found.mean], yerr=reach, capsize=2.5, elinewidth=1.0, linestyle="none", **style
            )
        if rate not in shown:
            kind, style["markerfacecolor"] = f"{kind} (looked at)", "white"
        panel.plot([rate], [found.mean], linestyle="none", label=kind, **style)
    low, high = answer.low, answer.high
    if low is not None and high is not None:
        panel.axvspan(low, high, color=GREEN, alpha=0.18, linewidth=0, label="answer")
    if answer.rate is not None:
        panel.axvline(answer.rate, color=GREEN, linewidth=1.0)


def _let_the_best_be_seen(panel: "Axes", values: Sequence[float]) -> None:
    """Cut off values of overload so far below 0 that all others would be one line; say so."""
    largest = max(values, default=0.0)
    lowest = -0.4 * largest
    if largest <= 0 or min(values) >= lowest:
        return
    panel.set_ylim(lowest, 1.1 * largest)
    panel.annotate(
        f"lower values, to {min(values):,.0f}, are not shown", (1, 0), (-4, 4), ha="right", color=GREY, fontsize=7,
        xycoords="axes fraction", textcoords="offset points",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip


def _frame(panel: "Axes", outcome: CapacityOutcome, bound: float) -> None:
    """Where values are far off the bound, let those near it not become a flat line."""
    values = [seen.value for seen in outcome.answer.runs.values() if math.isfinite(seen.value)]
    if bound > 0 and min(values) > 0 and max(values) > 20 * bound:
        panel.set_yscale("log")
        plain_log_scale(panel.yaxis)


def _title(outcome: CapacityOutcome) -> str:
    answer = outcome.answer
    if answer.rate is None:
        return f"{_words(outcome)}: not found between the rates tried"
    ends = "" if answer.low is None or answer.high is None else f" [{answer.low:.4g}, {answer.high:.4g}]"
    return f"{_words(outcome)}: {answer.rate:.4g}{ends} {outcome.of}/s"


def _words(outcome: CapacityOutcome) -> str:
    """Return the target with its metric in words."""
    target = outcome.target
    bound = target.text.removeprefix(target.name)
    return target.text if bound == target.text else f"{measure_of(target.key).label} {bound[:2]} {bound[2:]}"
