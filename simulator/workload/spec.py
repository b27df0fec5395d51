"""What a scenario says about its traffic."""

from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from simulator.errors import InputError
from simulator.workload import extra_keys, load_keys
from simulator.workload.length_shapes import LengthShape, tokens_or_shape
from simulator.workload.ranges import (
    Count,
    Duration,
    Factor,
    Name,
    Positive,
    Seconds,
    Shares,
    Sigma,
    Tokens,
    Turns,
)

DEFAULT_TRACE = "azure2023_conv"
_TRACE_ONLY = (
    "format", "columns", "skip_bad", "sort", "jitter", "rate_scale", "start_s", "end_s", "limit", "max_prompt_tokens",
)  # fmt: skip
_SYNTHETIC_ONLY = (
    "burstiness", "requests", "duration_s", "lengths", "prompt_tokens", "output_tokens", "session_turns",
)  # fmt: skip


def _shape(key: str) -> BeforeValidator:
    return BeforeValidator(partial(tokens_or_shape, key))


class WorkloadSpec(BaseModel):
    """Either a trace (the default) or synthetic ``arrivals`` with ``lengths``.

    Raises ``ValidationError`` (a ``ValueError``) naming the key if keys of the two kinds are mixed or one is
    missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    trace: Name | None = Field(
        DEFAULT_TRACE,
        description="shipped trace, or path to .parquet, .csv, .json, .jsonl (also .gz); unset where arrivals is given",
    )
    format: Name | None = Field(
        None, description="trace: which format it has, such as azure; unset: told by its content"
    )
    columns: Name | None = Field(
        None,
        description="trace: what its columns hold, such as arrival=ts:iso,prompt=usage.input,output=usage.output",
    )
    skip_bad: bool = Field(
        False, description="trace: leave out rows that are wrong, and say how many and why"
    )
    sort: bool = Field(False, description="trace: put its requests in order of arrival")
    jitter: bool = Field(
        False,
        description="trace: spread requests of one time stamp at random up to the next, where stamps are coarse",
    )
    rate_scale: Positive | None = Field(None, description="trace: divide the gaps, 2.0 is twice the rate")
    start_s: Seconds | None = Field(None, description="trace: cut what arrives before, in trace seconds")
    end_s: Duration | None = Field(None, description="trace: cut what arrives at or after, in trace seconds")
    limit: Count | None = Field(None, description="trace: keep this many requests")
    max_prompt_tokens: Tokens | None = Field(
        None,
        description="trace or sessions: leave out requests with longer prompts, before the limit is applied",
    )
    arrivals: Literal["poisson", "gamma", "constant", "burst"] | None = Field(
        None, description="synthetic: poisson, gamma, constant, or burst (all at 0)"
    )
    rate_rps: Positive | None = Field(
        None,
        description="mean requests/s: of synthetic arrivals, or what to stretch the trace to; or sessions/s",
    )
    burstiness: Positive | None = Field(
        None, description="gamma: shape of the gaps as in vllm bench serve; 1 is Poisson, less is burstier"
    )
    load: Name | None = Field(
        None,
        description="rate over time: shipped, or path to a table of time_s and rate_rps or factor; unset: constant",
    )
    load_points: Annotated[list[list[Factor]], Field(min_length=1)] | None = Field(
        None,
        description="instead of load: [time_s, factor], ..., of the mean; without rate_rps in requests/s",
    )
    load_interpolation: Literal["steps", "linear"] | None = Field(
        None, description="between those times: steps (each holds until the next; unset) or linear"
    )
    load_period_s: Duration | None = Field(
        None, description="repeat the load with this period; unset: a shipped one's own, others do not repeat"
    )
    load_time_scale: Positive | None = Field(
        None, description="multiply the load's times, its own period included: 0.5 plays a day in 12 hours"
    )
    spike_factor: Factor | None = Field(
        None, description="times the load during spikes; beside spike_s, spike_every_s"
    )
    spike_s: Duration | None = Field(None, description="how long a spike takes")
    spike_every_s: Duration | None = Field(
        None, description="from the end of one spike to that of the next, also from 0 to that of the first"
    )
    spikes: Literal["regular", "random"] | None = Field(
        None, description="random: times between them are exponential; unset: regular"
    )
    growth: Positive | None = Field(
        None, description="each growth_every_s has so many times the load of the one before: 1.05 is 5 % more"
    )
    growth_every_s: Duration | None = Field(None, description="unset: 86400, a day")
    requests: Count | None = Field(None, description="synthetic: number of requests")
    duration_s: Duration | None = Field(
        None, description="synthetic: instead of requests, arrivals up to this time"
    )
    lengths: Name | None = Field(
        None,
        description="synthetic: shipped distribution, or path to a table of token counts to draw rows from",
    )
    prompt_tokens: Annotated[Tokens | LengthShape | None, _shape("prompt_tokens")] = Field(
        None,
        description="synthetic: instead of lengths, a fixed length or a shape such as { mean = 1500, cv = 0.8 }",
    )
    output_tokens: Annotated[Tokens | LengthShape | None, _shape("output_tokens")] = Field(
        None,
        description="synthetic: instead of lengths, a fixed length or a shape such as { p50 = 200, p95 = 900 }",
    )
    max_tokens: Tokens | None = Field(
        None, description="output bound that clients send, cuts outputs; unset: the largest output"
    )
    shared_prefixes: Count | None = Field(
        None,
        description="each prompt begins with one of so many shared texts, all equally likely; unset: with none",
    )
    shared_prefix_tokens: Tokens | None = Field(
        None, description="length of those texts, part of the prompt; cut to one token less than the prompt"
    )
    priorities: Shares | None = Field(
        None, description="shares of priorities 0 (soonest), 1, ... such as [0.2, 0.8]; unset: all alike"
    )
    tenants: Shares | None = Field(
        None, description="shares of tenants 0, 1, ... such as [0.7, 0.3]; unset: all of one tenant"
    )
    readers: Annotated[list[list[Seconds]], Field(min_length=1)] | None = Field(
        None,
        description="classes of readers, [share, V in seconds per token], ..., 0 for agents; unset: user.v_s_per_token",
    )
    readers_median_s: Positive | None = Field(
        None,
        description="instead of readers: V is lognormal with this median, seconds per token; beside readers_cv",
    )
    readers_cv: Sigma | None = Field(None, description="standard deviation of V over its mean")
    thinking: Annotated[list[list[Seconds]], Field(min_length=1)] | None = Field(
        None,
        description="classes of answers, [share, tokens], whose first tokens are thinking; unset: user.thinking_share",
    )
    patience_s: Duration | None = Field(
        None, description="mean of the exponential time after which a client gives up; unset: never"
    )
    concurrency: Count | None = Field(
        None,
        description="closed loop: so many clients send one request after another; trace or burst, no arrival times",
    )
    session_turns: Turns | None = Field(
        None,
        description="synthetic: arrivals are sessions of so many turns on average, each repeats those before it",
    )
    think_s: Seconds | None = Field(
        None, description="sessions: mean of the exponential time between an answer and the next turn"
    )
    max_think_s: Duration | None = Field(
        None, description="sessions: longer think times, such as nights, are cut to this"
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

    @model_validator(mode="before")
    @classmethod
    def _arrivals_replace_the_default_trace(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("arrivals") is not None and "trace" not in data:
            return {**data, "trace": None}
        return data

    @model_validator(mode="after")
    def _one_kind_of_traffic(self) -> Self:
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
