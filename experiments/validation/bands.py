"""How far a prediction may be off, from the errors of the other rows of its corner, and how often that was enough.

To say how often a band holds, each row is held to that of the rows beside it, its own left out (Stone,
"Cross-validatory choice", 1974): the same look-up that a run has, by ``hardware_profiles/validated.py``.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from experiments.validation.closed_mixtures import SET as CLOSED
from experiments.validation.mixtures import LATENT, SET
from experiments.validation.scores import Score
from hardware_profiles import load_model
from hardware_profiles.validated import METRICS, Corner, kind_of, narrowest, within_pct
from simulator.report.tables import Amount, Document, PrintedCell, Table, TableColumn, Words, count
from simulator.report.text import number

_UNITS = {
    **{f"{mean}{name} ms": name for name in ("TTFT", "TPOT", "E2E") for mean in ("", "mean ")},
    "throughput tok/s": "throughput",
}


@dataclass(frozen=True)
class Band:
    """Of a metric in a corner: ``within_pct`` on either side, and how many rows the others' bands held."""

    corner: Corner
    metric: str
    n: int
    within_pct: float  # infinite: too few rows
    held: int
    could: int  # rows for which the others have a band
    widths_pct: tuple[float, ...]  # of those bands


def scored_rows(scores: Iterable[Score]) -> list[tuple[str, Corner, float]]:
    """Return metric, corner and signed error in % of every scored row of a server.

    Without mixtures of experts that have no tables: corners do not know them from those that have some.
    """
    kinds: dict[str, str] = {}
    found = []
    for score in scores:
        metric = _UNITS.get(score.metric)
        left_out = score.role != "scored" or score.set_name in (SET, LATENT, CLOSED)
        if not left_out and metric is not None and score.predicted is not None:
            if score.model not in kinds:
                kinds[score.model] = kind_of(load_model(score.model))
            corner = Corner(score.gpu, kinds[score.model], score.weights, score.tensor_parallel, score.load)
            found.append((metric, corner, score.error_pct))
    return found


def bands(scores: Iterable[Score]) -> list[Band]:
    """Return a band for every metric of a GPU, kind of model and precision; each row is held to the narrowest."""
    rows = scored_rows(scores)
    found = []
    for metric in METRICS:
        own = [(corner, error) for name, corner, error in rows if name == metric]
        widest: dict[Corner, list[int]] = {}
        for i, (corner, _) in enumerate(own):
            widest.setdefault(corner.wider()[-1], []).append(i)
        for corner, places in widest.items():
            errors = [own[i][1] for i in places]
            held, widths = 0, []
            for i in places:
                others = [(own[j][0], [own[j][1]]) for j in places if j != i]
                known, _ = narrowest(own[i][0], others)
                if known is not None:
                    widths.append(known.within_pct)
                    held += abs(own[i][1]) <= known.within_pct
            found.append(
                Band(corner, metric, len(errors), within_pct(errors), held, len(widths), tuple(widths))
            )
    return sorted(found, key=lambda band: (str(band.corner), METRICS.index(band.metric)))


def bands_text(found: Sequence[Band]) -> Document:
    """Return the bands, and as the last line how many rows of all lie within that of the others of their corner."""
    could, held = sum(each.could for each in found), sum(each.held for each in found)
    if not could:
        return Document([Words(["no corner has enough scored rows for a band"])])
    columns = [
        TableColumn("band of 90 % of rows", left=True, wraps=True),
        TableColumn("n"),
        TableColumn("within +-", "%"),
        TableColumn("rows within the others' band", "%"),
    ]
    rows: list[list[PrintedCell]] = []
    for each in found:
        wide, share = each.within_pct, 100 * each.held / each.could if each.could else math.nan
        rows.append(
            [
                f"{each.corner}, {each.metric}",
                count(each.n),
                Amount(wide, f"{wide:.1f}" if math.isfinite(wide) else "-"),
                Amount(share, f"{share:.0f}" if each.could else "-"),
            ]
        )
    widths = sorted(each for band in found for each in band.widths_pct)
    left = sum(each.n for each in found) - could
    said = [
        f"{100 * held / could:.1f} % of {could:,} rows lie within the narrowest band of the others of their corner"
        " (load and tensor parallel alike where there are nine rows);",
        f"it is +-{number(widths[len(widths) // 2])} % wide in the median; {left:,} more rows have too few beside them",
    ]
    return Document([Table(columns, rows), Words(said)])
