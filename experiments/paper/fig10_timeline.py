"""Chunked prefill and delayed delivery smooth the time between tokens; do a stalled request's tokens come earlier?

**Question.** A running request stalls while the server computes the prompts of others. Chunked prefill shortens the
stall, and delaying the tokens before it hides it. Does the reader get the tokens behind the stall any earlier?

**Expected.** Not by delaying. By chunking neither, or only while the server keeps up with the smaller steps.

**Paper.** Fig. 10 and section 3.2 of v2: tokens against time with a line of 30 tokens/s; chunking smooths TBT, but the
stalled request's tokens do not arrive earlier. Traffic, rate and chunk size are not known; here Azure's conversations
at three loads under vLLM 0.5 on an A100-80GB, whole prompts against chunks (steps of 512 tokens), and whole prompts
with delivery paced at 30 tokens/s. All three meet the same requests.

**Stalled** are the 1 % of a run's requests (`stalled` of the protocol) with the longest time between two tokens under
whole prompts. Shown is the first of them, of the first seed, at the lowest load. As they are picked where they did
worst, chunking looks better for them than for others; beside them stand all tokens of all requests.

**Test.** Per load and seed, over the stalled: the mean change of the longest time between two tokens, and the mean
change of the arrival of the tokens after the stall, against whole prompts. Three one-sided tests a load (Holm over all,
95 %): chunks make the longest time shorter; delaying does; and with chunks the tokens after the stall come at most V
(0.2 s, what a reader takes for a token) earlier. Reproduced if all are shown at all loads. Not, if at no load chunks
are shown to make the longest time shorter. Else partly. The same for the other V, and on vLLM 0.24 (steps of 2,048
tokens); other alpha, f and clocks change none of these times. A first trial had the middle load alone, at which chunks
of 512 tokens cannot serve what comes and all tokens are late; the other loads were added for that, before any full run.

Checked, as it cannot fail: no delayed token comes earlier.

Takes about 3 s (quick) and 20 s (full) on two cores.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.paper._protocol import PROTOCOL
from experiments.paper._reproduce import Outcome, Study, Verdict, axes, check, label_panels, main
from experiments.paper._timeline_runs import SETTINGS, seeds, timeline_run
from experiments.paper._timelines import tokens_of
from simulator.arrays import Floats, Ints
from simulator.metrics._log import RequestLog
from simulator.report.style import BLACK, BLUE, GREEN, RED
from simulator.scenario.scenario import Scenario
from simulator.stats import holm, interval, p_above

CLAIM = (
    "Chunked prefill, like delaying delivery, smooths the time between tokens, but the stalled request's tokens do not"
    " arrive earlier (section 3.2)."
)
TRAFFIC = "trace"
LINE_S = 1 / SETTINGS.fig10_tokens_per_s
WHOLE, CHUNKS, DELAYED = "whole prompts", "chunked prefill", "delivery delayed"
LOOKS = {WHOLE: (BLUE, "-"), CHUNKS: (RED, "--"), DELAYED: (GREEN, "-.")}
ZOOM_S = (0.5, 1.5)  # around the stall: before it begins, after it ends


class Stall(NamedTuple):
    """The longest time between two tokens of a request."""

    request: int
    token: int  # the last one before it, counted from 0
    longest_s: float


class Changes(NamedTuple):
    """What a run changes against whole prompts: means of a seed over its stalled requests, s."""

    longest_s: float
    after_s: float  # arrival of the tokens after the stall
    all_after_s: float  # arrival of all tokens of all requests


ByLoad = dict[tuple[float, str], list[Changes]]  # and by run: one a seed


def run(study: Study) -> Verdict:
    """Compare the three on the same requests, draw one of them, and judge."""
    found = {pair: _changes(study, pair) for pair in SETTINGS.engines}
    rows = [
        (pair[0], *key, seed, *each)
        for pair, changes in found.items()
        for key, of_seeds in changes.items()
        for seed, each in enumerate(of_seeds)
    ]
    head = (
        "engine",
        "load",
        "run",
        "seed",
        "longest_between_tokens_s",
        "tokens_after_stall_s",
        "all_tokens_s",
    )
    study.table("fig10_changes", dict(zip(head, zip(*rows, strict=True), strict=True)))
    first, *others = SETTINGS.engines
    return judge(found[first], {pair[1]: found[pair] for pair in others})


def _changes(study: Study, pair: tuple[str, str]) -> ByLoad:
    runs = {(load, seed): _runs(study, pair, load, seed) for load in SETTINGS.loads for seed in seeds(study)}
    every = [scenario for scenarios in runs.values() for scenario in scenarios.values()]
    study.simulate(every, label=f"timelines, {pair[0]}")
    changes: ByLoad = {}
    for (load, seed), scenarios in runs.items():
        logs = {name: study.log(scenario) for name, scenario in scenarios.items()}
        stalled = stalls_of(logs[WHOLE])
        if seed == 0 and load == min(SETTINGS.loads) and pair == SETTINGS.engines[0]:
            _draw(study, logs, stalled[0])
        for name in (CHUNKS, DELAYED):
            changes.setdefault((load, name), []).append(changed(logs[WHOLE], logs[name], stalled))
        never = bool(np.all(logs[DELAYED].delivered_s >= logs[WHOLE].delivered_s - 1e-9))
        check(never, "a delayed token comes earlier")
    return changes


def _runs(study: Study, pair: tuple[str, str], load: float, seed: int) -> dict[str, Scenario]:
    paced = {"delivery": {"name": "paced", "gap_s": LINE_S}}
    return {
        WHOLE: timeline_run(study, TRAFFIC, load, seed, pair[0]),
        CHUNKS: timeline_run(study, TRAFFIC, load, seed, pair[1]),
        DELAYED: timeline_run(study, TRAFFIC, load, seed, pair[0], **paced),
    }


def stalls_of(log: RequestLog) -> list[Stall]:
    """Return the stalled requests of a run, the longest stall first: the share of the protocol, at least one."""
    found = []
    for request in np.flatnonzero(log.token_counts > 1).tolist():
        gaps_s = np.diff(tokens_of(log, request))
        token = int(np.argmax(gaps_s))
        found.append(Stall(request, token, float(gaps_s[token])))
    found.sort(key=lambda stall: (-stall.longest_s, stall.request))
    return found[: max(1, round(SETTINGS.stalled * log.n))]


def changed(whole: RequestLog, other: RequestLog, stalled: Sequence[Stall]) -> Changes:
    """Return what another run of the same requests changes. Raises RuntimeError if the tokens are not the same."""
    same: Ints = whole.token_offsets
    check(np.array_equal(same, other.token_offsets), "both runs deliver the same tokens")
    longest_s, after_s = [], []
    for request, token, long_s in stalled:
        mine, others = tokens_of(whole, request), tokens_of(other, request)
        longest_s.append(float(np.diff(others).max()) - long_s)
        after_s.append(float((others - mine)[token + 1 :].mean()))
    all_after_s = float((other.delivered_s - whole.delivered_s).mean())
    return Changes(float(np.mean(longest_s)), float(np.mean(after_s)), all_after_s)


def judge(changes: ByLoad, on_others: Mapping[str, ByLoad]) -> Verdict:
    """Apply the test of this file to the changes on the verdict's engine, and on others by title."""
    first_s = PROTOCOL.reader.v_s_per_token
    readings = {
        title: outcome(changes, user.v_s_per_token)
        for title, user in PROTOCOL.readers().items()
        if user.v_s_per_token != first_s
    }
    readings |= {title: outcome(found, first_s) for title, found in on_others.items()}
    by_engine = [_numbers(changes), *(f"{title}: {_numbers(found)}" for title, found in on_others.items())]
    (low, _), *_, (high, _) = sorted(changes)
    ends = [f"{_text(changes, load, CHUNKS, 'longest_s')} at load {load:g}" for load in (low, high)]
    after = [_text(changes, load, CHUNKS, "after_s") for load in (low, high)]
    return Verdict(
        outcome(changes, first_s),
        CLAIM,
        f"Mean changes of stalled requests against whole prompts: {'. '.join(by_engine)}. Checked, as it cannot fail:"
        " no delayed token comes earlier.",
        f"Chunks change the longest time between tokens of stalled requests by {' and '.join(ends)}, and the tokens"
        f" after the stall by {' and '.join(after)} (positive is later).",
        readings,
    )


def _numbers(changes: ByLoad) -> str:
    def both(load: float, field: str) -> str:
        return " and ".join(_text(changes, load, name, field) for name in (CHUNKS, DELAYED))

    return "; ".join(
        f"load {load:g}: longest time between tokens {both(load, 'longest_s')} (chunks and delay), tokens after the"
        f" stall {both(load, 'after_s')}, all tokens of all requests {both(load, 'all_after_s')}"
        for load in dict.fromkeys(load for load, _ in changes)
    )


def _text(changes: ByLoad, load: float, name: str, field: str) -> str:
    return f"{interval([getattr(each, field) for each in changes[load, name]]).text('+.2f')} s"


def outcome(changes: ByLoad, v_s_per_token: float) -> Outcome:
    """Return the outcome of the test for readers of a speed."""
    shorter, delayed, not_earlier = [], [], []
    for (_, name), found in changes.items():
        p_shorter = p_above([-each.longest_s for each in found])
        if name == DELAYED:
            delayed.append(p_shorter)
        else:
            shorter.append(p_shorter)
            not_earlier.append(p_above([each.after_s for each in found], -v_s_per_token))
    shown = holm([*shorter, *delayed, *not_earlier])
    if all(shown):
        return "reproduced"
    return "partly reproduced" if any(shown[: len(shorter)]) else "not reproduced"


def _draw(study: Study, logs: Mapping[str, RequestLog], stall: Stall) -> None:
    times: dict[str, Floats] = {name: tokens_of(log, stall.request) for name, log in logs.items()}
    start_s, end_s = times[WHOLE][stall.token : stall.token + 2]
    figure, grid = axes(1, 2, width="text", height_in=2.7)
    most = len(times[WHOLE])
    for panel in grid[0]:
        for name, tokens_s in times.items():
            colour, style = LOOKS[name]
            panel.step(
                np.concatenate([[0.0], tokens_s]),
                np.arange(len(tokens_s) + 1),
                where="post",
                color=colour,
                linestyle=style,
                label=name,
            )
        panel.plot(
            [0, LINE_S * most], [0, most], color=BLACK, linestyle=":", label=f"{1 / LINE_S:g} tokens/s"
        )
        panel.set_xlabel("time since the arrival (s)")
        panel.set_ylabel("tokens")
        panel.set_ylim(0, 1.05 * most)
    grid[0, 0].set_title("A stalled request")
    grid[0, 0].set_xlim(0, 1.03 * max(float(each[-1]) for each in times.values()))
    zoom = grid[0, 1]
    zoom.set_title(f"Around its stall of {stall.longest_s:.2f} s")
    zoom.set_xlim(max(0.0, start_s - ZOOM_S[0]), end_s + ZOOM_S[1])
    low, high = zoom.get_xlim()
    inside = [np.flatnonzero((each >= low) & (each <= high)) for each in times.values()]
    counts = np.concatenate(inside)
    zoom.set_ylim(max(0, int(counts.min()) - 2), int(counts.max()) + 4)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    label_panels(grid)
    study.save(figure, "fig10_timeline")
    study.table(
        "fig10_timeline",
        {"token": range(1, most + 1), **{name: each.tolist() for name, each in times.items()}},
    )


if __name__ == "__main__":
    main(run)
