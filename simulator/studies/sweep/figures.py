"""A sweep's pictures: lines with bands, heat maps, or dots with bars where nothing is a number."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from simulator.report.style import BLUE, axes, colours_of_runs, drawing, plain_log_scale, save
from simulator.stats import Interval
from simulator.studies.sweep.sweep import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LINES = 8
MOST_TICKS = 12
MOST_MARKED = 80  # cells of a heat map with their numbers in them
WIDE = 30.0  # from this ratio of largest to smallest on, a scale is logarithmic
_PANELS = 3  # beside one another

Cell = tuple[Any, ...]
CellMeans = Mapping[Cell, Interval]


def draw(study: Study, metrics: Mapping[str, tuple[str, CellMeans]], out: Path) -> list[str]:
    """Draw ``figures`` into PNG files of these names; return the files."""
    with drawing():
        return [_save(figure, out / f"{name}.png") for name, figure in figures(study, metrics).items()]


def figures(study: Study, metrics: Mapping[str, tuple[str, CellMeans]]) -> "dict[str, Figure]":
    """Return a picture of each metric (by name: label, values at places).

    Two numeric axes, or a numeric one and more names than are told apart as lines: heat maps. Otherwise lines over
    the first numeric axis with bands; where nothing is numeric, one picture of dots with bars, ``sweep``.
    """
    metrics = {name: (label, found) for name, (label, found) in metrics.items() if len(found) > 1}
    places = list(dict.fromkeys(place for _, found in metrics.values() for place in found))
    if not places:
        return {}
    numeric = [i for i in range(len(study.shown)) if all(_is_number(place[i]) for place in places)]
    with drawing():
        if not numeric:
            return {"sweep": _dots(list(metrics.values()), places)}
        map_of = _map_axes(study, numeric, places)
        return {
            name: _lines(study, numeric[0], found, label)
            if map_of is None
            else _heat_map([study.shown[i] for i in map_of], _at(found, map_of), label)
            for name, (label, found) in metrics.items()
        }


def _save(figure: "Figure", path: Path) -> str:
    save(figure, path)
    return path.name


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


def _lines(study: Study, x: int, found: CellMeans, label: str) -> "Figure":
    shown = study.shown
    with_x = next(dimension for dimension in study.dimensions if shown[x] in dimension)
    others = [i for i, key in enumerate(shown) if key not in with_x]
    lines: dict[Cell, list[tuple[float, Interval]]] = {}
    for place, value in found.items():
        lines.setdefault(tuple(place[i] for i in others), []).append((place[x], value))
    figure, grid = axes(1, 1, width=6.8 if len(lines) > 1 else 5.0, height_in=3.4)
    ax = grid[0, 0]
    kinds = [shown[i].removeprefix("policy.") for i in others]
    colours = colours_of_runs([dict(zip(kinds, map(str, rest), strict=True)) for rest in lines])
    for i, (rest, points) in enumerate(list(lines.items())[:MOST_LINES]):
        points.sort(key=lambda pair: pair[0])
        at, means = [x for x, _ in points], [value.mean for _, value in points]
        colour = colours[i % len(colours)]
        ax.plot(at, means, "o-", color=colour, label=", ".join(map(_text, rest)) or None)
        if all(math.isfinite(value.low) for _, value in points):
            low, high = [value.low for _, value in points], [value.high for _, value in points]
            ax.fill_between(at, low, high, color=colour, alpha=0.18, linewidth=0)
    xs = sorted({place[x] for place in found})
    if _evenly_by_ratio(xs):
        _log_scale(ax, "x", xs)
        if len(xs) <= MOST_TICKS:
            ax.set_xticks(xs, [_text(each) for each in xs])
    means = [value.mean for value in found.values()]
    if _wide(means):
        _log_scale(ax, "y", means)
        ax.set_ylim(bottom=min(means) / 2)  # a band may reach down to 0 and below
    ax.set_xlabel(shown[x])
    ax.set_ylabel(label)
    if len(lines) > 1:
        title = ", ".join(shown[i].removeprefix("policy.") for i in others)
        if len(lines) > MOST_LINES:
            title += f"\n(and {len(lines) - MOST_LINES} more in the table)"
        figure.legend(loc="outside right upper", title=title, alignment="left")
    return figure


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


def _heat_map(keys: Sequence[str], found: CellMeans, label: str) -> "Figure":
    from matplotlib.colors import LogNorm

    xs, ys = (_in_order({place[i]: None for place in found}) for i in (0, 1))
    longest = max(len(_text(y)) for y in ys)
    figure, grid = axes(
        1, 1, width=max(5.0, 0.55 * len(xs) + 1.8 + 0.06 * longest), height_in=max(3.2, 0.28 * len(ys) + 0.9)
    )
    ax = grid[0, 0]
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
            shade = float(image.norm(value)) if math.isfinite(value) else 1.0
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
    ax.set_xlabel(keys[0])
    ax.set_ylabel("" if keys[1] == "name" else keys[1])
    figure.colorbar(image, label=label)
    return figure


def _in_order(marks: Mapping[Any, None]) -> list[Any]:
    """Return numbers ascending, names as they came, from the top."""
    return sorted(marks) if all(map(_is_number, marks)) else list(marks)[::-1]


def _dots(metrics: Sequence[tuple[str, CellMeans]], places: Sequence[Cell]) -> "Figure":
    columns = min(_PANELS, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    figure, grid = axes(
        rows, columns, width=1.8 + 2.0 * columns, height_in=rows * (0.22 * len(places) + 0.6), sharey=True
    )
    for panel, (label, found) in zip(grid.flat, metrics, strict=False):
        for row, place in enumerate(places):
            if (value := found.get(place)) is None:
                continue
            bars = None
            if math.isfinite(value.half):
                bars = [[value.mean - value.low], [value.high - value.mean]]
            panel.errorbar([value.mean], [row], xerr=bars, fmt="o", color=BLUE, capsize=2, linewidth=1.0)
        if _wide([value.mean for value in found.values()]):
            _log_scale(panel, "x", [value.mean for value in found.values()])
        panel.set_title(label)
    for panel in grid.flat[len(metrics) :]:
        panel.set_visible(False)
    grid[0, 0].set_yticks(range(len(places)), [", ".join(map(_text, place)) for place in places])
    grid[0, 0].set_ylim(len(places) - 0.5, -0.5)
    return figure
