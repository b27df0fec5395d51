"""The document of runs at several rates: what the page needs to draw smooth goodput over the rate for any reader."""

from collections.abc import Sequence
from typing import Any

from simulator.errors import InputError
from simulator.metrics._window import measured
from simulator.report.html.document import FORMAT
from simulator.report.html.readers import readers
from simulator.results.result import Result


def rates_document(results: Sequence[Result]) -> dict[str, Any]:
    """Return the document for JSON: a point a run, a line for all runs of one name, all for the first one's readers.

    Each run is measured over its own window. Raises InputError for runs of which the tokens were not kept.
    """
    user = results[0].scoring.user
    runs = []
    for result in results:
        if result.trace_level != "tokens":
            raise InputError("the tokens of a run were not kept; expected run.trace_level = 'tokens'")
        log = measured(result.log, result.scoring.window)
        runs.append({
            "server": result.manifest["scenario"]["name"],
            "rate_rps": result.manifest["scenario"]["workload"]["rate_rps"],
            "readers": readers(log, user),
        })  # fmt: skip
    return {
        "format": FORMAT, "kind": "rates", "title": "Smooth goodput over the rate",
        "common_facts": {"reader": user.described}, "notes": [], "runs": runs,
    }  # fmt: skip
