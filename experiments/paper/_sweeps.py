"""The sweeps over rates that figures 5, 6 and 11 are drawn from: every model, traffic and engine of the protocol."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from experiments.paper._protocol import PROTOCOL, swept, windows
from experiments.paper._reproduce import RunSummary, Study
from simulator.arrays import Floats
from simulator.metrics import smooth_goodput, token_slo
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._window import Window, measured
from simulator.results.result import Result

CHUNK_PAIRS = {"vLLM 0.5": "vLLM 0.5, chunked", "vLLM 0.24, unchunked": "vLLM 0.24"}  # without chunks: with
QUICK_SHARE = 0.25  # of the arrivals' time
AS_PUBLISHED = "the paper's"
CLASSIC = {
    "throughput": ("throughput", "output_tokens_per_s"),
    "TTFT mean": ("latency", "ttft_s", "mean"),
    "TPOT mean": ("latency", "tpot_s", "mean"),
    "TPOT median": ("latency", "tpot_s", "p50"),
    "TBT median": ("latency", "tbt_s", "p50"),
    "TBT p99": ("latency", "tbt_s", "p99"),
    "queue": ("engine", "waiting_mean"),
}  # of a summary; throughput is better high, the others low


class Place(NamedTuple):
    """Which sweep: titles of the protocol."""

    model: str
    traffic: str
    engine: str


@dataclass(frozen=True)
class Sweep:
    """What one server measured at its rates; arrays are f64[seed, rate]."""

    place: Place
    rates: Floats  # requests/s
    classic: Mapping[str, Floats]  # by ``CLASSIC``
    smooth: Mapping[str, Floats]  # smooth goodput by reading, tokens/s
    worth: Mapping[str, Floats]  # the same if waiting cost nothing
    attainment: Floats  # share of requests with every token by d_i, Eq. 6
    goodput: Floats  # tokens of those, tokens/s, Eq. 7

    def dearer(self, times: float, reading: str = AS_PUBLISHED) -> Floats:
        """Return smooth goodput with so many times the alpha, tokens/s: the penalty is linear in it (Eq. 10)."""
        worth = self.worth[reading]
        return worth - times * (worth - self.smooth[reading])

    @property
    def load_1_rps(self) -> float:
        """The rate at which the load is 1."""
        return PROTOCOL.sweep.traffic[self.place.traffic].load_1_rps[self.place.model]

    def peak_rps(self, smooth: Floats) -> Floats:
        """Return each seed's rate of largest smooth goodput, f64[seeds]."""
        return np.array([peak_at(self.rates, row) for row in smooth])

    def capacity_rps(self, share: float = 0.9) -> float:
        """Return the capacity (Eq. 6): the highest rate of the sweep up to which so many requests meet d_i; 0: none."""
        short = np.flatnonzero(self.attainment.mean(axis=0) < share)
        kept = short[0] if len(short) else len(self.rates)
        return float(self.rates[kept - 1]) if kept else 0.0


def peak_at(rates: Floats, values: Floats) -> float:
    """Return where values over rates are largest: the top of the parabola (in log rate) through the largest three."""
    top = int(np.argmax(values))
    if top in (0, len(rates) - 1):
        return float(rates[top])
    x, y = np.log(rates[top - 1 : top + 2]), values[top - 1 : top + 2]
    a, b, _ = np.polyfit(x - x[1], y, 2)
    return float(np.exp(np.clip(x[1] - b / (2 * a), x[0], x[2]))) if a < 0 else float(rates[top])


def inside(smooth: Floats) -> bool:
    """Whether the largest mean over seeds is at neither end of the rates."""
    return 0 < int(np.argmax(smooth.mean(axis=0))) < len(smooth[0]) - 1


def places(version: str = "v2") -> list[Place]:
    """Return all sweeps of a version's set-up."""
    setup = PROTOCOL.setups[version]
    return [Place(*each) for each in product(setup.models, setup.traffic, setup.engines)]


def panels(sweeps: Sequence[Sweep]) -> dict[tuple[str, str], list[Sweep]]:
    """Return the sweeps of each model and traffic: those that share a panel."""
    found: dict[tuple[str, str], list[Sweep]] = {}
    for sweep in sweeps:
        found.setdefault((sweep.place.model, sweep.place.traffic), []).append(sweep)
    return found


def chunk_pairs(sweeps: Sequence[Sweep]) -> list[tuple[Sweep, Sweep]]:
    """Return each sweep with chunked prefill beside that of the same engine without."""
    found = {sweep.place: sweep for sweep in sweeps}
    return [
        (found[place], found[place._replace(engine=chunked)])
        for whole, chunked in CHUNK_PAIRS.items()
        for place in found
        if place.engine == whole
    ]


def measure(study: Study, version: str = "v2") -> list[Sweep]:
    """Simulate all sweeps of a version's set-up; those that are cached are read."""
    loads = PROTOCOL.sweep.loads[1::2] if study.quick else PROTOCOL.sweep.loads
    share = QUICK_SHARE if study.quick else 1.0
    seeds = range(PROTOCOL.quick_seeds if study.quick else PROTOCOL.seeds)
    wanted, found = places(version), {}
    for traffic in PROTOCOL.setups[version].traffic:
        mine = [place for place in wanted if place.traffic == traffic]
        runs = [(place, seed, load) for place in mine for seed in seeds for load in loads]
        scenarios = [swept(*place, load, seed, share=share) for place, seed, load in runs]
        readings = _readings(version, traffic, share)
        numbers = iter(study.each(scenarios, measured_run, readings, label=f"rates, {traffic}"))
        for place in mine:
            rows = [next(numbers) for _ in range(len(seeds) * len(loads))]
            found[place] = _sweep(place, loads, len(seeds), rows)
    return [found[place] for place in wanted]


def measured_run(result: Result, readings: Mapping[str, tuple[UserModel, Window]]) -> RunSummary:
    """Return the classic metrics of a run, and what every reading makes of it; the first is the verdict's."""
    (first, window), *_ = readings.values()
    summary = result.summary(first, Slo(), window)
    found: RunSummary = {"smooth": {}, "worth": {}, "classic": {}}
    for name, keys in CLASSIC.items():
        value: Any = summary
        for key in keys:
            value = value[key]
        found["classic"][name] = value
    for title, (user, own) in readings.items():
        log = measured(result.log, own)
        for name, priced in (("smooth", user), ("worth", replace(user, alpha=0.0))):
            goodput = smooth_goodput.measure(log, priced, Slo())
            found[name][title] = goodput["smooth_goodput_tokens_per_s"]
    at_due = token_slo.measure(measured(result.log, window), first, Slo())
    return found | {"attainment": at_due["attainment"], "goodput": at_due["goodput_tokens_per_s"]}


def _readings(version: str, traffic: str, share: float) -> dict[str, tuple[UserModel, Window]]:
    (_, whole), *shorter = windows(traffic, share).items()
    own = PROTOCOL.setups[version].user
    reader = PROTOCOL.reader if own is None else UserModel(**own)
    found = {AS_PUBLISHED: (reader, whole)}
    if own is None:
        found |= {title: (user, whole) for title, user in PROTOCOL.readers(PROTOCOL.tasks).items()}
    return found | {title: (reader, window) for title, window in shorter}


def _sweep(place: Place, loads: Sequence[float], seeds: int, rows: Sequence[RunSummary]) -> Sweep:
    """Sort what was measured, in order of seed and load, into arrays."""

    def values(found: Sequence[Any]) -> Floats:
        return np.array(found, np.float64).reshape(seeds, len(loads))

    load_1_rps = PROTOCOL.sweep.traffic[place.traffic].load_1_rps[place.model]
    return Sweep(
        place,
        load_1_rps * np.array(loads),
        {name: values([row["classic"][name] for row in rows]) for name in CLASSIC},
        {title: values([row["smooth"][title] for row in rows]) for title in rows[0]["smooth"]},
        {title: values([row["worth"][title] for row in rows]) for title in rows[0]["worth"]},
        values([row["attainment"] for row in rows]),
        values([row["goodput"] for row in rows]),
    )
