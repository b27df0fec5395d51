"""What changes with the user model: one delivery, the deadlines of each model, and who waits.

Question: how long does the reader of one and the same answer wait, by user model? The models are the presets, and the
chat's reader who tires, skims or reads by paragraph.
Setting: a delivery made up to be seen: the first of 300 tokens after 1.5 s, then 20 tokens/s, with two stalls of 12 s.
Run time: 2 seconds.  python -m experiments.studies.reader_models [--out DIR]
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simulator.metrics import RequestLog, UserModel
from simulator.metrics._places import is_thinking
from simulator.metrics._presets import PRESETS
from simulator.metrics._reader import idle_latency_s, lateness_s, stalls
from simulator.report.style import BLUE, GREY, ORANGE, RED, axes, drawing, label_panels, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MODELS = {
    **{name: UserModel(preset=name) for name in PRESETS},
    "chat, fatigue 1": UserModel(preset="chat", fatigue=1.0),
    "chat, 3x after 100": UserModel(preset="chat", skim_after_tokens=100, skim_speedup=3.0),
    "chat, by paragraph": UserModel(preset="chat", reads="paragraph"),
}
FIRST_S, GAP_S, STALL_S, TOKENS, STALLS_AFTER = 1.5, 0.05, 12.0, 300, (40, 200)


def one_answer() -> RequestLog:
    """Return the log of the one answer."""
    gaps_s = np.full(TOKENS, GAP_S)
    gaps_s[0] = FIRST_S
    gaps_s[list(STALLS_AFTER)] = STALL_S
    return RequestLog.from_lists([0.0], [np.cumsum(gaps_s).tolist()])


def draw(panel: "Axes", name: str, log: RequestLog, user: UserModel) -> None:
    """Draw delivered and due tokens over the time since arrival, what is thinking, and when the reader waits."""
    arrival_s = float(log.arrival_s[0])
    count = np.arange(1, len(log.delivered_s) + 1)
    delivered_s = log.delivered_s - arrival_s
    due_s = delivered_s - lateness_s(log, user)
    waits = stalls(log, user)
    for start_s, end_s in zip(waits.start_s, waits.end_s, strict=True):
        panel.axvspan(start_s - arrival_s, end_s - arrival_s, color=RED, alpha=0.25, linewidth=0)
    thinking = int(is_thinking(log, user).sum())
    if thinking:
        panel.axhspan(0, thinking, color=GREY, alpha=0.2, linewidth=0)
        panel.text(0.97, 0.06, "thinking", transform=panel.transAxes, ha="right", color=GREY, fontsize=7)
    panel.plot(delivered_s, count, color=BLUE)
    panel.plot(due_s, count, color=ORANGE, linestyle="--")
    panel.set_title(f"{name}: waits {float(idle_latency_s(log, user)[0]):.2g} s")


def picture(log: RequestLog, models: dict[str, UserModel], path: Path) -> None:
    """Draw one panel a model, all with the same axes, and one legend."""
    with drawing():
        figure, grid = axes(4, 3, width="text", height_in=7.4, sharex=True, sharey=True)
        for panel, (name, user) in zip(grid.flat, models.items(), strict=True):
            draw(panel, name, log, user)
        lasts_s = float(log.delivered_s[-1] - log.arrival_s[0])
        grid[0, 0].set_xlim(0, 1.3 * lasts_s)
        grid[0, 0].set_ylim(0, 1.02 * len(log.delivered_s))
        for panel in grid[-1]:
            panel.set_xlabel("time since arrival (s)")
        for panel in grid[:, 0]:
            panel.set_ylabel("tokens")
        label_panels(grid)
        told = [
            grid[0, 0].plot([], [], color=BLUE, label="delivered")[0],
            grid[0, 0].plot([], [], color=ORANGE, linestyle="--", label="due")[0],
            grid[0, 0].fill_between([], [], color=RED, alpha=0.25, linewidth=0, label="nothing to read"),
        ]
        figure.legend(handles=told, loc="outside upper center", ncols=3)
        path.parent.mkdir(parents=True, exist_ok=True)
    save(figure, path)


def main() -> None:
    """Print how long each reader waits, and draw."""
    parser = argparse.ArgumentParser(description="One delivery, the deadlines of each user model.")
    parser.add_argument("--out", type=Path, default=Path("runs/reader_models"))
    given = parser.parse_args()
    log = one_answer()
    for name, user in MODELS.items():
        print(f"{name:<20} waits {float(idle_latency_s(log, user)[0]):8.3f} s")
    picture(log, MODELS, given.out / "readers.png")


if __name__ == "__main__":
    main()
