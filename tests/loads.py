"""Arrivals under a load."""

from simulator.workload import WorkloadSpec, build

FIXED = {"prompt_tokens": 10, "output_tokens": 2}
POISSON = {"arrivals": "poisson", **FIXED}
DAY_S = 86_400.0


def make(seed=0, **keys):
    return build(WorkloadSpec(**keys), seed)


def arrivals(seed=0, **keys):
    return make(seed, **{**POISSON, **keys}).arrival_s


SAW = {"load_points": [[0.0, 1.0], [50.0, 5.0], [60.0, 0.0]], "load_period_s": 100.0}
