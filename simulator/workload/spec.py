"""What a scenario says about its traffic."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from simulator.errors import InputError
from simulator.workload import extra_keys, load_keys, traffic_class
from simulator.workload.ranges import (
    Count,
    Name,
    Seconds,
    Sigma,
    Tokens,
)
from simulator.workload.traffic_class import TrafficClass
from simulator.workload.traffic_keys import TrafficKeys

DEFAULT_TRACE = "azure2023_conv"
# No load generator ramps up unless told: vLLM's benchmark has no such option for its clients, in GuideLLM
# ConcurrentStrategy.startup_duration is 0, AIPerf sends a burst without --concurrency-ramp-duration. But a process
# sends one request after another from its event loop, and several serve many clients. How long one takes of it, and how
# many clients it has, are assumptions.
SEND_GAP_S, CLIENTS_OF_A_PROCESS = 0.005, 64
_TRACE_ONLY = (
    "format", "columns", "block_tokens", "turns", "skip_bad", "sort", "jitter", "rate_scale", "start_s", "end_s",
    "limit", "max_prompt_tokens",
)  # fmt: skip
_SYNTHETIC_ONLY = (
    "burstiness", "requests", "duration_s", "lengths", "prompt_tokens", "output_tokens", "session_turns",
)  # fmt: skip


class WorkloadSpec(TrafficKeys):
    """Either a trace (the default) or synthetic ``arrivals`` with ``lengths``.

    Raises ``ValidationError`` (a ``ValueError``) naming the key if keys of the two kinds are mixed or one is
    missing.
    """

    trace: Name | None = Field(
        DEFAULT_TRACE,
        description="shipped trace, or path to .parquet, .csv, .json, .jsonl (also .gz); unset where arrivals is given",
    )
    classes: dict[str, TrafficClass] | None = Field(
        None,
        description="by name: a table for each class of requests, with a share of the arrivals, or arrivals of its own",
    )
    concurrency: Count | None = Field(
        None,
        description="closed loop: so many clients send one request after another; trace or burst, no arrival times",
    )
    ramp_s: Seconds | None = Field(
        None,
        description="closed loop: seconds over which the clients start, evenly; unset: 0, as load generators do",
    )
    send_gap_s: Seconds | None = Field(
        None,
        description="closed loop: least time between two requests; unset: 0.005 for each 64 clients, a process",
    )
    predictor: Literal["none", "perfect", "lognormal", "bucketed"] = Field(
        "none",
        description="of output lengths, for policies that use one: none, perfect, lognormal or bucketed",
    )
    predictor_sigma: Sigma | None = Field(
        None, description="lognormal: predicted is output * exp(sigma * a standard normal)"
    )
    predictor_buckets: Annotated[list[Tokens], Field(min_length=1)] | None = Field(
        None,
        description="bucketed: ascending upper bounds in tokens, which are predicted; beyond: max_tokens",
    )
    predictor_accuracy: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None, description="bucketed: share of right buckets, the others at random; unset: 1"
    )

    @property
    def class_bounds(self) -> dict[str, dict[str, float]]:
        """The bounds that each class has of its own, by name, in seconds."""
        return {
            name: each.slo.model_dump(exclude_none=True) if each.slo is not None else {}
            for name, each in (self.classes or {}).items()
        }

    @model_validator(mode="before")
    @classmethod
    def _the_default_trace_is_replaced(cls, data: Any) -> Any:
        replaced = isinstance(data, dict) and (data.get("arrivals") or data.get("classes")) is not None
        if replaced and "trace" not in data:
            return {**data, "trace": None}
        return data

    @model_validator(mode="after")
    def _one_kind_of_traffic(self) -> Self:
        if self.classes is not None:
            traffic_class.check(self)
            load_keys.check(self)
            extra_keys.check(self)
            return self
        if self.arrivals is None:
            self._check_trace()
        else:
            self._check_synthetic()
        extra_keys.check(self)
        self._check_closed_loop()
        load_keys.check(self)
        return self

    def _check_trace(self) -> None:
        if self.trace is None:
            raise InputError(
                "workload.trace: missing; expected a trace, or workload.arrivals for synthetic traffic"
            )
        for key in _SYNTHETIC_ONLY:
            if getattr(self, key) is not None:
                raise InputError(
                    f"workload.{key}: only for synthetic traffic, but workload.arrivals is not given;"
                    ' expected arrivals = "poisson", "gamma", "constant" or "burst" beside it'
                )
        if self.rate_rps is not None and self.rate_scale is not None:
            raise InputError(
                "workload.rate_rps: given together with workload.rate_scale; expected one of the two"
            )
        if self.end_s is not None and self.end_s <= (self.start_s or 0.0):
            raise InputError(
                f"workload.end_s: expected a time after start_s = {self.start_s or 0.0:g}, got {self.end_s:g}"
            )

    def _check_synthetic(self) -> None:
        if self.trace is not None:
            raise InputError(
                f"workload.trace: {self.trace!r} given together with workload.arrivals = {self.arrivals!r};"
                " expected one of the two (--set workload.trace=none drops a file's trace)"
            )
        for key in _TRACE_ONLY:
            if key == "max_prompt_tokens" and self.session_turns is not None:
                continue
            if getattr(self, key) not in (None, False):
                raise InputError(
                    f"workload.{key}: only for a trace, but workload.arrivals = {self.arrivals!r} is given"
                )
        burst = self.arrivals == "burst"
        for key in ("rate_rps", "duration_s"):
            if burst and getattr(self, key) is not None:
                raise InputError(f"workload.{key}: no meaning with arrivals = 'burst', where all arrive at 0")
        if not burst and self.rate_rps is None and self.load is None and self.load_points is None:
            raise InputError(f"workload.rate_rps: missing; arrivals = {self.arrivals!r} needs a number > 0")
        if (self.burstiness is None) == (self.arrivals == "gamma"):
            if self.burstiness is None:
                raise InputError(
                    "workload.burstiness: missing; arrivals = 'gamma' needs a number > 0 (1 is Poisson)"
                )
            raise InputError(f"workload.burstiness: only for arrivals = 'gamma', got {self.arrivals!r}")
        if self.requests is None and self.duration_s is None:
            either = "a number of requests" if burst else "requests or duration_s"
            raise InputError(f"workload.requests: missing; synthetic traffic needs {either}")
        if self.requests is not None and self.duration_s is not None:
            raise InputError(
                "workload.duration_s: given together with workload.requests; expected one of the two"
            )
        self._check_lengths()
        if self.tokenizer is not None and self.lengths is None:
            raise InputError("workload.tokenizer: only for a trace, or beside workload.lengths, of texts")

    def _check_lengths(self) -> None:
        fixed = [key for key in ("prompt_tokens", "output_tokens") if getattr(self, key) is not None]
        if self.lengths is not None and fixed:
            raise InputError(
                f"workload.{fixed[0]}: given together with workload.lengths; expected one of the two"
            )
        if self.lengths is None and len(fixed) < 2:
            missing = (
                "lengths" if not fixed else "output_tokens" if fixed == ["prompt_tokens"] else "prompt_tokens"
            )
            raise InputError(
                f"workload.{missing}: missing; synthetic traffic needs lengths,"
                " or both prompt_tokens and output_tokens"
            )

    def _check_closed_loop(self) -> None:
        if self.arrivals is not None and (self.session_turns is None) != (self.think_s is None):
            key, other = "think_s", "session_turns"
            if self.session_turns is None:
                key, other = other, key
            raise InputError(f"workload.{key}: missing; expected beside workload.{other}")
        if self.arrivals is not None and self.max_think_s is not None and self.session_turns is None:
            raise InputError("workload.session_turns: missing; expected beside workload.max_think_s")
        if self.concurrency is None:
            for key in ("ramp_s", "send_gap_s"):
                if getattr(self, key) is not None:
                    raise InputError(
                        f"workload.{key}: only for clients that wait for answers; expected workload.concurrency"
                    )
            return
        if self.arrivals not in (None, "burst"):
            raise InputError(
                f"workload.concurrency: clients that wait for answers set the rate themselves, but"
                f" workload.arrivals = {self.arrivals!r} is given; expected 'burst', or a trace"
            )
        for key in ("rate_rps", "rate_scale"):
            if getattr(self, key) is not None:
                raise InputError(
                    f"workload.{key}: no meaning with workload.concurrency, whose clients set the rate"
                    " themselves; expected one of the two"
                )
