"""What a sweep, a plan or a search for a rate left in its folder, as the document of a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.errors import InputError
from simulator.input_files import parse_json, read_text
from simulator.metrics import Measure
from simulator.report.html.document import FORMAT
from simulator.report.measures import shown
from simulator.report.style import COLOURS, colour_on_dark, policy_colour
from simulator.report.text import number
from simulator.results.vocabulary import vocabulary
from simulator.stats import interval
from simulator.studies.plan.goals import PER_SECOND, TTFT_P99

if TYPE_CHECKING:
    import pyarrow as pa

SWEEP, CANDIDATES, PLAN = "sweep.parquet", "candidates.parquet", "plan.json"
CAPACITY, ANSWER = "capacity.parquet", "answer.json"
_POLICY_AXES = ("policy.scheduling", "policy.routing", "policy")  # whose values have colours of their own
_COMMON: dict[str, Any] = {
    "format": FORMAT,
    "palette": [{"light": each, "dark": colour_on_dark(each)} for each in COLOURS],
}
_WAIT = "idle_latency.idle_latency_s.mean"


def study_document(folder: Path) -> dict[str, Any] | None:
    """Return the document of the study in a folder; None where there is none.

    Raises InputError for files that are damaged.
    """
    if (folder / SWEEP).exists():
        return sweep_document(_read(folder / SWEEP), folder.resolve().name)
    if (folder / CANDIDATES).exists() and (folder / PLAN).exists():
        return plan_document(_read(folder / CANDIDATES), _read_json(folder / PLAN))
    if (folder / CAPACITY).exists() and (folder / ANSWER).exists():
        return capacity_document(_read(folder / CAPACITY), _read_json(folder / ANSWER), folder.resolve().name)
    return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = parse_json(read_text(path))
    except ValueError as error:
        raise InputError(f"{path}: damaged; expected the JSON that servesim wrote") from error
    return found


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
    axes = [axis for axis in axes if len({row[axis] for row in rows}) > 1] or axes
    measures, found = _places(table, axes)
    engines, readers = (list(dict.fromkeys(table[each].to_pylist())) for each in ("engine", "user_model"))
    seeds = len(set(table["seed"].to_pylist()))
    facts = {
        "engine": " | ".join(engines),
        "points": f"{len(found)} points, {seeds} seed{'s' if seeds > 1 else ''} each",
        "reader": f"reader {' | '.join(readers)}",
    }
    return _COMMON | {
        "kind": "sweep", "title": name, "common_facts": facts, "notes": [], "axes": axes,
        "measures": _measures(measures), "rows": found, "colours": _colours(axes, [row["place"] for row in found]),
        "against": [_WAIT, PER_SECOND],
    }  # fmt: skip


def capacity_document(table: "pa.Table", answer: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the document of a search for a rate: its answer, and every rate that was simulated."""
    measures, found = _places(table, ["rate"])
    found.sort(key=lambda row: row["place"])
    unit = answer["unit"]
    ends = [number(answer[end]) for end in ("low", "high")]
    said = "No rate"
    if answer["rate"] is not None:
        share = f"{100 * answer['confidence']:g} %"
        said = f"{number(answer['rate'])} {unit} (between {ends[0]} and {ends[1]}, {share})"
    facts = {
        "engine": answer["engine"],
        "target": f"target {answer['target']}",
        "size": f"{answer['simulations']} simulations",
        "reader": f"reader {answer['user_model']}",
    }
    first = [each for each in measures if each.key == answer["metric"]]
    return _COMMON | {
        "kind": "sweep", "title": name, "common_facts": facts, "notes": answer["notes"],
        "axes": ["rate"], "measures": _measures(measures, first), "rows": found, "colours": {}, "answer": said,
        "at": answer["rate"], "against": [_WAIT, PER_SECOND],
    }  # fmt: skip


def _places(table: "pa.Table", axes: Sequence[str]) -> tuple[list[Measure], list[dict[str, Any]]]:
    """Return the measures that a table has, and a row a place of some axes: means over seeds with 95 % intervals."""
    measures = [each for each in vocabulary().values() if each.key in table.column_names]
    places: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in table.to_pylist():
        places.setdefault(tuple(row[axis] for axis in axes), []).append(row)
    found: list[dict[str, Any]] = []
    for place, here in places.items():
        numbers = {}
        for measure in measures:
            values = [value for row in here if (value := row[measure.key]) is not None]
            if values:
                over = interval(values if len(set(values)) > 1 else values[:1]).within(*measure.possible)
                numbers[measure.key] = [over.mean, *((over.low, over.high) if over.known else (None, None))]
        failed = [row["error"] for row in here if row.get("error") is not None]
        label = ", ".join(_said(axis, value) for axis, value in zip(axes, place, strict=True))
        found.append({"name": label, "place": list(place), "numbers": numbers, "failed": failed})
    return measures, found


def _said(axis: str, value: Any) -> str:
    return str(value) if isinstance(value, str) else f"{axis.rpartition('.')[2]} {value:g}"


def _measures(measures: Sequence[Measure], first: Sequence[Measure] = ()) -> list[dict[str, Any]]:
    """Return what numbers are called: ``first``, smooth goodput, what sweeps and comparisons show, then all others."""
    shown_first = (*first, vocabulary()[PER_SECOND], *shown("sweep"), *shown("compare"), *shown("ranking"))
    usual = list(dict.fromkeys(each.key for each in shown_first))
    order = sorted(measures, key=lambda each: usual.index(each.key) if each.key in usual else len(usual))
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
    return _COMMON | {
        "kind": "plan", "title": str(plan["name"]), "common_facts": facts, "notes": [], "axes": axes,
        "measures": [price, margin, *_measures(measures, measures)], "rows": found,
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
