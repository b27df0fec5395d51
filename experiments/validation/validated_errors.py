"""Make ``hardware_profiles/validated_errors.toml`` from what ``servesim validate`` wrote.

python -m experiments.validation.validated_errors runs/validate/results.json
"""

import dataclasses
import datetime
import json
import sys
from pathlib import Path

from experiments.validation.bands import scored_rows
from experiments.validation.scores import Score
from hardware_profiles.validated import FILE, METRICS
from simulator.errors import InputError

_LICENCE = "numbers computed from the measured rows of experiments/validation (NOTICE.md there: whose, which licence)"


def toml_of(scores: list[Score], date: datetime.date) -> str:
    """Return the file's text: the signed errors of all scored rows by corner, in % to a tenth."""
    corners: dict[tuple[object, ...], list[float]] = {}
    for metric, corner, error in scored_rows(scores):
        key = METRICS.index(metric), *dataclasses.astuple(corner)
        corners.setdefault(key, []).append(round(error, 1))
    sets = ", ".join(dict.fromkeys(score.set_name for score in scores if scored_rows([score])))
    lines = [
        "# Made by `python -m experiments.validation.validated_errors`; not by hand.",
        f'source = "scored rows of servesim validate, rows that no constant was fitted to: {sets}"',
        f'licence = "{_LICENCE}"',
        f'date = "{date.isoformat()}"',
    ]
    for (at, gpu, model, weights, size, load), errors in sorted(corners.items(), key=str):
        lines += [
            "",
            "[[corner]]",
            f'gpu = "{gpu}"',
            f'model = "{model}"',
            f'weights = "{weights}"',
            f"tensor_parallel = {size}",
            f'load = "{load}"',
            f'metric = "{METRICS[int(str(at))]}"',
            f"errors_pct = {sorted(errors)}",
        ]
    return "\n".join(lines) + "\n"


def main(path: Path) -> None:
    """Read the scores, of all sets and in full, and write the file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        names = [field.name for field in dataclasses.fields(Score)]
        scores = [Score(**{name: each[name] for name in names}) for each in found["scores"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected results.json of servesim validate ({error})") from None
    if found["quick"]:
        raise InputError(f"{path}: expected results of all rows, these are of --quick")
    FILE.write_text(toml_of(scores, datetime.datetime.now(datetime.UTC).date()), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/validate/results.json"))
