"""What a search for a rate leaves behind: a table of its simulations, the answer, a picture."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.report.style import BLUE, GREEN, GREY, RED, STYLE, axes
from simulator.report.text import number, table
from simulator.stats import Interval, interval
from simulator.studies.capacity.scenario import MEASURES, SATURATED, SMOOTH, TOO_SHORT, WARM_UP, Target
from simulator.studies.capacity.search import Answer, Ask, Plan, Shown
from simulator.studies.processes import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Found = Mapping[Ask, Mapping[str, Any]]
FILES = ("capacity.parquet", "capacity.csv", "answer.json", "capacity.png")


@dataclass(frozen=True)
class Outcome:
    """An answer with all numbers of the runs that led to it."""

    answer: Answer
    found: Found
    target: Target
    plan: Plan
    of: str  # requests or sessions
    replayed: bool

    @property
    def gpus(self) -> float:
        """GPUs that serve at the simulated rate next to the answer: their mean, where their number changes."""
        answer = self.answer
        rate = answer.rate or answer.low or answer.high or self.plan.start
        nearest = min((ask.rate for ask in answer.runs), key=lambda each: abs(each - rate))
        counts = [self.found[ask]["cost.gpus"] for ask in self.asks(nearest)]
        return float(sum(counts) / len(counts))

    def smooth(self, asks: Sequence[Ask]) -> Interval | None:
        """Smooth goodput in tokens/s and GPU over some runs; None where it does not exist."""
        values = [self.found[ask][SMOOTH] for ask in asks]
        return None if None in values or not values else interval(values)

    def asks(self, rate: float) -> list[Ask]:
        """The longest runs at a rate."""
        here = [ask for ask in self.answer.runs if ask.rate == rate]
        longest = max(ask.requests for ask in here)
        return [ask for ask in here if ask.requests == longest]

    @property
    def saturated_from(self) -> tuple[float, str] | None:
        """The lowest rate at which half of the runs are saturated, and why one of them is."""
        for rate in sorted({ask.rate for ask in self.answer.runs}):
            why = [w for ask in self.asks(rate) if (w := self.answer.runs[ask].saturated) is not None]
            if 2 * len(why) >= len(self.asks(rate)):
                return rate, why[0]
        return None

    def notes(self) -> list[str]:
        """What has to be known to read the answer."""
        answer, notes = self.answer, list(self.answer.notes)
        rate = answer.low if answer.rate is None else answer.rate
        served = [ask.rate for ask in answer.runs if rate is not None and ask.rate <= rate]
        if served:
            asks = self.asks(max(served))
            shares = [self.found[ask]["states.completed.share_of_arrived"] or 0.0 for ask in asks]
            if sum(shares) < 0.99 * len(shares):
                share = sum(shares) / len(shares)
                notes.append(
                    f"at {max(served):.4g} {self.of}/s only {share:.1%} of what arrives is completed"
                )
        return notes

    def assumed(self) -> list[str]:
        """What the answer rests on."""
        if self.target.bound is None:
            first = "the target rises to one maximum and falls after it, for runs of this length"
        else:
            first = "the target is kept up to some rate and missed beyond it"
        if self.replayed:
            return [first, "the trace at another rate is the same trace, its gaps stretched alike"]
        settled = [found[WARM_UP] / ask.requests for ask, found in self.found.items()]
        return [
            first,
            "means over replications are about normal",
            f"warm-up by MSER-5 ({sum(settled) / len(settled):.0%} of the requests on average) and the last"
            " tenth of the arrivals are not measured",
        ]

    def as_json(self) -> dict[str, Any]:
        """Everything in plain numbers; infinities, as of intervals of one run, as null."""
        answer, saturated = self.answer, self.saturated_from

        def each(value: float | None) -> float | None:
            return None if value is None else value / self.gpus

        return {
            "target": self.target.text,
            "metric": self.target.key,
            "unit": f"{self.of}/s",
            "rate": answer.rate,
            "low": answer.low,
            "high": answer.high,
            "confidence": answer.confidence,
            "gpus": self.gpus,
            "per_gpu": {"rate": each(answer.rate), "low": each(answer.low), "high": each(answer.high)},
            "saturated_from": saturated and {"rate": saturated[0], "reason": saturated[1]},
            "simulations": len(answer.runs),
            "requests_a_run": max(ask.requests for ask in answer.runs),
            "shown": [_shown(each) for each in answer.shown],
            "notes": self.notes(),
            "assumed": self.assumed(),
        }


def _shown(each: Shown) -> dict[str, Any]:
    mean = each.mean
    return {
        "rate": each.rate,
        "verdict": each.verdict,
        "confidence": each.confidence,
        "replications": len(each.seen),
        "requests_a_run": each.requests,
        "saturated": each.saturated,
        "mean": mean and mean.mean,
        "low_95": mean.low if mean and math.isfinite(mean.low) else None,
        "high_95": mean.high if mean and math.isfinite(mean.high) else None,
    }


def write(outcome: Outcome, out: Path) -> None:
    """Write the files named in ``FILES``."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq
    from matplotlib import rc_context

    asks = sorted(outcome.answer.runs)
    names = dict.fromkeys(
        name for ask in asks for name in outcome.found[ask] if name not in (SATURATED, TOO_SHORT)
    )
    columns: dict[str, Any] = {name: pa.array([getattr(ask, name) for ask in asks]) for name in Ask._fields}
    columns["saturated"] = pa.array([outcome.found[ask][SATURATED] for ask in asks], pa.string())
    for name in names:
        values = [outcome.found[ask].get(name) for ask in asks]
        columns[name] = pa.array([None if v is None else float(v) for v in values], pa.float64())
    table = pa.table(columns)
    with whole(out / "capacity.parquet") as part:
        pq.write_table(table, part)
    with whole(out / "capacity.csv") as part:
        pyarrow.csv.write_csv(table, part)
    with whole(out / "answer.json") as part:
        part.write_text(json.dumps(outcome.as_json(), indent=2) + "\n", encoding="utf-8")
    with rc_context(STYLE), whole(out / "capacity.png") as part:
        draw(outcome).savefig(part, format="png")


def draw(outcome: Outcome) -> "Figure":
    """Draw the target's metric and smooth goodput over the rate, with 95 % intervals and the answer."""
    both = outcome.target.key != SMOOTH
    figure, grid = axes(1 + both, 1, width=5.2, height_in=4.6 if both else 3.0, sharex=True)
    answer, top, bottom = outcome.answer, grid[0, 0], grid[-1, 0]
    if both:
        values = {ask: seen.value for ask, seen in answer.runs.items()}
        _panel(outcome, top, values)
        top.set_ylabel(outcome.target.name)
        bound = outcome.target.bound
        if bound is not None:
            top.axhline(bound.value, color=GREY, linestyle="--", linewidth=0.9)
            top.annotate(
                outcome.target.text, (1, bound.value), (-4, 3), ha="right", color=GREY, fontsize=7,
                xycoords=("axes fraction", "data"), textcoords="offset points",
            )  # fmt: skip
            _frame(top, outcome, bound.value)
    smooth = {
        ask: math.nan if (value := found[SMOOTH]) is None else value
        for ask, found in outcome.found.items()
        if ask in answer.runs
    }
    _panel(outcome, bottom, smooth)
    bottom.set_ylabel(MEASURES[SMOOTH].axis)
    bottom.set_xlabel(f"{outcome.of}/s")
    rates = [ask.rate for ask in answer.runs]
    if max(rates) > 20 * min(rates):
        bottom.set_xscale("log")
    _let_the_best_be_seen(bottom, [value for value in smooth.values() if math.isfinite(value)])
    top.set_title(_title(outcome))
    handles, labels = bottom.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    (bottom if both else top).legend(unique.values(), unique.keys(), loc="best")
    return figure


def _panel(outcome: Outcome, panel: "Axes", values: Mapping[Ask, float]) -> None:
    answer = outcome.answer
    shown = {each.rate for each in answer.shown}
    for rate in sorted({ask.rate for ask in values}):
        here = [ask for ask in outcome.asks(rate) if math.isfinite(values[ask])]
        if not here:
            continue
        saturated = 2 * sum(answer.runs[ask].saturated is not None for ask in here) >= len(here)
        kind = "saturated" if saturated else "keeps up"
        found = interval([values[ask] for ask in here])
        style: dict[str, Any] = {"color": RED if saturated else BLUE, "marker": "X" if saturated else "o"}
        if rate in shown and math.isfinite(found.half):
            panel.errorbar(
                [rate], [found.mean], yerr=found.half, capsize=2.5, elinewidth=1.0, linestyle="none", **style
            )
        if rate not in shown:
            kind, style["markerfacecolor"] = f"{kind} (looked at)", "white"
        panel.plot([rate], [found.mean], linestyle="none", label=kind, **style)
    low, high = answer.low, answer.high
    if low is not None and high is not None:
        panel.axvspan(low, high, color=GREEN, alpha=0.18, linewidth=0, label="answer")
    if answer.rate is not None:
        panel.axvline(answer.rate, color=GREEN, linewidth=1.0)


def _let_the_best_be_seen(panel: "Axes", values: Sequence[float]) -> None:
    """Cut off values of overload so far below 0 that all others would be one line; say so."""
    largest = max(values, default=0.0)
    lowest = -0.4 * largest
    if largest <= 0 or min(values) >= lowest:
        return
    panel.set_ylim(lowest, 1.1 * largest)
    panel.annotate(
        f"lower values, to {min(values):,.0f}, are not shown", (1, 0), (-4, 4), ha="right", color=GREY, fontsize=7,
        xycoords="axes fraction", textcoords="offset points",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )  # fmt: skip


def _frame(panel: "Axes", outcome: Outcome, bound: float) -> None:
    """Where values are far off the bound, let those near it not become a flat line."""
    values = [seen.value for seen in outcome.answer.runs.values() if math.isfinite(seen.value)]
    if bound > 0 and min(values) > 0 and max(values) > 20 * bound:
        panel.set_yscale("log")


def _title(outcome: Outcome) -> str:
    answer = outcome.answer
    if answer.rate is None:
        return f"{outcome.target.text}: not found between the rates tried"
    ends = "" if answer.low is None or answer.high is None else f" [{answer.low:.4g}, {answer.high:.4g}]"
    return f"{outcome.target.text}: {answer.rate:.4g}{ends} {outcome.of}/s"


def report(outcome: Outcome) -> str:
    """Return the answer in words, and a line for each rate that was simulated."""
    answer, gpus, unit = outcome.answer, outcome.gpus, f"{outcome.of}/s"
    lines = [f"{'target':<12}{outcome.target.text}  ({outcome.target.key})"]
    said = "none"
    if answer.rate is not None:
        of_gpus = f"({gpus:.4g} GPU{'' if gpus == 1 else 's'})"
        said = f"{answer.rate:.4g} {unit}, {answer.rate / gpus:.4g} per GPU {of_gpus}"
    lines.append(f"{'answer':<12}{said}")
    lines.append(f"{'interval':<12}{_interval(outcome)}")
    saturated = outcome.saturated_from
    what = "in no run" if saturated is None else f"from {saturated[0]:.4g} {unit} on: {saturated[1]}"
    lines.append(f"{'saturation':<12}{what}")
    longest = max(ask.requests for ask in answer.runs)
    lines.append(f"{'simulations':<12}{len(answer.runs)}, of up to {longest:,} {outcome.of}")
    lines += [f"{'note':<12}{note}" for note in outcome.notes()]
    lines += [f"{'assumed':<12}{text}" for text in outcome.assumed()]
    rows = [
        [
            unit,
            "runs",
            outcome.of,
            outcome.target.name,
            "95 %",
            f"{MEASURES[SMOOTH].label}/GPU",
            "saturated",
            "verdict",
        ]
    ]
    shown = {each.rate: each for each in answer.shown}
    for rate in sorted({ask.rate for ask in answer.runs}):
        asks = outcome.asks(rate)
        verdict = shown[rate].verdict if rate in shown else "looked at"
        seen = list(shown[rate].seen) if rate in shown else [answer.runs[ask] for ask in asks]
        values = [each.value for each in seen]
        mean = interval(values) if all(map(math.isfinite, values)) else None
        smooth = outcome.smooth(asks)
        ends = f"[{number(mean.low)}, {number(mean.high)}]" if mean and len(values) > 1 else ""
        rows.append(
            [
                f"{rate:.4g}",
                str(len(seen)),
                f"{asks[0].requests:,}",
                number(mean.mean if mean else None),
                ends,
                number(smooth.mean if smooth else None),
                str(sum(each.saturated is not None for each in seen) or "-"),
                verdict,
            ]
        )
    return "\n".join([*lines, "", *table(rows, left=0)]) + "\n"


def _interval(outcome: Outcome) -> str:
    """Say which ends were shown, and with what confidence."""
    answer, best = outcome.answer, outcome.target.bound is None
    ends = [
        (answer.low, "below the best rate" if best else "to hold", "a lower end"),
        (answer.high, "above it" if best else "to fail", "an upper end"),
    ]
    if answer.confidence is None:
        said = [f"{what} at {end:.4g}" for end, what, _ in ends if end is not None]
        return f"found {' and '.join(said) or 'nothing'}, for exactly this traffic"
    said = [f"shown {what} at {end:.4g}" for end, what, _ in ends if end is not None]
    said += [f"{name} could not be shown" for end, _, name in ends if end is None]
    both = (
        f"[{answer.low:.4g}, {answer.high:.4g}], "
        if answer.low is not None and answer.high is not None
        else ""
    )
    return f"{both}{', '.join(said)}; confidence {100 * answer.confidence:.4g} %"
