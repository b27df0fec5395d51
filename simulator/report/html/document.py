"""The document that the page shows: runs beside one another, the first of them the base."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from simulator.arrays import Floats
from simulator.metrics import RequestLog, UserModel
from simulator.metrics._reader import idle_latency_s
from simulator.metrics._window import measured
from simulator.report.comparison import common_window
from simulator.report.html.requests import deliveries, sample
from simulator.report.html.runs import run_document, same_facts
from simulator.report.measures import shown
from simulator.report.report import Summary
from simulator.report.style import colour_on_dark, colours_of_runs
from simulator.results.result import Result
from simulator.results.scoring import Scoring
from simulator.results.vocabulary import vocabulary
from simulator.stats import batch_means, paired, signs

FORMAT = 1
STRETCHES = 20
_LONGEST = 15  # waits and times of each run, whose requests are kept whole


def runs_document(
    names: Sequence[str],
    results: Sequence[Result],
    scoring: Scoring | None = None,
    notes: Sequence[str] = (),
    seeds: Sequence[Sequence[Summary]] | None = None,
) -> dict[str, Any]:
    """Return the document of runs for JSON, all measured as the first one is, or as ``scoring`` says.

    ``seeds`` are the summaries of each run's replications, where there are several, the shown one's first.
    Raises InputError for a run of which only the summary was kept.
    """
    by = scoring or results[0].scoring
    window = common_window(results, by.window)
    summaries = [result.summary(by.user, by.slo, window, by.also) for result in results]
    runs = [
        run_document(name, result, summary, by.user, by.slo, window)
        for name, result, summary in zip(names, results, summaries, strict=True)
    ]
    logs = [measured(result.log, window) for result in results]
    _add_deliveries(runs, logs, by.user)
    colours = colours_of_runs([run["policies"] for run in runs])
    for run, colour in zip(runs, colours, strict=True):
        run["colour"] = {"light": colour, "dark": colour_on_dark(colour)}
    common, own = same_facts(runs)
    for run, each in zip(runs, own, strict=True):
        run["own_facts"] = each
        _leave_out_what_the_first_has(run, runs[0])
    return {
        "format": FORMAT,
        "kind": "runs",
        "title": names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}",
        "common_facts": common,
        "notes": list(notes),
        "measures": _measures([shown("compare"), shown("report")]),
        "slo": {name: value for name, value in vars(by.slo).items() if value is not None},
        "same_arrivals": all(np.array_equal(each.all.arrival_s, logs[0].all.arrival_s) for each in logs),
        "runs": runs,
        "within_trace": _within_trace(logs),
        "over_seeds": None if seeds is None or len(seeds[0]) < 2 else _over_seeds(seeds),
    }


def _add_deliveries(runs: Sequence[dict[str, Any]], logs: Sequence[RequestLog], user: UserModel) -> None:
    """Add the token times of the same requests to all runs: the slowest, those that waited longest, and others."""
    first: dict[int, None] = {}
    for run, log in zip(runs, logs, strict=True):
        run["deliveries"] = None
        if run["readers"] is not None:
            idle_s = idle_latency_s(log.all, user)
            order = np.argsort(-idle_s, kind="stable")
            first |= dict.fromkeys([*order[:_LONGEST].tolist(), int(order[len(order) // 2])])
            first |= dict.fromkeys(each["request"] for each in run["slowest"][:_LONGEST])
    for run, log in zip(runs, logs, strict=True):
        if run["readers"] is not None:
            counts = log.all.token_counts
            run["deliveries"] = deliveries(
                log.all, sample(counts, [row for row in first if row < len(counts)])
            )


def _measures(views: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return what numbers are called: those of a comparison first, then all others."""
    first = {each.key for each in views[0]}
    order = dict.fromkeys([each.key for view in views for each in view] + list(vocabulary()))
    known = vocabulary()
    return [
        {
            "key": key, "label": known[key].label, "unit": known[key].unit,
            "higher": known[key].higher_is_better, "usual": key in first,
        }
        for key in order
    ]  # fmt: skip


def _leave_out_what_the_first_has(run: dict[str, Any], first: Mapping[str, Any]) -> None:
    """Take out of a run's readers what its traffic shares with the first one's; the page looks there."""
    ours, theirs = run["readers"], first["readers"]
    if run is first or ours is None or theirs is None:
        return
    for name in ("prompts", "arrivals_ms"):
        if ours[name] == theirs[name]:
            ours[name] = None


def _within_trace(logs: Sequence[RequestLog]) -> dict[str, list[list[float] | None]]:
    """Return for means over requests how each run differs from the first, request by request: mean, low, high.

    Intervals are of batch means over 20 equal stretches of the traffic (95 %). None where the runs have not the same
    requests, or too few, or one has no value for some of them.
    """
    found: dict[str, list[list[float] | None]] = {}
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        first, *others = (getattr(log, name) for log in logs)
        found[f"latency.{name}.mean"] = [None, *(_difference(each, first) for each in others)]
    return found


def _difference(ours: Floats, theirs: Floats) -> list[float] | None:
    if len(ours) != len(theirs) or len(ours) < STRETCHES:
        return None
    apart = ours - theirs
    if not np.array_equal(np.isnan(ours), np.isnan(theirs)):
        return None
    apart = apart[~np.isnan(apart)]
    if len(apart) < STRETCHES:
        return None
    over = batch_means(apart, STRETCHES)
    return [over.mean, over.low, over.high]


def _over_seeds(summaries: Sequence[Sequence[Summary]]) -> dict[str, Any]:
    """Return for each measure how each run differs from the first over seeds: mean, low, high, and whether it holds.

    Paired differences with Student's t (95 %); ``sure`` where it also holds among all of them (Holm), as in
    ``comparison.over_seeds``.
    """
    found: dict[str, list[dict[str, Any] | None]] = {}
    means: dict[str, list[float]] = {}
    family: list[list[float]] = []
    places: list[tuple[str, int]] = []
    for measure in shown("compare"):
        values = [[measure.of(each) for each in runs] for runs in summaries]
        known = [[value for value in runs if value is not None] for runs in values]
        if not known[0] or any(len(runs) != len(values[0]) for runs in known):
            continue
        found[measure.key] = [None] * len(known)
        means[measure.key] = [float(np.mean(runs)) for runs in known]
        for i, runs in enumerate(known[1:], 1):
            if runs == known[0]:
                continue
            least, most = measure.possible
            base = float(np.mean(known[0]))
            over = paired(runs, known[0]).within(least - base, most - base)
            found[measure.key][i] = {"mean": over.mean, "low": over.low, "high": over.high}
            family.append([one - other for one, other in zip(runs, known[0], strict=True)])
            places.append((measure.key, i))
    for (key, i), side in zip(places, signs(family), strict=True):
        row = found[key][i]
        assert row is not None
        row["sure"] = side != 0
    return {"count": len(summaries[0]), "differences": found, "means": means}
