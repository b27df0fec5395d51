"""One picture of several runs of the same traffic: their numbers beside one another, their latencies in one panel."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.errors import InputError
from simulator.metrics import Measure, RequestLog, UserModel
from simulator.metrics._measure import SHARE_OF
from simulator.metrics._reader import idle_latency_s
from simulator.report.headline import draw_headline, machines_of, rate_of
from simulator.report.measures import drawn_unit, in_drawn_unit
from simulator.report.panels import thinned
from simulator.report.style import GREY, INK, colours_of_runs, drawing, picture, plain_log_scale
from simulator.report.text import number
from simulator.results.result import Result
from simulator.results.vocabulary import measure_of
from simulator.stats import interval, paired

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

BEST_BY = "smooth_goodput.smooth_goodput_tokens_per_s"
_BARS = (BEST_BY, "token_slo.attainment", "latency.ttft_s.p99", "latency.tpot_s.p99")
NOT_SHOWN = "not shown to differ"
_LEAST = 5e-4  # relative differences below it are none in a picture
_MOST_CURVES = 8  # are told apart in a panel
_WIDTH_IN, _ROW_IN, _CURVES_IN = 9.0, 0.26, 1.75
_HEAD_IN, _TITLES_IN, _FOOT_IN = 0.62, 0.42, 0.55

Seeds = Sequence[Mapping[str, Any]]  # the summaries of a scenario, one a seed


def comparison_figure(
    names: Sequence[str], results: Sequence[Result], summaries: Sequence[Seeds], user: UserModel
) -> "Figure":
    """Draw runs beside one another, the first of which is what the others are compared with.

    ``results`` are of the first seed: their latencies are drawn as shares of the requests that arrived, unless one of
    them was kept without its requests. With several seeds bars are means and have 95 % intervals (Student's t).
    """
    colours = colours_of_runs([_policies(result.manifest) for result in results])
    logs = _logs(results)
    rows_in = len(names) * _ROW_IN + 0.1
    height_in = _HEAD_IN + _TITLES_IN + rows_in + 0.15 + (_TITLES_IN + _CURVES_IN + _FOOT_IN if logs else 0.1)
    with drawing():
        figure = picture(_WIDTH_IN, height_in)
        figure.set_layout_engine("none")
        draw_headline(
            figure,
            (_finding(names, summaries), _below(results, summaries)),
            [],
            top=1 - 0.1 / height_in,
            left=0.012,
        )
        left = min(0.3, 0.02 + 0.0085 * max(map(len, names)))
        top = 1 - (_HEAD_IN + _TITLES_IN) / height_in
        bars = figure.add_gridspec(
            1, len(_BARS), left=left, right=0.985, top=top, bottom=top - rows_in / height_in, wspace=0.1
        )
        _draw_bars(figure, bars, names, summaries, colours)
        if logs:
            curves = figure.add_gridspec(
                1, 3, left=0.062, right=0.985, top=(_CURVES_IN + _FOOT_IN) / height_in, bottom=_FOOT_IN / height_in,
                wspace=0.16,
            )  # fmt: skip
            _draw_curves(figure, curves, names, logs, colours, user)
    return figure


def _policies(manifest: Mapping[str, Any]) -> dict[str, str]:
    given = manifest["scenario"].get("policy") or {}
    named = {
        kind: each.get("name", "") if isinstance(each, Mapping) else each for kind, each in given.items()
    }
    return {kind: name for kind, name in named.items() if isinstance(name, str)}


def _logs(results: Sequence[Result]) -> list[RequestLog]:
    try:
        return [result.log for result in results]
    except InputError:  # kept without requests
        return []


def _known(measure: Measure, runs: Seeds) -> list[float]:
    return [value for each in runs if (value := measure.of(each)) is not None]


def _change(measure: Measure, runs: Seeds, first: Seeds) -> str:
    """Say by how much runs differ from the first; nothing where there is no difference to speak of."""
    own, base = _known(measure, runs), _known(measure, first)
    if not own or not base or own == base:
        return "=" if own and own == base else ""
    mean, first_mean = sum(own) / len(own), sum(base) / len(base)
    if len(own) == len(base) > 1:
        found = paired(own, base)
        if not (found.above_zero or found.below_zero):
            return NOT_SHOWN
    if abs(mean - first_mean) < _LEAST * abs(first_mean):
        return "="
    if measure.unit.startswith(SHARE_OF):
        return f"{100 * (mean - first_mean):+.3g} points"
    return f"{100 * (mean - first_mean) / abs(first_mean):+.3g} %" if first_mean else ""


def _finding(names: Sequence[str], summaries: Sequence[Seeds]) -> str:
    """Say in a sentence which run is best, and by how much it is ahead of the base, or of the next."""
    measure = measure_of(BEST_BY)
    means = [sum(found) / len(found) if (found := _known(measure, runs)) else -math.inf for runs in summaries]
    best = max(range(len(names)), key=lambda i: means[i])
    other = 0 if best else max(range(1, len(names)), key=lambda i: means[i])
    change = _change(measure, summaries[best], summaries[other])
    if change == NOT_SHOWN:
        return f"{names[best]} is not shown to differ from {names[other]} in {measure.label}"
    if not math.isfinite(means[best]) or change == "=":
        return f"No difference in {measure.label}"
    ahead = f": {change} to {names[other]}" if change else ""
    return f"{names[best]} has the most {measure.label}{ahead}"


def _below(results: Sequence[Result], summaries: Sequence[Seeds]) -> str:
    machines = {machines_of(result.manifest) for result in results if "measured" not in result.manifest}
    same = f"{machines.pop()}; " if len(machines) == 1 else ""
    if len(machines) > 1:  # what they share, in the order of the first
        parts = [each.split(", ") for each in sorted(machines)]
        shared = [part for part in parts[0] if all(part in other for other in parts[1:])]
        same = f"{', '.join(shared)}; " if shared else ""
    seeds = len(summaries[0])
    return f"{same}{rate_of(summaries[0][0])}" + (
        f"; means over {seeds} seeds, 95 % intervals" if seeds > 1 else ""
    )


def _draw_bars(
    figure: "Figure",
    grid: "GridSpec",
    names: Sequence[str],
    summaries: Sequence[Seeds],
    colours: Sequence[str],
) -> None:
    for column, key in enumerate(_BARS):
        measure, panel = measure_of(key), figure.add_subplot(grid[0, column])
        digits = 3 if measure.unit.startswith(SHARE_OF) else 4

        def shown(value: float, measure: Measure = measure) -> float:
            return in_drawn_unit(measure, value) or 0.0

        ends = [0.0]
        for row, (runs, colour) in enumerate(zip(summaries, colours, strict=True)):
            if not (values := _known(measure, runs)):
                panel.text(0, row, " none", va="center", fontsize=7, color=GREY)
                continue
            over = interval(values).within(*measure.possible)
            mean = shown(over.mean)
            bars = None
            if math.isfinite(over.half) and over.half > 0:
                bars = [[mean - shown(over.low)], [shown(over.high) - mean]]
            panel.barh([row], [mean], xerr=bars, color=colour, height=0.72, ecolor=INK, capsize=2)
            change = _change(measure, runs, summaries[0]) if row else ""
            change = "±" if change == NOT_SHOWN else change
            at = max(mean, shown(over.high) if bars else mean, 0.0)
            panel.annotate(
                f"{number(mean, digits)}  {change}".rstrip(),
                (at, row),
                (3, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
            )
            ends += [at, mean]
        panel.set_xlim(min(0.0, *ends) * 1.05, max(max(ends), 1e-9) * 1.75)
        panel.set_ylim(len(names) - 0.45, -0.55)
        panel.set_title(f"{measure.label} ({drawn_unit(measure)})", fontsize=8)
        panel.annotate(
            "more is better" if measure.higher_is_better else "less is better", (0, 0), (0, -4), va="top",
            xycoords="axes fraction", textcoords="offset points", fontsize=6.5, color=GREY,
        )  # fmt: skip
        panel.grid(False)
        panel.set_xticks([])
        panel.spines["bottom"].set_visible(False)
        panel.tick_params(axis="y", length=0)
        panel.set_yticks(range(len(names)), names if column == 0 else [""] * len(names))


def _draw_curves(
    figure: "Figure",
    grid: "GridSpec",
    names: Sequence[str],
    logs: Sequence[RequestLog],
    colours: Sequence[str],
    user: UserModel,
) -> None:
    for column, title in enumerate(("TTFT", "TPOT", "Time that readers wait")):
        panel = figure.add_subplot(grid[0, column])
        for i, (name, log, colour) in enumerate(zip(names, logs, colours, strict=True)):
            if i >= _MOST_CURVES:
                break
            values_s = (log.ttft_s, log.tpot_s, idle_latency_s(log, user))[column]
            _curve(panel, values_s, log.n, colour, ("-", "--", "-.", ":")[i % 4], name)
        panel.set_title(title if len(names) <= _MOST_CURVES else f"{title}, first {_MOST_CURVES}")
        panel.set_xlabel("at most (s)")
        panel.set_ylim(0, 103)
        if panel.lines:
            panel.set_xscale("log")
            plain_log_scale(panel.xaxis)
        if column == 0:
            panel.set_ylabel("share of arrived requests (%)")
            if panel.lines:
                panel.legend(loc="best")


def _curve(panel: "Axes", values_s: Any, arrived: int, colour: str, style: str, name: str) -> None:
    """Draw the share of arrived requests with at most a time; those without one keep it below 100 %."""
    ordered_s = np.sort(values_s[~np.isnan(values_s)])
    if not len(ordered_s):
        return
    keep = thinned(len(ordered_s))
    # A log scale has no place for 0: a reader who never waits is at its left end.
    panel.step(
        np.maximum(ordered_s[keep], 1e-3), 100 * (keep + 1) / arrived, where="post", color=colour, linestyle=style,
        label=name,
    )  # fmt: skip
