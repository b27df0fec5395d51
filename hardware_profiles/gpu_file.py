"""Writing a GPU profile as the TOML file that ``load_gpu`` reads."""

from pathlib import Path

from hardware_profiles.gpu import Gpu
from simulator.errors import InputError


def check_new(path: Path, overwrite: bool) -> None:
    """Raise InputError unless ``path`` can become a new profile; before any time is spent on it."""
    if path.suffix != ".toml":
        raise InputError(f"--out {path}: expected the path of a .toml")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists; expected a new file, or --overwrite")


def write_gpu(gpu: Gpu, path: Path) -> None:
    """Write every value of ``gpu`` with its source; blocks that it does not have are left out."""
    import tomli_w

    tables = gpu.model_dump(exclude_none=True, exclude={"like"})  # whose values are all there
    path.parent.mkdir(parents=True, exist_ok=True)
    heading = (
        "# Made by servesim profile; units are in the names. To use it: hardware.gpu = this file's path\n"
    )
    path.write_text(heading + tomli_w.dumps(tables), encoding="utf-8")
