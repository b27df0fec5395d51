"""Which public models can be simulated, and how they are priced: the table of ``docs/models.md``.

``python -m benchmarks.models`` reads the public configurations of ``benchmarks/public_models``, serves one request with
each on eight B200, and writes the table anew.
"""

import contextlib
import csv
import gzip
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardware_profiles import Model, load_model
from simulator import Scenario, run
from simulator.errors import InputError

FOLDER = Path(__file__).parent / "public_models"
PAGE = Path(__file__).parent.parent / "docs" / "models.md"
BEGIN, END = "<!-- models -->", "<!-- /models -->"
GPU, GPUS = "b200-sxm", 8


@dataclass(frozen=True)
class PublicModel:
    """What a public configuration is to the simulator."""

    name: str  # on the hub
    model: Model | None  # None: refused
    priced: str  # analytic, tabulated; or why it is refused


def public_configs() -> dict[str, dict[str, Any]]:
    """Return the configurations by their names on the hub: the files of each by name."""
    with gzip.open(FOLDER / "configs.json.gz", "rt", encoding="utf-8") as file:
        configs: dict[str, dict[str, Any]] = json.load(file)
    return configs


def published_parameters() -> dict[str, tuple[int, str]]:
    """Return the parameters of public models as others have counted them, and where."""
    with (FOLDER / "published.csv").open(encoding="utf-8", newline="") as file:
        return {row["model"]: (int(row["parameters"]), row["source"]) for row in csv.DictReader(file)}


def write_checkpoint(files: dict[str, Any], folder: Path) -> Path:
    """Write the files of one configuration as they stand in a checkpoint's folder; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in files.items():
        (folder / name).write_text(json.dumps(values), encoding="utf-8")
    return folder


def served(folder: Path) -> str:
    """Serve one request with the model in a folder on eight B200 and return how its steps were priced.

    Its prompt and its answer are within every grid that was measured.
    """
    scenario = Scenario.model_validate({
        "hardware": {"gpu": GPU, "model": str(folder)},
        "engine": {"tensor_parallel_size": GPUS},
        "workload": {"arrivals": "burst", "requests": 1, "prompt_tokens": 1000, "output_tokens": 10},
    })  # fmt: skip
    result = run(scenario)
    kind, beyond = result.manifest["engine"]["cost_model"], result.manifest["extrapolated_share"]
    return f"{kind}; layers of its kinds were never measured" if beyond == 1 else str(kind)


def look_at(name: str, files: dict[str, Any], folder: Path) -> PublicModel:
    """Return what one configuration is; a refusal is told without the path of its file."""
    where = write_checkpoint(files, folder / name)
    model = None
    with contextlib.suppress(InputError):
        model = load_model(str(where))
    try:
        return PublicModel(name, model, served(where))
    except InputError as error:
        why = str(error).replace(f"{where}/", "").removeprefix("hardware.model: ").partition("; expected")[0]
        return PublicModel(name, model, f"refused: {why}")


def look_at_all() -> list[PublicModel]:
    """Return what each public configuration is, in the order of their names."""
    with tempfile.TemporaryDirectory() as folder:
        return [look_at(name, files, Path(folder)) for name, files in public_configs().items()]


def table(models: list[PublicModel]) -> str:
    """Return the table in Markdown."""
    lines = [
        "| model | parameters, G | KV cache, bytes/token | of it in windows | state, MB/request | priced |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for each in models:
        numbers = ["", "", "", ""]
        if each.model is not None:
            model = each.model
            numbers = [
                f"{model.parameters / 1e9:,.3f}",
                f"{model.kv_bytes_per_token:,}",
                f"{model.windowed_kv_bytes_per_token:,}" if model.windowed_kv_bytes_per_token else "",
                f"{model.state_bytes / 1e6:.1f}" if model.state_bytes else "",
            ]
        lines.append(f"| {each.name} | {' | '.join(numbers)} | {each.priced} |")
    return "\n".join(lines)


def page(text: str, models: list[PublicModel]) -> str:
    """Return the page with a new table, and how many of the models can be simulated."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    good = sum(not each.priced.startswith("refused") for each in models)
    said = f"{good} of {len(models)} public configurations can be served on eight B200.\n\n"
    return f"{before}{BEGIN}\n{said}{table(models)}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), look_at_all()), encoding="utf-8")
    print(f"{PAGE}: written")
