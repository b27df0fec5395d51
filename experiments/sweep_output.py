"""What a sweep leaves behind: one table of all points, and pictures of what depends on what."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments._figures import COLOURS, STYLE, axes
from experiments._runs import whole
from experiments.stats import Interval, interval
from experiments.sweep import Point, Study

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

METRICS = {
    "smooth_goodput.smooth_goodput_tokens_per_s": "smooth goodput (tokens/s)",
    "throughput.output_tokens_per_s": "output (tokens/s)",
    "latency.ttft_s.p99": "TTFT p99 (s)",
    "latency.tbt_s.p99": "TBT p99 (s)",
    "idle_latency.idle_latency_s.mean": "user idle, mean (s)",
    "token_slo.attainment": "token SLO attainment (share of arrived)",
}
MOST_LINES = 8

Results = Sequence[tuple[Point, Mapping[str, Any]]]


def table(study: Study, results: Results) -> "pa.Table":
    """Return a row a point: the axes' values, the seed, every number of its summary, its error if it failed."""
    import pyarrow as pa

    names = list(dict.fromkeys(name for _, found in results for name in found if name != "error"))
    columns: dict[str, Any] = {}
    for key in study.keys:
        given = [point.values[key] for point, _ in results]
        alike = len({type(value) for value in given}) == 1 and isinstance(given[0], int | float | str | bool)
        columns[key] = pa.array(given if alike else [str(value) for value in given])
    columns["seed"] = pa.array([point.seed for point, _ in results])
    columns["error"] = pa.array([found.get("error") for _, found in results], pa.string())
    for name in names:
        columns[name] = pa.array([_number(found.get(name)) for _, found in results], pa.float64())
    return pa.table(columns)


def write(study: Study, results: Results, out: Path) -> list[str]:
    """Write sweep.parquet and sweep.csv, and the pictures; return the files' names."""
    import pyarrow.parquet as pq

    rows = table(study, results)
    with whole(out / "sweep.parquet") as part:
        pq.write_table(rows, part)
    with (out / "sweep.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(rows.column_names)
        writer.writerows(zip(*(rows[name].to_pylist() for name in rows.column_names), strict=True))
    return ["sweep.parquet", "sweep.csv", *_draw(study, results, out)]


def by_point(study: Study, results: Results, metric: str) -> dict[tuple[Any, ...], Interval]:
    """Return a metric at each point of the axes: mean over seeds with its 95 % interval; failed runs left out."""
    values: dict[tuple[Any, ...], list[float]] = {}
    for point, found in results:
        value = _number(found.get(metric))
        if value is not None and math.isfinite(value):
            values.setdefault(tuple(point.values[key] for key in study.keys), []).append(value)
    return {place: interval(found) for place, found in values.items()}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _draw(study: Study, results: Results, out: Path) -> list[str]:
    """Lines over the first numeric axis, or a heat map for two numeric axes and nothing else."""
    numeric = [key for key in study.keys if all(_is_number(point.values[key]) for point, _ in results)]
    if not numeric:
        return []
    import matplotlib as mpl

    files = []
    for metric, label in METRICS.items():
        found = by_point(study, results, metric)
        if len(found) < 2:
            continue
        with mpl.rc_context(STYLE):
            if len(study.keys) == 2 == len(numeric):
                figure = _heat_map(study.keys, found, label)
            else:
                figure = _lines(study.keys, numeric[0], found, label)
            name = f"{metric.rpartition('.')[2] if 'latency' not in metric else metric.replace('.', '_')}.png"
            figure.savefig(out / name, dpi=150)
        files.append(name)
    return files


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _lines(
    keys: Sequence[str], x_key: str, found: Mapping[tuple[Any, ...], Interval], label: str
) -> "Figure":
    figure, grid = axes(1, 1, width=5.0)
    ax, x = grid[0, 0], keys.index(x_key)
    lines: dict[tuple[Any, ...], list[tuple[float, Interval]]] = {}
    for place, value in found.items():
        lines.setdefault((*place[:x], *place[x + 1 :]), []).append((place[x], value))
    for i, (rest, points) in enumerate(list(lines.items())[:MOST_LINES]):
        points.sort(key=lambda pair: pair[0])
        xs, means = [x for x, _ in points], [value.mean for _, value in points]
        colour = COLOURS[i % len(COLOURS)]
        ax.plot(xs, means, "o-", color=colour, label=", ".join(map(str, rest)) or None)
        if all(math.isfinite(value.low) for _, value in points):
            low, high = [value.low for _, value in points], [value.high for _, value in points]
            ax.fill_between(xs, low, high, color=colour, alpha=0.18, linewidth=0)
    ax.set_xlabel(x_key)
    ax.set_ylabel(label)
    if len(lines) > 1:
        left_out = len(lines) - MOST_LINES
        ax.legend(title=f"(and {left_out} more in the table)" if left_out > 0 else None)
    return figure


def _heat_map(keys: Sequence[str], found: Mapping[tuple[Any, ...], Interval], label: str) -> "Figure":
    figure, grid = axes(1, 1, width=5.0, height_in=3.6)
    ax = grid[0, 0]
    xs, ys = (sorted({place[i] for place in found}) for i in (0, 1))
    values = np.full((len(ys), len(xs)), np.nan)
    for (x, y), value in found.items():
        values[ys.index(y), xs.index(x)] = value.mean
    image = ax.imshow(values, origin="lower", aspect="auto", cmap="cividis")
    ax.grid(False)
    for ticks, marks in ((ax.set_xticks, xs), (ax.set_yticks, ys)):
        every = max(1, len(marks) // 8)
        ticks(range(0, len(marks), every), [f"{mark:g}" for mark in marks[::every]])
    ax.set_xlabel(keys[0])
    ax.set_ylabel(keys[1])
    figure.colorbar(image, label=label)
    return figure
