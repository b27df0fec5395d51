"""What is known of how true a run is: how far predictions were off where servers of its kind were measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hardware_profiles.validated import METRICS, Corner, corner_of, is_validated, validated_error
from simulator.errors import InputError
from simulator.report.tables import Document, Words
from simulator.report.text import counted
from simulator.scenario.resolve import hardware_of
from simulator.scenario.scenario import Scenario

LIGHT_SEQS, MEDIUM_SEQS = (
    16,
    64,
)  # mean batch of a replica, as the measured runs are told apart by their clients
RunNumbers = Mapping[str, Any]  # a summary


def corners(scenario: Scenario, base_dir: Path | None, load: str | None = None) -> list[Corner]:
    """Return where each pool of a scenario is; InputError as ``hardware_of``."""
    return list(
        dict.fromkeys(
            corner_of(gpu.name, model, tensor_parallel, load)
            for gpu, model, tensor_parallel in hardware_of(scenario, base_dir)
        )
    )


def load_of(summary: RunNumbers) -> str | None:
    """Return how loaded the replicas were: light, medium or heavy; None where the batch is not known."""
    seqs = summary["engine"].get("running_mean")
    if summary["stability"]["unstable"]:
        return "heavy"
    if seqs is None:
        return None
    return "light" if seqs <= LIGHT_SEQS else "medium" if seqs <= MEDIUM_SEQS else "heavy"


def unvalidated(where: Sequence[Corner]) -> list[str]:
    """Say where, of these, no server was measured."""
    return [
        f"not validated: no server with {each.gpu} and a {each.model} {each.weights} model was measured"
        for each in where
        if not is_validated(each)
    ]


def validated_words(scenario: Scenario, base_dir: Path | None, summary: RunNumbers) -> Words:
    """Say how far predictions were off where this was measured; makes no simulation."""
    where = corners(scenario, base_dir)
    lines, load = unvalidated(where), load_of(summary)
    for corner in (each._replace(load=load) for each in where if is_validated(each)):
        found = [_said(corner, metric) for metric in METRICS if counts_for(metric, scenario, summary)]
        lines.append(f"validated on {corner}: {', '.join(found)}")
    return Words(lines)


def counts_for(metric: str, scenario: Scenario, summary: RunNumbers) -> bool:
    """Whether the validated errors of a metric are about such a run.

    TTFT was scored in open loops but for the layouts, and closed loops differ more. Throughput was scored where clients
    wait for answers or all requests come at once; in an open loop that keeps up it is what arrives.
    """
    closed = scenario.workload.concurrency is not None
    if metric == "throughput":
        return closed or scenario.workload.arrivals == "burst" or bool(summary["stability"]["unstable"])
    return not (closed and metric == "TTFT")


def _said(corner: Corner, metric: str) -> str:
    error, rows = validated_error(corner, metric)
    if error is None:
        return f"{metric} by {counted(rows, 'row')}, too few for a band" if rows else f"{metric} by none"
    wider = "" if error.corner == corner else f" of {error.corner}"
    return f"{metric} +-{error.within_pct:.3g} % over {counted(error.n, 'row')}{wider}"


def validated_of(manifest: Mapping[str, Any], summary: RunNumbers) -> Document:
    """Return ``validated_words`` of a saved run; nothing of a real server, and where its profiles are gone."""
    if "measured" in manifest:
        return Document([])
    try:
        return Document([validated_words(Scenario(**manifest["scenario"]), None, summary)])
    except InputError:
        return Document([])
