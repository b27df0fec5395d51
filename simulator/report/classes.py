"""The classes of a run's requests beside one another."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from simulator.metrics import Measure
from simulator.metrics._measure import SHARE_OF
from simulator.report.text import number, percent, table
from simulator.results.vocabulary import vocabulary

_KEYS = (
    "latency.ttft_s.p50", "latency.ttft_s.p99", "latency.tbt_s.p99", "latency.e2e_s.mean", "slo.attainment_all",
    "token_slo.attainment", "smooth_goodput.smooth_goodput_tokens_per_s",
)  # fmt: skip


def by_class(summary: Mapping[str, Any]) -> list[str]:
    """Return a table of a run's classes, a row each; nothing if it has none."""
    found = summary.get("classes")
    if not found:
        return []
    names = vocabulary()
    measures = [names[key] for key in _KEYS]
    rows = [["Classes", "arrived", *(each.label for each in measures)], ["", "", *map(_unit, measures)]]
    for name, each in found.items():
        if "not_measured" in each:
            rows.append([name, *["-"] * (len(measures) + 1)])
            continue
        values = [_said(measure, measure.of(each)) for measure in measures]
        rows.append([name, f"{each['states']['arrived']:,}", *values])
    return table(rows)


def measures_of_classes(summaries: Sequence[Mapping[str, Any]]) -> list[Measure]:
    """Return the same measures of every class that all runs have, to be read from the whole summary."""
    names = vocabulary()
    common = [
        name
        for name in summaries[0].get("classes", {})
        if all(name in each.get("classes", {}) for each in summaries)
    ]
    return [
        replace(names[key], key=f"classes.{name}.{key}", label=f"{name}: {names[key].label}")
        for name in common
        for key in _KEYS
    ]


def _unit(measure: Measure) -> str:
    return measure.unit.removeprefix(SHARE_OF)


def _said(measure: Measure, value: float | None) -> str:
    return percent(value) if measure.unit.startswith(SHARE_OF) else number(value)
