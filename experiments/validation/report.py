"""The text of ``servesim validate``: every row, what the errors come to, and which bars hold."""

from collections.abc import Callable, Iterable, Sequence

from experiments.validation.scores import BarVerdict, Score, summarise

ROWS_SHOWN_ONE_BY_ONE = 400  # of a set; larger ones (operator tables) are summed up, results.json has all

SPLITS = {
    "step-tables": "analytic: each half of a GPU's rows is priced with coefficients fitted to the other half;"
    " the tabulated model reads these tables, and must meet them",
    "closed-qwen3-32b": "runs taken alternately within each size: one half fitted, the other scored",
    "closed-70b-fp8": "runs taken alternately within each GPU, engine and size: one half fitted, the other scored",
    "closed-trtllm-8b": "runs taken alternately within each size: one half fitted, the other scored",
    "closed-sglang-32b": "runs taken alternately within each size: one half fitted, the other scored (no bar)",
    "per-request": "nothing fitted: tables of this GPU, overheads fitted on H100 (vLLM 0.15.1, other runs)",
    "open-loop": "nothing fitted: overheads fitted to other runs (vLLM 0.15.1, H100, one GPU)",
    "step-cycles": "nothing fitted: overheads fitted to other runs (vLLM 0.15.1, H100, one GPU)",
    "burst": "vLLM: overheads of H100, and ob006 fitted what mixed batches lose; TensorRT-LLM: kernel factor fitted"
    " to Qwen3-32B, scored on Qwen3-14B; lengths drawn with seed 0",
}


def rows_text(name: str, scores: Sequence[Score]) -> str:
    """Return one line per measured row with all its metrics: predicted, measured, signed error."""
    lines = [f"\n{name}: {SPLITS[name]}"]
    if len(scores) > ROWS_SHOWN_ONE_BY_ONE and not any(s.role == "fitted" for s in scores):
        return "\n".join([*lines, f"  {len(scores):,} rows, summed up below"]) + "\n"
    by_row: dict[tuple[str, str, str], list[Score]] = {}
    for score in scores:
        by_row.setdefault((score.gpu, score.engine, score.row), []).append(score)
    for (gpu, engine, row), own in by_row.items():
        lines.append(f"  {gpu.split('-')[0]:<5} {engine:<15} {row:<34} {own[0].role:<7}" + _cells(own))
    return "\n".join(lines) + "\n"


def _cells(scores: Sequence[Score]) -> str:
    if all(score.predicted is None for score in scores):
        return f" not simulated: {scores[0].note}"
    cells = [
        f" {s.metric.split()[0] if 'mean' not in s.metric and 'p99' not in s.metric else s.metric[:-3]}"
        f" {_number(s.predicted)}/{_number(s.measured)} {s.error_pct:+.1f}%"
        for s in scores
    ]
    return " ".join(cells) + (f"  ({scores[0].note})" if scores[0].note else "")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def summary_text(scores: Sequence[Score]) -> str:
    """Return medians, means and worst of the absolute errors by set and metric, GPU, engine and load."""
    scored = [s for s in scores if s.role != "fitted"]
    lines = [
        f"\n{'absolute error, rows not fitted':<60} {'n':>5} {'median':>7} {'mean':>7} {'worst':>7} {'bias':>7}"
    ]
    groups: list[tuple[str, Callable[[Score], str]]] = [
        ("metric", lambda s: f"{s.set_name}, {s.metric}"),
        ("GPU", lambda s: f"{s.set_name}, {s.gpu}, {s.metric}"),
        ("engine", lambda s: f"{s.set_name}, {s.engine}, {s.metric}"),
        ("load", lambda s: f"{s.set_name}, {s.load} load, {s.metric}"),
    ]
    seen: set[tuple[str, int]] = set()
    for title, key in groups:
        lines.append(f"by {title}")
        for name, own in _grouped(scored, key).items():
            if title != "metric" and len(own) == _size_of_metric(scored, own[0]):
                continue  # the same line as above
            lines.append(_summary_line(name, own))
            seen.add((name, len(own)))
    fitted = [s for s in scores if s.role == "fitted" and s.metric == "TPOT ms"]
    if fitted:
        lines.append("fitted rows, for comparison")
        lines += [
            _summary_line(f"{key}, TPOT ms", own)
            for key, own in _grouped(fitted, lambda s: s.set_name).items()
        ]
    return "\n".join(lines) + "\n"


def _grouped(scores: Iterable[Score], key: Callable[[Score], str]) -> dict[str, list[Score]]:
    groups: dict[str, list[Score]] = {}
    for score in scores:
        groups.setdefault(key(score), []).append(score)
    return groups


def _size_of_metric(scores: Sequence[Score], like: Score) -> int:
    return sum(s.set_name == like.set_name and s.metric == like.metric for s in scores)


def _summary_line(name: str, scores: Sequence[Score]) -> str:
    s = summarise(scores)
    missing = f"  ({s.missing} not simulated)" if s.missing else ""
    return (
        f"  {name:<58} {s.n:>5} {s.median_pct:>6.1f}% {s.mean_pct:>6.1f}% {s.worst_pct:>6.1f}% {s.bias_pct:>+6.1f}%"
        + missing
    )


def bars_text(verdicts: Sequence[BarVerdict]) -> str:
    """Return the bars, what was reached, and as the last line how many hold."""
    lines = [f"\n{'bar':<58} {'limit':>9} {'reached':>9} {'n':>6}  best elsewhere"]
    for verdict in verdicts:
        bar = verdict.bar
        missing = f"  ({verdict.missing} rows not simulated)" if verdict.missing else ""
        lines.append(
            f"  {'holds ' if verdict.holds else 'MISSED'} {bar.set_name + ': ' + bar.what + ', ' + bar.statistic:<49}"
            f" {bar.limit_pct:>8.1f}% {verdict.reached_pct:>8.2f}% {verdict.n:>6}  {bar.best_elsewhere}{missing}"
        )
    held = sum(verdict.holds for verdict in verdicts)
    return "\n".join([*lines, f"{held} of {len(verdicts)} bars hold"]) + "\n"
