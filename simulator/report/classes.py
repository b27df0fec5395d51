"""The classes of a run's requests beside one another."""

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.metrics import Measure
from simulator.metrics._measure import SHARE_OF
from simulator.report.measures import in_printed_unit, printed_unit
from simulator.report.tables import Amount, PrintedCell, Table, TableColumn, amount, count, share
from simulator.results.vocabulary import vocabulary

_KEYS = (
    "latency.ttft_s.p50", "latency.ttft_s.p99", "latency.tbt_s.p99", "latency.e2e_s.mean", "slo.attainment_all",
    "token_slo.attainment", "smooth_goodput.smooth_goodput_tokens_per_s",
)  # fmt: skip
_RANKS = {
    "latency.ttft_s.p50": 2,
    "latency.tbt_s.p99": 1,
    "latency.e2e_s.mean": 4,
}  # left out first: the largest


def by_class(summary: Mapping[str, Any]) -> list[Table]:
    """Return a table of a run's classes, a row each; nothing if it has none."""
    found = summary.get("classes")
    if not found:
        return []
    names = vocabulary()
    measures = [names[key] for key in _KEYS]
    columns = [TableColumn("Classes", left=True, wraps=True), TableColumn("arrived", rank=3)]
    columns += [
        TableColumn(each.label, printed_unit(each).removeprefix(SHARE_OF), rank=_RANKS.get(each.key, 0))
        for each in measures
    ]
    rows: list[list[PrintedCell]] = []
    for name, each in found.items():
        if "not_measured" in each:
            rows.append([name, *[amount(None)] * (len(measures) + 1)])
            continue
        values = [_said(measure, measure.of(each)) for measure in measures]
        rows.append([name, count(each["states"]["arrived"]), *values])
    return [Table(columns, rows)]


def measures_of_classes(summaries: Sequence[Mapping[str, Any]]) -> list[Measure]:
    """Return the same measures of every class that all runs have, to be read from the whole summary."""
    names = vocabulary()
    common = [
        name
        for name in summaries[0].get("classes", {})
        if all(name in each.get("classes", {}) for each in summaries)
    ]
    return [
        names[key]._replace(key=f"classes.{name}.{key}", label=f"{name}: {names[key].label}")
        for name in common
        for key in _KEYS
    ]


def _said(measure: Measure, value: float | None) -> Amount:
    return share(value) if measure.unit.startswith(SHARE_OF) else amount(in_printed_unit(measure, value))
