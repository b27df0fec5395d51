"""Which keys of a scenario on its load over time go together."""

from itertools import pairwise
from typing import TYPE_CHECKING

from simulator.errors import InputError

if TYPE_CHECKING:
    from simulator.workload.spec import WorkloadSpec

DAY_S = 86_400.0

_SHAPE = ("load", "load_points")
_OF_A_SHAPE = ("load_interpolation", "load_period_s", "load_time_scale")
_SPIKES = ("spike_factor", "spike_s", "spike_every_s")
_KEYS = (*_SHAPE, *_OF_A_SHAPE, *_SPIKES, "spikes", "growth", "growth_every_s")


def first_given(spec: "WorkloadSpec") -> str | None:
    """Return the first key on load that is there; None where the rate is constant."""
    return next((key for key in _KEYS if getattr(spec, key) is not None), None)


def check(spec: "WorkloadSpec") -> None:
    """Raise ``InputError``, naming the key, if keys contradict or lack each other."""
    given = [key for key in _KEYS if getattr(spec, key) is not None]
    if not given:
        return
    if spec.concurrency is not None or spec.arrivals == "burst":
        why = "arrivals = 'burst'" if spec.arrivals == "burst" else "concurrency, whose clients set the rate"
        raise InputError(f"workload.{given[0]}: no meaning with workload.{why}; expected one of the two")
    if spec.load is not None and spec.load_points is not None:
        raise InputError("workload.load_points: given together with workload.load; expected one of the two")
    if spec.load is None and spec.load_points is None:
        for key in _OF_A_SHAPE:
            if key in given:
                raise InputError(
                    f"workload.{key}: given without a load; expected workload.load or workload.load_points"
                )
    for key, other in (("growth_every_s", "growth"), ("spikes", "spike_factor")):
        if key in given and other not in given:
            raise InputError(f"workload.{other}: missing; expected beside workload.{key}")
    there = [key for key in _SPIKES if key in given]
    for key in _SPIKES:
        if there and key not in there:
            raise InputError(f"workload.{key}: missing; expected beside workload.{there[0]}")
    if spec.spike_s is not None and spec.spike_every_s is not None and spec.spike_s >= spec.spike_every_s:
        raise InputError(
            f"workload.spike_every_s: expected more than spike_s = {spec.spike_s:g}, got {spec.spike_every_s:g}"
        )
    _check_points(spec)


def _check_points(spec: "WorkloadSpec") -> None:
    if spec.load_points is None:
        return
    for i, point in enumerate(spec.load_points):
        if len(point) != 2:
            raise InputError(f"workload.load_points.{i}: expected [time_s, factor], got {point}")
    times = [time_s for time_s, _ in spec.load_points]
    for i, (one, other) in enumerate(pairwise(times), start=1):
        if one >= other:
            raise InputError(
                f"workload.load_points.{i}: its time is {other:g} after {one:g} just before; expected ascending times"
            )
    if not any(factor for _, factor in spec.load_points):
        raise InputError("workload.load_points: every factor is 0; expected one above 0")
    last_s = times[-1] * (spec.load_time_scale or 1.0)
    if spec.load_period_s is not None and spec.load_period_s <= last_s:
        raise InputError(
            f"workload.load_period_s: expected more than the last time of load_points, {last_s:g} s, got"
            f" {spec.load_period_s:g}"
        )
