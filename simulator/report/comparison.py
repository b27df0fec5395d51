"""Several runs in one table, and whether they served the same traffic."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.errors import InputError
from simulator.report.report import Summary, number, table
from simulator.workload import Workload, build

if TYPE_CHECKING:
    from simulator.scenario.scenario import Scenario

# label, unit, where in the summary: the rows of a comparison
_COMPARED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("completed", "share of arrived", ("states", "completed", "share_of_arrived")),
    ("throughput", "requests/s", ("throughput", "requests_per_s")),
    ("throughput", "output tokens/s", ("throughput", "output_tokens_per_s")),
    ("TTFT mean", "s", ("latency", "ttft_s", "mean")),
    ("TTFT p99", "s", ("latency", "ttft_s", "p99")),
    ("TBT mean", "s", ("latency", "tbt_s", "mean")),
    ("TBT p99", "s", ("latency", "tbt_s", "p99")),
    ("TPOT mean", "s", ("latency", "tpot_s", "mean")),
    ("E2E mean", "s", ("latency", "e2e_s", "mean")),
    ("E2E p99", "s", ("latency", "e2e_s", "p99")),
    ("SLO attainment", "share of arrived", ("slo", "attainment_all")),
    ("goodput (SLO)", "requests/s", ("slo", "goodput_requests_per_s")),
    ("goodput (SLO)", "tokens/s", ("slo", "goodput_tokens_per_s")),
    ("token SLO", "share of arrived", ("token_slo", "attainment")),
    ("tokens on time", "share of delivered", ("token_slo", "tokens_on_time_share_of_delivered")),
    ("user idle mean", "s", ("idle_latency", "idle_latency_s", "mean")),
    ("user idle p99", "s", ("idle_latency", "idle_latency_s", "p99")),
    ("fluidity > 0.9", "share of arrived", ("fluidity", "share_of_arrived_above_0_9")),
    ("QoE mean", "0 to 1", ("qoe", "qoe", "mean")),
    ("prefix cache hits", "share of looked up", ("engine", "prefix_hit_share")),
    ("US$", "per million output tokens", ("cost", "usd_per_million_output_tokens")),
    ("US$", "per million smooth-good", ("cost", "usd_per_million_smooth_good_tokens")),
    ("smooth goodput", "tokens/s", ("smooth_goodput", "smooth_goodput_tokens_per_s")),
)


# The columns where there are more runs than fit beside one another
_RANKED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("completed", "share", ("states", "completed", "share_of_arrived")),
    ("output", "tokens/s", ("throughput", "output_tokens_per_s")),
    ("TTFT mean", "s", ("latency", "ttft_s", "mean")),
    ("TTFT p99", "s", ("latency", "ttft_s", "p99")),
    ("TBT p99", "s", ("latency", "tbt_s", "p99")),
    ("E2E mean", "s", ("latency", "e2e_s", "mean")),
    ("user idle", "mean, s", ("idle_latency", "idle_latency_s", "mean")),
    ("token SLO", "share", ("token_slo", "attainment")),
    ("preempted", "times", ("engine", "preemptions")),
    ("smooth good", "tokens/s", ("smooth_goodput", "smooth_goodput_tokens_per_s")),
)
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
    for label, unit, path in _COMPARED:
        values = [[_look_up(summary, path) for summary in runs] for runs in summaries]
        if any(value is None for runs in values for value in runs):
            continue
        known = [[value for value in runs if value is not None] for runs in values]
        base = sum(known[0]) / seeds
        row = [label, unit, number(base)]
        for runs in known[1:]:
            found = paired(runs, known[0])
            shown = found.above_zero or found.below_zero
            scale = 100 / abs(base) if base else 0.0
            text = f"{found.mean * scale:+.1f} % [{found.low * scale:+.1f}, {found.high * scale:+.1f}]"
            if not base:  # of nothing there are no percent
                text = f"{number(found.mean)} [{number(found.low)}, {number(found.high)}]"
            equal = runs == known[0]
            row += [number(sum(runs) / seeds), "=" if equal else text if shown else "no difference shown"]
        rows.append(row)
    note = f"means over {seeds} seeds, differences seed by seed; a metric that some run has not is left out"
    return "\n".join([*table(rows, left=2), "", note]) + "\n"


def _ranked(names: Sequence[str], summaries: Sequence[Summary]) -> str:
    path = _RANKED[-1][2]
    order = sorted(range(len(names)), key=lambda i: -(_look_up(summaries[i], path) or 0.0))
    rows = [["", *(label for label, _, _ in _RANKED), f"to {names[0]}"]]
    rows.append(["", *(unit for _, unit, _ in _RANKED), ""])
    for i in order:
        difference = _difference(_look_up(summaries[0], path), _look_up(summaries[i], path))
        cells = (number(_look_up(summaries[i], where)) for _, _, where in _RANKED)
        rows.append([names[i], *cells, difference])
    return "\n".join(table(rows, left=1)) + "\n"


def _beside(names: Sequence[str], summaries: Sequence[Summary]) -> str:
    header = ["", "", names[0]]
    for name in names[1:]:
        header += [name, "diff"]
    rows = [header]
    for label, unit, path in _COMPARED:
        values = [_look_up(summary, path) for summary in summaries]
        if all(value is None for value in values):
            continue
        row = [label, unit, number(values[0])]
        for value in values[1:]:
            row += [number(value), _difference(values[0], value)]
        rows.append(row)
    return "\n".join(table(rows, left=2)) + "\n"


def _look_up(summary: Summary, path: Sequence[str]) -> float | None:
    value: Any = summary
    for key in path:
        value = value.get(key) if value is not None else None
    return None if value is None else float(value)


def _difference(first: float | None, value: float | None) -> str:
    if first is None or value is None:
        return "-"
    if first == value:
        return "="
    if first == 0:
        return "-"
    return f"{100 * (value - first) / abs(first):+.1f} %"


_TRAFFIC = (
    "arrival_s",
    "prompt_tokens",
    "output_tokens",
    "priority",
    "leave_s",
    "tenant",
    "predicted_tokens",
    "session",
    "think_s",
)


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
