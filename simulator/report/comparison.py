"""Several runs in one table."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError
from simulator.metrics import Measure
from simulator.metrics._window import Window
from simulator.report.classes import measures_of_classes
from simulator.report.measures import family, in_printed_unit, printed_name, printed_unit, shown
from simulator.report.report import Summary
from simulator.report.tables import Amount, Document, PrintedCell, Table, TableColumn, Words, amount
from simulator.report.text import number
from simulator.stats import paired, signs

if TYPE_CHECKING:
    from simulator.results.result import Result

MOST_BESIDE = 4  # runs
_RANKED_BEFORE = (  # columns of many runs that stay longest where there is little room
    "latency.ttft_s.p99", "token_slo.attainment", "throughput.output_tokens_per_s", "latency.ttft_s.mean",
    "latency.tbt_s.p99", "latency.e2e_s.mean", "idle_latency.idle_latency_s.mean",
)  # fmt: skip


def varied(vary: str) -> tuple[list[str], list[str]]:
    """Split ``KEY=A,B,...`` into names of runs and their settings ``KEY=A``, ``KEY=B``, ..."""
    key, equals, values = vary.partition("=")
    names = [value.strip() for value in values.split(",")]
    if not equals or not key.strip() or not all(names) or len(set(names)) < max(2, len(names)):
        raise InputError(f"--vary {vary}: expected a key and two or more different values, as KEY=A,B")
    return names, [f"{key.strip()}={name}" for name in names]


def comparison(names: Sequence[str], summaries: Sequence[Summary]) -> Document:
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


def over_seeds(names: Sequence[str], summaries: Sequence[Sequence[Summary]]) -> Document:
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
        return comparison(names, [runs[0] for runs in summaries]) + Document([Words([said])])
    rows: list[list[PrintedCell]] = []
    found: list[tuple[Measure, list[list[float]]]] = []
    for measure in [*_answer_first(shown("compare")), *measures_of_classes([runs[0] for runs in summaries])]:
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
            _marked(measure, sum(runs) / seeds, "*" if any(some) else "")
            for runs, some in zip(known, counted, strict=True)
        ]
        row: list[PrintedCell] = [printed_name(measure), means[0]]
        for runs, mean in zip(known[1:], means[1:], strict=True):
            said = "=" if runs == known[0] else _change(measure, runs, known[0], next(sides))
            row += [mean, said]
        rows.append(row)
    notes = [
        f"means over {seeds} seeds, differences seed by seed; a metric that some run has not is left out",
        f"an interval is per comparison; {len(family)} were made, and those without ? hold together (Holm, 95 %)",
    ]
    if any(str(cell).endswith("*") for row in rows for cell in row[1:]):
        notes.append("* of the requests that have one, not of all that arrived")
    table = Table(_in_pairs(names, "difference [95 %]"), rows, splits=True)
    return Document([table, Words([*_windows(names, [runs[0] for runs in summaries]), *notes])])


def _in_pairs(names: Sequence[str], difference: str) -> list[TableColumn]:
    """Return columns of which the metric and the first run are always shown, each other run with its difference."""
    columns = [TableColumn("", left=True, wraps=True), TableColumn(names[0])]
    for i, name in enumerate(names[1:], 1):
        columns += [TableColumn(name, rank=i), TableColumn(difference, rank=i)]
    return columns


def _marked(measure: Measure, value: float | None, mark: str) -> Amount:
    """Return a value in its printed unit, with a mark behind it."""
    found = amount(in_printed_unit(measure, value))
    return Amount(found.value, f"{found.text}{mark}")


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
        mean, low, high = (in_printed_unit(measure, each) for each in (change.mean, change.low, change.high))
        return f"{number(mean)} [{number(low)}, {number(high)}]{alone}"
    mean, low, high = (100 / abs(base) * each for each in (change.mean, change.low, change.high))
    return f"{mean:+.1f} % [{low:+.1f}, {high:+.1f}]{alone}"


def _ranked(names: Sequence[str], summaries: Sequence[Summary]) -> Document:
    measures = sorted(shown("ranking"), key=lambda each: family(each) != "smooth_goodput")
    by = measures[0]
    worth = [-math.inf if (value := by.of(summary)) is None else value for summary in summaries]
    order = sorted(range(len(names)), key=lambda i: -worth[i])
    rows: list[list[PrintedCell]] = []
    for i in order:
        difference = _difference(by.of(summaries[0]), by.of(summaries[i]))
        values = [_marked(each, each.of(summaries[i]), "") for each in measures]
        rows.append([names[i], values[0], difference, *values[1:]])
    ranks = {name: i for i, name in enumerate(_RANKED_BEFORE)}
    columns = [
        TableColumn(each.label, printed_unit(each), rank=1 + ranks.get(each.key, len(ranks)))
        for each in measures[1:]
    ]
    first = [
        TableColumn("", left=True, wraps=True),
        TableColumn(by.label, by.unit),
        TableColumn(f"to {names[0]}"),
    ]
    return Document([Table([*first, *columns], rows), Words(_windows(names, summaries))])


def _beside(names: Sequence[str], summaries: Sequence[Summary]) -> Document:
    rows: list[list[PrintedCell]] = []
    for measure in [*_answer_first(shown("compare")), *measures_of_classes(summaries)]:
        values = [measure.of(summary) for summary in summaries]
        if all(value is None for value in values):
            continue
        counts = _counts(measure, summaries)
        row: list[PrintedCell] = [printed_name(measure), _marked(measure, values[0], counts[0])]
        for value, count in zip(values[1:], counts[1:], strict=True):
            row += [_marked(measure, value, count), _difference(values[0], value)]
        rows.append(row)
    return Document([Table(_in_pairs(names, "diff"), rows, splits=True), Words(_windows(names, summaries))])


def _answer_first(measures: Sequence[Measure]) -> list[Measure]:
    """Return measures with those first that say what a run was worth, then latencies, then the others."""
    order = ("smooth_goodput", "token_slo", "slo", "throughput", "cost", "latency")
    return sorted(
        measures, key=lambda each: order.index(name) if (name := family(each)) in order else len(order)
    )


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


def distinct(names: Sequence[str]) -> list[str]:
    """Return the names, numbered where they are not different."""
    found = [name if names.count(name) == 1 else f"{name}-{i + 1}" for i, name in enumerate(names)]
    return found if len(set(found)) == len(found) else [f"{name}-{i + 1}" for i, name in enumerate(names)]
