"""How one kind of traffic becomes columns: a trace cut and stretched, or one drawn from a seed.

A trace needs nothing of what draws arrivals, and synthetic traffic nothing of what reads files: each is imported where
it is used.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.errors import InputError
from simulator.rng import stream
from simulator.workload import extras, library, load_keys, sessions
from simulator.workload.columns import TrafficColumns
from simulator.workload.cut import Cut
from simulator.workload.length_shapes import LengthShape
from simulator.workload.quantised import spread, stamps
from simulator.workload.spec import WorkloadSpec

if TYPE_CHECKING:
    from simulator.workload.load import Load


def traffic_of(spec: WorkloadSpec, seed: int, base_dir: Path | None) -> tuple[str, list[str], TrafficColumns]:
    """Return name, source and columns of one kind of traffic, a trace or a synthetic one, as ``spec`` has it."""
    name, source, columns = (_synthesise if spec.trace is None else _replay)(spec, seed, base_dir)
    return name, source, finished(spec, seed, columns, source)


def finished(spec: WorkloadSpec, seed: int, columns: TrafficColumns, source: list[str]) -> TrafficColumns:
    """Return columns with answers cut and with what ``spec`` adds to any traffic; ``source`` is told."""
    return extras.add(spec, seed, cut(spec, columns, source), source)


def cut(spec: WorkloadSpec, columns: TrafficColumns, source: list[str]) -> TrafficColumns:
    """Return columns whose answers have ``max_tokens`` at most, where that is given; ``source`` is told."""
    if spec.max_tokens is None:
        return columns
    source.append(f"outputs cut at {spec.max_tokens:,} tokens")
    return replace(columns, output_tokens=np.minimum(columns.output_tokens, spec.max_tokens))


def _replay(spec: WorkloadSpec, seed: int, base_dir: Path | None) -> tuple[str, list[str], TrafficColumns]:
    from simulator.workload import reader
    from simulator.workload.recognise import ReadAs

    trace = str(spec.trace)
    shipped = library.shipped_traces()
    path = shipped.get(trace) or library.find_table("workload.trace", trace, list(shipped), base_dir, True)
    file = reader.Trace(path, ReadAs.of(spec, base_dir))
    changing = _load(spec, seed, base_dir)
    _check_times(spec, trace, file.timed, changing)
    columns, cut = file.read(spec)
    cut.check(trace)
    source = [f"trace {trace}", *cut.described()]
    if file.rows is None:
        source.append(f"the first {len(columns):,} requests")
    elif len(columns) < file.rows:
        source.append(f"{len(columns):,} of {file.rows:,} requests")
    source += file.said
    columns = _unquantised(spec, seed, columns, source) if file.timed else columns
    columns = sessions.think(spec, seed, columns)
    if spec.think_s is not None:
        source.append(f"think times of {spec.think_s:g} s on average")
    if spec.max_think_s is not None:
        source.append(f"think times up to {spec.max_think_s:g} s")
    if file.timed:
        columns = _stretched(spec, trace, columns, source)
    else:
        from simulator.workload import load as loads

        columns = sessions.place(spec, seed, columns, partial(loads.first_n, spec, changing))
        if spec.rate_rps is not None:
            source.append(f"poisson arrivals of {spec.rate_rps:g} sessions/s")
        if changing is not None:
            source.append(changing.described())
    columns = sessions.in_order(columns) if spec.concurrency is None else sessions.at_once(columns)
    return Path(trace).name.split(".")[0], source, columns


def _unquantised(spec: WorkloadSpec, seed: int, columns: TrafficColumns, source: list[str]) -> TrafficColumns:
    """Say that time stamps are coarse, and spread the requests of each where that is wanted."""
    found = stamps(columns.arrival_s)
    if found is None:
        if spec.jitter:
            source.append("no coarse time stamps to spread")
        return columns
    if not spec.jitter:
        source.append(f"{found.described()} (workload.jitter spreads them)")
        return columns
    source.append(f"{found.described()}, spread at random up to the next")
    arrival_s = spread(columns.arrival_s, found, stream(seed, "jitter"))
    return replace(columns, arrival_s=arrival_s)


def _load(spec: WorkloadSpec, seed: int, base_dir: Path | None) -> "Load | None":
    if load_keys.first_given(spec) is None:
        return None
    from simulator.workload import load as loads

    return loads.of(spec, seed, base_dir)


def _check_times(spec: WorkloadSpec, trace: str, timed: bool, changing: "Load | None") -> None:
    """Refuse keys that change the times of a trace that has none, or that set those of one which has."""
    for key in ("start_s", "end_s", "rate_scale"):
        if not timed and getattr(spec, key) is not None:
            raise InputError(
                f"workload.{key}: {trace} says nothing of when its sessions start, so there are no times to change;"
                " expected workload.limit to cut it, workload.rate_rps for sessions/s"
            )
    if timed and changing is not None:
        raise InputError(
            f"workload.{load_keys.first_given(spec)}: {trace} has arrival times, and so a load, of its own; expected"
            f" workload.arrivals beside it, with workload.lengths = {trace!r} for the lengths of its requests"
        )


def _stretched(spec: WorkloadSpec, trace: str, columns: TrafficColumns, source: list[str]) -> TrafficColumns:
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


def _synthesise(
    spec: WorkloadSpec, seed: int, base_dir: Path | None
) -> tuple[str, list[str], TrafficColumns]:
    turns = sessions.turns(spec, seed, spec.requests) if spec.session_turns and spec.requests else None
    arrival_s, source = starts(spec, seed, base_dir, spec.requests if turns is None else len(turns))
    columns = filled(spec, seed, base_dir, arrival_s, turns, source)
    return str(spec.arrivals), source, columns


def starts(
    spec: WorkloadSpec, seed: int, base_dir: Path | None, count: int | None
) -> tuple[Floats, list[str]]:
    """Return when requests, or sessions, arrive (s), and what that is: so many, or those up to ``duration_s``."""
    assert spec.arrivals is not None
    changing = _load(spec, seed, base_dir)
    if spec.arrivals == "burst":
        assert count is not None
        return np.zeros(count), ["burst: all arrive at 0"]
    from simulator.workload import load as loads
    from simulator.workload.arrivals import unit_gaps

    gaps = unit_gaps(spec.arrivals, stream(seed, "arrivals"), spec.burstiness)
    if count is not None:
        arrival_s = loads.first_n(spec, changing, gaps, count)
    else:
        arrival_s = loads.within(spec, changing, gaps)
    if len(arrival_s) == 0:
        at = "under this load" if changing is not None else f"at {spec.rate_rps:g} requests/s"
        raise InputError(
            f"workload.duration_s: nothing arrives within {spec.duration_s:g} s {at}; expected a longer time or a"
            " higher rate"
        )
    return arrival_s, [_arrivals_described(spec, changing)]


def filled(
    spec: WorkloadSpec,
    seed: int,
    base_dir: Path | None,
    arrival_s: Floats,
    turns: Ints | None,
    source: list[str],
) -> TrafficColumns:
    """Return requests, or sessions of so many ``turns`` (None: drawn), that arrive at given times."""
    if spec.session_turns is not None:
        turns = turns if turns is not None else sessions.turns(spec, seed, len(arrival_s))
        return _sessions(spec, seed, base_dir, arrival_s, turns, source)
    prompt, output, what = _lengths(spec, seed, len(arrival_s), base_dir)
    source.append(what)
    return TrafficColumns(arrival_s, prompt, output)


def _arrivals_described(spec: WorkloadSpec, changing: "Load | None") -> str:
    what = "requests/s" if spec.session_turns is None else "sessions/s"
    said = f"{spec.arrivals} arrivals"
    if spec.rate_rps is not None:
        said += f" at {spec.rate_rps:g} {what}"
    if changing is not None:
        on = (
            f" on average, {changing.described()}"
            if spec.rate_rps is not None
            else f", {changing.described()}"
        )
        said += on if spec.rate_rps is not None else f"{on} in {what}"
    return said if spec.burstiness is None else f"{said} with burstiness {spec.burstiness:g}"


def _sessions(
    spec: WorkloadSpec, seed: int, base_dir: Path | None, start_s: Floats, turns: Ints, source: list[str]
) -> TrafficColumns:
    what = ""

    def lengths(n: int) -> tuple[Ints, Ints]:
        nonlocal what
        prompt, output, what = _lengths(spec, seed, n, base_dir)
        return prompt, output

    columns = sessions.think(spec, seed, sessions.draw(spec, turns, start_s, lengths))
    drawn = len(columns)
    if spec.max_think_s is not None:
        source.append(f"think times up to {spec.max_think_s:g} s")
    mean = f"sessions of {spec.session_turns:g} turns on average, {spec.think_s:g} s between them"
    source += [mean, f"{what} for what each turn adds"]
    cut = Cut(spec)
    columns = cut.take(columns)
    cut.check("these sessions")
    source += cut.described()
    if len(columns) < drawn:
        source.append(f"{len(columns):,} of {drawn:,} requests")
    return sessions.in_order(columns) if spec.concurrency is None else sessions.at_once(columns)


def _drawn(shape: int | LengthShape, seed: int, name: str, n: int) -> tuple[Ints, str]:
    """Return so many lengths, and what they are; ``name`` is that of their stream."""
    if isinstance(shape, int):
        return np.full(n, shape, np.int64), f"{shape:,}"
    return shape.draw(stream(seed, name), n), f"({shape.described()})"


def _lengths(spec: WorkloadSpec, seed: int, n: int, base_dir: Path | None) -> tuple[Ints, Ints, str]:
    if spec.lengths is None:
        (prompt, prompt_is), (output, output_is) = (
            _drawn(getattr(spec, f"{what}_tokens"), seed, f"{what}_lengths", n)
            for what in ("prompt", "output")
        )
        return prompt, output, f"{prompt_is} prompt and {output_is} output tokens each"
    from simulator.workload import lengths as draw

    rng = stream(seed, "lengths")
    tables = library.shipped_quantiles()
    if spec.lengths in tables:
        return (
            *draw.from_quantiles(rng, tables[spec.lengths], n),
            f"lengths from quantiles of {spec.lengths}",
        )
    shipped = {**library.shipped_samples(), **library.shipped_traces()}
    path = shipped.get(spec.lengths) or library.find_table(
        "workload.lengths", spec.lengths, [*tables, *shipped], base_dir, True
    )
    from simulator.workload import reader
    from simulator.workload.recognise import ReadAs

    rows = reader.read_lengths(path, ReadAs.of(spec, base_dir))
    return (*draw.from_rows(rng, *rows, n), f"lengths drawn from rows of {spec.lengths}")
