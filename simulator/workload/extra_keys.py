"""Which keys of a scenario on what is added to any traffic go together."""

import math
from itertools import pairwise
from typing import TYPE_CHECKING

from simulator.errors import InputError
from simulator.workload.checks import LEAST_V_S

if TYPE_CHECKING:
    from simulator.workload.spec import WorkloadSpec


def check(spec: "WorkloadSpec") -> None:
    """Raise ``InputError``, naming the key, if keys contradict or lack each other, or shares do not add up."""
    for key, other in (
        ("shared_prefixes", "shared_prefix_tokens"),
        ("shared_prefix_tokens", "shared_prefixes"),
        ("readers_median_s", "readers_cv"),
        ("readers_cv", "readers_median_s"),
    ):
        if getattr(spec, key) is None and getattr(spec, other) is not None:
            raise InputError(f"workload.{key}: missing; expected beside workload.{other}")
    for reader in spec.readers or ():
        if len(reader) != 2:
            raise InputError(
                f"workload.readers: expected [share, V in seconds per token] for each class, got {reader}"
            )
    if spec.readers is not None and spec.readers_median_s is not None:
        raise InputError(
            "workload.readers: given together with workload.readers_median_s; expected one of the two"
        )
    if spec.readers_median_s is not None and spec.readers_median_s < LEAST_V_S:
        raise InputError(
            f"workload.readers_median_s: expected at least {LEAST_V_S:g} s, got {spec.readers_median_s!r}"
        )
    for each in spec.thinking or ():
        if len(each) != 2 or each[1] != int(each[1]):
            raise InputError(
                f"workload.thinking: expected [share, whole number of tokens] for each class, got {each}"
            )
    thinking = None if spec.thinking is None else [each[0] for each in spec.thinking]
    readers = None if spec.readers is None else [share for share, _ in spec.readers]
    for key, shares in (
        ("priorities", spec.priorities),
        ("tenants", spec.tenants),
        ("readers", readers),
        ("thinking", thinking),
    ):
        if shares is not None and not math.isclose(sum(shares), 1, abs_tol=1e-6):
            raise InputError(
                f"workload.{key}: expected shares that add up to 1, got {shares}, which add up"
                f" to {sum(shares):g}"
            )
    for _, v_s in spec.readers or ():
        if 0 < v_s < LEAST_V_S:
            raise InputError(f"workload.readers: expected a V of 0 or at least {LEAST_V_S:g} s, got {v_s!r}")
    _check_predictor(spec)


def _check_predictor(spec: "WorkloadSpec") -> None:
    for key, kind in (
        ("predictor_sigma", "lognormal"),
        ("predictor_buckets", "bucketed"),
        ("predictor_accuracy", "bucketed"),
    ):
        if getattr(spec, key) is not None and spec.predictor != kind:
            raise InputError(f"workload.{key}: only for predictor = {kind!r}, got {spec.predictor!r}")
    if spec.predictor == "lognormal" and spec.predictor_sigma is None:
        raise InputError("workload.predictor_sigma: missing; predictor = 'lognormal' needs a number >= 0")
    buckets = spec.predictor_buckets
    if spec.predictor == "bucketed" and buckets is None:
        raise InputError(
            "workload.predictor_buckets: missing; predictor = 'bucketed' needs upper bounds in tokens,"
            " such as [64, 256, 1024]"
        )
    if buckets is not None and any(a >= b for a, b in pairwise(buckets)):
        raise InputError(f"workload.predictor_buckets: expected ascending bounds, got {buckets}")
