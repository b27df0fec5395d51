"""What a scenario says about its traffic, and how it becomes columns."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from simulator.errors import InputError
from simulator.rng import stream
from simulator.workload import lengths as draw
from simulator.workload import library, reader
from simulator.workload.arrivals import MOST_REQUESTS, first_n, unit_gaps, within
from simulator.workload.workload import LARGEST_TOKENS, Workload

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DEFAULT_TRACE = "azure2023_conv"
_TRACE_ONLY = ("rate_scale", "start_s", "end_s", "limit")
_SYNTHETIC_ONLY = ("burstiness", "requests", "duration_s", "lengths", "prompt_tokens", "output_tokens")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$")]  # printable and not empty
Count = Annotated[int, Field(ge=1, le=MOST_REQUESTS)]
Tokens = Annotated[int, Field(ge=1, le=LARGEST_TOKENS)]


class WorkloadSpec(BaseModel):
    """Either a trace (the default) or synthetic ``arrivals`` with ``lengths``.

    Raises ``ValidationError`` (a ``ValueError``) naming the key if keys of the two kinds are mixed or one is
    missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    trace: Name | None = Field(
        DEFAULT_TRACE,
        description="shipped trace, or path to .parquet/.csv/.csv.gz; unset where arrivals is given",
    )
    rate_scale: Positive | None = Field(None, description="trace: divide the gaps, 2.0 is twice the rate")
    start_s: NotNegative | None = Field(None, description="trace: cut what arrives before, in trace seconds")
    end_s: Positive | None = Field(None, description="trace: cut what arrives at or after, in trace seconds")
    limit: Count | None = Field(None, description="trace: keep this many requests")
    arrivals: Literal["poisson", "gamma", "constant", "burst"] | None = Field(
        None, description="synthetic: poisson, gamma, constant, or burst (all at 0)"
    )
    rate_rps: Positive | None = Field(
        None, description="mean requests/s: of synthetic arrivals, or what to stretch the trace to"
    )
    burstiness: Positive | None = Field(
        None, description="gamma: shape of the gaps as in vllm bench serve; 1 is Poisson, less is burstier"
    )
    requests: Count | None = Field(None, description="synthetic: number of requests")
    duration_s: Positive | None = Field(
        None, description="synthetic: instead of requests, arrivals up to this time"
    )
    lengths: Name | None = Field(
        None,
        description="synthetic: shipped distribution, or path to a table of token counts to draw rows from",
    )
    prompt_tokens: Tokens | None = Field(
        None, description="synthetic: instead of lengths, one fixed prompt length"
    )
    output_tokens: Tokens | None = Field(
        None, description="synthetic: instead of lengths, one fixed output length"
    )
    max_tokens: Tokens | None = Field(
        None, description="output bound that clients send, cuts outputs; unset: the largest output"
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
            if getattr(self, key) is not None:
                raise InputError(
                    f"workload.{key}: only for a trace, but workload.arrivals = {self.arrivals!r} is given"
                )
        burst = self.arrivals == "burst"
        for key in ("rate_rps", "duration_s"):
            if burst and getattr(self, key) is not None:
                raise InputError(f"workload.{key}: no meaning with arrivals = 'burst', where all arrive at 0")
        if not burst and self.rate_rps is None:
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


def build(spec: WorkloadSpec, seed: int, base_dir: Path | None = None) -> Workload:
    """Make the traffic that ``spec`` describes; equal spec and seed give equal columns.

    A relative path is looked for in ``base_dir`` (the scenario file's folder), then in the working
    directory. Raises ``InputError`` for a file that is missing or wrong, or if nothing is left to run.
    """
    if spec.trace is not None:
        name, source, (arrival_s, prompt, output) = _replay(spec, spec.trace, base_dir)
    else:
        name, source, (arrival_s, prompt, output) = _synthesise(spec, seed, base_dir)
    if spec.max_tokens is not None:
        output = np.minimum(output, spec.max_tokens)
        source += f", outputs cut at {spec.max_tokens:,} tokens"
    bound = spec.max_tokens if spec.max_tokens is not None else int(output.max())
    return Workload(name, arrival_s, prompt, output, bound, source)


Columns = tuple[Floats, Ints, Ints]


def _replay(spec: WorkloadSpec, trace: str, base_dir: Path | None) -> tuple[str, str, Columns]:
    shipped = library.shipped_traces()
    path = shipped.get(trace) or library.find_table("workload.trace", trace, list(shipped), base_dir)
    arrival_s, prompt, output = reader.read_trace(path)
    source = [f"trace {trace}"]
    whole = len(arrival_s)
    if spec.start_s is not None or spec.end_s is not None:
        start, end = spec.start_s or 0.0, spec.end_s if spec.end_s is not None else np.inf
        first, last = np.searchsorted(arrival_s, [start, end])
        if first == last:
            raise InputError(
                f"workload.start_s, end_s: no request of {trace} arrives from {start:g} s on"
                + (f" and before {end:g} s;" if spec.end_s is not None else ";")
                + f" expected a window inside {arrival_s[0]:g} to {arrival_s[-1]:g} s"
            )
        arrival_s, prompt, output = arrival_s[first:last] - start, prompt[first:last], output[first:last]
        source.append(f"window {start:g} to {end:g} s" if spec.end_s is not None else f"from {start:g} s on")
    if spec.limit is not None:
        n = spec.limit
        arrival_s, prompt, output = arrival_s[:n], prompt[:n], output[:n]
    if len(arrival_s) < whole:
        source.append(f"{len(arrival_s):,} of {whole:,} requests")
    scale = spec.rate_scale
    if spec.rate_rps is not None:
        span_s = float(arrival_s[-1] - arrival_s[0])
        if span_s <= 0:
            raise InputError(
                f"workload.rate_rps: {trace} has no time between arrivals, so it has no rate to change"
            )
        scale = spec.rate_rps / ((len(arrival_s) - 1) / span_s)
    if scale is not None:
        arrival_s = arrival_s / scale
        source.append(f"rate x {scale:.4g}")
    return Path(trace).name.split(".")[0], ", ".join(source), (arrival_s, prompt, output)


def _synthesise(spec: WorkloadSpec, seed: int, base_dir: Path | None) -> tuple[str, str, Columns]:
    assert spec.arrivals is not None
    if spec.arrivals == "burst":
        assert spec.requests is not None
        arrival_s = np.zeros(spec.requests)
        source = "burst: all arrive at 0"
    else:
        assert spec.rate_rps is not None
        gaps = unit_gaps(spec.arrivals, stream(seed, "arrivals"), spec.burstiness)
        if spec.requests is not None:
            arrival_s = first_n(gaps, spec.rate_rps, spec.requests)
        else:
            assert spec.duration_s is not None
            arrival_s = within(gaps, spec.rate_rps, spec.duration_s)
        source = f"{spec.arrivals} arrivals at {spec.rate_rps:g} requests/s"
        if spec.burstiness is not None:
            source += f" with burstiness {spec.burstiness:g}"
    if len(arrival_s) == 0:
        raise InputError(
            f"workload.duration_s: nothing arrives within {spec.duration_s:g} s at {spec.rate_rps:g}"
            " requests/s; expected a longer time or a higher rate"
        )
    prompt, output, what = _lengths(spec, seed, len(arrival_s), base_dir)
    return spec.arrivals, f"{source}, {what}", (arrival_s, prompt, output)


def _lengths(spec: WorkloadSpec, seed: int, n: int, base_dir: Path | None) -> tuple[Ints, Ints, str]:
    if spec.lengths is None:
        assert spec.prompt_tokens is not None
        assert spec.output_tokens is not None
        what = f"{spec.prompt_tokens:,} prompt and {spec.output_tokens:,} output tokens each"
        return (*draw.fixed(n, spec.prompt_tokens, spec.output_tokens), what)
    rng = stream(seed, "lengths")
    tables = library.shipped_quantiles()
    if spec.lengths in tables:
        return (
            *draw.from_quantiles(rng, tables[spec.lengths], n),
            f"lengths from quantiles of {spec.lengths}",
        )
    shipped = {**library.shipped_samples(), **library.shipped_traces()}
    path = shipped.get(spec.lengths) or library.find_table(
        "workload.lengths", spec.lengths, [*tables, *shipped], base_dir
    )
    return (*draw.from_rows(rng, *reader.read_lengths(path), n), f"lengths drawn from rows of {spec.lengths}")
