"""``servesim validate``: measured servers re-simulated, the errors, and whether the promised accuracy holds."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli.output import say, wrote
from simulator.errors import InputError

if TYPE_CHECKING:
    from experiments.validation.scores import Score

ORDER = 80
TABLES = True
EPILOG = "Example: servesim validate --set burst   (all sets take about a minute)"
BAR_MISSED = 1


def validate(
    only: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME", help="Only this set of measured rows; may be repeated."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for results.json and scatter.png. Default: runs/validate.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer rows of the large sets; n is printed.")
    ] = False,
) -> None:
    """Re-simulate measured servers and print the errors; exit 1 if an accuracy bar is missed."""
    from experiments.validation.bands import bands, bands_text
    from experiments.validation.bars import BARS
    from experiments.validation.report import bars_text, rows_text, summary_text
    from experiments.validation.scatter import scatter
    from experiments.validation.scores import judge
    from simulator.report.tables import Document, Words
    from simulator.results.folders import folder_named

    out = out if out is not None else folder_named("validate")
    runs = sets()
    for name in only or []:
        if name not in runs:
            raise InputError(f"--set {name}: expected one of {', '.join(runs)}")
    chosen = [name for name in runs if not only or name in only]
    out.mkdir(parents=True, exist_ok=True)
    began_s = time.monotonic()
    scores: list[Score] = []
    if quick:
        said = (
            "every 4th closed-loop row, every 10th table row, stages a tenth as long, no TensorRT-LLM bursts"
        )
        say(Document([Words([f"quick: {said}"])]), kept=out)
    for name in chosen:
        own = list(runs[name](quick))
        scores += own
        say(rows_text(name, own), kept=out)
        sys.stdout.flush()
    say(summary_text(scores), kept=out)
    found = bands(scores)
    say(bands_text(found), kept=out)
    verdicts = [judge(bar, scores) for bar in BARS if bar.set_name in chosen]
    scatter(scores, out / "scatter.png")
    results = {
        "quick": quick,
        "bars": [
            {
                "set": v.bar.set_name, "what": v.bar.what, "statistic": v.bar.statistic,
                "limit_pct": v.bar.limit_pct, "reached_pct": _finite(v.reached_pct), "n": v.n,
                "not_simulated": v.missing, "holds": v.holds,
            }
            for v in verdicts
        ],
        "bands": [asdict(band) | {"within_pct": _finite(band.within_pct)} for band in found],
        "scores": [asdict(score) | {"error_pct": _finite(score.error_pct)} for score in scores],
    }  # fmt: skip
    (out / "results.json").write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    took_s = time.monotonic() - began_s
    wrote("results", out / "results.json", f", {out / 'scatter.png'}; {took_s:.0f} s")
    say(bars_text(verdicts), kept=out)
    if not all(verdict.holds for verdict in verdicts):
        raise typer.Exit(BAR_MISSED)


def sets() -> "dict[str, Callable[[bool], Iterable[Score]]]":
    """Return name -> what re-simulates a set, ``quick`` or in full."""
    from experiments.validation import sets as measured
    from experiments.validation.closed_mixtures import closed_mixtures
    from experiments.validation.kv_tiers import kv_tiers
    from experiments.validation.layouts import layouts
    from experiments.validation.mixtures import latent_mixtures, mixtures
    from experiments.validation.own_tables import own_tables
    from experiments.validation.sglang_blocks import sglang_blocks
    from experiments.validation.step_tables import step_tables
    from experiments.validation.unequal_contexts import unequal_contexts

    def loop(chosen: measured.ClosedLoopSet) -> "Callable[[bool], Iterable[Score]]":
        return lambda quick: measured.closed_loop(chosen, quick)

    return {
        "step-tables": step_tables,
        "own-tables": own_tables,
        "unequal-contexts": unequal_contexts,
        **{chosen.name: loop(chosen) for chosen in measured.CLOSED_LOOPS},
        "per-request": measured.per_request,
        "per-request-experts": measured.per_request_experts,
        "per-request-4090": measured.per_request_4090,
        "open-loop": measured.open_loops,
        "step-cycles": measured.step_cycles,
        "burst": measured.bursts,
        "layouts-70b": layouts,
        "sglang-blocks": sglang_blocks,
        "kv-tiers": kv_tiers,
        "closed-mixtures": closed_mixtures,
        "mixtures": mixtures,
        "mixtures-latent": latent_mixtures,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
