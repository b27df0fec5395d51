"""Make ``hardware_profiles/validated_errors.json`` from what ``servesim validate`` wrote.

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


def json_of(scores: list[Score], date: datetime.date) -> str:
    """Return the file's text: the signed errors of all scored rows by corner, in % to a tenth; a line a corner."""
    corners: dict[tuple[object, ...], list[float]] = {}
    for metric, corner, error in scored_rows(scores):
        key = METRICS.index(metric), *corner
        corners.setdefault(key, []).append(round(error, 1))
    sets = ", ".join(dict.fromkeys(score.set_name for score in scores if scored_rows([score])))
    rows = [
        {
            **dict(zip(("gpu", "model", "weights", "tensor_parallel", "load"), where, strict=True)),
            "metric": METRICS[int(str(at))],
            "errors_pct": sorted(errors),
        }
        for (at, *where), errors in sorted(corners.items(), key=str)
    ]
    about = {
        "source": f"scored rows of servesim validate, rows that no constant was fitted to: {sets}",
        "licence": _LICENCE,
        "date": date.isoformat(),
    }
    lines = [f"{json.dumps(key)}: {json.dumps(value)},\n" for key, value in about.items()]
    return "{\n" + "".join(lines) + '"corner": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]\n}\n"


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
    FILE.write_text(json_of(scores, datetime.datetime.now(datetime.UTC).date()), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/validate/results.json"))
