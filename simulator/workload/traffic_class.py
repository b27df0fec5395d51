"""Classes of requests: each with its own lengths or trace, reader, targets, priority and tenant."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_serializer

from simulator.errors import InputError
from simulator.workload.checks import LEAST_V_S
from simulator.workload.ranges import LabelNumber, Positive, Seconds, WholeNumber
from simulator.workload.traffic_keys import TrafficKeys

if TYPE_CHECKING:
    from simulator.workload.spec import WorkloadSpec

_NAME = re.compile("[A-Za-z][A-Za-z0-9_-]*")
_ARRIVALS = ("arrivals", "rate_rps", "burstiness", "load", "load_points", "load_interpolation", "load_period_s",
             "load_time_scale", "spike_factor", "spike_s", "spike_every_s", "spikes", "growth", "growth_every_s",
             "requests", "duration_s")  # fmt: skip
_ONE_FOR_ALL = {"priority": "priorities", "tenant": "tenants", "v_s_per_token": "readers"}


class ClassSlo(BaseModel):
    """Bounds of a class's requests in seconds, in place of those of the scenario's ``slo``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    ttft_s: Positive | None = Field(None, description="bound on the time to first token; unset: slo.ttft_s")
    tpot_s: Positive | None = Field(
        None, description="bound on the mean time per output token; unset: slo.tpot_s"
    )
    tail_tbt_s: Positive | None = Field(
        None, description="bound on the tail time between tokens; unset: slo.tail_tbt_s"
    )
    e2e_s: Positive | None = Field(None, description="bound on the time to the last token; unset: slo.e2e_s")


class TrafficClass(TrafficKeys):
    """A class: a share of the arrivals, or arrivals or a trace of its own; what else is not said is as without it."""

    share: float | None = Field(
        None, gt=0, le=1, description="of what arrives; unset: trace or arrivals of its own"
    )
    priority: WholeNumber | None = Field(None, description="of all its requests; the lower, the sooner")
    tenant: LabelNumber | None = Field(None, description="who pays for all its requests")
    v_s_per_token: Seconds | None = Field(
        None, description="V of its readers, 0 for agents; unset: user.v_s_per_token"
    )
    first_token_allowance_s: Seconds | None = Field(
        None, description="S of its readers; unset: user.first_token_allowance_s"
    )
    model: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="that all its requests ask for, of those in cluster.pools; unset: as the router says",
    )
    task_slo_s: Positive | None = Field(
        None, description="from a session's first arrival until all its requests are to be done"
    )
    slo: ClassSlo | None = Field(None, description="bounds of its own")

    @model_serializer
    def given(self) -> dict[str, Any]:
        """Return the keys that say something, as they are written."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        said = {name: value for name, value in values.items() if value is not None and value is not False}
        return {
            name: value.model_dump(exclude_none=name == "slo") if isinstance(value, BaseModel) else value
            for name, value in said.items()
        }

    def constants(self) -> dict[str, float]:
        """Return the fields of ``Request`` that are the same for all its requests."""
        names = (*_ONE_FOR_ALL, "first_token_allowance_s", "task_slo_s")
        found = {name: value for name in names if (value := getattr(self, name)) is not None}
        slo = self.slo or ClassSlo()
        bounds = {"ttft_slo_s": slo.ttft_s, "tpot_slo_s": slo.tpot_s, "e2e_slo_s": slo.e2e_s}
        return found | {name: bound_s for name, bound_s in bounds.items() if bound_s is not None}


def shares(spec: "WorkloadSpec") -> list[float] | None:
    """Return the share of each class; None where each has arrivals of its own."""
    found = [each.share for each in (spec.classes or {}).values() if each.share is not None]
    return found or None


def check(spec: "WorkloadSpec") -> None:
    """Raise ``InputError``, naming the key, if the classes or what stands beside them do not go together."""
    classes = spec.classes or {}
    if not classes:
        raise InputError(
            "workload.classes: empty; expected a table for each class, such as [workload.classes.chat]"
        )
    by_share = shares(spec)
    for name, each in classes.items():
        if not _NAME.fullmatch(name):
            raise InputError(
                f"workload.classes: {name!r} found; expected names of letters, digits, - and _, with a letter first"
            )
        if (each.share is None) != (by_share is None):
            without = next(key for key, other in classes.items() if other.share is None)
            raise InputError(
                f"workload.classes.{without}.share: missing; expected shares in all classes, or in none"
            )
    if by_share is not None and abs(sum(by_share) - 1) > 1e-6:
        raise InputError(
            f"workload.classes: expected shares that add up to 1, got {by_share}, which add up to {sum(by_share):g}"
        )
    allowed = ("max_tokens", *(_ARRIVALS if by_share else ()))
    if spec.concurrency is not None:
        raise InputError(
            "workload.concurrency: given beside workload.classes, which arrive; expected one of the two"
        )
    for key in TrafficKeys.model_fields:
        if key not in allowed and getattr(spec, key) not in (None, False):
            what = "with shares, or in each class" if key in _ARRIVALS else "in each class that is meant"
            raise InputError(f"workload.{key}: given beside workload.classes; expected it {what}")
    if by_share is not None and spec.arrivals is None:
        raise InputError('workload.arrivals: missing; classes with shares need it, such as "poisson"')
    for name in classes:
        spec_of(spec, name)


def spec_of(spec: "WorkloadSpec", name: str) -> "WorkloadSpec":
    """Return the traffic of one class as if it were alone; with shares, its arrivals are those of all.

    Raises ``InputError`` naming the key under the class.
    """
    each = (spec.classes or {})[name]
    given = {key: getattr(each, key) for key in TrafficKeys.model_fields}
    if each.share is not None:
        for key in ("trace", *_ARRIVALS):
            if given[key] is not None:
                raise InputError(
                    f"workload.classes.{name}.{key}: given together with share; expected one of the two"
                )
        given |= {key: getattr(spec, key) for key in _ARRIVALS}
        given |= {"requests": None, "duration_s": spec.duration_s or 1.0}  # how many come is known by then
        if spec.arrivals == "burst":
            given |= {"requests": 1, "duration_s": None}
    elif each.trace is None and each.arrivals is None:
        raise InputError(f"workload.classes.{name}: no share, trace or arrivals; expected one of them")
    for key, other in _ONE_FOR_ALL.items():
        if getattr(each, key) is not None and getattr(each, other) is not None:
            raise InputError(
                f"workload.classes.{name}.{key}: given together with {other}; expected one of the two"
            )
    if each.v_s_per_token is not None and 0 < each.v_s_per_token < LEAST_V_S:
        raise InputError(
            f"workload.classes.{name}.v_s_per_token: expected 0 or at least {LEAST_V_S:g} s, got {each.v_s_per_token!r}"
        )
    if each.v_s_per_token is not None and each.readers_median_s is not None:
        raise InputError(
            f"workload.classes.{name}.v_s_per_token: given together with readers_median_s; expected one of the two"
        )
    return _named(type(spec), name, given)


def _named(kind: "type[WorkloadSpec]", name: str, given: Mapping[str, Any]) -> "WorkloadSpec":
    try:
        return kind(**given)
    except ValidationError as error:
        cause = error.errors()[0].get("ctx", {}).get("error", error)
        raise blamed(name, cause) from None


def blamed(name: str, error: Exception) -> InputError:
    """Return a fault in the traffic of a class, with its keys under the class."""
    return InputError(re.sub(r"\bworkload\.(?!classes)", f"workload.classes.{name}.", str(error)))
