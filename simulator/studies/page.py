"""What a sweep or a plan left in its folder, as the document of a page."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError
from simulator.metrics import Measure
from simulator.report.html.document import FORMAT
from simulator.report.measures import shown
from simulator.report.style import COLOURS, colour_on_dark, policy_colour
from simulator.results.vocabulary import vocabulary
from simulator.stats import interval
from simulator.studies.plan.goals import PER_SECOND, TTFT_P99

if TYPE_CHECKING:
    import pyarrow as pa

SWEEP, CANDIDATES, PLAN = "sweep.parquet", "candidates.parquet", "plan.json"
_POLICY_AXES = ("policy.scheduling", "policy.routing", "policy")  # whose values have colours of their own
_WAIT = "idle_latency.idle_latency_s.mean"


def study_document(folder: Path) -> dict[str, Any] | None:
    """Return the document of the sweep or plan in a folder; None where there is none.

    Raises InputError for files that are damaged.
    """
    if (folder / SWEEP).exists():
        return sweep_document(_read(folder / SWEEP), folder.resolve().name)
    if (folder / CANDIDATES).exists() and (folder / PLAN).exists():
        try:
            plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(
                f"{folder / PLAN}: damaged; expected the plan that servesim plan wrote"
            ) from error
        return plan_document(_read(folder / CANDIDATES), plan)
    return None


def _read(path: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path}: damaged; expected the table that servesim wrote") from error


def sweep_document(table: "pa.Table", name: str) -> dict[str, Any]:
    """Return the document of a sweep's table (``simulator.studies.sweep.output.table``): a row a place.

    Numbers are means over seeds with their 95 % intervals; points that failed are counted.
    """
    names = table.column_names
    if "engine" not in names or "error" not in names:
        raise InputError(f"{name}: no sweep; expected the columns of servesim sweep")
    axes = names[: names.index("engine")]
    rows = table.to_pylist()
    measures = [each for each in vocabulary().values() if each.key in names]
    usual = [each.key for each in (*shown("sweep"), *shown("compare"), *shown("ranking"))]
    axes = [axis for axis in axes if len({row[axis] for row in rows}) > 1] or axes
    places: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        places.setdefault(tuple(row[axis] for axis in axes), []).append(row)
    found = []
    for place, here in places.items():
        numbers = {}
        for measure in measures:
            values = [
                value for row in here if row["error"] is None and (value := row[measure.key]) is not None
            ]
            if values:
                over = interval(values if len(set(values)) > 1 else values[:1]).within(*measure.possible)
                numbers[measure.key] = [over.mean, *((over.low, over.high) if over.known else (None, None))]
        failed = [row["error"] for row in here if row["error"] is not None]
        label = ", ".join(_said(axis, value) for axis, value in zip(axes, place, strict=True))
        found.append({"name": label, "place": list(place), "numbers": numbers, "failed": failed})
    engines, readers = (list(dict.fromkeys(table[each].to_pylist())) for each in ("engine", "user_model"))
    seeds = len(set(table["seed"].to_pylist()))
    facts = {
        "engine": " | ".join(engines),
        "points": f"{len(found)} points, {seeds} seed{'s' if seeds > 1 else ''} each",
        "reader": f"reader {' | '.join(readers)}",
    }
    return {
        "format": FORMAT, "kind": "sweep", "title": name, "common_facts": facts, "notes": [], "axes": axes,
        "measures": _measures(measures, usual), "rows": found, "colours": _colours(axes, list(places)),
        "against": [_WAIT, PER_SECOND],
    }  # fmt: skip


def _said(axis: str, value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{axis.rpartition('.')[2]} {value:g}"


def _measures(measures: Sequence[Measure], usual: Sequence[str]) -> list[dict[str, Any]]:
    first = [PER_SECOND, *usual]
    order = sorted(measures, key=lambda each: first.index(each.key) if each.key in first else len(first))
    return [
        {
            "key": each.key, "label": each.label, "unit": each.unit, "higher": each.higher_is_better,
            "usual": each.key in usual,
        }
        for each in order
    ]  # fmt: skip


def _colours(axes: Sequence[str], places: Sequence[Sequence[Any]]) -> dict[str, dict[str, str]]:
    """Return a colour for each value of an axis that is no number: a policy's own, or the palette's."""
    found: dict[str, dict[str, str]] = {}
    for i, axis in enumerate(axes):
        values = list(dict.fromkeys(place[i] for place in places))
        for nth, value in enumerate(values):
            own = axis in _POLICY_AXES and isinstance(value, str)
            colour = policy_colour(value) if own else COLOURS[nth % len(COLOURS)]
            found[f"{axis}={value}"] = {"light": colour, "dark": colour_on_dark(colour)}
    return found


def plan_document(table: "pa.Table", plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of a plan: every candidate with its price and fate, the chosen one and the front."""
    rows, names = table.to_pylist(), table.column_names
    settings = names[names.index("engine") + 1 : names.index("replicas")]
    axes = ["gpu", "tensor_parallel", "shape", "policy", *settings, "replicas"]
    measures = [each for each in vocabulary().values() if each.key in names]
    found = []
    for row in rows:
        numbers = {each.key: [row[each.key], None, None] for each in measures if row[each.key] is not None}
        numbers["usd_per_hour"] = [row["usd_per_hour"], None, None]
        if row["margin"] is not None:
            numbers["margin"] = [100 * row["margin"], None, None]
        found.append({
            "name": _candidate(row, settings),
            "short": _candidate(row, ()),
            "place": [row[axis] for axis in axes],
            "numbers": numbers, "state": row["state"], "reason": row["reason"], "failed": [],
        })  # fmt: skip
    price = {"key": "usd_per_hour", "label": "price", "unit": "US$ an hour", "higher": False, "usual": True}
    margin = {"key": "margin", "label": "margin to the target", "unit": "%", "higher": True, "usual": True}
    facts = {
        "target": f"target {' and '.join(plan['target'])}",
        "reader": f"reader {plan['user_model']}",
        "size": f"{plan['candidates']:,} candidates, {plan['simulations']['search']:,} simulations",
    }
    return {
        "format": FORMAT, "kind": "plan", "title": str(plan["name"]), "common_facts": facts, "notes": [], "axes": axes,
        "measures": [price, margin, *_measures(measures, [each.key for each in measures])], "rows": found,
        "colours": _colours(["gpu"], [row["place"][:1] for row in found]),
        "against": ["usd_per_hour", PER_SECOND if any(PER_SECOND in row["numbers"] for row in found) else TTFT_P99],
        "plan": plan["plan"], "runner_up": plan["runner_up"], "keeps": plan["keeps"], "launch": plan["launch"],
        "robustness": plan["robustness"], "lost": plan["lost"],
    }  # fmt: skip


def _candidate(row: Mapping[str, Any], settings: Sequence[str]) -> str:
    """Return a candidate's name as ``servesim plan`` prints it, near enough to be found there."""
    size = f" TP{row['tensor_parallel']}" if row["tensor_parallel"] > 1 else ""
    shape = "" if row["shape"] == "colocated" else f", {row['shape']}"
    own = [f"{key.rpartition('.')[2]} {row[key]}" for key in settings if row[key] is not None]
    return ", ".join([f"{row['replicas']} x {row['gpu']}{size}{shape}", row["policy"], *own])
