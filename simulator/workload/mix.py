"""Traffic of several classes: each made by itself from random streams of its own, then put in order of arrival."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from simulator.arrays import Floats, Ints
from simulator.errors import InputError
from simulator.replica.request import DEFAULTS
from simulator.rng import stream
from simulator.workload import sources
from simulator.workload.columns import Pieces, TrafficColumns
from simulator.workload.segments import Mixed, Segments
from simulator.workload.spec import WorkloadSpec
from simulator.workload.traffic_class import blamed, shares, spec_of


def of_classes(
    spec: WorkloadSpec, seed: int, base_dir: Path | None
) -> tuple[str, list[str], TrafficColumns, Sequence[Segments] | None]:
    """Return name, source, columns and segments of the traffic of ``spec.classes``, in order of arrival.

    With shares each arrival is of a class by chance, so that Poisson arrivals are Poisson in every class. A class's
    lengths are drawn from streams named after it: another class beside it changes none of them.
    """
    names = list(spec.classes or {})
    by_share = shares(spec)
    said: list[str] = []
    times: list[Floats | None] = [None] * len(names)
    if by_share is not None:
        arrival_s, said = sources.starts(spec, seed, base_dir, spec.requests)
        of_class = _drawn(by_share, seed, len(arrival_s))
        times = [arrival_s[of_class == i] for i in range(len(names))]
    found = {
        i: part for i, name in enumerate(names) if (part := _part(spec, name, seed, base_dir, times[i], said))
    }
    said = ["; ".join(said)]
    columns, order = _merged(found)
    columns = sources.cut(spec, columns, said)
    segments = [each.segments() for each in found.values()]
    lengths = [len(each) for each in found.values()]
    if all(each is None for each in segments):
        return "classes", said, columns, None
    return "classes", said, columns, Mixed(columns.prompt_tokens, segments, lengths, order)


def class_seed(seed: int, name: str) -> int:
    """Return the seed of a class's own streams; equal names have equal ones, whatever stands beside them."""
    return int(stream(seed, f"class {name}").integers(2**62))


def _drawn(by_share: list[float], seed: int, n: int) -> Ints:
    """Return the class of each of so many arrivals, from 0 up."""
    steps = np.cumsum(by_share)
    found: Ints = np.searchsorted(steps, stream(seed, "classes").random(n) * steps[-1], side="right")
    return np.minimum(found, len(by_share) - 1)


def _part(
    spec: WorkloadSpec, name: str, seed: int, base_dir: Path | None, arrival_s: Floats | None, said: list[str]
) -> TrafficColumns | None:
    """Return the requests of one class; None if none arrives."""
    own, own_seed = spec_of(spec, name), class_seed(seed, name)
    of_class = (spec.classes or {})[name]
    source: list[str] = []
    try:
        if arrival_s is None:
            _, source, columns = sources.traffic_of(own, own_seed, base_dir)
        elif not len(arrival_s):
            said.append(f"{name}: none arrives")
            return None
        else:
            columns = sources.filled(own, own_seed, base_dir, arrival_s, None, source)
            columns = sources.finished(own, own_seed, columns, source)
        for field, value in of_class.constants().items():
            if field in columns.carried:
                raise InputError(
                    f"workload.{field}: {own.trace} says this itself, in column {field}; expected one of the two"
                )
            columns = columns.carrying(**{field: np.full(len(columns), value)})
            source.append(f"{field} {value:g}")
        if of_class.model is not None:
            if "model" in columns.carried:
                raise InputError(
                    f"workload.model: {own.trace} says this itself, in column model; expected one of the two"
                )
            columns = replace(
                columns.carrying(model=np.zeros(len(columns), np.int64)), model_names=[of_class.model]
            )
            source.append(f"model {of_class.model}")
    except InputError as error:
        raise blamed(name, error) from error
    share = "" if of_class.share is None else f" {of_class.share:.4g} of them:"
    said.append(f"{name}:{share} {', '.join(source)}")
    return columns


def _merged(found: dict[int, TrafficColumns]) -> tuple[TrafficColumns, Ints]:
    """Return all requests in order of arrival, and where each was in the classes one after another."""
    parts, model_names = _alike_models(list(found.values()))
    arrival_s = np.concatenate([each.arrival_s for each in parts])
    order = np.argsort(arrival_s, kind="stable")

    def column(name: str, empty: float | int) -> Any:
        given = [each.carried.get(name, getattr(each, name, None)) for each in parts]
        if all(each is None for each in given):
            return None
        filled = [
            np.full(len(part), empty) if each is None else each
            for part, each in zip(parts, given, strict=True)
        ]
        return np.concatenate(filled)[order]

    carried = {name: column(name, DEFAULTS[name]) for each in parts for name in each.carried}
    numbers = np.concatenate([np.full(len(each), i) for i, each in found.items()])[order]
    columns = TrafficColumns(
        arrival_s[order],
        np.concatenate([each.prompt_tokens for each in parts])[order],
        np.concatenate([each.output_tokens for each in parts])[order],
        patience_s=column("patience_s", np.nan),
        session=_sessions(parts, order),
        think_s=column("think_s", np.nan),
        **_graphs(parts, order),
        carried={name: each for name, each in carried.items() if each is not None}
        | {"traffic_class": numbers},
        model_names=model_names,
    )
    return columns, order


def _alike_models(parts: list[TrafficColumns]) -> tuple[list[TrafficColumns], list[str]]:
    """Return the parts with models that are numbered alike, and their names."""
    names: dict[str, int] = {}
    alike = []
    for each in parts:
        if "model" in each.carried:
            own = [names.setdefault(name, len(names)) for name in each.model_names]
            each = each.carrying(model=np.array([*own, -1], np.int64)[each.carried["model"].astype(np.int64)])
        alike.append(each)
    return alike, list(names)


def _graphs(parts: list[TrafficColumns], order: Ints) -> dict[str, Any]:
    """Return the columns of graphs of agents, their nodes numbered apart; nothing if no part has any."""
    if all(each.after is None for each in parts):
        return {}
    begins, streams, counts, nodes = 0, list[Ints](), list[Ints](), list[Ints]()
    for each in parts:
        own = np.arange(len(each)) if each.node is None else each.node
        nodes.append(own + begins)
        streams.append(np.empty(0, np.int64) if each.after is None else each.after.streams + begins)
        counts.append(np.zeros(len(each), np.int64) if each.after is None else np.diff(each.after.offsets))
        begins += int(own.max(initial=-1)) + 1
    after = np.concatenate(streams).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
    return {
        "node": np.concatenate(nodes)[order],
        "after": Pieces(after, np.zeros_like(after), offsets)[order],
    }


def _sessions(parts: list[TrafficColumns], order: Ints) -> Ints | None:
    """Return sessions of all parts numbered apart; None if there is none."""
    if all(each.session is None for each in parts):
        return None
    first, found = 0, list[Ints]()
    for each in parts:
        session = np.full(len(each), -1) if each.session is None else each.session
        found.append(np.where(session < 0, -1, session.astype(np.int64) + first))
        first = max(first, int(found[-1].max(initial=-1)) + 1)
    return np.concatenate(found)[order]
