"""What a search for a rate leaves behind: a table of its simulations, the answer, a picture."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.report.measures import in_printed_unit, printed_unit
from simulator.report.style import save
from simulator.report.tables import Amount, Document, Facts, PrintedCell, Table, TableColumn, amount, count
from simulator.report.text import number
from simulator.results.folders import whole
from simulator.results.vocabulary import measure_of
from simulator.stats import interval
from simulator.studies.capacity.book import Ask
from simulator.studies.capacity.measured import OVERLOAD, SATURATED, TOO_SHORT
from simulator.studies.capacity.outcome import CapacityOutcome
from simulator.studies.capacity.picture import draw
from simulator.studies.capacity.target import MEASURES, SMOOTH

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

FILES = ("capacity.parquet", "capacity.csv", "answer.json", "capacity.png")


def simulations(outcome: CapacityOutcome) -> "pa.Table":
    """Return a row a simulation: its rate, seed and requests, whether it was saturated, and all its numbers."""
    import pyarrow as pa

    asks = sorted(outcome.answer.runs)
    names = dict.fromkeys(
        name for ask in asks for name in outcome.found[ask] if name not in (OVERLOAD, SATURATED, TOO_SHORT)
    )
    columns: dict[str, Any] = {name: pa.array([getattr(ask, name) for ask in asks]) for name in Ask._fields}
    columns["saturated"] = pa.array([outcome.found[ask][SATURATED] for ask in asks], pa.string())
    for name in names:
        values = [outcome.found[ask].get(name) for ask in asks]
        columns[name] = pa.array([None if v is None else float(v) for v in values], pa.float64())
    return pa.table(columns)


def write(outcome: CapacityOutcome, out: Path) -> None:
    """Write the files named in ``FILES``."""
    import pyarrow.csv
    import pyarrow.parquet as pq

    table = simulations(outcome)
    with whole(out / "capacity.parquet") as part:
        pq.write_table(table, part)
    with whole(out / "capacity.csv") as part:
        pyarrow.csv.write_csv(table, part)
    with whole(out / "answer.json") as part:
        part.write_text(json.dumps(outcome.as_json(), indent=2) + "\n", encoding="utf-8")
    save(figure(outcome), out / "capacity.png")


def figure(outcome: CapacityOutcome) -> "Figure":
    """Return the picture of the target's metric and smooth goodput over the rate."""
    return draw(outcome)


def report(outcome: CapacityOutcome) -> Document:
    """Return the answer in words, and a line for each rate that was simulated."""
    answer, gpus, unit = outcome.answer, outcome.gpus, f"{outcome.of}/s"
    said = "none"
    if answer.rate is not None:
        of_gpus = f"({gpus:.4g} GPU{'' if gpus == 1 else 's'})"
        said = f"{answer.rate:.4g} {unit}, {answer.rate / gpus:.4g} per GPU {of_gpus}"
    saturated, most = outcome.saturated_from, outcome.plan.most_rate
    above = f"{most:.4g} {unit}: above it no schedule serves all that arrives"
    longest = max(ask.requests for ask in answer.runs)
    facts = [
        ("answer", said),
        ("interval", _interval(outcome)),
        ("target", outcome.wanted + ("" if outcome.targets else f"  ({outcome.target.key})")),
        *(("binds" if each.binds else "", each.said(unit)) for each in outcome.targets),
        (
            "saturation",
            "in no run" if saturated is None else f"from {saturated[0]:.4g} {unit} on: {saturated[1]}",
        ),
        *([("roofline", above)] if math.isfinite(most) else []),
        ("engine", outcome.engine),
        ("user model", outcome.user_model),
        ("simulations", f"{len(answer.runs)}, of up to {longest:,} {outcome.of}"),
        *(("note", note) for note in outcome.notes()),
        *(("assumed", text) for text in outcome.assumed()),
    ]
    return Document([Facts(facts), _rates(outcome)])


def _rates(outcome: CapacityOutcome) -> Table:
    answer, measure = outcome.answer, measure_of(outcome.target.key)
    columns = [
        TableColumn("rate", f"{outcome.of}/s"), TableColumn("runs", rank=4), TableColumn(outcome.of, "a run", rank=5),
        TableColumn(outcome.target.name, printed_unit(measure)), TableColumn("95 %", rank=2),
        TableColumn(f"{MEASURES[SMOOTH].label}/GPU", "tokens/s", rank=3), TableColumn("saturated", rank=6),
        TableColumn("verdict", left=True, rank=1),
    ]  # fmt: skip
    rows: list[list[PrintedCell]] = []
    shown = {each.rate: each for each in answer.shown}
    for rate in sorted({ask.rate for ask in answer.runs}):
        asks = outcome.asks(rate)
        seen = list(shown[rate].seen) if rate in shown else [answer.runs[ask] for ask in asks]
        values = [each.value for each in seen]
        mean = interval(values).within(*measure.possible) if all(map(math.isfinite, values)) else None
        smooth = outcome.smooth(asks)
        ends = ""
        if mean and len(values) > 1:
            low, high = (number(in_printed_unit(measure, end)) for end in (mean.low, mean.high))
            ends = "no spread" if len(set(values)) == 1 else f"[{low}, {high}]"
        saturated = sum(each.saturated is not None for each in seen)
        rows.append(
            [
                Amount(rate, f"{rate:.4g}"),
                count(len(seen)),
                count(asks[0].requests),
                amount(in_printed_unit(measure, mean.mean) if mean else None),
                ends,
                amount(smooth.mean if smooth else None),
                Amount(saturated, str(saturated or "-")),
                shown[rate].verdict if rate in shown else "looked at",
            ]
        )
    return Table(columns, rows)


def _interval(outcome: CapacityOutcome) -> str:
    """Say which ends were shown, and with what confidence."""
    answer, best = outcome.answer, outcome.target.bound is None
    ends = [
        (answer.low, "below the best rate" if best else "to hold", "a lower end"),
        (answer.high, "above it" if best else "to fail", "an upper end"),
    ]
    if answer.confidence is None:
        said = [f"{what} at {end:.4g}" for end, what, _ in ends if end is not None]
        return f"found {' and '.join(said) or 'nothing'}, for exactly this traffic"
    said = [f"shown {what} at {end:.4g}" for end, what, _ in ends if end is not None]
    said += [f"{name} could not be shown" for end, _, name in ends if end is None]
    both = (
        f"[{answer.low:.4g}, {answer.high:.4g}], "
        if answer.low is not None and answer.high is not None
        else ""
    )
    return f"{both}{', '.join(said)}; confidence {100 * answer.confidence:.4g} %"
