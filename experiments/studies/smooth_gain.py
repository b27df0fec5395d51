"""How much smooth goodput does the policy ``smooth`` gain over every other scheduling policy?

Question: on one engine, on traffic that its parameters were chosen on (``tuned``) and on traffic that they were
not (``fresh``), with six ways to score waiting: at 0.9, 1.1 and 1.3 times the rate at which ``vllm_v1`` does best on
the same traffic. The best rival is chosen anew at every point, afterwards, of all policies without predictions;
those with perfect ones stand apart.

Expectation: nothing to gain at 0.9, where all readers are served in time, or where no policy lets readers wait; much
beyond 1, where others let all fall behind. Beside the results stands an upper bound for any policy, even one that knows
everything (``goodput_bound.py``); it is not tight.

All run until all requests are served, and are divided by one T: so a gain is that of the benefits' sum.

    .venv/bin/python -m experiments.studies.smooth_gain [tuned | fresh | FILE.json] [--quick] [--out FOLDER]

Writes points.csv (a line as soon as it is measured; a run that was cut short goes on from there) and best_rates.json.
"""

import argparse
import csv
import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from experiments.paper._scenarios import MEMORY, without_prefix_cache
from experiments.studies._smooth_sets import OWN_RATES, SCORINGS, PointSet, load_set
from experiments.studies.goodput_bound import bound
from simulator.errors import StallError
from simulator.metrics._options import UserModel
from simulator.metrics._reader import benefit_tokens
from simulator.results.result import Result
from simulator.scenario.discover import discover
from simulator.scenario.run import run
from simulator.scenario.scenario import Scenario

LOADS = (0.9, 1.1, 1.3)
ENGINE = "vllm-0.24"  # of all policies
OURS, REFERENCE = "smooth", "vllm_v1"
PREDICTING = ("sjf", "srpt")
PACED = ("andes", "edf", "least_slack", OURS)  # they look at the reader's pace, the last at all that scores
VARIANTS = {"edf, 5 s": {"name": "edf", "margin_s": 5.0}}  # beside the defaults
MOST_REQUESTS = 800
LOST = (0.002, 0.02)
FIELDS = ("traffic", "hardware", "load", "scoring", "rate_rps", "policy", "benefit", "tokens", "bound",
          "preemptions")  # fmt: skip
Point = tuple[str, str, float, str]  # traffic, hardware, load, scoring


class Served(NamedTuple):
    """A kind of traffic on hardware."""

    points: PointSet
    traffic: str
    hardware: str

    def scenario(self, rate_rps: float, policy: str, scoring: str, share: float = 1.0) -> Scenario:
        """Return one simulation of the study, of a share of the time span."""
        traffic, (gpu, model) = self.points.traffic[self.traffic], self.points.hardware[self.hardware]
        count = min(MOST_REQUESTS, max(60, int(rate_rps * traffic.span_s * share)))
        workload = {**traffic.workload, "rate_rps": rate_rps}
        workload["limit" if "trace" in workload else "requests"] = count
        if policy in PREDICTING:
            workload["predictor"] = "perfect"
        return Scenario(
            seed=traffic.seed,
            hardware={"gpu": gpu, "model": model},
            engine={"profile": ENGINE, **MEMORY},
            policy={"scheduling": without_prefix_cache(VARIANTS.get(policy, {"name": policy}))},
            workload=workload,
            user=SCORINGS[scoring],
        )


def result_of(what: Scenario) -> Result | None:
    """Return what comes of a scenario; None where the policy gets stuck."""
    try:
        return run(what)
    except StallError:
        return None


def worth(result: Result | None, scoring: str) -> float:
    """Return the tokens that all requests are worth, less those that waiting costs; minus infinity for None."""
    if result is None:
        return -math.inf
    return float(benefit_tokens(result.log, UserModel(**SCORINGS[scoring])).sum())


def best_rate(served: Served, scoring: str, share: float) -> float:
    """Return the rate at which the reference's smooth goodput is largest, on a grid of 7 %."""
    found: dict[float, float] = {}

    def value(rate_rps: float) -> float:
        rate_rps = round(rate_rps, 4)
        if rate_rps not in found:
            result = result_of(served.scenario(rate_rps, REFERENCE, scoring, share))
            found[rate_rps] = (
                -math.inf if result is None else worth(result, scoring) / float(result.log.end_s.max())
            )
        return found[rate_rps]

    value(8.0)
    while max(found) < 1.25 * max(found, key=value):
        value(max(found) * 1.15)
    while min(found) > max(found, key=value) / 1.2:
        value(min(found) / 1.15)
    best_rps = max(found, key=value)
    for factor in (0.93, 1.07):
        value(best_rps * factor)
    return max(found, key=value)


def runs() -> Iterator[tuple[str, str, list[str]]]:
    """Yield, of each run of a point, its policy, the scoring that it is told, and those that it counts for."""
    policies = [name for name in discover("scheduling") if name != "static"] + list(VARIANTS)
    for policy in policies:
        by: dict[Any, list[str]] = {}
        for scoring, user in SCORINGS.items():
            paced = policy in PACED or policy in VARIANTS
            key = (
                scoring if policy == OURS else (scoring == "paper", user["v_s_per_token"] if paced else None)
            )
            by.setdefault(key, []).append(scoring)
        for scorings in by.values():
            yield policy, scorings[0], scorings


def _point(row: dict[str, Any]) -> Point:
    return row["traffic"], row["hardware"], float(row["load"]), row["scoring"]


def measure(
    served: Served, rates: dict[str, float], share: float, done: set[Any]
) -> Iterator[dict[str, str]]:
    """Yield the rows of one kind of traffic on hardware that are not done."""
    for load in LOADS:
        for policy, told, scorings in runs():
            keys = [(served.traffic, served.hardware, load, scoring, policy) for scoring in scorings]
            if done.issuperset(keys):
                continue
            rate_rps = rates[told if told in OWN_RATES else OWN_RATES[0]] * load
            what = served.scenario(rate_rps, policy, told, share)
            result = result_of(what)
            preemptions = -1 if result is None else sum(result.requests()["preemptions"].to_pylist())
            tokens = 0 if result is None else int(result.log.token_counts.sum())
            for key in keys:
                limit = bound(what)[0] if policy == OURS and key[3] in OWN_RATES else math.nan
                values = (*key[:4], rate_rps, policy, worth(result, key[3]), tokens, limit, preemptions)
                yield dict(zip(FIELDS, map(str, values), strict=True))


def gains(rows: Iterable[dict[str, Any]]) -> dict[Point, tuple[float, str, float]]:
    """Return, for each point measured, our benefit, the best rival without predictions, and its benefit."""
    points: dict[Point, dict[str, float]] = {}
    for row in rows:
        points.setdefault(_point(row), {})[row["policy"]] = float(row["benefit"])
    found = {}
    for key, values in points.items():
        others = {name: value for name, value in values.items() if name not in (OURS, *PREDICTING)}
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
    """Return the gain at each point, then median, least and losses of each scoring."""
    found = gains(rows)
    names = [name for name in SCORINGS if any(key[3] == name for key in found)]
    ours = {_point(row): row for row in rows if row["policy"] == OURS}
    lines = [f"engine: {ENGINE}; gain over the best rival", "", f"{'traffic':14s} {'hardware':9s} load"]
    lines[-1] += "".join(f" {name:>21s}" for name in names)
    for key in dict.fromkeys(key[:3] for key in found):
        cells = ""
        for name in names:
            mine, best, other = found.get((*key, name), (math.nan, "", math.nan))
            cells += f" {_percent(gain(mine, other))} {best:12.12s}"
        lines.append(f"{key[0]:14s} {key[1]:9s} {key[2]:.1f} {cells}")
    lines += [
        "",
        "scoring       points  median   at 1.1  at 1.3    least   lost > 0.2 %  > 2 %  > 2 % of tokens",
    ]
    for name in names:
        here = {key: value for key, value in found.items() if key[3] == name}
        every = {key: gain(mine, other) for key, (mine, _, other) in here.items()}
        medians = [median(every.values()), *(_median_at(every, load) for load in LOADS[1:])]
        lost = [sum(value < -most for value in every.values()) for most in LOST]
        tokens = sum(v[2] - v[0] > LOST[1] * float(ours[key]["tokens"]) for key, v in here.items())
        lines.append(
            f"{name:13s} {len(every):5d} {' '.join(_percent(value) for value in (*medians, min(every.values())))}"
            f" {lost[0]:10d} {lost[1]:7d} {tokens:10d}"
        )
    return "\n".join(lines)


def _median_at(every: dict[Point, float], load: float) -> float:
    here = [value for key, value in every.items() if key[2] == load]
    return median(here) if here else math.nan


def _percent(value: float) -> str:
    return f"{value:+8.1%}" if math.isfinite(value) else f"{'> 0' if value > 0 else '< 0':>8s}"


def main() -> None:
    """Measure what is not measured yet, then report."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("set", nargs="?", default="fresh", help="tuned, fresh, or a JSON file of one's own")
    parser.add_argument("--quick", action="store_true", help="a quarter of the time spans, one GPU and model")
    parser.add_argument("--out", type=Path, default=Path("runs/smooth_gain"))
    options = parser.parse_args()
    points, share = load_set(options.set), 0.25 if options.quick else 1.0
    out: Path = options.out / f"{Path(options.set).stem}{'_quick' if options.quick else ''}"
    out.mkdir(parents=True, exist_ok=True)
    file, rates_file = out / "points.csv", out / "best_rates.json"
    rows = list(csv.DictReader(file.read_text().splitlines())) if file.exists() else []
    rates = json.loads(rates_file.read_text()) if rates_file.exists() else {}
    done = {(*_point(row), row["policy"]) for row in rows}
    with file.open("a", newline="") as lines:
        table = csv.DictWriter(lines, FIELDS)
        if not rows:
            table.writeheader()
        for hardware in list(points.hardware)[: 1 if options.quick else None]:
            for traffic in points.traffic:
                served, name = Served(points, traffic, hardware), f"{traffic} {hardware}"
                if name not in rates:
                    rates[name] = {key: best_rate(served, key, share) for key in OWN_RATES}
                    rates_file.write_text(json.dumps(rates, indent=1))
                for row in measure(served, rates[name], share, done):
                    table.writerow(row)
                    lines.flush()
                    rows.append(row)
    print(report(rows))


if __name__ == "__main__":
    main()
