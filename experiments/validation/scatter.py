"""One picture of a validation: predicted against measured, both on logarithmic axes."""

from collections.abc import Sequence
from pathlib import Path

from experiments.validation.scores import Score
from simulator.report.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    YELLOW,
    axes,
    drawing,
    plain_log_scale,
    save,
)  # fmt: skip

# Every set has a marker of its own too.
_LOOKS = {
    "step-tables": (GREY, "."),
    "closed-qwen3-32b": (BLUE, "o"),
    "closed-70b-fp8": (ORANGE, "s"),
    "closed-trtllm-8b": (GREEN, "^"),
    "closed-sglang-32b": (PURPLE, "v"),
    "closed-sglang-8b": (SKY, "v"),
    "per-request": (BLACK, "*"),
    "per-request-4090": (BLACK, "p"),
    "per-request-experts": (BLACK, "8"),
    "closed-mixtures": (ORANGE, ">"),
    "mixtures": (SKY, ">"),
    "mixtures-latent": (RED, ">"),
    "layouts-70b": (BLUE, "<"),
    "sglang-blocks": (PURPLE, "h"),
    "open-loop": (RED, "D"),
    "step-cycles": (SKY, "P"),
    "burst": (YELLOW, "X"),
}
_PANELS = (
    ("time per token or step, ms", ("TPOT", "step")),
    ("end to end, ms, or duration, s", ("E2E", "duration")),
    ("time to first token, ms", ("TTFT",)),
)
_BAND = 0.10


def scatter(scores: Sequence[Score], path: Path) -> None:
    """Draw the rows that no constant was fitted to, with the identity and a band of 10 % around it."""
    there = [s for s in scores if s.role != "fitted" and s.predicted is not None]
    with drawing():
        figure, grid = axes(1, 3, width=10.0, height_in=5.4)
        figure.suptitle("Predicted against measured, rows that no constant was fitted to", x=0.008, ha="left")
        for panel, (title, words) in zip(grid[0], _PANELS, strict=True):
            own = [s for s in there if any(word in s.metric for word in words)]
            panel.set(xscale="log", yscale="log", xlabel=f"measured {title}", ylabel="predicted")
            if not own:
                panel.set_title("no rows")
                continue
            values = [s.measured for s in own] + [s.predicted for s in own if s.predicted]
            ends = [min(values) * 0.8, max(values) * 1.25]
            panel.fill_between(
                ends,
                [e * (1 - _BAND) for e in ends],
                [e * (1 + _BAND) for e in ends],
                color="#DDDDDD",
                label="±10 %",
            )
            panel.plot(ends, ends, color=GREY, linewidth=1)
            for name, (colour, marker) in _LOOKS.items():
                mine = [s for s in own if s.set_name == name]
                if mine:
                    panel.scatter(
                        [s.measured for s in mine], [s.predicted or 0.0 for s in mine], s=14 if marker == "." else 26,
                        color=colour, marker=marker, edgecolors="black", linewidths=0.3, alpha=0.8,
                        label=f"{name} ({len(mine):,})", rasterized=True,
                    )  # fmt: skip
            panel.set(xlim=ends, ylim=ends)
            plain_log_scale(panel.xaxis)
            plain_log_scale(panel.yaxis)
            panel.legend(loc="upper left", fontsize="x-small")
    save(figure, path)
