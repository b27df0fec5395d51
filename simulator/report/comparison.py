"""Several runs in one table, and whether they served the same traffic."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.errors import InputError
from simulator.metrics import Measure
from simulator.metrics._window import Window
from simulator.replica.request import FIELDS
from simulator.report.measures import shown
from simulator.report.report import Summary
from simulator.report.text import number, table
from simulator.workload import Workload, build

if TYPE_CHECKING:
    from simulator.results.result import Result
    from simulator.scenario.scenario import Scenario

MOST_BESIDE = 4  # runs


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
    shown where the interval holds zero.
    """
    from simulator.stats import paired

    seeds = len(summaries[0])
    rows = [["", "", names[0]]]
    for name in names[1:]:
        rows[0] += [name, "difference [95 %]"]
    for measure in shown("compare"):
        values = [[measure.of(summary) for summary in runs] for runs in summaries]
        if any(value is None for runs in values for value in runs):
            continue
        known = [[value for value in runs if value is not None] for runs in values]
        base = sum(known[0]) / seeds
        of_first = [_counts(measure, runs) for runs in summaries]
        row = [measure.label, measure.unit, number(base) + ("*" if any(of_first[0]) else "")]
        for runs, counted in zip(known[1:], of_first[1:], strict=True):
            found = paired(runs, known[0])
            differ = found.above_zero or found.below_zero
            scale = 100 / abs(base) if base else 0.0
            text = f"{found.mean * scale:+.1f} % [{found.low * scale:+.1f}, {found.high * scale:+.1f}]"
            if not base:  # of nothing there are no percent
                text = f"{number(found.mean)} [{number(found.low)}, {number(found.high)}]"
            equal = runs == known[0]
            mean = number(sum(runs) / seeds) + ("*" if any(counted) else "")
            row += [mean, "=" if equal else text if differ else "no difference shown"]
        rows.append(row)
    note = f"means over {seeds} seeds, differences seed by seed; a metric that some run has not is left out"
    notes = [
        note,
        *(
            ["* of the requests that have one, not of all that arrived"]
            if any("*" in cell for row in rows for cell in row)
            else []
        ),
    ]
    return "\n".join([*table(rows, left=2), *_windows(names, [runs[0] for runs in summaries]), *notes]) + "\n"


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
    for measure in shown("compare"):
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
        for key in measure.key.split(".")[:-1]:
            at = at.get(key, {}) if isinstance(at, Mapping) else {}
        of_requests = str(at.get("over", "")).partition(" ")[0] in ("requests", "completed")
        found.append((at["count"], summary["states"]["arrived"]) if of_requests else (0, 0))
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
    return [name if names.count(name) == 1 else f"{name}-{i + 1}" for i, name in enumerate(names)]


def traffic_notes(
    names: Sequence[str], chosen: "Sequence[tuple[Scenario, Path | None]]", different: bool
) -> list[str]:
    """Return what is not the same in the scenarios' traffic; InputError for other requests unless ``different``.

    Each scenario comes with the folder that its relative paths begin at.
    """
    notes = []
    seeds = [scenario.seed for scenario, _ in chosen]
    if len(set(seeds)) > 1:
        notes.append(f"seeds differ ({', '.join(map(str, seeds))}); random choices are not the same")
    traffic = [build(scenario.workload, scenario.seed, base_dir) for scenario, base_dir in chosen]
    for name, other in zip(names[1:], traffic[1:], strict=True):
        difference = first_difference(traffic[0], other)
        if difference is None:
            continue
        text = f"{name} serves other traffic than {names[0]}: {difference}"
        if not different:
            raise InputError(f"{text}; expected the same [workload] and seed, or --different-traffic")
        notes.append(text)
    return notes
