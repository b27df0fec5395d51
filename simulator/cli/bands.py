"""``--band``: the same traffic with steps as much shorter and longer as they were off where servers were measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.cli.saving import simulate_and_save

if TYPE_CHECKING:
    from simulator.report.tables import Document
    from simulator.scenario.scenario import Scenario


def band_of(name: str, scenario: "Scenario", base_dir: Path | None, summary: Mapping[str, Any]) -> "Document":
    """Simulate both ends; return the table of a run's band."""
    from simulator.studies.band import band_document, banded

    error, ends = banded(scenario, base_dir, summary, lambda each: _simulated(each, base_dir))
    return band_document(name, scenario, base_dir, summary, error, ends)


def band_json(scenario: "Scenario", base_dir: Path | None, summary: Mapping[str, Any]) -> dict[str, Any]:
    """Simulate both ends; return their whole summaries under ``band``, the shorter steps first."""
    from simulator.studies.band import banded

    error, ends = banded(scenario, base_dir, summary, lambda each: _simulated(each, base_dir))
    runs = [
        {"step_factor": factor, "summary": found} for factor, found in zip(error.factors, ends, strict=True)
    ]
    return {"band": {"step_error_pct": error.pct, "validated": error.validated, "runs": runs}}


def _simulated(scenario: "Scenario", base_dir: Path | None) -> Mapping[str, Any]:
    result, failure = simulate_and_save(scenario, base_dir, None, plot=False)
    if failure is not None:
        raise failure
    return result.summary()
