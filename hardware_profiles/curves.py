"""Step times of a model on a GPU, drawn: prefill by tokens, decode by batch, both together."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hardware_profiles.analytic import AnalyticCost
from hardware_profiles.costs import step_cost
from hardware_profiles.fit import step_shape
from hardware_profiles.gpu import Gpu
from hardware_profiles.model import Model
from hardware_profiles.step_cost import HardwareCost
from simulator.arrays import Ints

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, which colour-blind readers can tell apart; marks differ too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00")
_MARKS = ("o", "s", "^", "D")
_PRIORS = (0, 2048, 8192, 16384)  # tokens computed before, of the prefill panel
_CONTEXTS = (256, 1024, 4096, 16384)  # tokens of each decode, of the decode panel
_CHUNKS = (256, 512, 1024, 2048)  # prompt tokens beside decodes, of the mixed panel
_MIXED_CONTEXT = 1024

# The keys are matplotlib's, whose type for them differs from version to version.
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9,
}


def draw(gpu: Gpu, model: Model, tensor_parallel: int, path: Path) -> None:
    """Write a PNG of three panels, 1950 x 720 pixels, step times in ms with the engine's overheads.

    Solid: the cost model that a scenario gets. Dotted, where that is a table: the formula. Shaded: beyond
    the measured range. Raises InputError where the model cannot run like that, OSError for the file.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cost = step_cost(gpu, model, tensor_parallel=tensor_parallel)
    formula = AnalyticCost(gpu, model, tensor_parallel) if cost.kind == "tabulated" else None
    with rc_context(_STYLE):
        figure = Figure(figsize=(13, 4.8), dpi=150)
        FigureCanvasAgg(figure)
        figure.suptitle(
            f"{model.name} on {tensor_parallel} x {gpu.name}: time of one engine step ({cost.kind},"
            f" {cost.overheads.engine_version.split(',')[0]})",
            x=0.012, ha="left", fontweight="bold",
        )  # fmt: skip
        figure.subplots_adjust(left=0.055, right=0.99, bottom=0.2, top=0.84, wspace=0.22)
        prefill, decode, mixed = figure.subplots(1, 3)
        _panel(prefill, cost, formula, "prefill")
        _panel(decode, cost, formula, "decode")
        _panel(mixed, cost, formula, "mixed")
        note = "shaded: beyond the measured range" if cost.measured_range else "nothing was measured"
        if formula is not None:
            note = f"solid: measured table; dotted: formula; {note}"
        figure.text(0.012, 0.02, note, fontsize=9, color="#555555")
        figure.savefig(path)


def _panel(axes: "Axes", cost: HardwareCost, formula: HardwareCost | None, kind: str) -> None:
    from matplotlib.ticker import LogLocator, NullLocator

    grid = cost.measured_range
    if kind == "prefill":
        x, curves, title = _spread(16, 32768), _PRIORS, "Prefill of one prompt"
        label, name, last = "prompt tokens computed", "after {:,} tokens", 16384
        last = grid.max_prefill_tokens if grid else last
    else:
        x, last = _spread(1, 512), grid.max_decode_seqs if grid else 512
        label = "sequences that decode"
        curves, title, name = _CONTEXTS, "Decode", "context {:,}"
        if kind == "mixed":
            title = f"Decode (context {_MIXED_CONTEXT:,}) beside a prompt"
            curves, name = _CHUNKS, "chunk of {:,} tokens"
    for value, colour, mark in zip(curves, _COLOURS, _MARKS, strict=True):
        axes.plot(
            x, _times_ms(cost, kind, x, value), color=colour, marker=mark, markevery=6, markersize=4,
            label=name.format(value),
        )  # fmt: skip
        if formula is not None:
            axes.plot(x, _times_ms(formula, kind, x, value), color=colour, linestyle=":", linewidth=1.3)
    axes.set(xscale="log", yscale="log", title=title, xlabel=label, ylabel="step time, ms")
    for axis, labelled in ((axes.xaxis, (1, 3) if kind == "prefill" else (1, 2, 5)), (axes.yaxis, (1, 2, 5))):
        axis.set_major_locator(LogLocator(subs=labelled, numticks=12))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter("{x:,g}")
    axes.tick_params(axis="x", labelsize=8.5)
    axes.set_xlim(x[0], x[-1])
    if last < x[-1]:
        axes.axvspan(last, x[-1], color="#EEEEEE", zorder=0)
    axes.legend(loc="upper left")


def _spread(first: int, last: int) -> Ints:
    """Return whole numbers evenly spread on a logarithmic scale, eight to a doubling at most."""
    steps = 8 * int(np.log2(last / first)) + 1
    return np.unique(np.round(np.geomspace(first, last, steps)).astype(np.int64))


def _times_ms(cost: HardwareCost, kind: str, x: Ints, value: int) -> list[float]:
    shapes = {
        "prefill": lambda n: step_shape([(n, value)]),
        "decode": lambda n: step_shape((), n, value),
        "mixed": lambda n: step_shape([(value, 0)], n, _MIXED_CONTEXT),
    }
    return [1e3 * cost.step_s(shapes[kind](n)) for n in x.tolist()]
