"""What ``servesim profile list`` and ``show`` print."""

from hardware_profiles import Gpu, Model, list_gpus, list_tables, load_gpu, step_cost
from hardware_profiles.fit import step_shape
from simulator.report.text import table

_PREFILL_TOKENS = (128, 512, 2048, 8192)
_BATCHES = (1, 8, 32, 128)
_CONTEXTS = (512, 2048, 8192)


def profile_list() -> str:
    """Return the GPUs with price, errors and validation, and which cost model each model gets on them."""
    gpus = [load_gpu(name) for name in list_gpus()]
    heading = ["GPU", "$/hour", "on", "prefill", "decode", "mixed", "worst", "validated"]
    rows = [
        [
            gpu.name,
            f"{gpu.usd_per_hour:.2f}",
            gpu.price.date.isoformat(),
            *_errors(gpu),
            gpu.validated.strip().split("; ")[0].split(". ")[0].rstrip("."),
        ]
        for gpu in gpus
    ]
    lines = ["Errors: the formula against the GPU's operator tables, mean absolute % (-: no tables)", ""]
    aligned = table([[*row[:1], *row[1:7]] for row in [heading, *rows]])
    lines += [f"{left}  {row[7]}" for left, row in zip(aligned, [heading, *rows], strict=True)]
    lines += ["", "Cost model by model; the table's own points have no error", ""]
    return "\n".join([*lines, *table(_cost_models(gpus), left=4)]) + "\n"


def _errors(gpu: Gpu) -> list[str]:
    error = gpu.kernel_fit.error
    if error is None:
        return ["-"] * 4
    parts = (error.prefill_pct, error.decode_pct, error.mixed_pct, error.worst_pct)
    return [f"{part:.1f}" for part in parts]


def _cost_models(gpus: list[Gpu]) -> list[list[str]]:
    rows = [["GPU", "model", "cost model", "GPUs a replica"]]
    for gpu in gpus:
        sizes: dict[str, list[str]] = {}
        for name, size in list_tables(gpu):
            sizes.setdefault(name, []).append(str(size))
        rows += [[gpu.name, name, "tabulated", ", ".join(found)] for name, found in sizes.items()]
        more = "any other" if sizes else "any"
        rows.append([gpu.name, more, "analytic", "1, 2, 4, 8" if gpu.all_reduce else "1"])
    return rows


def profile_text(gpu: Gpu, model: Model, tensor_parallel: int = 1) -> str:
    """Return a profile block by block with sources, and a small table of the step times that follow.

    Raises InputError where the model cannot run on so many of these GPUs.
    """
    cost = step_cost(gpu, model, tensor_parallel=tensor_parallel)
    lines = [f"{gpu.name}: {gpu.description}", f"validated: {gpu.validated.strip()}"]
    if gpu.like is not None:
        lines.append(f"derived from: {gpu.like}, for all that its own file does not give")
    for name, values in gpu.model_dump(exclude={"name", "description", "validated"}).items():
        if isinstance(values, dict):
            lines += _block(name, values)
    lines += [
        "",
        f"step times of {model.name} on {tensor_parallel} x {gpu.name}, ms ({cost.kind} cost model,"
        f" {cost.overheads.engine_version})",
        "",
    ]
    prefill_ms = [1e3 * cost.step_s(step_shape([(tokens, 0)])) for tokens in _PREFILL_TOKENS]
    rows = [["one prompt, tokens", *map(str, _PREFILL_TOKENS)], ["", *(f"{ms:.1f}" for ms in prefill_ms)]]
    rows.append(["decodes, batch", *map(str, _BATCHES)])
    for context in _CONTEXTS:
        decode_ms = [1e3 * cost.step_s(step_shape((), batch, context)) for batch in _BATCHES]
        rows.append([f"  context {context}", *(f"{ms:.1f}" for ms in decode_ms)])
    return "\n".join([*lines, *table(rows)]) + "\n"


def _block(name: str, values: dict[str, object]) -> list[str]:
    """Return a block of the profile as lines, nested blocks as ``[outer.inner]``."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = ["", f"[{name}]"] if plain else []
    lines += [f"{key} = {value}" for key, value in plain.items() if value is not None]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _block(f"{name}.{key}", value)
    return lines
