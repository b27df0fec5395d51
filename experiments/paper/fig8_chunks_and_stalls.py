"""Chunked prefill smooths TBT; do the tokens of stalled requests come earlier?

**Question.** A whole prompt in one step stalls every request that decodes beside it. With chunks the gaps are
shorter. Do the tokens that were held up come any earlier?

**Expected.** The token right after the stall does: it does not wait for the whole prompt. The ones after it need not,
as the prompt's work has to be done all the same, in more and dearer steps.

**Paper.** Fig. 8 and section 3.2 of v2: chunked prefill smooths TBT, but does not make the stalled request's tokens
come earlier. Which request and which load are not known. Here: the servers of fig. 5 at 0.55 times load 1, below
saturation. A request is stalled if its longest gap without chunks is above 0.2 s (V); its tokens from that gap on are
those held up. They are chosen by what went badly without chunks, which favours chunks; what becomes of all requests
stands beside it.

**Test.** Pairs of the same engine with and without chunks serve the same requests. A pair's TBT is smoother if its
p99 over all gaps is shown to be shorter; its tokens are earlier if those held up, averaged over the stalled requests,
are shown to be delivered earlier (paired over seeds, Holm over both families together). Reproduced: smoother in all
pairs that have stalls in every seed, and earlier in none. Partly: smoother in some, and earlier in fewer than half of
those. Else not. The user is not in the test, so there are no other readings; what stalled readers wait, by d_i,
stands in the table.

Takes 10 s (quick) and 60 s (full) on two cores.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from experiments.paper._protocol import PROTOCOL, swept
from experiments.paper._reproduce import Outcome, Study, Verdict, axes, label_panels, main
from experiments.paper._sweep_pictures import LOOKS, legend, plain_log
from experiments.paper._sweeps import CHUNK_PAIRS, QUICK_SHARE, Place, places
from simulator.arrays import Floats
from simulator.metrics._log import RequestLog
from simulator.metrics._reader import idle_latency_s
from simulator.results.result import Result
from simulator.scenario.run import run as simulate
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, interval, signs

CLAIM = "Chunked prefill smooths TBT, but does not make the stalled request's tokens arrive earlier (section 3.2)."
SHARES = tuple(float(each) for each in 1 - np.logspace(0, -4, 60))  # of gaps, at which TBT is drawn
CHANGES = {"first": "next token", "held_up": "all the rest", "last": "last token"}  # after the stall
Pair = tuple[Place, str]  # without chunks, and the engine with
Numbers = Mapping[Pair, Sequence[Mapping[str, Any]]]  # one a seed


def gaps_s(log: RequestLog) -> Floats:
    """Return the time between tokens of the same request, of all requests."""
    firsts = log.token_offsets[:-1]
    inside = np.ones(len(log.delivered_s), np.bool_)
    inside[firsts[log.token_counts > 0]] = False
    gaps: Floats = np.diff(log.delivered_s)[inside[1:]]
    return gaps


def compared(whole: Result, chunked: Mapping[str, Any]) -> dict[str, Any]:
    """Return TBT of a run and of the same with chunks, and what became of the requests that were stalled in it.

    Times in seconds; changes are with chunks less without, means over requests; None without any.
    """
    other = simulate(Scenario(**{**whole.manifest["scenario"], **chunked}))
    logs = whole.log, other.log
    gaps = [gaps_s(log) for log in logs]
    found: dict[str, Any] = {"tbt_s": [np.quantile(each, SHARES).tolist() for each in gaps]}
    found["p99_s"] = [float(np.quantile(each, 0.99)) for each in gaps]
    idle_s = [idle_latency_s(log, PROTOCOL.reader) for log in logs]
    changes, waits, every = [], [], []
    for request in range(logs[0].n):
        mine, theirs = (log.delivered_s[slice(*log.token_offsets[request : request + 2])] for log in logs)
        both = min(len(mine), len(theirs))
        if both:
            every.append(float((theirs[:both] - mine[:both]).mean()))
        if len(mine) < 2 or np.diff(mine).max() <= PROTOCOL.stalls.stall_s:
            continue
        after = int(np.diff(mine).argmax()) + 1
        if after < both:
            later = theirs[after:both] - mine[after:both]
            changes.append((later[0], later.mean(), later[-1]))
            waits.append([each[request] for each in idle_s])
    found |= {"stalled": len(changes), "all_requests": float(np.mean(every))}
    means = np.mean(changes, axis=0).tolist() if changes else [None] * 3
    found |= dict(zip(CHANGES, means, strict=True))
    return found | {"idle_s": np.mean(waits, axis=0).tolist() if waits else [None] * 2}


def pairs() -> list[Pair]:
    """Return all servers without chunks, and the engine with."""
    return [(place, CHUNK_PAIRS[place.engine]) for place in places() if place.engine in CHUNK_PAIRS]


def judge(numbers: Numbers) -> Verdict:
    """Apply the test of this file."""
    stalled = {pair: rows for pair, rows in numbers.items() if all(row["stalled"] for row in rows)}
    smoother = [[row["p99_s"][1] - row["p99_s"][0] for row in rows] for rows in stalled.values()]
    held_up = [[row["held_up"] for row in rows] for rows in stalled.values()]
    sides = signs(smoother + held_up)
    shorter, earlier = sides[: len(stalled)].count(-1), sides[len(stalled) :].count(-1)
    later = sides[len(stalled) :].count(1)
    outcome: Outcome = "not reproduced"
    if shorter and earlier < shorter / 2:
        outcome = "reproduced" if shorter == len(stalled) and not earlier else "partly reproduced"
    by_pair = [
        f"{', '.join(place[:2])}, {engine}: {interval(change).text('+.2f')} s"
        for (place, engine), change in zip(stalled, held_up, strict=True)
    ]
    first = [np.mean([row["first"] for row in rows]) for rows in stalled.values()]
    every = [np.mean([row["all_requests"] for row in rows]) for rows in stalled.values()]
    p99 = [np.mean([row["p99_s"][1] / row["p99_s"][0] for row in rows]) for rows in stalled.values()]
    numbers_text = (
        f"{len(stalled)} of {len(numbers)} pairs have stalled requests in every seed. With chunks p99 TBT is shown to"
        f" be shorter in {shorter}, by {1 - max(p99, default=1):.0%} to {1 - min(p99, default=1):.0%}; the tokens held"
        f" up come earlier in {earlier} and later in {later} ({'; '.join(by_pair)}). The token right after the stall"
        f" comes {-max(first, default=0):.2f} to {-min(first, default=0):.2f} s earlier. Over all requests of these"
        f" pairs, stalled or not, tokens come {min(every, default=0):+.2f} to {max(every, default=0):+.2f} s later."
    )
    caption = (
        f"Chunks shorten p99 TBT in {shorter} of {len(stalled)} pairs that have stalls. The tokens held up come earlier"
        f" in {earlier} of them and later in {later}, averaged from the stall to the end."
    )
    return Verdict(outcome, CLAIM, numbers_text, caption)


def run(study: Study) -> Verdict:
    """Simulate all pairs, draw, and judge."""
    seeds = range(PROTOCOL.quick_seeds if study.quick else PROTOCOL.seeds)
    share = QUICK_SHARE if study.quick else 1.0
    numbers: dict[Pair, list[dict[str, Any]]] = {}
    for engine in CHUNK_PAIRS.values():
        mine = [pair for pair in pairs() if pair[1] == engine]
        wanted = list(product(mine, seeds))
        scenarios = [swept(*place, PROTOCOL.stalls.load, seed, share=share) for (place, _), seed in wanted]
        kind = PROTOCOL.server.engines[engine]
        limits = {"profile": kind.profile, "max_num_batched_tokens": kind.max_num_batched_tokens}
        limits["max_model_len"] = PROTOCOL.server.max_model_len
        changed = {"policy": {"scheduling": kind.scheduling}, "engine": limits}
        found = study.each(scenarios, compared, changed, label=f"stalls, {engine}")
        for (pair, _), row in zip(wanted, found, strict=True):
            numbers.setdefault(pair, []).append(row)
    _draw(study, numbers)
    _table(study, numbers)
    return judge(numbers)


def _draw(study: Study, numbers: Numbers) -> None:
    traffic = list(PROTOCOL.setups["v2"].traffic)
    model = PROTOCOL.setups["v2"].models[0]
    figure, grid = axes(2, len(traffic), width="text", height_in=4.4)
    for panel, kind in zip(grid[0], traffic, strict=True):
        for (place, engine), rows in numbers.items():
            if place[:2] == (model, kind):
                for i, name in enumerate((place.engine, engine)):
                    tbt_ms = 1000 * np.mean([row["tbt_s"][i] for row in rows], axis=0)
                    look = LOOKS[name]
                    panel.plot(
                        tbt_ms, 1 - np.array(SHARES), color=look.color, linestyle=look.linestyle, label=name
                    )
        panel.axvline(1000 * PROTOCOL.reader.v_s_per_token, color="black", linewidth=0.6, linestyle=":")
        plain_log(panel)
        panel.set(yscale="log", xlabel="TBT, ms (dotted: V)")
        panel.set_title(f"{model}, {kind}")
    grid[0, 0].set_ylabel("share of gaps\nthat are longer")
    for panel, kind in zip(grid[1], traffic, strict=True):
        mine = {pair: rows for pair, rows in numbers.items() if pair[0].traffic == kind}
        for i, ((place, engine), rows) in enumerate(mine.items()):
            for j, name in enumerate(CHANGES):
                values = [row[name] for row in rows if row[name] is not None]
                if values:
                    found, at = interval(values), j + 0.18 * (i - (len(mine) - 1) / 2)
                    _point(panel, at, found, LOOKS[engine], place.model == model)
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set_xticks(range(len(CHANGES)), CHANGES.values())
        panel.set_xlim(-0.5, len(CHANGES) - 0.5)
        panel.set_title(f"stalled requests, {kind}")
        panel.set_yscale("symlog", linthresh=0.1)
        panel.grid(axis="x", visible=False)
    grid[1, 0].set_ylabel("delivery with chunks\nless without, s")
    for name, face in zip(PROTOCOL.setups["v2"].models, ("black", "white"), strict=True):
        grid[1, 1].plot([], [], "o", color="black", markerfacecolor=face, label=name)
    grid[1, 1].legend(loc="center")
    label_panels(grid)
    legend(figure, grid[0, 0])
    study.save(figure, "fig8_chunks_and_stalls")


def _point(panel: Any, at: float, found: Interval, look: Any, filled: bool) -> None:
    spread = [[found.mean - found.low], [found.high - found.mean]] if found.known else None
    panel.errorbar(
        [at],
        [found.mean],
        spread,
        color=look.color,
        marker=look.marker,
        markerfacecolor=look.color if filled else "white",
        markersize=4,
        elinewidth=0.7,
        linestyle="",
    )


def _table(study: Study, numbers: Numbers) -> None:
    def mean(rows: Sequence[Mapping[str, Any]], value: Any) -> float | None:
        values = [value(row) for row in rows if value(row) is not None]
        return float(np.mean(values)) if values else None

    rows = [
        (
            *place,
            engine,
            mean(found, lambda row: row["stalled"]),
            *(mean(found, lambda row, i=i: row["p99_s"][i]) for i in (0, 1)),
            *(mean(found, lambda row, name=name: row[name]) for name in (*CHANGES, "all_requests")),
            *(mean(found, lambda row, i=i: row["idle_s"][i]) for i in (0, 1)),
        )
        for (place, engine), found in numbers.items()
    ]
    head = [*Place._fields, "with_chunks", "stalled_requests", "tbt_p99_s", "tbt_p99_with_chunks_s"]
    head += [
        *(f"change_{name}_s" for name in (*CHANGES, "all_requests")),
        "stalled_idle_s",
        "stalled_idle_with_chunks_s",
    ]
    study.table("fig8_chunks_and_stalls", dict(zip(head, zip(*rows, strict=True), strict=True)))


if __name__ == "__main__":
    main(run)
