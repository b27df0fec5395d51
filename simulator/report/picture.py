"""A figure that keeps the style of the project, also where it is drawn later than it was made."""

import re
from collections.abc import Sequence
from typing import Any

from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, LogFormatterMathtext

from simulator.report.style import drawing

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class PlainPowers(Formatter):
    """Writes 10² where matplotlib would have TeX read: the style reads none, as a name may have a dollar sign."""

    def __init__(self, own: LogFormatterMathtext) -> None:
        """``own`` says which ticks have a label."""
        self._own = own
        self.set_axis(own.axis)

    def set_locs(self, locs: Sequence[float]) -> None:
        """Note where all ticks are."""
        self._own.set_locs(locs)

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label of a tick."""
        return plain(self._own(x, pos))


def plain(label: str) -> str:
    """Return what TeX would set a power as, such as ``$\\mathdefault{-2\\times10^{3}}$``, in letters."""
    inside = label.removeprefix("$\\mathdefault{").removesuffix("}$").replace("\\times", "\u00d7")
    raised = re.sub(r"\^\{(.*?)\}", lambda power: power[1].translate(_RAISED), inside)
    return raised.replace("-", "\u2212")


class Picture(Figure):
    """A figure whose ticks, which matplotlib makes only when it draws, get the fonts of the others.

    It needs no display, and is none of pyplot's, which would keep it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)

    def draw(self, renderer: RendererBase) -> None:
        """Draw in the style."""
        for axis in (axis for panel in self.axes for axis in (panel.xaxis, panel.yaxis)):
            if isinstance(own := axis.get_major_formatter(), LogFormatterMathtext):
                axis.set_major_formatter(PlainPowers(own))
            if isinstance(own := axis.get_minor_formatter(), LogFormatterMathtext):
                axis.set_minor_formatter(PlainPowers(own))
        with drawing():
            super().draw(renderer)

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save in the style, 200 dots an inch unless others are given."""
        with drawing():
            super().savefig(*args, **kwargs)
