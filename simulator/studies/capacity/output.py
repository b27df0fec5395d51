"""What a search for a rate leaves behind: a table of its simulations, the answer, a picture."""

import json
import math
from pathlib import Path
from typing import Any

from simulator.report.style import STYLE
from simulator.report.text import number, table
from simulator.results.folders import whole
from simulator.results.vocabulary import measure_of
from simulator.stats import interval
from simulator.studies.capacity.book import Ask
from simulator.studies.capacity.measured import OVERLOAD, SATURATED, TOO_SHORT
from simulator.studies.capacity.outcome import CapacityOutcome
from simulator.studies.capacity.picture import draw
from simulator.studies.capacity.target import MEASURES, SMOOTH

FILES = ("capacity.parquet", "capacity.csv", "answer.json", "capacity.png")


def write(outcome: CapacityOutcome, out: Path) -> None:
    """Write the files named in ``FILES``."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq
    from matplotlib import rc_context

    asks = sorted(outcome.answer.runs)
    names = dict.fromkeys(
        name for ask in asks for name in outcome.found[ask] if name not in (OVERLOAD, SATURATED, TOO_SHORT)
    )
    columns: dict[str, Any] = {name: pa.array([getattr(ask, name) for ask in asks]) for name in Ask._fields}
    columns["saturated"] = pa.array([outcome.found[ask][SATURATED] for ask in asks], pa.string())
    for name in names:
        values = [outcome.found[ask].get(name) for ask in asks]
        columns[name] = pa.array([None if v is None else float(v) for v in values], pa.float64())
    table = pa.table(columns)
    with whole(out / "capacity.parquet") as part:
        pq.write_table(table, part)
    with whole(out / "capacity.csv") as part:
        pyarrow.csv.write_csv(table, part)
    with whole(out / "answer.json") as part:
        part.write_text(json.dumps(outcome.as_json(), indent=2) + "\n", encoding="utf-8")
    with rc_context(STYLE), whole(out / "capacity.png") as part:
        draw(outcome).savefig(part, format="png")


def report(outcome: CapacityOutcome) -> str:
    """Return the answer in words, and a line for each rate that was simulated."""
    answer, gpus, unit = outcome.answer, outcome.gpus, f"{outcome.of}/s"
    lines = [f"{'target':<12}{outcome.wanted}" + ("" if outcome.targets else f"  ({outcome.target.key})")]
    lines += [f"{'binds' if each.binds else '':<12}{each.said(unit)}" for each in outcome.targets]
    lines.append(f"{'engine':<12}{outcome.engine}")
    lines.append(f"{'user model':<12}{outcome.user_model}")
    said = "none"
    if answer.rate is not None:
        of_gpus = f"({gpus:.4g} GPU{'' if gpus == 1 else 's'})"
        said = f"{answer.rate:.4g} {unit}, {answer.rate / gpus:.4g} per GPU {of_gpus}"
    lines.append(f"{'answer':<12}{said}")
    lines.append(f"{'interval':<12}{_interval(outcome)}")
    saturated = outcome.saturated_from
    what = "in no run" if saturated is None else f"from {saturated[0]:.4g} {unit} on: {saturated[1]}"
    lines.append(f"{'saturation':<12}{what}")
    most = outcome.plan.most_rate
    if math.isfinite(most):
        lines.append(f"{'roofline':<12}{most:.4g} {unit}: above it no schedule serves all that arrives")
    longest = max(ask.requests for ask in answer.runs)
    lines.append(f"{'simulations':<12}{len(answer.runs)}, of up to {longest:,} {outcome.of}")
    lines += [f"{'note':<12}{note}" for note in outcome.notes()]
    lines += [f"{'assumed':<12}{text}" for text in outcome.assumed()]
    smooth_per_gpu = f"{MEASURES[SMOOTH].label}/GPU"
    rows = [
        [unit, "runs", outcome.of, outcome.target.name, "95 %", smooth_per_gpu, "saturated", "verdict"],
    ]
    shown = {each.rate: each for each in answer.shown}
    for rate in sorted({ask.rate for ask in answer.runs}):
        asks = outcome.asks(rate)
        verdict = shown[rate].verdict if rate in shown else "looked at"
        seen = list(shown[rate].seen) if rate in shown else [answer.runs[ask] for ask in asks]
        values = [each.value for each in seen]
        possible = measure_of(outcome.target.key).possible
        mean = interval(values).within(*possible) if all(map(math.isfinite, values)) else None
        smooth = outcome.smooth(asks)
        ends = f"[{number(mean.low)}, {number(mean.high)}]" if mean and len(values) > 1 else ""
        if len(values) > 1 and len(set(values)) == 1:
            ends = "no spread"
        rows.append(
            [
                f"{rate:.4g}",
                str(len(seen)),
                f"{asks[0].requests:,}",
                number(mean.mean if mean else None),
                ends,
                number(smooth.mean if smooth else None),
                str(sum(each.saturated is not None for each in seen) or "-"),
                verdict,
            ]
        )
    return "\n".join([*lines, "", *table(rows, left=0)]) + "\n"


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
