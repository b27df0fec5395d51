"""A GPU file that names a shipped GPU with ``like`` and gives only what differs.

What it takes over says so in its source. It takes over no claim of a measurement: the other GPU's operator
tables, the error and the measured range of its fit stay there, so every step counts as an extrapolation.
"""

from pathlib import Path
from typing import Any

from hardware_profiles.files import nearest, read_toml, shipped_names, shipped_path
from simulator.errors import InputError

_OWN = ("name", "description", "validated", "operator_tables")  # of the other GPU alone, like the next two
_OF_ITS_FIT = ("error", "measured_range")
_OTHER_PEAKS = ("peak_fp8_tflops", "peak_fp4_tflops", "peak_int8_tops", "compute_capability")


def filled_in(given: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the values of a GPU file with its path and those of the GPU that it is ``like``, if it is like any.

    Raises InputError, naming the file, where that is no shipped GPU, or one that is itself like another.
    """
    if "like" not in given:
        return given | {"path": path}
    like, names = given["like"], shipped_names("gpus")
    if like not in names:
        raise InputError(
            f"{path}: key 'like': expected one of {', '.join(names)}, got {like!r}{nearest(str(like), names)}"
        )
    other = read_toml(shipped_path("gpus", like))
    if "like" in other:
        raise InputError(
            f"{path}: key 'like': {like!r} is itself like {other['like']!r}; expected a GPU that is given in full"
        )
    base = {key: value for key, value in other.items() if key not in _OWN}
    fit = {key: value for key, value in base["kernel_fit"].items() if key not in _OF_ITS_FIT}
    base["kernel_fit"] = fit | {"fitted_on": f"{like}: {fit['fitted_on']}; nothing on this GPU"}
    sheet = given.get("datasheet")
    if isinstance(sheet, dict) and "peak_bf16_tflops" in sheet:  # the peaks of a data sheet belong together
        base["datasheet"] = {key: each for key, each in base["datasheet"].items() if key not in _OTHER_PEAKS}
    said = {
        "description": f"derived from {like}",
        "validated": f"not validated: derived from {like}; nothing was measured on this GPU",
    }
    return said | _merged(base, given, like) | {"path": path}


def _merged(base: dict[str, Any], given: dict[str, Any], like: str) -> dict[str, Any]:
    """Return the tables of ``base`` with what is given instead; a block says in its source what is whose.

    What is given comes first: so do overheads of one's own, which are then those that are taken.
    """
    merged = {**given, **{key: each for key, each in base.items() if key not in given}}
    for key, block in base.items():
        own = given.get(key, {})
        if isinstance(block, dict) and isinstance(own, dict):
            merged[key] = _merged(block, own, like)
            if "source" in block and "source" not in own:
                whose = f"{', '.join(own)}: given without a source; the rest: " if own else ""
                merged[key]["source"] = f"{whose}that of {like} ({block['source']})"
            if "remark" in block and "remark" not in own:
                merged[key]["remark"] = f"Of {like}: {block['remark']}"
    return merged
