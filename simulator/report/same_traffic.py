"""Whether several runs served the same requests, and where they first do not."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from simulator.errors import InputError
from simulator.replica.request import FIELDS
from simulator.workload import Workload, build

if TYPE_CHECKING:
    from simulator.results.result import Result
    from simulator.scenario.scenario import Scenario

_Traffic = TypeVar("_Traffic")
_CLOCK_S = 1e-6  # between the same arrivals, read off different clocks
_TRAFFIC = ("arrival_s", "prompt_tokens", "output_tokens", *FIELDS)


def first_difference(one: Workload, other: Workload) -> str | None:
    """Say how the second workload differs from the first, or return None if its requests are the very same."""
    if len(one) != len(other):
        return f"{len(other):,} requests, not {len(one):,}"
    if one.concurrency != other.concurrency:
        return f"concurrency is {other.concurrency}, not {one.concurrency}"
    for column in _TRAFFIC:
        ours, theirs = getattr(one, column), getattr(other, column)
        if ours is None and theirs is None:
            continue
        if ours is None or theirs is None:
            return f"{column} is given, not absent" if ours is None else f"{column} is absent, not given"
        differ = (ours != theirs) & ~(np.isnan(ours) & np.isnan(theirs))
        if differ.any():
            i = int(differ.argmax())
            return f"{column} of request {i} is {theirs[i]:g}, not {ours[i]:g}"
    if one.segments != other.segments:
        return "prompts have other beginnings in common"
    if one.max_tokens != other.max_tokens:
        return f"max_tokens is {other.max_tokens}, not {one.max_tokens}"
    return None


def traffic_notes(
    names: Sequence[str], chosen: "Sequence[tuple[Scenario, Path | None]]", different: bool
) -> list[str]:
    """Return what is not the same in the scenarios' traffic; InputError for other requests unless ``different``.

    Each scenario comes with the folder that its relative paths begin at.
    """
    notes = seed_notes([scenario.seed for scenario, _ in chosen])
    traffic = [build(scenario.workload, scenario.seed, base_dir) for scenario, base_dir in chosen]
    return notes + _differences(names, traffic, first_difference, different)


def saved_traffic_notes(names: Sequence[str], results: "Sequence[Result]", different: bool) -> list[str]:
    """Return what is not the same in the traffic of saved runs; InputError for other requests unless ``different``."""
    scenarios = [result.manifest["scenario"] for result in results]
    notes = seed_notes([each["seed"] for each in scenarios if "seed" in each])  # a real server has none
    return notes + _differences(names, results, _first_difference_saved, different)


def seed_notes(seeds: Sequence[int]) -> list[str]:
    """Return a line where seeds are not the same."""
    if len(set(seeds)) <= 1:
        return []
    return [f"seeds differ ({', '.join(map(str, seeds))}); random choices are not the same"]


def _first_difference_saved(one: "Result", other: "Result") -> str | None:
    """Say where the requests of two runs differ first; those of closed loops and sessions may arrive at other times."""
    mine, theirs = one.request_columns, other.request_columns
    if mine is None or theirs is None:
        raise InputError(
            "compare: only the summary of a run was kept; expected run.trace_level = 'requests' or above"
        )
    if len(mine["prompt_tokens"]) != len(theirs["prompt_tokens"]):
        return f"{len(theirs['prompt_tokens']):,} requests, not {len(mine['prompt_tokens']):,}"
    answers_decide = "session" in mine or one.manifest["scenario"]["workload"].get("concurrency") is not None
    for column in ("prompt_tokens", "output_tokens", *(() if answers_decide else ("arrival_s",))):
        if column == "arrival_s" and ("measured" in one.manifest or "measured" in other.manifest):
            first_s = mine[column][:1] - theirs[column][:1]  # as each has its clock
            differ = np.abs(mine[column] - theirs[column] - first_s) > _CLOCK_S
        else:
            differ = mine[column] != theirs[column]
        apart = np.flatnonzero(differ)
        if len(apart):
            row = int(apart[0])
            return f"request {row} has {column} {theirs[column][row]:g}, not {mine[column][row]:g}"
    return None


def _differences(
    names: Sequence[str],
    traffic: Sequence[_Traffic],
    differ: "Callable[[_Traffic, _Traffic], str | None]",
    different: bool,
) -> list[str]:
    notes = []
    for name, other in zip(names[1:], traffic[1:], strict=True):
        difference = differ(traffic[0], other)
        if difference is None:
            continue
        text = f"{name} serves other traffic than {names[0]}: {difference}"
        if not different:
            raise InputError(f"{text}; expected the same [workload] and seed, or --different-traffic")
        notes.append(text)
    return notes
