"""``servesim profile``: look at hardware profiles, and make new ones from measurements."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli import completion
from simulator.cli.output import say, wrote
from simulator.cli.terminal import counting
from simulator.errors import InputError

if TYPE_CHECKING:
    from hardware_profiles import Gpu, Model

ORDER = 100
TABLES = True

app = typer.Typer(
    help="Look at hardware profiles, fit them to timings of yours, or measure new ones.",
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

GpuOption = Annotated[
    str,
    typer.Option(
        "--gpu", help="Profile to start from: a name, or the path of a .toml.", autocompletion=completion.gpus
    ),
]
ModelOption = Annotated[
    str,
    typer.Option(
        "--model", help="Name, or path of a Hugging Face config.json.", autocompletion=completion.models
    ),
]
Size = Annotated[int, typer.Option("--tensor-parallel", help="GPUs that the model is spread over.")]
ReplaceFiles = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]


@app.command(name="list")
def list_() -> None:
    """List GPUs and models: cost model, fit errors, what was validated, $/hour."""
    from simulator.report.profile_listing import profile_list

    say(profile_list())


@app.command(epilog="Example: servesim profile show h100-80gb-sxm llama-3.1-8b --out h100.png")
def show(
    gpu: Annotated[
        str, typer.Argument(help="Name, or the path of a profile (.toml).", autocompletion=completion.gpus)
    ],
    model: Annotated[
        str,
        typer.Argument(help="Name, or path of a Hugging Face config.json.", autocompletion=completion.models),
    ] = "llama-3.1-8b",
    out: Annotated[Path | None, typer.Option(help="Draw the step times into this PNG.")] = None,
    tensor_parallel: Size = 1,
) -> None:
    """Print a profile's values with their sources, and the step times that follow."""
    from simulator.report.profile_listing import profile_text

    chosen, shape = _load(gpu, model)
    say(profile_text(chosen, shape, tensor_parallel))
    if out is not None:
        from simulator.report.step_curves import draw

        draw(chosen, shape, tensor_parallel, _png(out))
        wrote("curves", out)


FIT_EXAMPLES = """Examples:

\b
servesim profile fit steps.csv --gpu h100-80gb-sxm --model llama-3.1-8b --out mine.toml
servesim profile fit steps.csv --what efficiencies --gpu l4 --out mine.toml
servesim profile fit rate-*.json --gpu h100-80gb-sxm --free step_ms --free frontend_s --out mine.toml

\b
A CSV of steps has the columns prefill_tokens, prior_context_tokens,
decode_seqs, decode_context_tokens (each added up over the step's sequences)
and step_ms; also prefill_seqs and run, if there are. A .log, .txt or .out is
SGLang's log, whose lines on decode batches tell steps without prompts. Other
files are results of load tests, as servesim score reads them, or vllm bench
serve --save-result.
Without --free what the data do not determine is kept, and said.
"""


@app.command(epilog=FIT_EXAMPLES)
def fit(
    files: Annotated[
        list[Path], typer.Argument(help="One .csv or SGLang log of steps, or results of load tests.")
    ],
    out: Annotated[Path, typer.Option(help="The new profile (.toml).")],
    gpu: GpuOption = "h100-80gb-sxm",
    model: ModelOption = "llama-3.1-8b",
    tensor_parallel: Size = 1,
    what: Annotated[
        str, typer.Option(metavar="overheads|efficiencies", help="From steps: efficiencies of kernels, too.")
    ] = "overheads",
    free: Annotated[
        list[str] | None, typer.Option("--free", metavar="NAME", help="Fit only this; may be repeated.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Of the cross-validation, from steps.")] = 5,
    synchronous: Annotated[
        bool, typer.Option("--synchronous", help="The engine does not plan ahead (vLLM before 0.14).")
    ] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="SECTION.KEY=VALUE", help="From load tests: what the server was run with."
        ),
    ] = None,
    overwrite: ReplaceFiles = False,
) -> None:
    """Fit a profile to step timings, or to results of load tests."""
    from hardware_profiles import list_tables
    from hardware_profiles.gpu_file import check_new, write_fitted

    check_new(out, overwrite)
    if what not in ("overheads", "efficiencies"):
        raise InputError(f"--what {what}: expected overheads or efficiencies")
    chosen, shape = _load(gpu, model)
    if list_tables(chosen.model_copy(update={"path": out})) != list_tables(chosen):
        raise InputError(
            f"--out {out}: the tables of {gpu} lie beside it; expected a file in the same folder"
        )
    from hardware_profiles.engine_log import is_log, read_log
    from hardware_profiles.timings import has_steps, read_timings

    if any(has_steps(path) or is_log(path) for path in files):
        from hardware_profiles.fit_timings import fit_timings
        from simulator.studies.calibration.listing import timings_text

        if len(files) > 1:
            raise InputError("fit: expected one .csv or log of step timings, or results of load tests")
        if overrides:
            raise InputError("--set: step timings are not simulated; expected it with bench results only")
        steps = read_log(files[0]) if is_log(files[0]) else read_timings(files[0])
        found = fit_timings(
            chosen, shape, steps, tensor_parallel=tensor_parallel,
            what="efficiencies" if what == "efficiencies" else "overheads", free=free or (),
            fold_count=folds, source=files[0].name, asynchronous=not synchronous, name=out.stem,
        )  # fmt: skip
        new, text = found.gpu, timings_text(found)
    else:
        from simulator.scenario.scenario import Scenario
        from simulator.studies.calibration.bench_fit import fit_bench
        from simulator.studies.calibration.bench_results import read_load
        from simulator.studies.calibration.listing import bench_text

        if what != "overheads":
            raise InputError(
                "--what efficiencies: load tests do not tell them; expected a CSV of step timings"
            )
        version = "0.11.0" if synchronous else "0.24.0"
        served = Scenario(
            hardware={"gpu": gpu, "model": model},
            engine={"tensor_parallel_size": tensor_parallel},
            policy={"scheduling": {"name": "vllm_v1", "engine_version": version}},
        ).with_overrides(overrides or [])
        chosen, _ = _load(served.hardware.gpu, served.hardware.model)
        runs = [run for path in files for run in read_load(path)]
        with counting("simulations") as on_done:
            bench = fit_bench(runs, served, chosen, free=free or (), name=out.stem, on_done=on_done)
        new, text = bench.gpu, bench_text(bench)
    write_fitted(new, chosen, out)
    say(text, kept=out)
    wrote("profile", out)


@app.command(name="from-aiconfigurator")
def from_aiconfigurator(
    hf_model: Annotated[str, typer.Argument(help="Hugging Face name, as in Qwen/Qwen3-8B.")],
    out: Annotated[
        Path, typer.Option(help="The new profile (.toml); its table goes into tables/ beside it.")
    ],
    model: Annotated[
        str, typer.Option("--model", help="The same model: a name here, or path of its config.json.")
    ],
    gpu: GpuOption = "h100-80gb-sxm",
    system: Annotated[
        str | None, typer.Option(help="Name of the GPU there; unset: as the profile's.")
    ] = None,
    engine: Annotated[
        str, typer.Option(metavar="vllm|sglang|trtllm", help="Whose kernels were measured.")
    ] = "vllm",
    version: Annotated[
        str | None, typer.Option("--engine-version", help="The engine's; unset: the latest there.")
    ] = None,
    tensor_parallel: Size = 1,
    quantization: Annotated[
        str | None, typer.Option(metavar="fp8|fp8_block|nvfp4", help="Of the layers' matrices.")
    ] = None,
    overwrite: ReplaceFiles = False,
) -> None:
    """Make a profile of the operator tables that NVIDIA aiconfigurator has."""
    from dataclasses import replace

    from hardware_profiles.aiconfigurator import ENGINES, QUANTIZATIONS, SYSTEMS, read_system
    from hardware_profiles.expert_times import mixture_of
    from hardware_profiles.from_table import write_profile
    from hardware_profiles.gpu_file import check_new
    from hardware_profiles.quantisation.scheme import UNIFORM
    from simulator.studies.calibration.listing import table_text

    check_new(out, overwrite)
    if engine not in ENGINES:
        raise InputError(f"--engine {engine}: expected {', '.join(ENGINES)}")
    base, shape = _load(gpu, model)
    if quantization is not None:
        if quantization not in QUANTIZATIONS:
            raise InputError(f"--quantization {quantization}: expected {' or '.join(QUANTIZATIONS)}")
        shape = replace(shape, quantization=UNIFORM[quantization])
    chosen = system or SYSTEMS.get(base.name)
    if chosen is None:
        raise InputError(f"--system: expected the name that aiconfigurator has for {base.name}")
    mixture = mixture_of(shape)
    rows, origin = read_system(chosen, version, hf_model, tensor_parallel, quantization, mixture, engine)
    new = write_profile(base, shape, tensor_parallel, rows, out, origin)
    say(table_text(new, origin), kept=out)
    wrote("profile", out, f", table: {new.table}")


@app.command(epilog="Example: servesim profile measure --gpu h200-sxm --model llama-3.1-8b --out mine.toml")
def measure(
    out: Annotated[
        Path, typer.Option(help="The new profile (.toml); its table goes into tables/ beside it.")
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="Unset: llama-3.1-8b; on a CPU a tiny one of its own.")
    ] = None,
    gpu: GpuOption = "h100-80gb-sxm",
    device: Annotated[
        str | None, typer.Option(help="cuda, cuda:1, cpu; unset: a GPU if there is one.")
    ] = None,
    tensor_parallel: Size = 1,
    overwrite: ReplaceFiles = False,
) -> None:
    """Time a model's layers on the device at hand, with random weights (needs torch)."""
    from hardware_profiles.from_table import write_profile
    from hardware_profiles.gpu_file import check_new
    from hardware_profiles.measure import check_model, measure_rows, origin_of, plan_for, tiny_model
    from hardware_profiles.torch_timer import TorchTimer
    from simulator.studies.calibration.listing import table_text

    check_new(out, overwrite)
    timer = TorchTimer(device)
    if model is None and not timer.is_gpu:
        model = str(tiny_model(out.parent))
    base, shape = _load(gpu, model or "llama-3.1-8b")
    check_model(shape, tensor_parallel)
    grid = plan_for(shape, tensor_parallel, timer.memory_bytes if timer.is_gpu else None)
    rows = measure_rows(shape, tensor_parallel, timer, grid)
    origin = origin_of(timer, shape)
    new = write_profile(base, shape, tensor_parallel, rows, out, origin)
    say(table_text(new, origin), kept=out)
    wrote("profile", out, f", table: {new.table}, model: {shape.source}")


def _png(path: Path) -> Path:
    if path.suffix.lower() != ".png":
        raise InputError(f"--out {path}: expected the path of a .png")
    return path


def _load(gpu: str, model: str) -> "tuple[Gpu, Model]":
    from hardware_profiles import load_gpu, load_model

    return load_gpu(gpu), load_model(model)
