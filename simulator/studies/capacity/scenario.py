"""A scenario as something that can be simulated at a rate: its target, its runs, what is cut of them."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from simulator.errors import InputError, StallError
from simulator.metrics import Measure, RequestLog, Slo, UserModel, stability
from simulator.results.vocabulary import MADE_BY_RUNS, known, numbers, vocabulary
from simulator.scenario.scenario import Scenario
from simulator.studies.capacity.search import Ask, Bound, Seen
from simulator.studies.processes import pool_of
from simulator.studies.sweep.sweep import Kept, Point
from simulator.studies.targets import read, there, unknown
from simulator.studies.warmup import mser5
from simulator.workload import build
from simulator.workload.load_keys import first_given

if TYPE_CHECKING:
    from simulator.results.result import Result

SMOOTH = "capacity.smooth_goodput_tokens_per_s_and_gpu"
GROWTH, SATURATED = "capacity.backlog_growth", "capacity.saturated"
WARM_UP, TOO_SHORT = "capacity.warm_up_requests", "capacity.too_short"
STABLE_WITHIN = 0.005  # of the arrivals may be added to the backlog: a queue fed at most 0.5 % too much
SATURATED_FROM = 0.02  # the same, from which on a single run is called saturated
FEWEST_STAYS = 10  # times that a request stays: shorter runs may still be filling up
SIGMAS = 4.0  # by how many standard errors of a Poisson count it must be more than luck
COOL_DOWN = 0.1  # share of the arrivals' time at the end that only keeps up the load
FIRST_REQUESTS = 1000

MEASURES = {  # beside those of a summary
    SMOOTH: Measure(SMOOTH, "smooth goodput", "tokens/s and GPU", True, "smooth"),
    GROWTH: Measure(GROWTH, "backlog growth", "share of the arrivals", alias="stable"),
}


@dataclass(frozen=True)
class Target:
    """What a rate shall keep, or make largest."""

    text: str  # as it was given
    key: str  # of the summary, with dots
    bound: Bound | None  # None: the key's largest value is wanted

    @property
    def name(self) -> str:
        """Of the metric, in short."""
        name = self.text.partition("<=")[0].partition(">=")[0].strip()
        return MEASURES[GROWTH].label if self.key == GROWTH else name


def parse_target(text: str) -> Target:
    """Read ``stable``, ``KEY<=NUMBER``, ``KEY>=NUMBER`` or ``KEY`` (its largest value). InputError if it is none."""
    wanted = read(text, "--target", MEASURES.values())
    if wanted.sign is None:
        stable = Bound(STABLE_WITHIN, at_most=True) if wanted.key == GROWTH else None
        return Target(wanted.text, wanted.key, stable)
    return Target(wanted.text, wanted.key, Bound(wanted.bound, wanted.sign == "<="))


def check_target(target: Target, user: UserModel, slo: Slo) -> None:
    """Refuse, before any time is spent, a key that no summary has, or that these options leave empty."""
    names, measure = known(user, slo), vocabulary().get(target.key)
    if target.bound is None and measure is not None and not measure.higher_is_better:
        raise InputError(
            f"--target {target.text}: {measure.label} is better the lower it is; expected {target.text}<=NUMBER"
        )
    if target.key in (GROWTH, SMOOTH) or names.get(target.key) or target.key.startswith(MADE_BY_RUNS):
        return
    if target.key.startswith("slo.") and target.key in names:
        raise InputError(
            f"--target {target.text}: the scenario sets no such objective; expected one, such as"
            " --set slo.ttft_s=1.0"
        )
    more = ", or one of stable, smooth, token_slo, slo, ttft_p99, tbt_mean and the like"
    raise unknown(target.key, f"--target {target.text}", there(names), more)


class CapacityPoint(Point):
    """A simulation of which warm-up is cut, as this file and its neighbours say."""

    @property
    def digest(self) -> str:
        """What its result is kept under: also how it is measured."""
        here = Path(__file__)
        sources = [here, here.parent.parent / "warmup.py"]
        parts = [super().digest.encode(), *(path.read_bytes() for path in sources)]
        return hashlib.sha256(b"".join(parts)).hexdigest()[:32]


class Traffic:
    """A scenario's traffic at any rate: which keys to set, and where to begin.

    Raises InputError for traffic that has no steady rate, and for a horizon, which would cut runs at some rates only.
    """

    def __init__(self, scenario: Scenario, base_dir: Path | None, requests: int | None) -> None:
        spec = scenario.workload
        self.scenario, self.base_dir = scenario, base_dir
        if spec.concurrency is not None or spec.arrivals == "burst":
            raise InputError(
                "workload: clients that wait for answers, or a burst, have no rate to search; expected arrivals ="
                " 'poisson', 'gamma' or 'constant', or a trace"
            )
        if (changing := first_given(spec)) is not None:
            raise InputError(
                f"workload.{changing}: a rate that changes has no highest value that is kept; expected none,"
                " or servesim sweep over workload.rate_rps"
            )
        if scenario.run.horizon_s is not None:
            raise InputError(
                "run.horizon_s: would cut runs off at some rates only; expected none (--set run.horizon_s=none)"
            )
        self.replayed = spec.trace is not None
        self.of = "sessions" if spec.session_turns is not None else "requests"
        if self.replayed and requests is not None:
            raise InputError("--requests: no meaning for a trace; expected --set workload.limit=N to cut it")
        arrivals_s = build(spec, scenario.seed, base_dir).arrival_s if self.replayed else np.empty(0)
        arrivals_s = arrivals_s[np.isfinite(arrivals_s)]
        if spec.rate_rps is not None:
            self.start = spec.rate_rps
        elif len(arrivals_s) and arrivals_s[-1] > arrivals_s[0]:
            self.start = float((len(arrivals_s) - 1) / (arrivals_s[-1] - arrivals_s[0]))
        else:
            raise InputError(f"workload.trace: {spec.trace} has no time between arrivals, so it has no rate")
        self.requests = len(arrivals_s) if self.replayed else requests or spec.requests or FIRST_REQUESTS

    def point(self, ask: Ask) -> CapacityPoint:
        """Return a simulation at a rate."""
        settings = [f"workload.rate_rps={ask.rate!r}", f"seed={ask.seed}"]
        if self.replayed:
            settings.append("workload.rate_scale=none")
        else:
            settings += ["workload.duration_s=none", f"workload.requests={ask.requests}"]
        values = {"rate_rps": ask.rate, "requests": ask.requests}
        return CapacityPoint(values, ask.seed, self.scenario.with_overrides(settings), self.base_dir)


class Runs:
    """Simulates a scenario at rates, ``jobs`` at once; what is done is kept in a folder and not done again."""

    def __init__(
        self, traffic: Traffic, target: Target, folder: Path, jobs: int, on_done: Callable[[int], None]
    ) -> None:
        self.traffic, self.target, self.jobs, self.on_done = traffic, target, jobs, on_done
        self.kept = Kept(folder)
        self.found: dict[Ask, Mapping[str, Any]] = {}

    def __call__(self, asks: Sequence[Ask]) -> list[Seen]:
        """Return what each simulation shows. InputError for one that cannot be simulated."""
        points = {ask: self.traffic.point(ask) for ask in asks}
        missing: list[Ask] = []
        for ask, point in points.items():
            found = self.kept.get(point)
            if found is None:
                missing.append(ask)
            else:
                self._take(ask, found)
        for ask, found in self._simulated({ask: points[ask] for ask in missing}):
            if "error" not in found:
                self.kept.put(points[ask], found)
            self._take(ask, found)
        return [self._seen(self.found[ask]) for ask in asks]

    def _simulated(self, points: Mapping[Ask, Point]) -> Iterator[tuple[Ask, dict[str, Any]]]:
        if self.jobs == 1 or len(points) < 2:
            for ask, point in points.items():
                yield ask, measure(point)
            return
        futures = {pool_of(self.jobs).submit(measure, point): ask for ask, point in points.items()}
        for future in as_completed(futures):
            yield futures[future], future.result()

    def _take(self, ask: Ask, found: Mapping[str, Any]) -> None:
        if "error" in found:
            raise InputError(f"at {ask.rate:.6g} {self.traffic.of}/s, seed {ask.seed}: {found['error']}")
        if self.target.key not in found:
            raise InputError(f"--target {self.target.text}: no metric {self.target.key!r} in these runs")
        self.found[ask] = found
        self.on_done(len(self.found))

    def _seen(self, found: Mapping[str, Any]) -> Seen:
        value = found[self.target.key]
        details = {key: value for key, value in found.items() if isinstance(value, int | float)}
        return Seen(math.nan if value is None else value, found[SATURATED], details, found[TOO_SHORT])


def measure(point: Point) -> dict[str, Any]:
    """Simulate one point; return its numbers without warm-up and cool-down, or what went wrong with it.

    A trace is measured as ``servesim run`` measures it, with what ``run.trim_warmup`` and ``run.trim_cooldown``
    say; other traffic at least without what MSER-5 finds and without the last tenth of its arrivals' time, in
    which the load is kept up for those before.
    """
    from simulator.scenario.run import run

    try:
        result = run(point.scenario, base_dir=point.base_dir)
    except (InputError, StallError) as error:
        return {"error": str(error)}
    except Exception as error:  # a policy of one's own may raise anything
        return {"error": f"{type(error).__name__}: {error}"}
    settled = 0
    if point.scenario.workload.trace is None:
        settled = warm_up(result.log)
        _trim(result, settled)
    watched = backlog(result.log, settled)
    options = point.scenario.user, point.scenario.slo
    queued = stability.measure(result.log, *options)["reason"]  # strong evidence, for runs of any length
    # Of a trace, whose rate may rise by itself, a growing backlog alone says nothing.
    found = dict(numbers(result.summary()))
    smooth, gpus = found["smooth_goodput.smooth_goodput_tokens_per_s"], found["cost.gpus"]
    grew = watched.grew and queued is None and point.scenario.workload.trace is None
    return found | {
        SMOOTH: smooth / gpus if smooth is not None and gpus else None,
        GROWTH: watched.growth,
        WARM_UP: settled,
        SATURATED: watched.said if grew else queued,
        TOO_SHORT: grew and watched.short,
    }


def warm_up(log: RequestLog) -> int:
    """Return how many first requests see a system that has not settled; half of them if none can be told.

    The later of what MSER-5 says of TTFT and of TPOT: queues and batches settle in their own time.
    """
    cuts = [0]
    for series in (log.ttft_s, log.tpot_s):
        there = np.flatnonzero(np.isfinite(series))
        if len(there) >= 20:
            cut = mser5(series[there])
            cuts.append(log.n // 2 if cut is None else int(there[cut]))
    return max(cuts)


def _trim(result: "Result", settled: int) -> None:
    """Have a result leave out its first requests and the end of its arrivals."""
    arrival_s, run = result.log.arrival_s, result.manifest["scenario"]["run"]
    span_s = float(arrival_s[-1] - arrival_s[0])
    share = float(arrival_s[settled] - arrival_s[0]) / span_s if span_s else 0.0
    trims = {
        "trim_warmup": max(run["trim_warmup"], share),
        "trim_cooldown": max(run["trim_cooldown"], COOL_DOWN),
    }
    scenario = {**result.manifest["scenario"], "run": {**run, **trims}}
    result.manifest = {**result.manifest, "scenario": scenario}


class Backlog(NamedTuple):
    """How the number of requests in the system changed while it was watched."""

    growth: float  # share of the arrivals that was added to it
    arrived: int
    short: bool  # watched so shortly that it may still have been filling up

    @property
    def grew(self) -> bool:
        """Whether it grew, by more than luck would have it."""
        return self.growth > SATURATED_FROM and self.growth * math.sqrt(self.arrived) > SIGMAS

    @property
    def said(self) -> str:
        """What that means."""
        less = ", or the run too short" if self.short else ""
        return f"the backlog grew by {self.growth:.1%} of the arrivals: the load is above capacity{less}"


def backlog(log: RequestLog, settled: int) -> Backlog:
    """Return how the number of requests that have arrived and not left grew, from after ``settled`` requests on.

    Watched from when a request that came first has had time to leave (the 90th percentile of times in the
    system), but at the latest from the middle of the arrivals, until the last arrival.
    """
    arrival_s, last_s = log.arrival_s, float(log.arrival_s[-1])
    stay_s = float(np.quantile(log.end_s - arrival_s, 0.9))
    from_s = max(float(arrival_s[settled]), float(arrival_s[0]) + stay_s)
    from_s = min(from_s, float(arrival_s[log.n // 2]))
    left_s = np.sort(log.end_s)
    arrived, left = (
        int(np.searchsorted(times, last_s, "right") - np.searchsorted(times, from_s, "right"))
        for times in (arrival_s, left_s)
    )
    short = last_s - float(arrival_s[0]) < FEWEST_STAYS * stay_s
    return Backlog((arrived - left) / arrived if arrived else 0.0, arrived, short)
