"""A load that changes over time, as a scenario describes it: a shape, spikes and growth on a mean rate."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from simulator.arrays import Floats
from simulator.errors import InputError
from simulator.rng import stream
from simulator.workload import arrivals
from simulator.workload.arrivals import UnitGaps
from simulator.workload.checks import LATEST_S
from simulator.workload.envelope import Envelope, Shape, product, repetitions, steps
from simulator.workload.load_keys import DAY_S, first_given
from simulator.workload.spec import WorkloadSpec

_LARGEST_GROWTH = 1e100  # times other factors it stays a number


class Load(NamedTuple):
    """What the rate is over time: ``shape`` times spikes times growth.

    With ``rate_rps`` only the form of that counts: scaled so that its mean over the time of the run, from 0 to
    ``duration_s`` or to the time that the requests take at that rate, is ``rate_rps``. Without it, the shape's
    values are requests/s.
    """

    spec: WorkloadSpec
    seed: int
    shape: Shape

    def until(self, until_s: float) -> Envelope:
        """Return what the shape, the spikes and growth make together up to a time, not yet scaled."""
        spec, envelope = self.spec, self.shape.until(until_s)
        if spec.spike_factor is not None:
            envelope = product(envelope, self._spikes(spec.spike_factor, until_s))
        if spec.growth is not None:
            every_s = spec.growth_every_s or DAY_S
            times = np.arange(repetitions(until_s, every_s, "growth_every_s"), dtype=np.float64)
            with np.errstate(over="ignore"):
                factors = spec.growth**times
            if factors[-1] > _LARGEST_GROWTH:
                raise InputError(
                    f"workload.growth: {spec.growth:g} every {every_s:g} s are more than {_LARGEST_GROWTH:g} after"
                    f" {until_s:g} s; expected less growth"
                )
            envelope = product(envelope, steps(times * every_s, factors, until_s))
        return envelope

    def within(self, gaps: UnitGaps, duration_s: float) -> Floats:
        """Return the arrivals up to ``duration_s``; may be empty. Raises ``InputError`` if too many."""
        envelope = self._rates(self.until(duration_s), duration_s)
        times = envelope.times_of(arrivals.units_beyond(gaps, float(envelope.expected()[-1]), duration_s))
        return times[times <= duration_s]

    def first_n(self, gaps: UnitGaps, n: int, span_s: float) -> Floats:
        """Return the first ``n`` arrivals; the mean is over ``span_s``. Raises ``InputError`` if so many never come."""
        units = arrivals.first_units(gaps, n)
        until_s = span_s
        while True:
            envelope = self._rates(self.until(until_s), span_s)
            expected = float(envelope.expected()[-1])
            if expected >= units[-1]:
                return envelope.times_of(units)
            if until_s >= LATEST_S:
                raise InputError(
                    f"workload.requests: about {expected:,.0f} of {n:,} arrivals come within {LATEST_S:g} s under this"
                    " load; expected fewer, or a load that does not cease"
                )
            until_s = min(2 * until_s, LATEST_S)

    def described(self) -> str:
        """Say in a few words what it is."""
        spec = self.spec
        said = [] if spec.load is None and spec.load_points is None else [f"load {spec.load or 'as given'}"]
        if self.shape.period_s is not None:
            said.append(f"repeated every {self.shape.period_s:,.10g} s")
        if spec.spike_factor is not None:
            every = "on average every" if spec.spikes == "random" else "every"
            said.append(
                f"spikes of {spec.spike_factor:g} times that for {spec.spike_s:g} s {every} {spec.spike_every_s:g} s"
            )
        if spec.growth is not None:
            said.append(f"times {spec.growth:g} every {spec.growth_every_s or DAY_S:g} s")
        return " ".join(said)

    def _rates(self, envelope: Envelope, span_s: float) -> Envelope:
        """Return the envelope in requests/s, given the time over which ``rate_rps`` is the mean."""
        if self.spec.rate_rps is None:
            return envelope
        mean = (envelope if envelope.edges_s[-1] == span_s else self.until(span_s)).mean
        if mean <= 0:
            raise InputError(
                f"workload.{first_given(self.spec)}: it is 0 from 0 to {span_s:g} s, over which rate_rps is the mean;"
                " expected a load above 0 in that time"
            )
        return envelope.scaled(mean, self.spec.rate_rps)

    def _spikes(self, factor: float, until_s: float) -> Envelope:
        """Return quiet times and spikes by turns, quiet first; times at random are exponential, with the same mean."""
        spec = self.spec
        assert spec.spike_s is not None
        assert spec.spike_every_s is not None
        quiet_s = spec.spike_every_s - spec.spike_s
        times = repetitions(until_s, spec.spike_every_s, "spike_every_s", 2)
        if spec.spikes == "random":
            rng = stream(self.seed, "spikes")
            waits: Floats = np.empty(0)
            reached_s = 0.0
            while reached_s < until_s:
                drawn = rng.standard_exponential(times + 64)
                waits = np.concatenate([waits, quiet_s * drawn])
                ends_s = np.cumsum(waits + spec.spike_s)
                reached_s = float(ends_s[-1])
            begins_s = ends_s - spec.spike_s
        else:
            ends_s = np.arange(1, times + 1, dtype=np.float64) * spec.spike_every_s
            begins_s = ends_s - spec.spike_s
        edges_s = np.concatenate([[0.0], np.column_stack([begins_s, ends_s]).ravel()])
        factors = np.ones(len(edges_s))
        factors[1::2] = factor
        return steps(edges_s, factors, until_s)


def of(spec: WorkloadSpec, seed: int, base_dir: Path | None) -> Load:
    """Return the load that ``spec``, whose rate is not constant, describes; read its table if there is one.

    Raises ``InputError`` for a table that cannot be used.
    """
    if spec.load is None and spec.load_points is None:
        return Load(spec, seed, Shape(np.zeros(1), np.ones(1)))
    scale, linear = spec.load_time_scale or 1.0, spec.load_interpolation == "linear"
    if spec.load_points is not None:
        points = np.array(spec.load_points, np.float64)
        return Load(spec, seed, Shape(points[:, 0] * scale, points[:, 1], linear, spec.load_period_s))
    from simulator.workload import load_table

    assert spec.load is not None
    table = load_table.read(spec.load, base_dir)
    if spec.rate_rps is None and not table.are_rates:
        raise InputError(
            f"workload.rate_rps: missing; {spec.load} has factors, which need a mean rate; expected requests/s, or a"
            " column rate_rps in the table"
        )
    period_s = table.period_s * scale if table.period_s is not None else None
    if spec.load_period_s is not None:
        period_s = spec.load_period_s
    if period_s is not None and period_s <= table.time_s[-1] * scale:
        raise InputError(
            f"workload.load_period_s: expected more than the last time of {spec.load},"
            f" {table.time_s[-1] * scale:g} s, got {period_s:g}"
        )
    return Load(spec, seed, Shape(table.time_s * scale, table.factor, linear, period_s))


def first_n(spec: WorkloadSpec, load: Load | None, gaps: UnitGaps, n: int) -> Floats:
    """Return the first ``n`` arrivals, under a load or at the mean rate.

    The mean of a load is that over the time that ``n`` arrivals take at ``rate_rps``.
    """
    if load is None:
        assert spec.rate_rps is not None
        return arrivals.first_n(gaps, spec.rate_rps, n)
    if spec.rate_rps is not None:
        return load.first_n(gaps, n, n / spec.rate_rps)
    return load.first_n(gaps, n, load.shape.period_s or max(float(load.shape.time_s[-1]), 1.0))


def within(spec: WorkloadSpec, load: Load | None, gaps: UnitGaps) -> Floats:
    """Return the arrivals up to ``duration_s``, under a load or at the mean rate; may be empty."""
    assert spec.duration_s is not None
    if load is None:
        assert spec.rate_rps is not None
        return arrivals.within(gaps, spec.rate_rps, spec.duration_s)
    return load.within(gaps, spec.duration_s)
