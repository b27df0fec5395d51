"""What ``servesim profile list`` and ``show`` print."""

from hardware_profiles import Gpu, Model, list_gpus, list_tables, load_gpu, step_cost
from hardware_profiles.fit import step_shape
from simulator.report.tables import Amount, Document, PrintedCell, Table, TableColumn, Words

_PREFILL_TOKENS = (128, 512, 2048, 8192)
_BATCHES = (1, 8, 32, 128)
_CONTEXTS = (512, 2048, 8192)


def profile_list() -> Document:
    """Return the GPUs with price, errors and validation, and which cost model each model gets on them."""
    gpus = [load_gpu(name) for name in list_gpus()]
    columns = [
        TableColumn("GPU", left=True),
        TableColumn("price", "$/hour"),
        TableColumn("on", rank=4),
        TableColumn("prefill", "%", rank=3),
        TableColumn("decode", "%", rank=3),
        TableColumn("mixed", "%", rank=2),
        TableColumn("worst", "%", rank=1),
        TableColumn("validated", left=True, wraps=True),
    ]
    rows: list[list[PrintedCell]] = [
        [
            gpu.name,
            Amount(gpu.usd_per_hour, f"{gpu.usd_per_hour:.2f}"),
            gpu.price.date.isoformat(),
            *_errors(gpu),
            gpu.validated.strip().split("; ")[0].split(". ")[0].rstrip("."),
        ]
        for gpu in gpus
    ]
    return Document(
        [
            Words(["Errors: the formula against the GPU's operator tables, mean absolute % (-: no tables)"]),
            Table(columns, rows),
            Words(["Cost model by model; the table's own points have no error"]),
            _cost_models(gpus),
        ]
    )


def _errors(gpu: Gpu) -> list[PrintedCell]:
    error = gpu.kernel_fit.error
    if error is None:
        return [Amount(None, "-")] * 4
    parts = (error.prefill_pct, error.decode_pct, error.mixed_pct, error.worst_pct)
    return [Amount(part, f"{part:.1f}") for part in parts]


def _cost_models(gpus: list[Gpu]) -> Table:
    rows = []
    for gpu in gpus:
        sizes: dict[str, list[str]] = {}
        shared = list_tables(gpu)
        for name, size in shared:
            sizes.setdefault(name, []).append(str(size))
        for block, engine in gpu.engine_overheads.items():
            own = set() if engine.operator_tables is None else {*list_tables(gpu, engine)}
            for name, size in sorted(own - {*shared}):
                sizes.setdefault(f"{name}, {block}", []).append(str(size))
        rows += [[gpu.name, name, "tabulated", ", ".join(found)] for name, found in sizes.items()]
        more = "any other" if sizes else "any"
        rows.append([gpu.name, more, "analytic", "1, 2, 4, 8" if gpu.all_reduce else "1"])
    return Table(
        [TableColumn(name, left=True) for name in ("GPU", "model", "cost model", "GPUs a replica")], rows
    )


def profile_text(gpu: Gpu, model: Model, tensor_parallel: int = 1) -> Document:
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
    prefill = [_ms(1e3 * cost.step_s(step_shape([(tokens, 0)]))) for tokens in _PREFILL_TOKENS]
    decodes: list[list[PrintedCell]] = [
        [f"{context:,}", *(_ms(1e3 * cost.step_s(step_shape((), batch, context))) for batch in _BATCHES)]
        for context in _CONTEXTS
    ]
    title = (
        f"step times of {model.name} on {tensor_parallel} x {gpu.name}, ms ({cost.kind} cost model,"
        f" {cost.overheads.engine_version})"
    )
    return Document(
        [
            Words(lines),
            Table(
                [
                    TableColumn("one prompt, tokens", left=True),
                    *(TableColumn(str(n)) for n in _PREFILL_TOKENS),
                ],
                [["step", *prefill]],
                title,
            ),
            Table(
                [TableColumn("decodes, context", left=True), *(TableColumn(f"batch {n}") for n in _BATCHES)],
                decodes,
            ),
        ]
    )


def _ms(step_ms: float) -> Amount:
    return Amount(step_ms, f"{step_ms:.1f}")


def _block(name: str, values: dict[str, object]) -> list[str]:
    """Return a block of the profile as lines, nested blocks as ``[outer.inner]``."""
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    lines = ["", f"[{name}]"] if plain else []
    lines += [f"{key} = {value}" for key, value in plain.items() if value is not None]
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _block(f"{name}.{key}", value)
    return lines
