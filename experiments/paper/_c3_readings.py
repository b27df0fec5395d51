"""The cases of C3, and what dropping changes there for every reader."""

from collections.abc import Sequence
from itertools import product
from typing import Any, get_args

import numpy as np

from experiments.paper._reproduce import ORIGINS, RunSummary
from experiments.paper._scenarios import base_scenario
from simulator.metrics._options import Origin, Slo, Unserved
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, interval, paired

V_S = 0.05
CAPACITY_RPS = 20.0
LOADS = (0.9, 1.2, 1.5)
OVERLOADS = LOADS[1:]
SHOWN = 1.2  # of capacity, in the lower panels
LASTS_S = 120.0  # arrivals, in the test
TTFT, E2E = "no token after 1 s", "not done after 10 s"
RULES: dict[str, tuple[dict[str, Any], Slo]] = {
    TTFT: ({"name": "missed_slo", "ttft_s": 1.0}, Slo(ttft_s=1.0, tpot_s=V_S)),
    E2E: ({"name": "missed_slo", "e2e_s": 10.0}, Slo(e2e_s=10.0)),
}
PRIMARY = 0.5  # alpha of the test, times 1/V
ALPHAS = (0.1, PRIMARY, 1.0)  # times 1/V, in the table
UNSERVED: tuple[Unserved, ...] = get_args(Unserved)  # the default first
REQUESTS_PER_S, TOKENS_PER_S = "goodput, requests/s", "goodput, tokens/s"
CLASSIC = (REQUESTS_PER_S, TOKENS_PER_S)
DELIVERED = "delivered, tokens/s"
Reader = tuple[Origin, Unserved]
READERS: tuple[Reader, ...] = tuple(product(ORIGINS, UNSERVED))
FIRST = READERS[0]
IDLE: dict[Reader, str] = {reader: f"idle latency, {', '.join(reader)}, s/s" for reader in READERS}
Case = tuple[str, float, float]  # rule, load, how long requests arrive in s
CASES: tuple[Case, ...] = tuple((rule, load, LASTS_S) for rule, load in product(RULES, OVERLOADS))
Measured = dict[tuple[str, Case, bool], list[float]]  # what, case, whether dropped: one value a seed


def scenario_of(case: Case, seed: int, policy: dict[str, Any] | None) -> Scenario:
    """Return one simulation of a case, with drops where a policy is given."""
    _, load, lasts_s = case
    drops = {"policy.abandonment": policy} if policy else {}
    return base_scenario(
        rate_rps=CAPACITY_RPS * load,
        requests=round(CAPACITY_RPS * load * lasts_s),
        seed=seed,
        overrides={"workload.lengths": "chat_azure2023", **drops},
    )


def values_of(found: dict[Reader, RunSummary]) -> dict[str, float]:
    """Return everything as a rate over the arrivals' time; waiting is V times tokens less benefit."""
    summary = found[FIRST]
    tokens_per_s = summary["throughput"]["output_tokens_per_s"]
    values = {
        REQUESTS_PER_S: summary["slo"]["goodput_requests_per_s"],
        TOKENS_PER_S: summary["slo"]["goodput_tokens_per_s"],
        DELIVERED: tokens_per_s,
        "dropped, share of arrived": 1 - summary["states"]["completed"]["share_of_arrived"],
    }
    for reader, each in found.items():
        smooth = each["smooth_goodput"]["smooth_goodput_tokens_per_s"]
        values[IDLE[reader]] = V_S * (tokens_per_s - smooth)
    return values


def change(measured: Measured, what: str, case: Case) -> Interval:
    """Return what dropping changes, seed by seed."""
    return paired(measured[what, case, True], measured[what, case, False])


def gained(measured: Measured, case: Case, reader: Reader, alpha: float) -> list[float]:
    """Return what dropping changes smooth goodput by, tokens/s, one value a seed; ``alpha`` in tokens/s."""
    tokens, idle = (
        np.subtract(measured[what, case, True], measured[what, case, False])
        for what in (DELIVERED, IDLE[reader])
    )
    values: list[float] = (tokens - alpha * idle).tolist()
    return values


def alpha_star(measured: Measured, case: Case, reader: Reader) -> float:
    """Return the price of a second of waiting, tokens/s, above which dropping pays (of means).

    Infinite where it never does, and NaN where it changes nothing.
    """
    lost, saved = (-change(measured, what, case).mean for what in (DELIVERED, IDLE[reader]))
    if lost <= 0 <= saved:
        return 0.0 if saved - lost else np.nan
    return lost / saved if saved > 0 else np.inf


def percent(measured: Measured, case: Case, reader: Reader, alpha_v: float) -> Interval:
    """Return the change of smooth goodput in percent of the tokens delivered without drops; alpha times 1/V."""
    return scaled(interval(gained(measured, case, reader, alpha_v / V_S)), measured[DELIVERED, case, False])


def scaled(change: Interval, base: Sequence[float]) -> Interval:
    """Return a change in percent of the mean of something, such as what there is without drops."""
    scale = 100 / float(np.mean(base))
    return Interval(scale * change.mean, scale * change.low, scale * change.high)
