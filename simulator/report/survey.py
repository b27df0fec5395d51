"""What is in a file of requests, as text and as a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.report.style import BLUE, GREY, ORANGE, axes, drawing, save
from simulator.report.tables import Document, Table, TableColumn, Words, amount
from simulator.report.text import number, percent
from simulator.workload.survey import Survey, rates

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BINS = 60


def text(found: Survey) -> Document:
    """Return the report on a file."""
    facts = found.as_dict()
    lines = [f"{found.file}: {facts['format']}, {facts['requests']:,} requests"]
    if found.first_problem is not None:
        lines.append(f"a run refuses it: {found.first_problem}")
    lines += _time(facts)
    more = [*_sessions(facts), *_others(facts)]
    for reason, rows in found.wrong.items():
        more.append(f"left out: {len(rows):,} as {reason} (first: {rows[0]})")
    more += [f"note: {each}" for each in facts["notes"]]
    more += [f"odd: {each}" for each in facts["odd"]]
    return Document([Words(lines), _lengths(facts), *([Words(more)] if more else [])])


def _time(facts: dict[str, Any]) -> list[str]:
    arrivals = facts["arrivals"]
    if arrivals is None:
        return ["no times of arrival"]
    span = f"arrivals from {number(arrivals['first_s'])} s on, over {number(arrivals['span_s'])} s"
    if arrivals["rate_rps"] is None:
        return [span]
    return [
        f"{span}: {number(arrivals['rate_rps'])} requests/s, {number(arrivals['peak_rps'])} in the busiest minute,"
        f" CV of gaps {number(arrivals['gap_cv'], 3)}"
    ]


def _lengths(facts: dict[str, Any]) -> Table:
    names = list(facts["prompt_tokens"])
    rows = [
        [name, *(amount(facts[f"{name}_tokens"][each]) for each in names)] for name in ("prompt", "output")
    ]
    return Table([TableColumn("tokens", left=True), *(TableColumn(name) for name in names)], rows)


def _sessions(facts: dict[str, Any]) -> list[str]:
    found = facts["sessions"]
    if found is None:
        return []
    think = found["think_s_p50"]
    closed = "at recorded times" if think is None else f"think times of {number(think)} s (p50)"
    return [
        f"sessions: {found['sessions']:,} with {found['requests']:,} requests, {number(found['turns_mean'])} each"
        f" (at most {found['turns_max']:,}), {closed}"
    ]


def _others(facts: dict[str, Any]) -> list[str]:
    share = facts["shared_prompt_share"]
    lines = (
        []
        if share is None
        else [f"shared: {percent(share)} of prompt tokens, with an unlimited prefix cache"]
    )
    return [*lines, *([f"optional: {', '.join(facts['optional'])}"] if facts["optional"] else [])]


def draw(found: Survey, path: Path) -> None:
    """Draw rates over time, lengths and gaps, and write the PNG to ``path``; raise OSError if that cannot be done."""
    save(figure(found), path)


def figure(found: Survey) -> "Figure":
    """Return the picture of rates over time, lengths and gaps."""
    columns = found.columns
    with drawing():
        timed = found.timed and len(columns) > 1 and columns.arrival_s[-1] > columns.arrival_s[0]
        drawn, grid = axes(1, 3 if timed else 1, width="text" if timed else "column", height_in=2.2)
        panels = list(grid[0])
        if timed:
            edges, per_s = rates(columns.arrival_s, _BINS)
            panels[0].stairs(per_s, edges, color=BLUE, fill=True, alpha=0.6)
            panels[0].set(xlabel="time (s)", ylabel="requests/s", ylim=(0, None), title="arrivals")
            gaps = np.sort(np.diff(columns.arrival_s))
            gaps = gaps[gaps > 0]
            share = np.arange(1, len(gaps) + 1) / len(gaps)
            exponential = gaps.mean() * -np.log1p(-np.linspace(0.001, 0.999, 200))
            panels[2].plot(exponential, np.linspace(0.001, 0.999, 200), color=GREY, ls="--", label="Poisson")
            panels[2].step(gaps, share, where="post", color=BLUE, label="this file")
            panels[2].set(
                xscale="log", xlabel="gap (s)", ylabel="share of gaps", ylim=(0, 1), title="gaps above 0"
            )
            panels[2].legend(loc="upper left")
        lengths = panels[1] if timed else panels[0]
        for name, colour in (("prompt", BLUE), ("output", ORANGE)):
            tokens = np.sort(getattr(columns, f"{name}_tokens"))
            share = np.arange(1, len(tokens) + 1) / len(tokens)
            lengths.step(tokens, share, where="post", color=colour, label=name)
        lengths.set(xscale="log", xlabel="tokens", ylabel="share of requests", ylim=(0, 1), title="lengths")
        lengths.legend(loc="best")
        drawn.suptitle(
            f"{Path(found.file).name}: {found.format}, {len(columns):,} requests", x=0.01, ha="left"
        )
    return drawn
