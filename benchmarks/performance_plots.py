"""The pictures of ``docs/performance.md``, from what was measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import peers
from simulator.report.style import BLUE, GREY, ORANGE, axes, drawing, label_panels, plain_log_scale, save

_AXES = {
    "requests": "requests (8/s, 1 replica)",
    "batch limit": "max_num_seqs (W1)",
    "replicas": "replicas (W2's traffic)",
}


def draw(known: Mapping[str, Any], folder: Path) -> None:
    """Draw what was measured: ``growth.png`` and ``peers.png``."""
    with drawing():
        if "growth" in known:
            _growth(known, folder / "growth.png")
        if "works" in known:
            _peers(known, folder / "peers.png")


def _growth(known: Mapping[str, Any], path: Path) -> None:
    figure, grid = axes(1, 4, width="text", height_in=2.3)
    seconds = [s for each in known["growth"]["curves"] for s in (*each["loop_s"], *each["engine_s"])]
    for ax, each in zip(grid[0], known["growth"]["curves"], strict=False):
        sizes = each["sizes"]
        ax.loglog(sizes, each["loop_s"], "s-", color=GREY, label="reference loop")
        ax.loglog(sizes, each["engine_s"], "o-", color=BLUE, label="engine and tables")
        if each["what"] == "requests":
            linear = [each["engine_s"][0] * size / sizes[0] for size in sizes]
            ax.loglog(sizes, linear, ":", color=ORANGE, label="in proportion")
        ax.set_title(f"{each['what']}")
        ax.set_xlabel(_AXES[each["what"]])
        ax.set_xticks([sizes[0], sizes[-1]], [f"{sizes[0]:,}", f"{sizes[-1]:,}"])
        plain_log_scale(ax.yaxis)
        ax.minorticks_off()
        ax.set_ylim(min(seconds) / 1.5, max(seconds) * 1.5)
    grid[0][0].set_ylabel("CPU, s")
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    ax = grid[0][3]
    ax.set_title("sweep (W6)")
    if "sweep" in known:
        found = known["sweep"]
        walls = [found["one"]["wall_s"], found["two"]["wall_s"]]
        bars = ax.bar(["1 core", "2 cores"], walls, color=[GREY, BLUE], width=0.6)
        ax.bar_label(bars, [f"{wall:.0f} s" for wall in walls], fontsize=7)
        ax.margins(y=0.12)
        ax.set_ylabel("wall, s")
        ax.set_xlabel(f"{found['points']} points: {found['speed_up']:.2f}x")
        ax.grid(visible=False, axis="x")
    label_panels(grid)
    save(figure, path)


def _peers(known: Mapping[str, Any], path: Path) -> None:
    """Whole processes on W1 as multiples of the reference loop on the same machine."""
    measured = [each for each in known.get("peers", {}).get("rows", ()) if each["work"] == "W1"]
    alone = next(each["whole_ratio"] for each in known["works"]["rows"] if each["name"] == "W1")
    # Beside a peer as in the run with it, which may have been on another machine
    ours = measured[0]["ours"]["cpu_s"] / measured[0]["loop_s"] if measured else alone
    rows = [("servesim, all result files", ours, BLUE)]
    rows += [
        (f"{peers.NAME}, measured here", each["peer"]["cpu_s"] / each["loop_s"], ORANGE) for each in measured
    ]
    quoted = [each for each in peers.quoted() if each.work == "W1"]
    rows += [(f"{each.peer}, quoted", each.cpu_s / each.loop_cpu_s, GREY) for each in quoted]
    rows.sort(key=lambda row: -row[1])
    figure, grid = axes(width=6.2, height_in=2.2)
    ax = grid[0][0]
    bars = ax.barh(
        [name for name, _, _ in rows], [x for _, x, _ in rows], color=[c for _, _, c in rows], height=0.65
    )
    for bar, (_, _, colour) in zip(bars, rows, strict=True):
        if colour == GREY:  # quoted, not measured here
            bar.set(facecolor="white", edgecolor=GREY, hatch="////", linewidth=0.6)
    ax.bar_label(bars, [f" {x:,.0f}x" for _, x, _ in rows], fontsize=7)
    ax.set_xscale("log")
    plain_log_scale(ax.xaxis)
    ax.set_xlim(1, 4 * max(x for _, x, _ in rows))
    ax.grid(visible=False, axis="y")
    ax.set_xlabel("W1: CPU of the whole process / that of the reference loop")
    save(figure, path)
