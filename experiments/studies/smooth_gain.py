"""How much smooth goodput does the policy ``smooth`` gain over every other scheduling policy?

Question: three kinds of traffic (Azure conversations, ShareGPT chat with Poisson arrivals, DeepSeek-R1
reasoning), two models, two GPUs, at 0.9, 1.1 and 1.3 times the rate at which ``vllm_v1`` does best on the
same traffic, that is where its smooth goodput is largest; on two stretches of traffic for the policies that
come near, on one for the rest.

Expectation: nothing to gain at 0.9, where all readers are served in time, and much beyond 1, where
other policies let all readers fall behind at once. No policy knows output lengths. Beside the results stands
an upper bound for any policy, even one that knows everything (``goodput_bound.py``); it is not tight.

    .venv/bin/python -m experiments.studies.smooth_gain [--quick] [--out results/smooth_gain]

Writes points.csv (a line as soon as it is measured; a run that was cut short goes on from there),
best_rates.json and smooth_gain.png. Takes about 20 minutes on one core, with --quick (one stretch, a quarter of
the time span, five rivals) less than two.
"""

import argparse
import csv
import json
import math
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from experiments.studies.goodput_bound import bound
from simulator.errors import StallError
from simulator.scenario.discover import discover
from simulator.scenario.engines import engine_names
from simulator.scenario.run import run
from simulator.scenario.scenario import Scenario

GPUS = {"A100": "a100-80gb-sxm", "H100": "h100-80gb-sxm"}
MODELS = {"8B": "llama-3.1-8b", "14B": "qwen-2.5-14b"}
TRAFFIC: dict[str, dict[str, Any]] = {
    "conv": {"trace": "azure2023_conv"},
    "chat": {"arrivals": "poisson", "lengths": "chat_sharegpt_vllm"},
    "reasoning": {"trace": "servegen_r1", "max_prompt_tokens": 16384},
}
SPAN_S = {"conv": 240, "chat": 150, "reasoning": 800}  # of arrivals
SECOND_STRETCH_S = {"conv": 1800, "reasoning": 700}  # where seed 1 begins in a trace
SEARCH_FROM_RPS = {
    "conv": {"A100 8B": 5.2, "A100 14B": 2.7, "H100 8B": 18.0, "H100 14B": 9.5},
    "chat": {"A100 8B": 18.0, "A100 14B": 9.5, "H100 8B": 65.0, "H100 14B": 38.0},
    "reasoning": {"A100 8B": 1.9, "A100 14B": 1.1, "H100 8B": 4.7, "H100 14B": 2.1},
}
LOADS = (0.9, 1.1, 1.3)
ENGINE = "vllm-0.24"  # of all policies
OURS, REFERENCE = "smooth", "vllm_v1"
ABLATION = "smooth, synchronous"  # measured beside the others, and no rival
RIVALS_FIRST = (REFERENCE, "sglang", "andes", "vllm_v0", "orca")
FURTHEST_LEFT = -0.5  # of the figure
Point = tuple[str, str, int, float]  # traffic, hardware, seed, load
FIELDS = ("traffic", "hardware", "seed", "load", "rate_rps", "policy", "engine", "smooth_goodput",
          "offered", "bound")  # fmt: skip


class ServingCase(NamedTuple):
    """What is served by what."""

    traffic: str
    gpu: str
    model: str
    seed: int

    @property
    def hardware(self) -> str:
        """GPU and model, in short."""
        return f"{self.gpu} {self.model}"


def scenario(setting: ServingCase, rate_rps: float, policy: str, span_share: float) -> Scenario:
    """Return one simulation of the study."""
    workload = {**TRAFFIC[setting.traffic], "rate_rps": rate_rps}
    count = max(50, int(rate_rps * SPAN_S[setting.traffic] * span_share))
    if "trace" in workload:
        workload["limit"] = count
        if setting.seed:
            workload["start_s"] = SECOND_STRETCH_S[setting.traffic]
    else:
        workload["requests"] = count
    ablated = {"name": OURS, "async_scheduling": False}
    return Scenario(
        seed=setting.seed,
        hardware={"gpu": GPUS[setting.gpu], "model": MODELS[setting.model]},
        engine={"profile": ENGINE},
        policy={"scheduling": ablated if policy == ABLATION else {"name": policy}},
        workload=workload,
    )


def measure(what: Scenario) -> float:
    """Return the smooth goodput of a scenario; minus infinity where the policy gets stuck."""
    try:
        summary = run(what).summary()
    except StallError:
        return -math.inf
    return float(summary["smooth_goodput"]["smooth_goodput_tokens_per_s"])


def best_rate(setting: ServingCase, span_share: float) -> float:
    """Return the rate at which the reference's smooth goodput is largest, on a grid of 2.7 %."""
    found: dict[float, float] = {}

    def value(rate_rps: float) -> float:
        rate_rps = round(rate_rps, 4)
        if rate_rps not in found:
            found[rate_rps] = measure(scenario(setting, rate_rps, REFERENCE, span_share))
        return found[rate_rps]

    value(SEARCH_FROM_RPS[setting.traffic][setting.hardware])
    while max(found) < 1.2 * max(found, key=value):
        value(max(found) * 1.08)
    while min(found) > max(found, key=value) / 1.1:
        value(min(found) / 1.08)
    best_rps = max(found, key=value)
    for factor in (0.947, 0.973, 1.027, 1.054):
        value(best_rps * factor)
    return max(found, key=value)


def _point(row: dict[str, Any]) -> Point:
    return row["traffic"], row["hardware"], int(row["seed"]), float(row["load"])


def gains(rows: Iterable[dict[str, Any]]) -> dict[Point, tuple[float, str, float]]:
    """Return, for each point measured, our smooth goodput, the best other policy and its smooth goodput."""
    points: dict[Point, dict[str, float]] = {}
    for row in rows:
        points.setdefault(_point(row), {})[row["policy"]] = float(row["smooth_goodput"])
    found = {}
    for key, values in points.items():
        others = {name: value for name, value in values.items() if name not in (OURS, ABLATION)}
        if OURS in values and others:
            best = max(others, key=others.__getitem__)
            found[key] = values[OURS], best, others[best]
    return found


def gain(ours: float, other: float) -> float:
    """Relative gain; infinite over a policy that is worth nothing or less."""
    if other > 0:
        return ours / other - 1
    return math.copysign(math.inf, ours - other)


def report(rows: list[dict[str, Any]]) -> str:
    """Return the table of gains, averaged over the stretches, and their median and least over all points."""
    found = gains(rows)
    head = "traffic    hardware  load   smooth     best other          gain   of the bound"
    lines = [f"engine: {ENGINE}", "", head]
    limits = {_point(row): float(row["bound"]) for row in rows if row["policy"] == OURS}
    for traffic, hardware, load in dict.fromkeys((key[0], key[1], key[3]) for key in found):
        keys = [key for key in found if (key[0], key[1], key[3]) == (traffic, hardware, load)]
        ours, other = (float(np.mean([found[key][i] for key in keys])) for i in (0, 2))
        names = "/".join(sorted({found[key][1] for key in keys}))
        share = ours / float(np.mean([limits[key] for key in keys]))
        lines.append(
            f"{traffic:10s} {hardware:9s} {load:.1f} {ours:8.0f} {other:8.0f} {names:16s}"
            f" {_percent(gain(ours, other))}  {share:5.0%}"
        )
    for name, loads in (("all", LOADS), *((f"{load:g}x", (load,)) for load in LOADS)):
        every = [gain(ours, other) for key, (ours, _, other) in found.items() if key[3] in loads]
        if every:
            middle, least = _percent(median(every)), _percent(min(every))
            lines.append(f"{name}: {len(every)} points, median gain {middle}, least {least}")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{value:+8.1%}" if math.isfinite(value) else f"{'> 0' if value > 0 else '< 0':>8s}"


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw smooth goodput as a share of the tokens offered: ours, the best other, vllm_v1 and the bound."""
    from matplotlib import pyplot as plt  # slow to import
    from matplotlib.lines import Line2D

    found = gains(rows)
    settings = list(dict.fromkeys((key[0], key[1]) for key in found))
    figure, panels = plt.subplots(1, len(LOADS), figsize=(13, 5.2), sharey=True, layout="constrained")
    styles = (
        ("bound", "bound for any policy", "|", "#000000"),
        (REFERENCE, "vllm_v1", "v", "#6E6E6E"),
        ("other", "best other policy", "s", "#E69F00"),
        (OURS, "smooth", "o", "#0072B2"),
    )
    for panel, load in zip(panels, LOADS, strict=True):
        for traffic, hardware, seed, _ in (key for key in found if key[3] == load):
            point = traffic, hardware, seed, load
            mine = {row["policy"]: row for row in rows if _point(row) == point}
            ours = mine[OURS]
            values = {
                "bound": ours["bound"],
                REFERENCE: mine[REFERENCE]["smooth_goodput"],
                "other": found[point][2],
                OURS: ours["smooth_goodput"],
            }
            for what, _, marker, colour in styles:
                share = float(values[what]) / float(ours["offered"])
                panel.plot(
                    max(share, FURTHEST_LEFT),
                    settings.index((traffic, hardware)) + 0.24 * (seed - 0.5),
                    marker="<" if share < FURTHEST_LEFT else marker,
                    color=colour,
                    markersize=11 if what == "bound" else 6,
                    linestyle="none",
                )
        panel.set_title(f"{load:g} x the best rate of vllm_v1")
        panel.set_xlim(FURTHEST_LEFT - 0.05, 1.05)
        panel.axvline(0, color="#BBBBBB", linewidth=0.8, zorder=0)
        panel.grid(axis="y", color="#EEEEEE")
    panels[0].set_yticks(range(len(settings)), [" ".join(each) for each in settings])
    panels[0].invert_yaxis()
    figure.supxlabel(f"smooth goodput, of the tokens offered (pointing left: further left); engine {ENGINE}")
    handles = [Line2D([], [], marker=m, color=c, linestyle="none", label=label) for _, label, m, c in styles]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(styles), frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main() -> None:
    """Measure what is not measured yet, then report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one stretch, a quarter as long, five rivals")
    parser.add_argument("--out", type=Path, default=Path("results/smooth_gain"))
    options = parser.parse_args()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    share, seeds = (0.25, (0,)) if options.quick else (1.0, (0, 1))
    rest = tuple(name for name in discover("scheduling") if name not in (OURS, *RIVALS_FIRST))
    rounds = [(seed, (OURS, *RIVALS_FIRST, ABLATION)) for seed in seeds]
    every = rounds if options.quick else [*rounds, (0, rest)]
    points, rates_file = out / "points.csv", out / "best_rates.json"
    rows = list(csv.DictReader(points.open())) if points.exists() else []
    rates = json.loads(rates_file.read_text()) if rates_file.exists() else {}
    measured = {(*_point(row), row["policy"]) for row in rows}
    with points.open("a", newline="") as file:
        table = csv.DictWriter(file, FIELDS)
        if not rows:
            table.writeheader()
        for seed, policies in every:
            for setting in (ServingCase(t, g, m, seed) for t in TRAFFIC for g in GPUS for m in MODELS):
                name = f"{setting.traffic} {setting.hardware} {seed}"
                if name not in rates:
                    rates[name] = best_rate(setting, share)
                    rates_file.write_text(json.dumps(rates, indent=1))
                for load in LOADS:
                    for policy in policies:
                        key = setting.traffic, setting.hardware, seed, load, policy
                        if key in measured:
                            continue
                        what = scenario(setting, rates[name] * load, policy, share)
                        limit, offered = bound(what) if policy == OURS else (math.nan, math.nan)
                        engine, worth = engine_names(what), measure(what)
                        values = (*key[:4], rates[name] * load, policy, engine, worth, offered, limit)
                        row = dict(zip(FIELDS, map(str, values), strict=True))
                        table.writerow(row)
                        file.flush()
                        rows.append(row)
    print(report(rows))
    draw(rows, out / "smooth_gain.png")


if __name__ == "__main__":
    main()
