"""Several runs in one table, and whether they served the same traffic."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from simulator.errors import InputError
from simulator.metrics import Measure
from simulator.metrics._window import Window
from simulator.replica.request import FIELDS
from simulator.report.classes import measures_of_classes
from simulator.report.measures import shown
from simulator.report.report import Summary
from simulator.report.text import number, table
from simulator.stats import paired, signs
from simulator.workload import Workload, build

if TYPE_CHECKING:
    from simulator.results.result import Result
    from simulator.scenario.scenario import Scenario

MOST_BESIDE = 4  # runs
_Traffic = TypeVar("_Traffic")


def varied(vary: str) -> tuple[list[str], list[str]]:
    """Split ``KEY=A,B,...`` into names of runs and their settings ``KEY=A``, ``KEY=B``, ..."""
    key, equals, values = vary.partition("=")
    names = [value.strip() for value in values.split(",")]
    if not equals or not key.strip() or not all(names) or len(set(names)) < max(2, len(names)):
        raise InputError(f"--vary {vary}: expected a key and two or more different values, as KEY=A,B")
    return names, [f"{key.strip()}={name}" for name in names]


def comparison(names: Sequence[str], summaries: Sequence[Summary]) -> str:
    """Return one table of several runs, differences in percent against the first.

    More runs than fit beside one another have a row each, the best smooth goodput first.
    """
    return (_beside if len(names) <= MOST_BESIDE else _ranked)(names, summaries)


def common_window(results: Sequence["Result"], window: Window) -> Window:
    """Return one window for runs of the same traffic: as given, or so many seconds that each of them lasts.

    The latter where answers decide when the next requests arrive (closed loops, sessions), so that the first to the
    last arrival takes each policy another time.
    """
    spans_s = [result.measured.all.window_s for result in results]
    if window.rule != "arrivals" or window.warmup or window.cooldown or max(spans_s) - min(spans_s) < 1e-9:
        return window
    return Window(min(spans_s))


def over_seeds(names: Sequence[str], summaries: Sequence[Sequence[Summary]]) -> str:
    """Return one table of several runs, each repeated with the same seeds.

    Means over the seeds; behind them the difference to the first run in percent of its mean (where that is 0:
    the difference itself), with the 95 % interval of the paired differences (Student's t), or that none is
    shown where the interval holds zero. A question mark stands behind a difference that its own interval shows, and
    that does not hold up among all of the table (``signs``). Where all seeds give the same there is one trace, and no
    spread to speak of: then the table is that of ``comparison``.
    """
    seeds = len(summaries[0])
    if all(each == runs[0] for runs in summaries for each in runs):
        said = f"one trace, no spread: nothing here is random, and all {seeds} seeds give the same"
        return f"{comparison(names, [runs[0] for runs in summaries])}{said}\n"
    rows = [["", "", names[0]]]
    for name in names[1:]:
        rows[0] += [name, "difference [95 %]"]
    found: list[tuple[Measure, list[list[float]]]] = []
    for measure in [*shown("compare"), *measures_of_classes([runs[0] for runs in summaries])]:
        values = [[measure.of(summary) for summary in runs] for runs in summaries]
        known = [[value for value in runs if value is not None] for runs in values]
        if all(len(runs) == seeds for runs in known):
            found.append((measure, known))
    family = [
        [one - other for one, other in zip(runs, known[0], strict=True)]
        for _, known in found
        for runs in known[1:]
        if runs != known[0]
    ]
    sides = iter(signs(family))
    for measure, known in found:
        counted = [_counts(measure, runs) for runs in summaries]
        means = [
            number(sum(runs) / seeds) + ("*" if any(some) else "")
            for runs, some in zip(known, counted, strict=True)
        ]
        row = [measure.label, measure.unit, means[0]]
        for runs, mean in zip(known[1:], means[1:], strict=True):
            said = "=" if runs == known[0] else _change(measure, runs, known[0], next(sides))
            row += [mean, said]
        rows.append(row)
    notes = [
        f"means over {seeds} seeds, differences seed by seed; a metric that some run has not is left out",
        f"an interval is per comparison; {len(family)} were made, and those without ? hold together (Holm, 95 %)",
    ]
    if any("*" in cell for row in rows for cell in row):
        notes.append("* of the requests that have one, not of all that arrived")
    return "\n".join([*table(rows, left=2), *_windows(names, [runs[0] for runs in summaries]), *notes]) + "\n"


def _change(measure: Measure, runs: Sequence[float], first: Sequence[float], side: int) -> str:
    """Say by how much a run differs from the first; ``side`` is 0 where that is not shown among all."""
    base = sum(first) / len(first)
    least, most = measure.possible
    change = paired(runs, first)
    if not (change.above_zero or change.below_zero):
        return "no difference shown"
    change = change.within(least - base, most - base)
    alone = "" if side else " ?"
    if not base:  # of nothing there are no percent
        return f"{number(change.mean)} [{number(change.low)}, {number(change.high)}]{alone}"
    mean, low, high = (100 / abs(base) * each for each in (change.mean, change.low, change.high))
    return f"{mean:+.1f} % [{low:+.1f}, {high:+.1f}]{alone}"


def _ranked(names: Sequence[str], summaries: Sequence[Summary]) -> str:
    columns = shown("ranking")
    by = columns[-1]  # smooth goodput
    worth = [-math.inf if (value := by.of(summary)) is None else value for summary in summaries]
    order = sorted(range(len(names)), key=lambda i: -worth[i])
    rows = [
        ["", *(each.label for each in columns), f"to {names[0]}"],
        ["", *(each.unit for each in columns), ""],
    ]
    for i in order:
        difference = _difference(by.of(summaries[0]), by.of(summaries[i]))
        rows.append([names[i], *(number(each.of(summaries[i])) for each in columns), difference])
    return "\n".join([*table(rows, left=1), *_windows(names, summaries)]) + "\n"


def _beside(names: Sequence[str], summaries: Sequence[Summary]) -> str:
    header = ["", "", names[0]]
    for name in names[1:]:
        header += [name, "diff"]
    rows = [header]
    for measure in [*shown("compare"), *measures_of_classes(summaries)]:
        values = [measure.of(summary) for summary in summaries]
        if all(value is None for value in values):
            continue
        counts = _counts(measure, summaries)
        row = [measure.label, measure.unit, number(values[0]) + counts[0]]
        for value, count in zip(values[1:], counts[1:], strict=True):
            row += [number(value) + count, _difference(values[0], value)]
        rows.append(row)
    return "\n".join([*table(rows, left=2), *_windows(names, summaries)]) + "\n"


def _counts(measure: Measure, summaries: Sequence[Summary]) -> list[str]:
    """Return of how many requests each run's value is, where that is not all that arrived in all of the runs."""
    found = []
    for summary in summaries:
        at: Any = summary
        key_parts = measure.key.split(".")
        for key in key_parts[:-1]:
            at = at.get(key, {}) if isinstance(at, Mapping) else {}
        states = (
            summary["classes"][key_parts[1]]["states"] if key_parts[0] == "classes" else summary["states"]
        )
        of_requests = str(at.get("over", "")).partition(" ")[0] in ("requests", "completed")
        found.append((at["count"], states["arrived"]) if of_requests else (0, 0))
    if all(count == arrived for count, arrived in found):
        return [""] * len(found)
    return [f" of {count:,}" for count, _ in found]


def _windows(names: Sequence[str], summaries: Sequence[Summary]) -> list[str]:
    """Say over what time the rates are; the same for all, or for each where that differs."""
    lengths = [number(summary["window"]["duration_s"], 6) for summary in summaries]
    said = (
        f"{lengths[0]} s"
        if len(set(lengths)) == 1
        else ", ".join(f"{name} {each} s" for name, each in zip(names, lengths, strict=True))
    )
    last = {"arrivals": " (first to last arrival)", "whole": " (first arrival to last event)"}
    return [
        "",
        f"rates are over {said}{last.get(summaries[0]['window']['rule'], ' from the first arrival on')}",
    ]


def _difference(first: float | None, value: float | None) -> str:
    if first is None or value is None:
        return "-"
    if first == value:
        return "="
    if first == 0:
        return "-"
    return f"{100 * (value - first) / abs(first):+.1f} %"


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


def distinct(names: Sequence[str]) -> list[str]:
    """Return the names, numbered where they are not different."""
    found = [name if names.count(name) == 1 else f"{name}-{i + 1}" for i, name in enumerate(names)]
    return found if len(set(found)) == len(found) else [f"{name}-{i + 1}" for i, name in enumerate(names)]


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
        apart = np.flatnonzero(mine[column] != theirs[column])
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
