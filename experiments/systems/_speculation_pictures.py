"""The pictures of the study of speculation."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from experiments.paper._reproduce import axes, label_panels
from experiments.systems._lines import STYLES, line, on_log_scale
from experiments.systems._speculation_runs import DRAFTERS, PLAIN, READERS, SERVERS, worth
from simulator.arrays import Floats
from simulator.report.style import COLOURS
from simulator.stats import Interval, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def loads_picture(found: Mapping[tuple[str, float, str], Mapping[str, Floats]]) -> "Figure":
    """Draw the gain of TPOT by rate and drafter above, and below what a token is worth with and without drafts."""
    figure, grid = axes(2, len(SERVERS), width="text", height_in=4.4)
    for column, (server, (_, numbers)) in enumerate(SERVERS.items()):
        rates = [float(rate) for rate in numbers]
        top, bottom = grid[:, column]
        for place, way in enumerate(list(DRAFTERS)[1:]):
            gains = [
                interval((found[server, rate, PLAIN]["tpot_s"] / found[server, rate, way]["tpot_s"]).tolist())
                for rate in rates
            ]
            line(top, rates, gains, way, place)
        for place, reader in enumerate(READERS):
            for way in (PLAIN, "EAGLE-3"):
                values = [float(worth(found[server, rate, way], reader).mean()) for rate in rates]
                drafts = way != PLAIN
                bottom.plot(
                    rates, values, color=COLOURS[place], linestyle="-" if drafts else "--",
                    marker=STYLES[place][1], markersize=2.5, label=f"{reader}, {way}",
                )  # fmt: skip
        top.set_ylim(bottom=0)
        top.axhline(1, color="black", linewidth=0.6)
        top.set(title=server, ylabel="TPOT without drafts,\ntimes that with" if not column else "")
        bottom.set(ylim=(-0.55, 1.1), title="What a token is worth to its reader", xlabel="requests/s")
        bottom.set_ylabel("smooth goodput\nover tokens" if not column else "")
        for panel in (top, bottom):
            on_log_scale(panel, numbers)
    grid[0, 0].legend(loc="lower left")
    grid[1, 0].legend(loc="lower left", fontsize=6, handlelength=4)
    label_panels(grid)
    return figure


def bursts_picture(found: Mapping[tuple[int, int], Mapping[str, Floats]]) -> "Figure":
    """Draw the largest TBT and the waiting of a reader by the number of drafts."""
    figure, grid = axes(1, 2, width="text", height_in=2.3)
    rates = list(dict.fromkeys(rate for rate, _ in found))
    drafts = list(dict.fromkeys(k for _, k in found))
    shown = (
        ("max_tbt_s", "Largest TBT of a request", "ms, mean over requests"),
        ("idle_s, 5 tokens/s", "Waiting of a reader of 5 tokens/s", "idle latency, ms"),
    )
    for panel, (name, title, unit) in zip(grid.flat, shown, strict=True):
        for place, rate in enumerate(rates):
            values = [interval((1000 * found[rate, k][name]).tolist()) for k in drafts]
            line(panel, drafts, values, f"{rate} requests/s", place)
        panel.set(title=title, xlabel="drafts in a step, k", ylabel=unit)
        panel.set_ylim(bottom=0)
    grid[0, 0].legend()
    label_panels(grid)
    return figure


def clients_picture(
    counts: Sequence[int],
    of_clients: Mapping[int, Interval],
    chances: Sequence[float],
    of_acceptance: Mapping[int, Sequence[Interval]],
) -> "Figure":
    """Draw the gain of throughput by clients, and that of TPOT by how many drafts are right."""
    figure, grid = axes(1, 2, width="text", height_in=2.3)
    gains_panel(grid[0, 0], counts, {"n-gram, k = 5": [of_clients[count] for count in counts]})
    grid[0, 0].set_title("Clients")
    for place, (rate, gains) in enumerate(of_acceptance.items()):
        line(grid[0, 1], chances, gains, f"{rate} requests/s", place)
    grid[0, 1].set(
        xlabel="chance that a draft is right",
        ylabel="TPOT without drafts,\ntimes that with",
        title="Acceptance",
    )
    _from_none(grid[0, 1])
    label_panels(grid)
    return figure


def gains_panel(panel: "Axes", counts: Sequence[int], gains: Mapping[str, Sequence[Interval]]) -> None:
    """Draw throughput over that without drafts by clients, a line for each way to draft."""
    for place, (way, mine) in enumerate(gains.items()):
        line(panel, counts, mine, way, place)
    on_log_scale(panel, counts)
    panel.set(xlabel="clients", ylabel="throughput, times\nthat without drafts")
    _from_none(panel)


def _from_none(panel: "Axes") -> None:
    """Show what is above and below no gain, from 0 on."""
    panel.set_ylim(bottom=0)
    panel.axhline(1, color="black", linewidth=0.6)
    panel.legend()
