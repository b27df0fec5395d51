"""A figure that keeps the style of the project, also where it is drawn later than it was made."""

from typing import Any

from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from simulator.report.style import drawing


class Picture(Figure):
    """A figure whose ticks, which matplotlib makes only when it draws, get the fonts of the others.

    It needs no display, and is none of pyplot's, which would keep it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        FigureCanvasAgg(self)

    def draw(self, renderer: RendererBase) -> None:
        """Draw in the style."""
        with drawing():
            super().draw(renderer)

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save in the style, 200 dots an inch unless others are given."""
        with drawing():
            super().savefig(*args, **kwargs)
