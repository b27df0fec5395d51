"""The pictures of what triggers of moves and preemptions do."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.paper._disaggregation_cases import (
    MECHANISMS,
    TRIGGERS,
    Case,
    Found,
    Mechanism,
    Trigger,
    values,
)
from experiments.paper._protocol import PROTOCOL
from experiments.paper._reproduce import COLOURS, Study, axes, label_panels
from simulator.stats import Interval, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {"recompute": "preemption, recompute", "swap": "preemption, swap", "migration": "migration"}
# What a move was, and how its share of a bar is drawn: told apart in grey, too
KINDS: tuple[tuple[str, str, str], ...] = (
    ("harmful: the pause made the reader wait longer", "#333333", ""),
    ("needless: text in hand, no reader there waited", "#B0B0B0", "////"),
    ("neither", "#FFFFFF", ""),
)
TICKS: dict[Trigger, str] = {"none": "no", "TBT": "TBT", "d_i": "dᵢ"}
HOW: dict[Trigger, tuple[str, str]] = dict(zip(TRIGGERS, zip(COLOURS, "osD", strict=False), strict=False))
MARKS: dict[Mechanism, tuple[str, str]] = dict(
    zip(MECHANISMS, zip(COLOURS, "osD", strict=False), strict=False)
)


def draw_counts(study: Study, found: Found) -> None:
    """Draw how many moves a run has, and what they were: a row a model, a column a mechanism."""
    models = list(dict.fromkeys(setting.model for setting, _ in found))
    figure, grid = axes(len(models), 3, width="text", height_in=0.9 + 1.6 * len(models), sharey="row")
    data: list[tuple[Any, ...]] = []
    for row, model in enumerate(models):
        for panel, mechanism in zip(grid[row], MECHANISMS, strict=True):
            ticks: list[tuple[float, str]] = []
            for place, layout in enumerate(_layouts(found, mechanism)):
                for offset, trigger in enumerate(TRIGGERS):
                    mine = [
                        each
                        for (setting, how), some in found.items()
                        if (setting.model, setting.mechanism, setting.layout, how)
                        == (model, mechanism, layout, trigger)
                        for each in some
                    ]
                    harmful, needless, moves = (
                        float(np.mean(values(mine, name))) for name in ("harmful", "needless", "moves")
                    )
                    x = 4 * place + offset
                    _stack(panel, x, (harmful, needless, moves - harmful - needless))
                    ticks.append((x, TICKS[trigger]))
                    data.append((model, mechanism, layout, trigger, harmful, needless, moves))
                panel.text(
                    4 * place + 1,
                    -0.27,
                    layout,
                    ha="center",
                    transform=panel.get_xaxis_transform(),
                    fontsize=7,
                )
            panel.set_xticks(*zip(*ticks, strict=True), fontsize=5.5)
            panel.grid(False, axis="x")
            panel.set_title(LABELS[mechanism])
        grid[row, 0].set_ylabel(f"{model},\nmoves in a run, mean")
    label_panels(grid)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    study.save(figure, "disaggregation_counts")
    head = ("model", "mechanism", "layout", "trigger", "harmful", "needless", "moves")
    study.table("disaggregation_counts", dict(zip(head, zip(*data, strict=True), strict=True)))


def draw_readers(study: Study, found: Found) -> None:
    """Draw what TBT says beside what readers get, over settings of a layout: a row a measure, a column a mechanism."""
    rows: tuple[tuple[str, str, float], ...] = (
        ("p99 TBT, ms", "tbt_p99_s", 1000.0),
        ("mean idle latency, s", "idle_s", 1.0),
        ("smooth goodput,\n% of tokens without trigger", "goodput_tokens_per_s", 100.0),
    )
    figure, grid = axes(len(rows), 3, width="text", height_in=4.6, sharex="col", sharey="row")
    data: list[tuple[Any, ...]] = []
    for row, (label, name, scale) in enumerate(rows):
        for panel, mechanism in zip(grid[row], MECHANISMS, strict=True):
            layouts = _layouts(found, mechanism)
            for offset, trigger in enumerate(TRIGGERS):
                colour, marker = HOW[trigger]
                spread = [
                    _over_settings(found, mechanism, layout, trigger, name, scale) for layout in layouts
                ]
                x = np.arange(len(layouts)) + 0.2 * (offset - 1)
                _points(panel, x, spread, color=colour, marker=marker, label=trigger, linestyle="")
                for layout, each in zip(layouts, spread, strict=True):
                    data.append((mechanism, layout, trigger, name, each.mean, each.low, each.high))
            panel.set_xticks(range(len(layouts)), layouts)
            panel.set_xlim(-0.5, len(layouts) - 0.5)
            if row == 0:
                panel.set_title(LABELS[mechanism])
        grid[row, 0].set_ylabel(label)
        if name != "goodput_tokens_per_s":
            grid[row, 0].set_ylim(bottom=0)
    label_panels(grid)
    handles, _ = grid[0, 0].get_legend_handles_labels()
    names = ["no trigger", "chases TBT", "follows dᵢ"]
    figure.legend(handles, names, loc="outside upper center", ncols=3)
    study.save(figure, "disaggregation_readers")
    head = ("mechanism", "layout", "trigger", "measure", "mean", "low", "high")
    study.table("disaggregation_readers", dict(zip(head, zip(*data, strict=True), strict=True)))


def draw_cases(study: Study, cases: Sequence[Case]) -> None:
    """Draw of each case what classic metrics say of chasing TBT against what smooth goodput says."""
    from matplotlib.ticker import FuncFormatter

    figure, grid = axes(1, 2, width="text", height_in=3.0, sharey=True)
    measures = (("tbt_p99_s", "p99 TBT"), ("tpot_s", "mean TPOT"))
    for panel, (name, label) in zip(grid[0], measures, strict=True):
        for more, (mechanism, (colour, marker)) in product((True, False), MARKS.items()):
            mine = [case for case in cases if (case.setting.mechanism, case.more) == (mechanism, more)]
            panel.plot(
                [1000 * float(np.mean(getattr(case, name))) for case in mine],
                [100 * float(np.mean(case.goodput)) for case in mine],
                linestyle="",
                marker=marker,
                color=colour,
                markerfacecolor=colour if more else "none",
                label=LABELS[mechanism] if more else "_",
            )
        panel.axhline(0, color="black", linewidth=0.6, zorder=0)
        panel.axvline(0, color="black", linewidth=0.6, zorder=0)
        panel.margins(0.08)
        for axis, set_scale in ((panel.xaxis, panel.set_xscale), (panel.yaxis, panel.set_yscale)):
            set_scale("symlog", linthresh=1)
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.set_xlabel(f"change of {label}, ms")
        panel.set_title(label)
    grid[0, 0].set_ylabel("change of smooth goodput, % of tokens")
    label_panels(grid)
    figure.suptitle(
        "Chasing TBT less following dᵢ; filled: detrimental moves are shown to be more", fontsize=7
    )
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    study.save(figure, "disaggregation_cases")


def _layouts(found: Found, mechanism: Mechanism) -> list[str]:
    there = {setting.layout for setting, _ in found if setting.mechanism == mechanism}
    return [layout for layout in PROTOCOL.disaggregation.layouts if layout in there]


def _stack(panel: "Axes", x: float, parts: Iterable[float]) -> None:
    """Draw a bar of three parts; the first one names them."""
    bottom = 0.0
    for height, (label, colour, hatch) in zip(parts, KINDS, strict=True):
        named = label if not panel.patches or len(panel.patches) < len(KINDS) else None
        panel.bar(
            x, height, 0.8, bottom, color=colour, hatch=hatch, edgecolor="black", linewidth=0.5, label=named
        )
        bottom += height


def _over_settings(
    found: Found, mechanism: Mechanism, layout: str, trigger: Trigger, name: str, scale: float
) -> Interval:
    """Return a measure's mean over all settings of a layout, with its interval over seeds."""
    by_setting = []
    for (setting, how), some in found.items():
        if (setting.mechanism, setting.layout, how) == (mechanism, layout, trigger):
            mine = np.array(values(some, name))
            if name == "goodput_tokens_per_s":
                mine = mine / np.mean(values(found[setting, "none"], "tokens_per_s"))
            by_setting.append(mine)
    return interval((scale * np.mean(by_setting, axis=0)).tolist())


def _points(panel: "Axes", x: Any, found: Sequence[Interval], **how: Any) -> None:
    low, mean, high = ([getattr(each, end) for each in found] for end in ("low", "mean", "high"))
    panel.errorbar(x, mean, [np.subtract(mean, low), np.subtract(high, mean)], elinewidth=0.7, **how)
