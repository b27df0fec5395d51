"""A run in MLflow: its scenario as parameters, all numbers of its summary as metrics, its files as artifacts.

The store is a folder, or a SQLite database if the path ends in .db; ``mlflow ui --backend-store-uri`` shows it. With
``tracking_uri`` the run goes to a server instead, and the path becomes a text that says which run it is there.
"""

import os
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from simulator.errors import InputError, not_installed
from simulator.report.exports import _tracked
from simulator.results.result import Result

_MOST = {"metrics": 1000, "params": 100}  # of one call, as MLflow has it
_LONGEST = 500  # characters of a parameter, in all its versions


def export(
    result: Result,
    path: Path,
    *,
    experiment: str = "servesim",
    run_name: str = "",
    tracking_uri: str = "",
    artifacts: bool = True,
) -> None:
    """Add a run to the store; ``run_name`` is the scenario's name if empty.

    Raises InputError where MLflow is not installed, and what it says where the store refuses.
    """
    _tracked.checked_text(experiment, "experiment")
    client, entities, errors = _client(tracking_uri or _local(path))
    name = run_name or str(result.manifest["scenario"]["name"])
    values = _tracked.metrics(result)
    try:
        found = client.get_experiment_by_name(experiment)
        number = found.experiment_id if found is not None else _create(client, experiment, path, tracking_uri)
        run = client.create_run(number, run_name=name, tags={"servesim.partial": str(result.partial)}).info
        metrics = (entities.Metric(key, value, run.start_time, 0) for key, value in values.items())
        params = (entities.Param(*each) for each in _params(result))
        for kind, items in (("metrics", metrics), ("params", params)):
            while batch := list(islice(items, _MOST[kind])):
                client.log_batch(run.run_id, **{kind: batch})
        if artifacts:
            with TemporaryDirectory(prefix="servesim-") as folder:
                result.save(folder)
                client.log_artifacts(run.run_id, folder)
        client.set_terminated(run.run_id)
    except errors.MlflowException as error:
        raise InputError(f"mlflow: {str(error).splitlines()[0]}") from error
    if tracking_uri:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{tracking_uri} {run.run_id}\n", encoding="utf-8")


def _client(uri: str) -> tuple[Any, Any, Any]:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a simulation reports to no third party
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which its newest versions ask for
    try:
        from mlflow import entities, exceptions
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise not_installed("mlflow: MLflow", "mlflow") from error
    try:
        return MlflowClient(tracking_uri=uri), entities, exceptions
    except exceptions.MlflowException as error:
        raise InputError(f"mlflow: {str(error).splitlines()[0]}") from error


def _local(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path.absolute()}" if path.suffix == ".db" else path.absolute().as_uri()


def _create(client: Any, experiment: str, path: Path, tracking_uri: str) -> Any:
    """Make the experiment; the artifacts of a database lie beside it, not in the working directory."""
    beside = None
    if not tracking_uri and path.suffix == ".db":
        beside = path.absolute().with_name(f"{path.stem}-artifacts").as_uri()
    return client.create_experiment(experiment, artifact_location=beside)


def _params(result: Result) -> list[tuple[str, str]]:
    return [(key, str(value)[:_LONGEST]) for key, value in _tracked.parameters(result).items()]
