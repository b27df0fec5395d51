"""The picture of docs/workloads.md: three recorded days, and a load of points, spikes and growth with its arrivals.

Left: requests/s of three models that ServeGen recorded over a day, each over its own mean. Right: a drawing of Poisson
arrivals for two days of a load made of points (quiet at night, busy in the afternoon), a spike of twice the rate every
six hours, and growth of 30 % from one day to the next: what was asked for, and what came.

    python -m experiments.load_shapes [FILE]    (docs/load_shapes.png)
"""

import sys
from pathlib import Path

import numpy as np

from simulator.report.style import axes, drawing, label_panels, save
from simulator.workload import load, load_table
from simulator.workload.build import build
from simulator.workload.spec import WorkloadSpec

HOUR_S = 3600.0
DAYS = ("servegen_msmall_day", "servegen_mlarge_day", "servegen_r1_day")
BIN_S = 600.0
TWO_DAYS_S = 48 * HOUR_S
MADE = WorkloadSpec(
    arrivals="poisson",
    rate_rps=2.0,
    duration_s=TWO_DAYS_S,
    lengths="chat_azure2023",
    load_points=[[0, 1], [4 * HOUR_S, 0.5], [14 * HOUR_S, 2], [18 * HOUR_S, 2]],
    load_interpolation="linear",
    load_period_s=24 * HOUR_S,
    spike_factor=2,
    spike_s=1200,
    spike_every_s=6 * HOUR_S,
    growth=1.3,
)


def draw(path: Path) -> None:
    """Draw both panels into a PNG file and an SVG beside it."""
    asked = load.of(MADE, 0, None)
    assert asked is not None
    envelope = asked.until(TWO_DAYS_S)
    rate = envelope.scaled(envelope.mean, 2.0)
    edges_s = np.arange(0.0, TWO_DAYS_S + BIN_S, BIN_S)
    came, _ = np.histogram(build(MADE, 0).arrival_s, edges_s)
    with drawing():
        figure, grid = axes(1, 2, width="text", height_in=2.4)
        left, right = grid[0]
        for name in DAYS:
            day = load_table.read(name, None)
            mean_rps = float(np.mean(day.factor))
            label = f"{name}, mean {mean_rps:,.0f}/s"
            left.step(day.time_s / HOUR_S, day.factor / mean_rps, where="post", label=label)
        left.set(title="A day differs by model, and doubles its mean", ylabel="rate / mean", ylim=(0, 4))
        right.stairs(came / BIN_S, edges_s / HOUR_S, baseline=None, label="arrived, each 10 minutes")
        pieces_h = np.column_stack([rate.edges_s[:-1], rate.edges_s[1:]]).ravel() / HOUR_S
        right.plot(pieces_h, np.column_stack([rate.first, rate.last]).ravel(), label="asked for")
        right.set(title="Points, spikes, growth: 2 requests/s on average", ylabel="requests/s", ylim=(0, 10))
        for panel, end_h in ((left, 24), (right, 48)):
            panel.set(xlabel="time (h)", xlim=(0, end_h), xticks=np.arange(0, end_h + 1, end_h / 4))
            panel.legend(loc="upper left")
        label_panels(grid)
    save(figure, path)


if __name__ == "__main__":
    draw(
        Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs" / "load_shapes.png"
    )
