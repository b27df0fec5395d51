"""The keys with which a scenario says what its traffic is, or what one class of it is."""

from functools import partial
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

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


def _shape(key: str) -> BeforeValidator:
    return BeforeValidator(partial(tokens_or_shape, key))


class TrafficKeys(BaseModel):
    """All of them, each within its own range; which go together is checked where they are used."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    trace: Name | None = Field(
        None,
        description="shipped trace, or path to .parquet, .csv, .json, .jsonl (also .gz); unset where arrivals is given",
    )
    format: Name | None = Field(
        None, description="trace: which format it has, such as azure; unset: told by its content"
    )
    columns: Name | None = Field(
        None,
        description="trace: what its columns hold, such as arrival=ts:iso,prompt=usage.input,output=usage.output",
    )
    block_tokens: Tokens | None = Field(
        None,
        description="trace: tokens of a block of its hash_ids, as Mooncake's may have any; unset: told by its content",
    )
    turns: Literal["added", "whole"] | None = Field(
        None,
        description="trace: whether prompts are what a session's turns add, or with all before it; unset: by format",
    )
    tokenizer: Name | None = Field(
        None,
        description="texts: a tokenizer.json, its folder, or a name on the hub; unset: 4 characters are a token",
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
