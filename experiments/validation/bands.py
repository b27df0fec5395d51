"""How far a prediction may be off, from the errors of the other rows of its kind, and how often that was enough.

The band of a metric on a GPU under an engine is the 90th percentile of the absolute errors of its scored rows. To say
how often it holds, each row is held to the band of the rows beside it, its own left out (Stone, "Cross-validatory
choice", 1974).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.validation.scores import Score
from simulator.arrays import Floats
from simulator.report.tables import Amount, Document, PrintedCell, Table, TableColumn, Words, count

PERCENTILE = 90
LEAST_ROWS = 5  # of a kind; fewer say nothing about a tenth
METRICS = ("TTFT ms", "TPOT ms", "E2E ms", "throughput tok/s", "duration s")


@dataclass(frozen=True)
class Band:
    """Of one metric, GPU and engine: ``within_pct`` on either side, and which share of rows the others' band held."""

    gpu: str
    engine: str  # without its version
    metric: str
    n: int
    within_pct: float
    held: int


def bands(scores: Iterable[Score]) -> list[Band]:
    """Return the bands of all kinds with enough scored rows, in order of GPU, engine and metric."""
    kinds: dict[tuple[str, str, str], list[float]] = {}
    for score in scores:
        if score.role == "scored" and score.metric in METRICS and score.predicted is not None:
            key = score.gpu, score.engine.split()[0], score.metric
            kinds.setdefault(key, []).append(abs(score.error_pct))
    return [
        _band(key, np.array(errors)) for key, errors in sorted(kinds.items()) if len(errors) >= LEAST_ROWS
    ]


def _band(key: tuple[str, str, str], errors: Floats) -> Band:
    held = sum(bool(each <= np.percentile(np.delete(errors, i), PERCENTILE)) for i, each in enumerate(errors))
    return Band(*key, len(errors), float(np.percentile(errors, PERCENTILE)), held)


def bands_text(found: Sequence[Band]) -> Document:
    """Return the bands, and as the last line how many rows of all lie within that of the others of their kind."""
    if not found:
        return Document([Words([f"no kind of row has {LEAST_ROWS} that are scored: no band"])])
    columns = [
        TableColumn("band, 90 % of the rows of a kind", left=True, wraps=True),
        TableColumn("n"),
        TableColumn("within +-", "%"),
        TableColumn("rows within the others' band", "%"),
    ]
    rows: list[list[PrintedCell]] = [
        [
            f"{each.gpu}, {each.engine}, {each.metric}",
            count(each.n),
            Amount(each.within_pct, f"{each.within_pct:.1f}"),
            Amount(100 * each.held / each.n, f"{100 * each.held / each.n:.0f}"),
        ]
        for each in found
    ]
    total, held = sum(each.n for each in found), sum(each.held for each in found)
    said = f"{100 * held / total:.1f} % of {total:,} rows lie within the band of the others of their kind"
    return Document([Table(columns, rows), Words([said])])
