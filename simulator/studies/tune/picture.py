"""A search's picture: what each trial found, the best so far, and which trials failed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from simulator.report.measures import in_printed_unit
from simulator.report.style import BLACK, BLUE, GREY, ORANGE, PURPLE, RED, axes, drawing
from simulator.results.vocabulary import measure_of
from simulator.studies.tune.trials import CRASHES, TunedTrial
from simulator.studies.tune.tune import FoundSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKS = dict(zip(CRASHES, (("x", RED), ("+", PURPLE), ("|", ORANGE)), strict=True))


def figure(found: FoundSettings) -> "Figure":
    """Return the objective by trial; failures are marked at the bottom. At least one trial ran."""
    with drawing():
        return _drawn(found)


def _drawn(found: FoundSettings) -> "Figure":
    judge = found.search.judge
    measure = measure_of(judge.objective)
    drawn, grid = axes(width=5.0, height_in=2.8)
    panel = grid[0, 0]
    first, *trials = found.trials

    def values(some: Sequence[TunedTrial]) -> list[Any]:
        return [in_printed_unit(measure, each.numbers[judge.objective]) for each in some]

    missed = [trial for trial in trials if trial.outcome == "missed"]
    kept = [trial for trial in trials if trial.feasible]
    panel.plot(
        [t.number for t in missed], values(missed), "o", color=GREY, mfc="none", label="misses a target"
    )
    panel.plot(
        [t.number for t in kept], values(kept), "o", color=BLUE, label="keeps all" if judge.goals else "trial"
    )
    so_far = [judge.best(trials[: i + 1]) for i in range(len(trials))]
    steps = [(i + 1, each) for i, each in enumerate(so_far) if each is not None and each.feasible]
    if steps:
        best = values([each for _, each in steps])
        panel.step([i for i, _ in steps], best, where="post", color=BLACK, label="best so far")
    if first.score is not None:
        panel.axhline(values([first])[0], color=GREY, linestyle="--", label="as it is")
    for outcome, (mark, colour) in _MARKS.items():
        at = [trial.number for trial in trials if trial.outcome == outcome]
        if at:
            panel.plot(
                at, [0.03] * len(at), mark, color=colour, label=outcome, transform=panel.get_xaxis_transform(),
                markersize=6, clip_on=False,
            )  # fmt: skip
    panel.set_xlim(0, len(trials) + 1)
    panel.margins(y=0.12)
    panel.xaxis.get_major_locator().set_params(integer=True)
    panel.yaxis.set_major_formatter("{x:,g}")
    panel.set_xlabel("trial")
    panel.set_ylabel(measure.axis)
    panel.set_title(f"{found.search.base.name}: {found.search.method}")
    handles, labels = panel.get_legend_handles_labels()
    unlike = {label: handle for handle, label in zip(handles, labels, strict=True) if len(handle.get_xdata())}
    drawn.legend(list(unlike.values()), list(unlike), loc="outside right upper")
    return drawn
