"""The picture of a run at a glance as an SVG, for papers and slides: the same as ``overview.png``."""

from pathlib import Path

from simulator.report.plots import overview
from simulator.results.result import Result

SUFFIX = ".svg"


def export(result: Result, path: Path) -> None:
    """Write the picture; raises InputError for a result read from a folder without tokens."""
    overview(result, path, "svg")
