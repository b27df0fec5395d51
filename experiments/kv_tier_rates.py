"""The picture of docs/kv_tiers.md: what a host tier gives and costs, by the rate at which it is read.

Mooncake's requests (prompts up to 100,000 tokens, the first 1,500 of them at 0.45 requests/s) on an H100 with
LLaMA-3.1-8B, 1 TiB of host memory behind it, written at 25 GB/s. Where reading is slow, loads take longer than the
prompts that they save, and all who decode wait for them.

    python -m experiments.kv_tier_rates [FILE]    (docs/kv_tiers.png)
"""

import sys
from pathlib import Path

from simulator import Scenario, run
from simulator.report.style import axes, drawing, label_panels, save

RATES_GB_S = (1.5, 3.0, 6.0, 12.0, 25.0)
RULES = {
    "always": {},
    "always, layer by layer": {"load": "layerwise"},
    "only where it is cheaper": {"fetch": "cheaper"},
}
REQUESTS = 1500


def served(read_gb_s: float | None, **rules: str) -> tuple[float, float]:
    """Return the mean time to first token and the longest gap between tokens, s; ``None``: without the tier."""
    tier = {"kind": "host", "capacity_gib": 1024.0, "read_gb_s": read_gb_s, "write_gb_s": 25.0}
    latency = run(
        Scenario(
            engine={"kv_offloading": {"tiers": [] if read_gb_s is None else [tier], **rules}},
            workload={
                "trace": "mooncake_fast25_synthetic",
                "limit": REQUESTS,
                "max_prompt_tokens": 100_000,
                "rate_rps": 0.45,
            },
        )
    ).summary()["latency"]
    return latency["ttft_s"]["mean"], latency["tbt_s"]["max"]


def draw(path: Path) -> None:
    """Draw both panels into a PNG file and an SVG beside it."""
    without = served(None)
    found = {label: [served(rate, **rules) for rate in RATES_GB_S] for label, rules in RULES.items()}
    with drawing():
        figure, grid = axes(1, 2, width="text", height_in=2.4)
        titles = ("Mean time to first token (s)", "Longest gap between tokens (s)")
        for which, (panel, title) in enumerate(zip(grid[0], titles, strict=True)):
            for (label, points), line in zip(found.items(), ("-", "--", ":"), strict=True):
                panel.plot(RATES_GB_S, [each[which] for each in points], line, marker="o", ms=3, label=label)
            panel.axhline(without[which], color="0.4", lw=1, label="without the tier")
            panel.set(title=title, xlabel="read from the host at (GB/s)", ylim=(0, None), xscale="log")
            panel.set_xticks(RATES_GB_S, [f"{rate:g}" for rate in RATES_GB_S], minor=False)
            panel.set_xticks([], minor=True)
        grid[0][1].legend(loc="upper right", title="fetched")
        label_panels(grid)
    save(figure, path)


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "docs" / "kv_tiers.png")
