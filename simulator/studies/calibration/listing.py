"""What ``servesim profile fit``, ``from-aiconfigurator`` and ``measure`` print."""

from hardware_profiles.fit_timings import TimingsFit
from hardware_profiles.from_table import NewProfile, TableOrigin
from hardware_profiles.least_squares import Solution
from simulator.report.text import table
from simulator.studies.calibration.bench_fit import BenchFit

_POOR_PCT = 10.0  # mean error of a fit that is not one


def timings_text(fit: TimingsFit) -> str:
    """Return what was fitted to step timings, and how far off the fit is."""
    rows = [["error, mean (worst) %", "steps", "where fitted", "left out"]]
    for kind, error in fit.left_out.items():
        own = fit.fitted[kind]
        rows.append(
            [kind, str(error.steps), *(f"{e.mean_pct:.2f} ({e.worst_pct:.1f})" for e in (own, error))]
        )
    how = f"left out: {fit.folds} folds by {'run' if fit.by_run else 'row'}"
    return "\n".join([*solution_lines(fit.solution), "", *table(rows), how]) + "\n"


def bench_text(fit: BenchFit) -> str:
    """Return what was fitted to benchmark results, and how far off each run is."""
    rows = [["signed error %", "TTFT", "TPOT", "left out: TTFT", "TPOT"]]
    for run in fit.errors:
        left_out = ["-", "-"] if run.left_out is None else [f"{value:+.1f}" for value in run.left_out]
        rows.append([run.source, *(f"{value:+.1f}" for value in run.fitted), *left_out])
    left = fit.left_out_pct
    said = "-: too few runs to leave any out"
    if left is not None:
        said = f"left out, mean of sizes: TTFT {left[0]:.1f} %, TPOT {left[1]:.1f} %"
    lines = [*solution_lines(fit.solution), "", *table(rows), said]
    if max(fit.fitted_pct) > _POOR_PCT:
        lines.append(
            "WARNING: the runs are not met; were they served and sent as simulated? (--set engine.max_num_seqs, ...)"
        )
    return "\n".join(lines) + "\n"


def table_text(new: NewProfile, origin: TableOrigin) -> str:
    """Return what a new table holds, and how far the formula fitted to it is off it."""
    grid = new.gpu.kernel_fit.measured_range
    rows = [["formula against the table", "steps", "mean %", "worst %"]]
    rows += [
        [kind, str(error.steps), f"{error.mean_pct:.2f}", f"{error.worst_pct:.1f}"]
        for kind, error in new.errors.items()
    ]
    lines = [f"source: {origin.source}", f"engine: {origin.engine_version}"]
    if grid is not None:
        lines.append(
            f"range: prompts up to {grid.max_prefill_tokens} tokens, up to {grid.max_decode_seqs} decodes with"
            f" contexts up to {grid.max_decode_context_tokens}"
        )
    return "\n".join([*lines, "", *table(rows)]) + "\n"


def solution_lines(solution: Solution) -> list[str]:
    """Return the fitted values with their standard errors, aligned."""
    rows = [["fitted", "value", "standard error"]]
    rows += [
        [name, f"{value:.5g}", f"{solution.standard_errors[name]:.2g}"]
        for name, value in solution.values.items()
    ]
    lines = table(rows)
    if solution.at_bounds:
        lines.append(
            f"WARNING: {', '.join(solution.at_bounds)} ended at a bound: what was measured is not what was priced"
            " (other hardware, model, engine options or clients?)"
        )
    return lines
