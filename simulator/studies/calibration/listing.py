"""What ``servesim profile fit``, ``from-aiconfigurator`` and ``measure`` print."""

from hardware_profiles import Gpu
from hardware_profiles.fit import Error
from hardware_profiles.fit_timings import TimingsFit
from hardware_profiles.from_table import NewProfile, TableOrigin
from hardware_profiles.least_squares import WIDE, Solution
from simulator.report.tables import (
    Amount,
    Document,
    PrintedCell,
    PrintedPart,
    Table,
    TableColumn,
    Words,
    count,
)
from simulator.studies.calibration.bench_fit import BenchFit

_POOR_PCT = 10.0  # mean error of a fit that is not one


def timings_text(fit: TimingsFit) -> Document:
    """Return what was fitted to step timings, and how far off the fit is."""
    columns = [
        TableColumn("error, mean (worst)", "%", left=True),
        TableColumn("steps"),
        TableColumn("where fitted"),
        TableColumn("left out"),
    ]
    rows: list[list[PrintedCell]] = [
        [kind, count(error.steps), *(_both(each) for each in (fit.fitted[kind], error))]
        for kind, error in fit.left_out.items()
    ]
    how = f"left out: {fit.folds} folds by {'run' if fit.by_run else 'row'}"
    return Document([*solution(fit.solution, fit.gpu), Table(columns, rows), Words([how])])


def _both(error: Error) -> Amount:
    return Amount(error.mean_pct, f"{error.mean_pct:.2f} ({error.worst_pct:.1f})")


def bench_text(fit: BenchFit) -> Document:
    """Return what was fitted to benchmark results, and how far off each run is."""
    heads = ("TTFT", "TPOT", "left out: TTFT", "left out: TPOT")
    columns = [
        TableColumn("signed error", "%", left=True, wraps=True),
        *(TableColumn(name) for name in heads),
    ]
    rows: list[list[PrintedCell]] = []
    for run in fit.errors:
        left_out = (None, None) if run.left_out is None else run.left_out
        rows.append([run.source, *(_signed(value) for value in (*run.fitted, *left_out))])
    left = fit.left_out_pct
    said = "-: too few runs to leave any out"
    if left is not None:
        said = f"left out, mean of sizes: TTFT {left[0]:.1f} %, TPOT {left[1]:.1f} %"
    parts: list[PrintedPart] = [*solution(fit.solution, fit.gpu), Table(columns, rows), Words([said])]
    if max(fit.fitted_pct) > _POOR_PCT:
        options = "(--set engine.max_num_seqs, ...)"
        poor = f"WARNING: the runs are not met; were they served and sent as simulated? {options}"
        parts.append(Words([poor], "warning"))
    return Document(parts)


def _signed(value: float | None) -> Amount:
    return Amount(value, "-" if value is None else f"{value:+.1f}")


def table_text(new: NewProfile, origin: TableOrigin) -> Document:
    """Return what a new table holds, and how far the formula fitted to it is off it."""
    grid = new.gpu.kernel_fit.measured_range
    columns = [
        TableColumn("formula against the table", left=True),
        TableColumn("steps"),
        TableColumn("mean", "%"),
        TableColumn("worst", "%"),
    ]
    rows: list[list[PrintedCell]] = [
        [kind, count(error.steps), *(Amount(pct, f"{pct:.2f}") for pct in (error.mean_pct, error.worst_pct))]
        for kind, error in new.errors.items()
    ]
    lines = [f"source: {origin.source}", f"engine: {origin.engine_version}"]
    if grid is not None:
        lines.append(
            f"range: prompts up to {grid.max_prefill_tokens} tokens, up to {grid.max_decode_seqs} decodes with"
            f" contexts up to {grid.max_decode_context_tokens}"
        )
    return Document([Words(lines), Table(columns, rows)])


def solution(found: Solution, gpu: Gpu) -> list[PrintedPart]:
    """Return the fitted values with their 95 % intervals, and what the data did not determine."""
    rows: list[list[PrintedCell]] = []
    loose = []
    for name, value in found.values.items():
        wide = WIDE * found.standard_errors[name]
        loose += [name] if wide > abs(value) else []
        interval = f"{max(0.0, value - wide):.4g} to {value + wide:.4g}"
        error = found.standard_errors[name]
        rows.append([name, Amount(value, f"{value:.5g}"), Amount(error, f"{error:.2g}"), interval])
    columns = [TableColumn("fitted", left=True), TableColumn("value"), TableColumn("standard error")]
    parts: list[PrintedPart] = [Table([*columns, TableColumn("95 % interval", left=True, rank=1)], rows)]
    block = gpu.engine_overheads["fitted"]

    def holds(name: str) -> object:
        return block if name in type(block).model_fields else gpu.kernel_fit

    kept = [
        f"not determined, so kept: {each.name} = {getattr(holds(each.name), each.name):g}; add {each.needs}"
        for each in found.kept
    ]
    if loose:
        kept.append(f"not told from 0: {', '.join(loose)}")
    if found.kept:
        kept.append(
            "what is fitted holds beside what is kept, and takes up what that has too little or too much"
        )
    if kept:
        parts.append(Words(kept))
    if found.at_bounds:
        text = (
            f"WARNING: {', '.join(found.at_bounds)} ended at a bound: what was measured is not what was priced"
            " (other hardware, model, engine options or clients?)"
        )
        parts.append(Words([text], "warning"))
    return parts
