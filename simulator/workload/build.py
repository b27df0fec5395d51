"""How a scenario's traffic becomes columns: a trace cut and stretched, or one drawn from a seed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from simulator.errors import InputError
from simulator.rng import stream
from simulator.workload import extras, library, predictors, reader, sessions
from simulator.workload import lengths as draw
from simulator.workload.arrivals import first_n, unit_gaps, within
from simulator.workload.columns import Columns
from simulator.workload.spec import WorkloadSpec
from simulator.workload.workload import Workload

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def build(spec: WorkloadSpec, seed: int, base_dir: Path | None = None) -> Workload:
    """Make the traffic that ``spec`` describes; equal spec and seed give equal columns.

    A relative path is looked for in ``base_dir`` (the scenario file's folder), then in the working
    directory. Raises ``InputError`` for a file that is missing or wrong, or if nothing is left to run.
    """
    if spec.trace is not None:
        name, source, columns = _replay(spec, seed, spec.trace, base_dir)
    else:
        name, source, columns = _synthesise(spec, seed, base_dir)
    if spec.max_tokens is not None:
        columns = replace(columns, output_tokens=np.minimum(columns.output_tokens, spec.max_tokens))
        source.append(f"outputs cut at {spec.max_tokens:,} tokens")
    columns = extras.add(spec, seed, columns, source)
    segments = columns.segments()
    max_tokens = spec.max_tokens if spec.max_tokens is not None else int(columns.output_tokens.max())
    predicted = predictors.predict(spec, seed, columns.output_tokens, max_tokens)
    if predicted is not None:
        source.append(predictors.described(spec))
    if spec.concurrency is not None:
        source.append(f"sent by {spec.concurrency:,} clients, one after another")
    return Workload(
        name,
        columns.arrival_s,
        columns.prompt_tokens,
        columns.output_tokens,
        max_tokens,
        ", ".join(source),
        priority=columns.priority,
        leave_s=columns.leave_s(),
        concurrency=spec.concurrency,
        segments=segments,
        output_stream=None if segments is None else columns.output_stream(),
        tenant=columns.tenant,
        predicted_tokens=predicted,
        session=columns.session,
        think_s=columns.think_s,
    )


def _replay(
    spec: WorkloadSpec, seed: int, trace: str, base_dir: Path | None
) -> tuple[str, list[str], Columns]:
    shipped = library.shipped_traces()
    path = shipped.get(trace) or library.find_table("workload.trace", trace, list(shipped), base_dir)
    columns = reader.read_trace(path)
    source = [f"trace {trace}"]
    whole, timed = len(columns), columns.counted_from is None
    if timed:
        columns = sessions.in_order(columns)
    if spec.start_s is not None or spec.end_s is not None:
        _refuse_untimed("start_s" if spec.start_s is not None else "end_s", trace, timed)
        columns = _window(spec, trace, columns, source)
    columns = _short_enough(spec, trace, columns, source)
    if spec.limit is not None:
        columns = columns.pick(slice(spec.limit))
    if len(columns) < whole:
        source.append(f"{len(columns):,} of {whole:,} requests")
    columns = sessions.think(spec, seed, columns)
    if spec.think_s is not None:
        source.append(f"think times of {spec.think_s:g} s on average")
    if spec.max_think_s is not None:
        source.append(f"think times up to {spec.max_think_s:g} s")
    if timed:
        columns = _stretched(spec, trace, columns, source)
    else:
        if spec.rate_scale is not None:
            _refuse_untimed("rate_scale", trace, timed)
        columns = sessions.place(spec, seed, columns)
        if spec.rate_rps is not None:
            source.append(f"poisson arrivals of {spec.rate_rps:g} sessions/s")
    columns = sessions.in_order(columns) if spec.concurrency is None else sessions.at_once(columns)
    return Path(trace).name.split(".")[0], source, columns


def _refuse_untimed(key: str, trace: str, timed: bool) -> None:
    if not timed:
        raise InputError(
            f"workload.{key}: {trace} says nothing of when its sessions start, so there are no times to change;"
            " expected workload.limit to cut it, workload.rate_rps for sessions/s"
        )


def _short_enough(spec: WorkloadSpec, name: str, columns: Columns, source: list[str]) -> Columns:
    """Leave out prompts above ``max_prompt_tokens``, and what follows them in their sessions."""
    if spec.max_prompt_tokens is None:
        return columns
    fits = sessions.cut(columns, columns.prompt_tokens <= spec.max_prompt_tokens)
    if not fits.any():
        what = "prompt" if columns.session is None else "session's first prompt"
        shortest = columns.prompt_tokens[columns.first_of_session() == np.arange(len(columns))].min()
        raise InputError(
            f"workload.max_prompt_tokens: every {what} of {name} is longer than {spec.max_prompt_tokens:,};"
            f" the shortest has {shortest:,} tokens"
        )
    source.append(f"prompts up to {spec.max_prompt_tokens:,} tokens")
    return columns.pick(fits)


def _stretched(spec: WorkloadSpec, trace: str, columns: Columns, source: list[str]) -> Columns:
    """Change the rate at which requests arrive by themselves, which a session's later turns do not."""
    scale = spec.rate_scale
    if spec.rate_rps is not None:
        arrival_s = columns.arrival_s
        if columns.think_s is not None:
            arrival_s = arrival_s[columns.first_of_session() == np.arange(len(columns))]
        span_s = float(arrival_s[-1] - arrival_s[0])
        if span_s <= 0:
            raise InputError(
                f"workload.rate_rps: {trace} has no time between arrivals, so it has no rate to change"
            )
        scale = spec.rate_rps / ((len(arrival_s) - 1) / span_s)
    if scale is not None:
        columns = replace(columns, arrival_s=columns.arrival_s / scale)
        source.append(f"rate x {scale:.4g}")
    return columns


def _window(spec: WorkloadSpec, trace: str, columns: Columns, source: list[str]) -> Columns:
    """Cut what arrives outside of the window; the clock then starts where the window does."""
    arrival_s = columns.arrival_s
    start, end = spec.start_s or 0.0, spec.end_s if spec.end_s is not None else np.inf
    first, last = np.searchsorted(arrival_s, [start, end])
    if first == last:
        raise InputError(
            f"workload.start_s, end_s: no request of {trace} arrives from {start:g} s on"
            + (f" and before {end:g} s;" if spec.end_s is not None else ";")
            + f" expected a window inside {arrival_s[0]:g} to {arrival_s[-1]:g} s"
        )
    source.append(f"window {start:g} to {end:g} s" if spec.end_s is not None else f"from {start:g} s on")
    columns = columns.pick(slice(first, last))
    return replace(columns, arrival_s=columns.arrival_s - start)


def _synthesise(spec: WorkloadSpec, seed: int, base_dir: Path | None) -> tuple[str, list[str], Columns]:
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
    if spec.session_turns is not None:
        return _sessions(spec, seed, base_dir, arrival_s, [source.replace("requests/s", "sessions/s")])
    prompt, output, what = _lengths(spec, seed, len(arrival_s), base_dir)
    return spec.arrivals, [source, what], Columns(arrival_s, prompt, output)


def _sessions(
    spec: WorkloadSpec, seed: int, base_dir: Path | None, start_s: Floats, source: list[str]
) -> tuple[str, list[str], Columns]:
    assert spec.arrivals is not None
    what = ""

    def lengths(n: int) -> tuple[Ints, Ints]:
        nonlocal what
        prompt, output, what = _lengths(spec, seed, n, base_dir)
        return prompt, output

    columns = sessions.think(spec, seed, sessions.draw(spec, seed, start_s, lengths))
    drawn = len(columns)
    if spec.max_think_s is not None:
        source.append(f"think times up to {spec.max_think_s:g} s")
    turns = f"sessions of {spec.session_turns:g} turns on average, {spec.think_s:g} s between them"
    source += [turns, f"{what} for what each turn adds"]
    columns = _short_enough(spec, "these sessions", columns, source)
    if len(columns) < drawn:
        source.append(f"{len(columns):,} of {drawn:,} requests")
    columns = sessions.in_order(columns) if spec.concurrency is None else sessions.at_once(columns)
    return spec.arrivals, source, columns


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
