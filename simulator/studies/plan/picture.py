"""The picture of a plan: what each candidate costs and is worth, the front of those that keep the target, by name."""

from typing import TYPE_CHECKING

from simulator.report.style import BLACK, COLOURS, GREY, axes, drawing
from simulator.results.vocabulary import measure_of
from simulator.studies.plan.by_gpu import by_gpu
from simulator.studies.plan.goals import PER_SECOND
from simulator.studies.plan.plan import FoundPlan, Place
from simulator.studies.plan.prices import name, with_electricity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOWEST_SHOWN = 0.25  # of the largest smooth goodput, below 0
_FIRST_PT, _LINE_PT, _PANEL_PT = (
    12,
    11,
    170,
)  # of names: the lowest above its place, a line; the panel's height


def figure(found: FoundPlan) -> "Figure":
    """Draw price against smooth goodput of all that was simulated whole, a colour a GPU type.

    Filled: keeps the target. Named are the plan, the runner-up and the cheapest of each GPU type.
    """
    measure = measure_of(PER_SECOND)
    places = [place for place in found.simulated_whole() if found.value(place, PER_SECOND) is not None]
    named = _named(found, places)
    keeping = [place for place in places if _keeps(found, place)]
    with drawing():
        drawn, grid = axes(1, 1, width=6.6, height_in=3.5)
        panel = grid[0, 0]
        colours = {
            gpu: COLOURS[i % len(COLOURS)] for i, gpu in enumerate(dict.fromkeys(p[0].gpu for p in places))
        }
        for gpu, colour in colours.items():
            for kept, size in ((False, 13), (True, 26)):
                mine = [place for place in places if place[0].gpu == gpu and (place in keeping) is kept]
                panel.scatter(
                    *_at(found, mine), s=size, color=colour if kept else "none", edgecolors=colour, linewidths=0.8,
                    alpha=1.0 if kept else 0.5, zorder=3 if kept else 2, label=gpu if kept else "",
                )  # fmt: skip
            if not any(place[0].gpu == gpu for place in keeping):
                panel.scatter([], [], color="none", edgecolors=colour, s=13, label=f"{gpu}, none keeps it")
        panel.scatter([], [], color="none", edgecolors=GREY, s=13, label="misses the target")
        front = _front(found, keeping)
        panel.plot(*_at(found, front), color=GREY, linewidth=0.9, drawstyle="steps-post", zorder=1,
                   label="best for the price of those that keep it" if len(front) > 1 else "")  # fmt: skip
        _name(found, panel, named)
        panel.set_xlabel(f"price{' with electricity' if with_electricity(found) else ''} (US$/hour)")
        panel.set_ylabel(measure.axis)
        panel.yaxis.set_major_formatter("{x:,.0f}")
        _frame(panel, [found.value(place, PER_SECOND) or 0.0 for place in places], len(named))
        panel.set_title(_title(found))
        drawn.legend(loc="outside lower center", ncols=3)
    return drawn


def _keeps(found: FoundPlan, place: Place) -> bool:
    return bool(found.runs.outcomes[place[0].number, place[1]].keeps)


def _at(found: FoundPlan, places: list[Place]) -> tuple[list[float], list[float]]:
    return [found.usd_per_hour(place) for place in places], [
        found.value(place, PER_SECOND) or 0.0 for place in places
    ]


def _front(found: FoundPlan, keeping: list[Place]) -> list[Place]:
    """Return those than which none as cheap is worth more, cheapest first."""
    front: list[Place] = []
    for place in sorted(
        keeping, key=lambda each: (found.usd_per_hour(each), -(found.value(each, PER_SECOND) or 0.0))
    ):
        if not front or (found.value(place, PER_SECOND) or 0.0) > (found.value(front[-1], PER_SECOND) or 0.0):
            front.append(place)
    return front


def _named(found: FoundPlan, places: list[Place]) -> list[Place]:
    """Return the places that a reader looks for, cheapest first."""
    cheapest = [row.place for row in by_gpu(found)]
    wanted = dict.fromkeys(place for place in (found.best, found.runner_up, *cheapest) if place is not None)
    return sorted((place for place in wanted if place in places), key=found.usd_per_hour)


def _name(found: FoundPlan, panel: "Axes", named: list[Place]) -> None:
    """Write names above their places, each begun there and a line lower than the one before: none hits another."""
    for i, place in enumerate(named):
        (x,), (y,) = _at(found, [place])
        chosen = place == found.best
        panel.annotate(
            f" {_short(place)}, ${found.usd_per_hour(place):.2f}", (x, y),
            (0, _FIRST_PT + _LINE_PT * (len(named) - 1 - i)),
            textcoords="offset points", ha="left", va="center", fontsize=7.5,
            fontweight="bold" if chosen else "normal",
        )  # fmt: skip
        panel.annotate(
            "", (x, y), (0, _FIRST_PT + _LINE_PT * (len(named) - 1 - i) + 4), textcoords="offset points",
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3},
        )  # fmt: skip
        if chosen:
            panel.scatter([x], [y], s=90, facecolors="none", edgecolors=BLACK, linewidths=1.2, zorder=4)


def _short(place: Place) -> str:
    """Return how many of which GPU: ``9 x l40s``; policy and settings are in the tables."""
    return name(place).partition(",")[0]


def _title(found: FoundPlan) -> str:
    best = found.best
    target = " and ".join(
        str(goal).replace(goal.metric, measure_of(goal.metric).label) for goal in found.plan.goals
    )
    if best is None or not found.keeps:
        return f"No candidate keeps {target}"
    return f"{_short(best)} keeps {target} for ${found.usd_per_hour(best):.2f} an hour"


def _frame(panel: "Axes", values: list[float], names: int) -> None:
    """Leave room for names above; cut off what is so far below 0 that all others would be one line, and say so."""
    highest, lowest = max(values), min(0.0, *values)
    cut = lowest < -LOWEST_SHOWN * highest < 0
    if cut:
        panel.text(
            0.99, 0.02, f"lower values, to {lowest:,.0f}, are not shown",
            transform=panel.transAxes, ha="right", va="bottom", fontsize=6.5, color=GREY,
        )  # fmt: skip
        lowest = -LOWEST_SHOWN * highest
    taken = min((_FIRST_PT + _LINE_PT * (names + 0.5)) / _PANEL_PT, 0.7)
    panel.set_ylim(1.05 * lowest, lowest + (highest - lowest) / (1 - taken) + 1e-9)
    panel.set_xlim(left=0)
    panel.margins(x=0.08)
