"""The text of ``servesim validate``: every row, what the errors come to, and which bars hold."""

from collections.abc import Callable, Iterable, Sequence

from experiments.validation.scores import BarVerdict, Score, summarise
from simulator.report.tables import Amount, Document, PrintedCell, Table, TableColumn, Words, count

ROWS_SHOWN_ONE_BY_ONE = 400  # of a set; larger ones (operator tables) are summed up, results.json has all

SPLITS = {
    "step-tables": "analytic: each half of a GPU's rows is priced with coefficients fitted to the other half;"
    " the tabulated model reads these tables, and must meet them",
    "own-tables": "fitted: llama-3.1-8b and qwen-2.5-14b, 16 bits, one GPU; shares of 8-bit kernels fitted to kernels"
    " one by one; every other table is scored",
    "unequal-contexts": "nothing fitted: attention of equal contexts, at the mean of the unequal ones",
    "layouts-70b": "KV size on two GPUs taken from the rows of one such replica (fitted); all other layouts are scored",
    "sglang-blocks": "nothing fitted: overheads fitted on H100 (SGLang 0.5.1, Qwen3-32B)",
    "closed-qwen3-32b": "runs taken alternately within each size: one half fitted, the other scored",
    "closed-70b-fp8": "runs taken alternately within each GPU, engine and size: one half fitted, the other scored",
    "closed-trtllm-8b": "runs taken alternately within each size: one half fitted, the other scored",
    "closed-sglang-8b": "FP8 in blocks, H200, with mixed chunks; runs taken alternately: one half fitted (no bar)",
    "closed-sglang-32b": "runs taken alternately within each size: one half fitted, the other scored (no bar)",
    "per-request": "nothing fitted: tables of this GPU, overheads fitted on H100 (vLLM 0.15.1, other runs)",
    "per-request-experts": "nothing fitted: tables of this GPU, wires of L40S, overheads of H100 (vLLM"
    " 0.15.1); the rules of the exchange were settled beside this run",
    "per-request-4090": "nothing fitted to times: as per-request; what CUDA graphs take of the memory was chosen"
    " on start-up logs, this card's among them",
    "closed-mixtures": "what prompts take beyond their kernels, and overheads of latent and sparse attention, fitted to"
    " every second run; the others are scored (no bar)",
    "mixtures": "nothing fitted: kernels of experts as measured one by one, what prompts take beyond them as in"
    " closed-mixtures, overheads of dense models on H100 (SGLang: H200, too) carried to all GPUs",
    "mixtures-latent": "as mixtures; attention to latents as measured one by one, its overheads as in closed-mixtures",
    "kv-tiers": "LMCache's rate of writing fitted to the misses of 1,024 and 8,192 tokens; the other ratios are scored",
    "open-loop": "nothing fitted: overheads fitted to other runs (vLLM 0.15.1, H100, one GPU)",
    "step-cycles": "nothing fitted: overheads fitted to other runs (vLLM 0.15.1, H100, one GPU)",
    "burst": "vLLM: overheads of H100, and ob006 fitted what mixed batches lose; TensorRT-LLM: kernel factor fitted"
    " to Qwen3-32B, scored on Qwen3-14B; lengths drawn with seed 0",
}


def rows_text(name: str, scores: Sequence[Score]) -> Document:
    """Return one line per measured row and metric: predicted, measured, signed error."""
    title = f"{name}: {SPLITS[name]}"
    if len(scores) > ROWS_SHOWN_ONE_BY_ONE and not any(s.role == "fitted" for s in scores):
        return Document([Words([title, f"  {len(scores):,} rows, summed up below"])])
    columns = [
        TableColumn("GPU", left=True, rank=3),
        TableColumn("engine", left=True, rank=2),
        TableColumn("row", left=True),
        TableColumn("role", left=True, rank=4),
        TableColumn("metric", left=True),
        TableColumn("predicted"),
        TableColumn("measured", rank=1),
        TableColumn("error", "%"),
    ]
    rows: list[list[PrintedCell]] = []
    notes: dict[str, None] = {}
    for score in scores:
        predicted, measured = (Amount(each, _number(each)) for each in (score.predicted, score.measured))
        off = Amount(score.error_pct, "-" if score.predicted is None else f"{score.error_pct:+.1f}")
        rows.append(
            [
                score.gpu.split("-")[0],
                score.engine,
                score.row,
                score.role,
                score.metric,
                predicted,
                measured,
                off,
            ]
        )
        if score.note:
            what = "not simulated: " if score.predicted is None else ""
            notes[f"{score.row}: {what}{score.note}"] = None
    return Document([Table(columns, rows, title), *([Words([*notes])] if notes else [])])


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def summary_text(scores: Sequence[Score]) -> Document:
    """Return medians, means and worst of the absolute errors by set and metric, GPU, engine and load."""
    scored = [s for s in scores if s.role != "fitted"]
    groups: list[tuple[str, Callable[[Score], str]]] = [
        ("metric", lambda s: f"{s.set_name}, {s.metric}"),
        ("GPU", lambda s: f"{s.set_name}, {s.gpu}, {s.metric}"),
        ("engine", lambda s: f"{s.set_name}, {s.engine}, {s.metric}"),
        ("load", lambda s: f"{s.set_name}, {s.load} load, {s.metric}"),
    ]
    parts = []
    for title, key in groups:
        rows = [
            _summary_row(name, own)
            for name, own in _grouped(scored, key).items()
            # else the same line as above
            if title == "metric" or len(own) != _size_of_metric(scored, own[0])
        ]
        parts.append(_summary(f"absolute error, rows not fitted, by {title}", rows))
    fitted = [s for s in scores if s.role == "fitted" and s.metric == "TPOT ms"]
    rows = [
        _summary_row(f"{key}, TPOT ms", own) for key, own in _grouped(fitted, lambda s: s.set_name).items()
    ]
    parts.append(_summary("absolute error, fitted rows, for comparison", rows))
    return Document([each for each in parts if each.rows])


def _summary(title: str, rows: Sequence[Sequence[PrintedCell]]) -> Table:
    columns = [
        TableColumn(title, left=True, wraps=True),
        TableColumn("n", rank=2),
        TableColumn("median", "%"),
        TableColumn("mean", "%", rank=1),
        TableColumn("worst", "%"),
        TableColumn("bias", "%", rank=3),
        TableColumn("not simulated", rank=4),
    ]
    return Table(columns, rows)


def _grouped(scores: Iterable[Score], key: Callable[[Score], str]) -> dict[str, list[Score]]:
    groups: dict[str, list[Score]] = {}
    for score in scores:
        groups.setdefault(key(score), []).append(score)
    return groups


def _size_of_metric(scores: Sequence[Score], like: Score) -> int:
    return sum(s.set_name == like.set_name and s.metric == like.metric for s in scores)


def _summary_row(name: str, scores: Sequence[Score]) -> list[PrintedCell]:
    s = summarise(scores)
    errors = (Amount(pct, f"{pct:.1f}") for pct in (s.median_pct, s.mean_pct, s.worst_pct))
    missing = count(s.missing) if s.missing else ""
    return [name, count(s.n), *errors, Amount(s.bias_pct, f"{s.bias_pct:+.1f}"), missing]


def bars_text(verdicts: Sequence[BarVerdict]) -> Document:
    """Return the bars, what was reached, and as the last line how many hold."""
    columns = [
        TableColumn("bar", left=True),
        TableColumn("", left=True, wraps=True),
        TableColumn("limit", "%"),
        TableColumn("reached", "%"),
        TableColumn("n", rank=2),
        TableColumn("not simulated", rank=3),
        TableColumn("best elsewhere", left=True, rank=1, wraps=True),
    ]
    rows: list[list[PrintedCell]] = []
    for verdict in verdicts:
        bar = verdict.bar
        limit, reached = f"{bar.limit_pct:.1f}", f"{verdict.reached_pct:.2f}"
        missing = count(verdict.missing) if verdict.missing else ""
        rows.append(
            [
                "holds" if verdict.holds else "MISSED",
                f"{bar.set_name}: {bar.what}, {bar.statistic}",
                Amount(bar.limit_pct, limit),
                Amount(verdict.reached_pct, reached),
                count(verdict.n),
                missing,
                bar.best_elsewhere,
            ]
        )
    held = sum(verdict.holds for verdict in verdicts)
    return Document([Table(columns, rows), Words([f"{held} of {len(verdicts)} bars hold"])])
