"""The traffic shipped inside the package, and how a name in a scenario finds a file."""

import json
from difflib import get_close_matches
from glob import glob
from pathlib import Path
from typing import NamedTuple

from simulator.errors import InputError
from simulator.input_files import check_regular

DATA = Path(__file__).parent / "data"
SUFFIXES = (".parquet", ".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
_LENGTHS_PREFIX = "lengths_"
_LOAD_PREFIX = "load_"


class QuantileTable(NamedTuple):
    """Marginal quantiles of prompt and output lengths at ``levels`` (0 to 1), with provenance."""

    name: str
    kind: str
    source: str
    license: str
    levels: tuple[float, ...]
    prompt_tokens: tuple[float, ...]
    output_tokens: tuple[float, ...]


def shipped_traces() -> dict[str, Path]:
    """Return name -> file of the traces in the package: arrival times and lengths."""
    files = sorted(DATA.glob("*.parquet"))
    return {path.stem: path for path in files if not path.name.startswith((_LENGTHS_PREFIX, _LOAD_PREFIX))}


def shipped_samples() -> dict[str, Path]:
    """Return name -> file of the samples of lengths in the package: rows without arrival times."""
    files = sorted(DATA.glob(f"{_LENGTHS_PREFIX}*.parquet"))
    return {path.stem.removeprefix(_LENGTHS_PREFIX): path for path in files}


def shipped_loads() -> dict[str, Path]:
    """Return name -> file of the loads in the package: rates over time."""
    files = sorted(DATA.glob(f"{_LOAD_PREFIX}*.parquet"))
    return {path.stem.removeprefix(_LOAD_PREFIX): path for path in files}


def shipped_quantiles() -> dict[str, QuantileTable]:
    """Return name -> quantile table of the length distributions in the package."""
    data = json.loads((DATA / "length_quantiles.json").read_text(encoding="utf-8"))
    levels = tuple(data["quantile_levels"])
    return {
        name: QuantileTable(
            name,
            entry["kind"],
            entry["source"],
            entry["license"],
            levels,
            tuple(entry["prompt_tokens"]),
            tuple(entry["output_tokens"]),
        )
        for name, entry in data["distributions"].items()
    }


def find_table(field: str, given: str, shipped: list[str], base_dir: Path | None, many: bool = False) -> Path:
    """Return the file that the user's ``given`` path means: beside the scenario file, else under the cwd.

    With ``many`` it may be a folder, or a pattern that names files.
    ``field`` and the ``shipped`` names serve the ``InputError`` that a missing file raises.
    """
    tried = [Path(given).expanduser()]
    if base_dir is not None:
        tried.insert(0, base_dir / tried[0])
    for path in tried:
        check_regular(path)
        if many and (path.is_dir() or glob(str(path), recursive=True)):
            return path
        if path.is_dir():
            raise InputError(f"{field}: {path} is a folder; expected a file ending in {', '.join(SUFFIXES)}")
        if path.exists():
            return path
    plain = Path(given).name.split(".")[0]
    near = get_close_matches(plain, shipped, n=1)
    hint = f"did you mean the shipped {near[0]!r}? " if near else ""
    raise InputError(
        f"{field}: no file {given!r} and nothing of that name is shipped; {hint}"
        f"expected a path to a table or one of {', '.join(shipped)}"
    )
