"""One picture of a validation: predicted against measured, both on logarithmic axes."""

from collections.abc import Sequence
from pathlib import Path

from experiments.validation.scores import Score

# Okabe and Ito's palette, which colour-blind readers can tell apart; every set has a marker of its own too.
_LOOKS = {
    "step-tables": ("#6E6E6E", "."),
    "closed-qwen3-32b": ("#0072B2", "o"),
    "closed-70b-fp8": ("#E69F00", "s"),
    "closed-trtllm-8b": ("#009E73", "^"),
    "closed-sglang-32b": ("#CC79A7", "v"),
    "per-request": ("#000000", "*"),
    "open-loop": ("#D55E00", "D"),
    "step-cycles": ("#56B4E9", "P"),
    "burst": ("#F0E442", "X"),
}
_PANELS = (
    ("time per token or step, ms", ("TPOT", "step")),
    ("end to end, ms, or duration, s", ("E2E", "duration")),
    ("time to first token, ms", ("TTFT",)),
)
_BAND = 0.10


def scatter(scores: Sequence[Score], path: Path) -> None:
    """Draw the rows that no constant was fitted to, with the identity and a band of 10 % around it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    there = [s for s in scores if s.role != "fitted" and s.predicted is not None]
    figure = Figure(figsize=(13.5, 5.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("Predicted against measured, rows that no constant was fitted to", fontweight="bold")
    for place, (title, words) in enumerate(_PANELS, 1):
        axes = figure.add_subplot(1, 3, place)
        own = [s for s in there if any(word in s.metric for word in words)]
        axes.set(xscale="log", yscale="log", xlabel=f"measured {title}", ylabel="predicted")
        if not own:
            axes.set_title("no rows")
            continue
        values = [s.measured for s in own] + [s.predicted for s in own if s.predicted]
        ends = [min(values) * 0.8, max(values) * 1.25]
        axes.fill_between(
            ends,
            [e * (1 - _BAND) for e in ends],
            [e * (1 + _BAND) for e in ends],
            color="#DDDDDD",
            label="±10 %",
        )
        axes.plot(ends, ends, color="#6E6E6E", linewidth=1)
        for name, (colour, marker) in _LOOKS.items():
            mine = [s for s in own if s.set_name == name]
            if mine:
                axes.scatter(
                    [s.measured for s in mine], [s.predicted or 0.0 for s in mine], s=14 if marker == "." else 26,
                    color=colour, marker=marker, edgecolors="black", linewidths=0.3, alpha=0.8,
                    label=f"{name} ({len(mine):,})", rasterized=True,
                )  # fmt: skip
        axes.set(xlim=ends, ylim=ends)
        axes.legend(fontsize=7, loc="upper left")
        axes.grid(alpha=0.3, which="major")
    figure.savefig(path)
