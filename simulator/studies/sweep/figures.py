"""A sweep's page: lines with bands, heat maps, or dots with bars where nothing is a number."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from simulator.report.keys import key_name
from simulator.report.style import BLUE, axes, colours_of_runs, drawing, plain_log_scale, save
from simulator.stats import Interval
from simulator.studies.sweep.sweep import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 8
MOST_TICKS, FEW_TICKS = 12, 6
MOST_MARKED = 80  # cells of a heat map with their numbers in them
WIDE = 30.0  # from this ratio of largest to smallest on, a scale is logarithmic
_PANELS = 3  # beside one another

Cell = tuple[Any, ...]
CellMeans = Mapping[Cell, Interval]


def draw(study: Study, metrics: Mapping[str, tuple[str, CellMeans]], out: Path, title: str = "") -> list[str]:
    """Draw all metrics on one page, ``sweep.png`` with an SVG beside it; return the files, none without a picture."""
    drawn = page(study, metrics, title)
    return [] if drawn is None else save(drawn, out / "sweep.png")


def page(study: Study, metrics: Mapping[str, tuple[str, CellMeans]], title: str = "") -> "Figure | None":
    """Return one figure with a panel for each metric (by name: label, values at places); None if none has two places.

    Two numeric axes, or a numeric one and more names than are told apart as lines: heat maps. Otherwise lines over
    the first numeric axis with bands; where nothing is numeric, dots with bars.
    """
    shown = [(label, found) for label, found in metrics.values() if len(found) > 1]
    places = list(dict.fromkeys(place for _, found in shown for place in found))
    if not places:
        return None
    numeric = [i for i in range(len(study.shown)) if all(_is_number(place[i]) for place in places)]
    with drawing():
        if not numeric:
            drawn = _dots(shown, places)
        elif (map_of := _map_axes(study, numeric, places)) is None:
            drawn = _lines(study, numeric[0], shown)
        else:
            keys = [study.shown[i] for i in map_of]
            drawn = _heat_maps(keys, [(label, _at(found, map_of)) for label, found in shown])
        if title:
            drawn.suptitle(title, x=0.01, ha="left")
    return drawn


def figures(study: Study, metrics: Mapping[str, tuple[str, CellMeans]]) -> "dict[str, Figure]":
    """Return a picture of each metric by its name, drawn as on the page; of dots there is the page alone, ``sweep``."""
    places = [place for _, found in metrics.values() for place in found]
    if places and not any(all(_is_number(place[i]) for place in places) for i in range(len(study.shown))):
        whole_page = page(study, metrics)
        return {} if whole_page is None else {"sweep": whole_page}
    found = {name: page(study, {name: each}) for name, each in metrics.items()}
    return {name: drawn for name, drawn in found.items() if drawn is not None}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _map_axes(study: Study, numeric: Sequence[int], places: Sequence[Cell]) -> tuple[int, int] | None:
    """Return which of the keys shown are the x and y of a heat map; None for lines."""
    if len(study.dimensions) != 2:
        return None
    firsts = []  # of each dimension: its first number, or the only key
    for dimension in study.dimensions:
        own = [study.shown.index(key) for key in dimension]
        number = next((i for i in own if i in numeric), None)
        if number is None and len(own) > 1:
            return None
        firsts.append(own[0] if number is None else number)
    x, y = firsts
    if x in numeric and y in numeric:
        return x, y
    if len({place[y if x in numeric else x] for place in places}) > MOST_LINES:
        return (x, y) if x in numeric else (y, x)
    return None


def _at(found: CellMeans, keys: Sequence[int]) -> dict[Cell, Interval]:
    return {tuple(place[i] for i in keys): value for place, value in found.items()}


def _panels(
    count: int,
    width_in: float,
    height_in: float,
    beside_in: float = 0.0,
    above_in: float = 0.3,
    **subplots: Any,
) -> "tuple[Figure, list[Axes]]":
    """Return a figure with so many panels of a size, and room for what stands beside and above all of them."""
    columns = min(_PANELS, count)
    rows = math.ceil(count / columns)
    figure, grid = axes(
        rows, columns, width=columns * width_in + beside_in, height_in=rows * height_in + above_in, **subplots
    )
    for spare in grid.flat[count:]:
        spare.set_visible(False)
    return figure, list(grid.flat[:count])


def _lines(study: Study, x: int, metrics: Sequence[tuple[str, CellMeans]]) -> "Figure":
    shown = study.shown
    with_x = next(dimension for dimension in study.dimensions if shown[x] in dimension)
    others = [i for i, key in enumerate(shown) if key not in with_x]
    kinds = [shown[i].removeprefix("policy.") for i in others]
    names = list(dict.fromkeys(tuple(place[i] for i in others) for _, found in metrics for place in found))
    colours = colours_of_runs([dict(zip(kinds, map(str, rest), strict=True)) for rest in names])
    wide, beside_in = (5.0, 1.8) if len(metrics) == 1 else (3.0, 1.6)
    figure, panels = _panels(
        len(metrics), wide, 3.2 if len(metrics) == 1 else 2.3, beside_in * (len(names) > 1)
    )
    for ax, (label, found) in zip(panels, metrics, strict=True):
        for rest, colour in list(zip(names, colours, strict=True))[:MOST_LINES]:
            points = [
                (place[x], value) for place, value in found.items() if tuple(place[i] for i in others) == rest
            ]
            _line(ax, sorted(points, key=lambda pair: pair[0]), colour, ", ".join(map(_text, rest)))
        xs = sorted({place[x] for place in found})
        if _evenly_by_ratio(xs):
            _log_scale(ax, "x", xs)
            if len(xs) <= MOST_TICKS:
                ax.set_xticks(xs, [_text(each) for each in xs])
        elif len(xs) <= FEW_TICKS:
            ax.set_xticks(xs, [_text(each) for each in xs])
        means = [value.mean for value in found.values()]
        if _wide(means):
            _log_scale(ax, "y", means)
            ax.set_ylim(bottom=min(means) / 2)  # a band may reach down to 0 and below
        elif max(map(abs, means)) >= 1000:
            ax.yaxis.set_major_formatter("{x:,.0f}")
        ax.set_xlabel(key_name(shown[x]))
        ax.set_ylabel(label)
    if len(names) > 1:
        title = ", ".join(key_name(shown[i]) for i in others)
        if len(names) > MOST_LINES:
            title += f"\n(and {len(names) - MOST_LINES} more in the table)"
        handles = panels[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside right upper", title=title, alignment="left")
    return figure


def _line(ax: "Axes", points: Sequence[tuple[float, Interval]], colour: str, name: str) -> None:
    """Draw means over a number, and bands where there are intervals."""
    at, means = [x for x, _ in points], [value.mean for _, value in points]
    ax.plot(at, means, "o-", color=colour, label=name or None)
    if all(math.isfinite(value.low) for _, value in points):
        low, high = [value.low for _, value in points], [value.high for _, value in points]
        ax.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)


def _text(value: Any) -> str:
    return f"{value:g}" if _is_number(value) else str(value)


def _wide(values: Sequence[float]) -> bool:
    return min(values) > 0 and max(values) > WIDE * min(values)


def _evenly_by_ratio(xs: Sequence[float]) -> bool:
    """Whether steps are even by ratio rather than by difference."""
    if len(xs) < 3 or xs[0] <= 0:
        return False
    spread = [float(np.std(steps) / abs(np.mean(steps))) for steps in (np.diff(np.log(xs)), np.diff(xs))]
    return spread[0] < spread[1]


def _log_scale(ax: "Axes", which: Literal["x", "y"], values: Sequence[float]) -> None:
    axis = ax.xaxis if which == "x" else ax.yaxis
    (ax.set_xscale if which == "x" else ax.set_yscale)("log")
    few = max(values) < 1000 * min(values)
    plain_log_scale(axis, (1.0, 2.0, 5.0) if few else (1.0,))


def _heat_maps(keys: Sequence[str], metrics: Sequence[tuple[str, CellMeans]]) -> "Figure":
    xs, ys = (_in_order({place[i]: None for _, found in metrics for place in found}) for i in (0, 1))
    longest = max(len(_text(y)) for y in ys)
    width_in = max(5.0 if len(metrics) == 1 else 3.4, 0.55 * len(xs) + 1.8 + 0.06 * longest)
    height_in = max(3.2 if len(metrics) == 1 else 2.5, 0.28 * len(ys) + 0.9)
    figure, panels = _panels(len(metrics), width_in, height_in)
    for ax, (label, found) in zip(panels, metrics, strict=True):
        _heat_map(figure, ax, (xs, ys), found, label)
        ax.set_xlabel(key_name(keys[0]))
        ax.set_ylabel("" if keys[1] == "name" else key_name(keys[1]))
    return figure


def _heat_map(
    figure: "Figure", ax: "Axes", marks_of: tuple[list[Any], list[Any]], found: CellMeans, label: str
) -> None:
    from matplotlib.colors import LogNorm

    xs, ys = marks_of
    values = np.full((len(ys), len(xs)), np.nan)
    for (x, y), value in found.items():
        values[ys.index(y), xs.index(x)] = value.mean
    wide = _wide([value.mean for value in found.values()])
    image = ax.imshow(values, origin="lower", aspect="auto", cmap="cividis", norm=LogNorm() if wide else None)
    ax.grid(False)
    for ticks, marks in ((ax.set_xticks, xs), (ax.set_yticks, ys)):
        every = max(1, math.ceil(len(marks) / 16))
        ticks(range(0, len(marks), every), [_text(mark) for mark in marks[::every]])
    if values.size <= MOST_MARKED:
        for (row, column), value in np.ndenumerate(values):
            shade = float(np.asarray(image.norm(value))) if math.isfinite(value) else 1.0
            text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
            if math.isfinite(value):
                ax.text(
                    column,
                    row,
                    text,
                    ha="center",
                    va="center",
                    fontsize=6,
                    color="white" if shade < 0.5 else "black",
                )
    bar = figure.colorbar(image, ax=ax, label=label)
    if wide:
        plain_log_scale(bar.ax.yaxis)
    elif np.nanmax(np.abs(values)) >= 1000:
        bar.ax.yaxis.set_major_formatter("{x:,.0f}")


def _in_order(marks: Mapping[Any, None]) -> list[Any]:
    """Return numbers ascending, names as they came, from the top."""
    return sorted(marks) if all(map(_is_number, marks)) else list(marks)[::-1]


LONG_TITLE = 32  # letters that fit above a panel of dots


def _dots(metrics: Sequence[tuple[str, CellMeans]], places: Sequence[Cell]) -> "Figure":
    figure, panels = _panels(len(metrics), 2.0, 0.22 * len(places) + 0.6, 1.8, 0.0, sharey=True)
    for panel, (label, found) in zip(panels, metrics, strict=True):
        for row, place in enumerate(places):
            if (value := found.get(place)) is None:
                continue
            bars = None
            if math.isfinite(value.half):
                bars = [[value.mean - value.low], [value.high - value.mean]]
            panel.errorbar([value.mean], [row], xerr=bars, fmt="o", color=BLUE, capsize=2, linewidth=1.0)
        if _wide([value.mean for value in found.values()]):
            _log_scale(panel, "x", [value.mean for value in found.values()])
        elif max((abs(value.mean) for value in found.values()), default=0.0) >= 1000:
            panel.xaxis.set_major_formatter("{x:,.0f}")
            panel.locator_params("x", nbins=3)
        panel.set_title(label if len(label) <= LONG_TITLE else label.replace(" (", "\n("))
    panels[0].set_yticks(range(len(places)), [", ".join(map(_text, place)) for place in places])
    panels[0].set_ylim(len(places) - 0.5, -0.5)
    return figure
