"""A run in Weights & Biases: its scenario as config, all numbers of its summary, its files as an artifact.

It is written to a folder; ``wandb sync FOLDER/wandb/offline-run-*`` sends it. ``mode=online`` sends it at once.
"""

from pathlib import Path
from typing import Any

from simulator.errors import InputError, not_installed
from simulator.report.exports import _tracked
from simulator.results.result import Result

_MODES = ("offline", "online")


def export(
    result: Result,
    path: Path,
    *,
    project: str = "servesim",
    run_name: str = "",
    mode: str = "offline",
    artifacts: bool = True,
) -> None:
    """Write the run; ``run_name`` is the scenario's name if empty.

    Raises InputError where wandb is not installed, and what it says where it refuses.
    """
    _tracked.checked_text(project, "project")
    if mode not in _MODES:
        raise InputError(f"mode: expected one of {', '.join(_MODES)}, got {mode!r}")
    wandb = _wandb()
    path.mkdir(parents=True, exist_ok=True)
    name = run_name or str(result.manifest["scenario"]["name"])
    values = _tracked.metrics(result)
    try:
        run = wandb.init(
            project=project, name=name, config=_tracked.parameters(result), dir=str(path), mode=mode,
            settings=wandb.Settings(silent=True, console="off", disable_code=True, disable_git=True),
        )  # fmt: skip
        run.summary.update(values)
        if artifacts:
            files = path / f"files-{run.id}"  # which stay: sending the run later reads them
            result.save(files)
            artifact = wandb.Artifact("servesim-run", type="run")
            artifact.add_dir(str(files), policy="immutable", skip_cache=True)
            run.log_artifact(artifact)
        run.finish()
    except wandb.errors.Error as error:
        raise InputError(f"wandb: {str(error).splitlines()[0]}") from error


def _wandb() -> Any:
    try:
        import wandb
    except ImportError as error:
        raise not_installed("wandb: wandb", "wandb") from error
    return wandb
