"""What a run was worth, as tables: the answer first, then latencies, then what became of its requests."""

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.metrics._measure import MOMENTS, SHARE_OF
from simulator.report.measures import family, in_printed_unit, printed_unit, rows_of_latencies, shown
from simulator.report.tables import Amount, PrintedCell, Table, TableColumn, amount, count, share
from simulator.results.vocabulary import vocabulary

ReportLine = tuple[str, PrintedCell, str]  # label, number, unit

_READERS = ("smooth_goodput", "token_slo")
_THEN, _LAST = ("throughput",), ("idle_latency", "fluidity", "qoe")


def states(summary: Mapping[str, Any]) -> Table:
    """Return what became of the requests that arrived."""
    rows: list[list[PrintedCell]] = []
    for state, entry in summary["states"].items():
        if state == "arrived":
            rows.append(["arrived", count(entry), Amount(1.0, "100 %") if entry else "-"])
        elif entry["count"] or state == "completed":
            rows.append([state.replace("_", " "), count(entry["count"]), share(entry["share_of_arrived"])])
    return Table(
        [TableColumn("Requests", left=True), TableColumn("count"), TableColumn("share of arrived")], rows
    )


def latencies(summary: Mapping[str, Any]) -> Table:
    """Return the distributions of latencies, in ms."""
    ranks = {"mean": 0, "p50": 2, "p90": 4, "p95": 3, "p99": 0, "max": 1}
    columns = [
        TableColumn("Latency in ms", left=True),
        *(TableColumn(moment, rank=ranks[moment]) for moment in MOMENTS),
        TableColumn("count", rank=5),
        TableColumn("of", left=True, rank=6),
    ]
    rows: list[list[PrintedCell]] = []
    for label, key in rows_of_latencies().items():
        found: Any = summary
        for part in key.split("."):
            found = found.get(part, {})
        moments = [found.get(moment) for moment in MOMENTS]
        in_ms = [amount(None if value is None else 1e3 * value) for value in moments]
        rows.append([label, *in_ms, count(found.get("count", 0)), found.get("over", "")])
    return Table(columns, rows)


def answer(summary: Mapping[str, Any]) -> Table:
    """Return what the run was worth, first what all is about: to readers, by the objectives, in tokens, in US$."""
    smooth, on_time = (_lines(summary, [name]) for name in _READERS)
    rows = [*smooth[:1], *on_time[:1], *_attained(summary), *_lines(summary, _THEN), *_prices(summary)]
    return _answers("Answer", [*rows, *smooth[1:], *on_time[1:], *_lines(summary, _LAST)])


def _answers(title: str, rows: Sequence[ReportLine]) -> Table:
    columns = [
        TableColumn(title, left=True),
        TableColumn("value"),
        TableColumn("unit", left=True, wraps=True),
    ]
    return Table(columns, rows)


def _attained(summary: Mapping[str, Any]) -> list[ReportLine]:
    slo, names = summary["slo"], vocabulary()
    if slo["attainment_all"] is None:
        return [("SLO", "none set", "(--set slo.ttft_s=1)")]
    rows: list[ReportLine] = []
    for name, attained in slo["attainment"].items():
        bound_s = slo["bounds"][name]
        said = ([] if bound_s is None else [f"<= {bound_s:g} s"]) + (
            ["as promised"] if "bounds_are" in slo else []
        )
        bound = f"{names[f'slo.attainment.{name}'].label} {' or '.join(said)}"
        rows.append((bound, share(attained), "of arrived"))
    return _lines(summary, ["slo"])[:1] + rows + _lines(summary, ["slo"])[1:]


def _prices(summary: Mapping[str, Any]) -> list[ReportLine]:
    cost = summary.get("cost", {})
    per_million = cost.get("usd_per_million_output_tokens")
    if per_million is None:
        return []
    good = cost["usd_per_million_smooth_good_tokens"]
    said = amount(good) if good is not None else Amount(None, "none: their sum is not above 0")
    return [
        ("price", amount(per_million), "US$ per million output tokens"),
        ("price", said, "US$ per million smooth-good tokens"),
    ]


def others(summary: Mapping[str, Any]) -> list[Table]:
    """What metrics of one's own have to say."""
    known = (*_READERS, "slo", *_THEN, *_LAST)
    rows = _lines(
        summary, [name for name in dict.fromkeys(map(family, shown("report"))) if name not in known]
    )
    return [_answers("Others", rows)] if rows else []


def _lines(summary: Mapping[str, Any], families: Sequence[str]) -> list[ReportLine]:
    """Return label, number and unit of what families of measures report."""
    rows: list[ReportLine] = []
    for each in (each for name in families for each in shown("report") if family(each) == name):
        if family(each) not in summary:  # measured only where it is asked for
            continue
        value, of = each.of(summary), each.unit.removeprefix(SHARE_OF)
        plain = amount(in_printed_unit(each, value)), printed_unit(each)
        rows.append((each.label, *(plain if of == each.unit else (share(value), f"of {of}"))))
    return rows
