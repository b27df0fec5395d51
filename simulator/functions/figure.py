"""``servesim.figure``: a run at a glance, as a matplotlib figure."""

from typing import TYPE_CHECKING

from simulator.report.plots import overview_figure
from simulator.results.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(result: Result) -> "Figure":
    """Return the picture that the command saves as overview.png: delivery, latencies, load, worth.

    Raises InputError for a result without its tokens.
    """
    return overview_figure(result)
