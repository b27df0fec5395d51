"""Writing a GPU profile as the TOML file that ``load_gpu`` reads."""

from pathlib import Path
from typing import Any

from hardware_profiles.files import shipped_path
from hardware_profiles.gpu import Gpu
from simulator.errors import InputError


def check_new(path: Path, overwrite: bool) -> None:
    """Raise InputError unless ``path`` can become a new profile; before any time is spent on it."""
    if path.suffix != ".toml":
        raise InputError(f"--out {path}: expected the path of a .toml")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists; expected a new file, or --overwrite")


def write_fitted(gpu: Gpu, base: Gpu, path: Path) -> None:
    """Write what was fitted, ``like`` the GPU that it was fitted from; all of it where that is no shipped one."""
    if base.like is not None or base.path != shipped_path("gpus", base.name):
        write_gpu(gpu, path)
        return
    whole = gpu.model_dump(exclude_none=True)
    names = ("description", "validated", "kernel_fit", "engine_overheads", "operator_tables")
    own = {name: whole[name] for name in names if name in whole}
    own["engine_overheads"] = {"fitted": own["engine_overheads"]["fitted"]}
    _write({"name": gpu.name, "like": base.name, **own}, path)


def write_gpu(gpu: Gpu, path: Path) -> None:
    """Write every value of ``gpu`` with its source; blocks that it does not have are left out."""
    _write(gpu.model_dump(exclude_none=True, exclude={"like"}), path)  # whose values are all there


def _write(tables: dict[str, Any], path: Path) -> None:
    import tomli_w

    path.parent.mkdir(parents=True, exist_ok=True)
    heading = (
        "# Made by servesim profile; units are in the names. To use it: hardware.gpu = this file's path\n"
    )
    path.write_text(heading + tomli_w.dumps(tables), encoding="utf-8")
