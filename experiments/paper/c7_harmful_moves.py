"""Do policies that migrate for the time between tokens, or preempt eagerly, do so for nothing?

Question: four replicas behind a round-robin router, on 100 Gbit/s Ethernet, where some are at times slower than
others: with prompts of arXiv papers, with little KV memory, and with one replica three times slower for 12 s.
`tbt_chasing` moves requests away from steps longer than a bound on the time between tokens (50 ms, the reader's own
pace, or 20 ms), `token_slack` moves only those whose readers have text in hand, `llumnix` moves by free memory,
`none` moves no request. And one replica with little KV memory, where policies preempt running requests for waiting
ones, by length (`srpt`), deadline (`edf`) or QoE (`andes`), or only when memory has run out (`vllm_v1`, `sjf`,
and `smooth`, which knows the deadlines).

Reading of the paper: a bound on every gap makes a system react to gaps that no reader notices, with migrations and
preemptions that cost time themselves; deadlines per token would have told it to leave them alone. No engine has a
policy called TBT chasing: the rule is the plainest that holds every gap to the bound. All moves are live
(KV is copied while the request decodes), so that a move costs a pause of milliseconds, not a recomputation.

Expectation: more moves and preemptions; readers wait no less, with preemptions much longer. Away from a slow replica
any move is right, whatever the reason.

Test: a case is an eager policy against a reserved one in a setting. By the 95 % intervals of paired differences over
seeds, it has *no more* moves or preemptions than the reserved one, or it has more. Then it is *useful* if its mean
idle latency is lower, or its smooth goodput higher by 0.5 % of the tokens or more; *needless* if neither is so and
the interval rules such a gain out; else *undecided*. Reproduced: needless in all cases. Partly reproduced: in at
least half of them. Not reproduced otherwise. The first and the last tenth of the arrivals are left out. A reader with
text for 0.1 s or more counts as having text in hand. The deadlines' clock starts at the arrival, which is what the
verdict rests on; how many cases are needless with the clock from the first token is said beside it.

What was settled after first runs: the margin of 0.5 %, the second bound of 20 ms, and loads at which memory runs
short. `edf` with a margin of 5 s is shown, but is no case: in single runs at lower loads (chat, 35 and 42/s) it
preempted far more than `smooth` and had slightly more smooth goodput, so preempting by deadlines can also pay.

* `c7_migrations`: how many moves, and how much longer readers wait than without any (paired, 95 %).
* `c7_preemptions`: how many preemptions, and how much longer readers wait than under `vllm_v1`; lines join the cases.
* `c7_cases.csv`: the paired differences of all cases, and what they say.

About 35 s of processor time, with --quick 13 s.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.paper._c7_cases import (
    MIGRATION_CASES,
    MIGRATION_SETTINGS,
    MOVERS,
    PREEMPTERS,
    PREEMPTION_CASES,
    PREEMPTION_SETTINGS,
    Case,
    Found,
    cases_of,
    counts,
    idle_s,
)
from experiments.paper._reproduce import COLOURS, ORIGINS, Study, Verdict, axes, label_panels, main
from experiments.paper._scenarios import Setting
from simulator.metrics._options import Origin
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, paired

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLAIM_ID = "C7"
CLAIM = (
    "Policies that migrate for the time between tokens, or preempt eagerly, move more requests, and readers wait no"
    " less for it than under reserved ones."
)
MARKERS = "osD^vPX"
IN_HAND_S = 0.1  # a reader with that much text notices no move


def judge(cases: Sequence[Case]) -> Verdict:
    """Apply the test that the module's docstring states."""
    parts = []
    for kind in dict.fromkeys(case.kind for case in cases):
        mine = [case for case in cases if case.kind == kind]
        worse = sum(case.finding == "needless" and case.goodput.below_zero for case in mine)
        found = [f"{sum(case.finding == word for case in mine)} {word}" for word in _FINDINGS]
        parts.append(
            f"Of {len(mine)} cases with {kind}: {', '.join(found)}; of the needless, {worse} with less smooth goodput."
        )
        case = max(mine, key=lambda case: abs(case.goodput.mean))
        parts.append(
            f"The largest effect: {case.setting}, {case.eager} against {case.reserved} ({case.finding}):"
            f" {case.more.text('+.0f')} {kind}, idle latency {case.idle_s.text('+.2f')} s,"
            f" smooth goodput {case.goodput.text('+.1f', 100)} % of the tokens."
        )
    needless = sum(case.finding == "needless" for case in cases)
    if needless < len(cases) / 2 or not cases:
        return Verdict("not reproduced", CLAIM, " ".join(parts))
    return Verdict("reproduced" if needless == len(cases) else "partly reproduced", CLAIM, " ".join(parts))


_FINDINGS = ("needless", "useful", "undecided", "no more")


def no_request_waited(log: Mapping[str, Any], v_s: float) -> tuple[int, int]:
    """Return how many of the moves were of readers with text in hand, and how many there were in all."""
    spare = 0
    for request, start_s in zip(log["transfers.request_id"], log["transfers.start_s"], strict=True):
        mine = log["delivered_s"][log["token_offsets"][request] : log["token_offsets"][request + 1]]
        there = int(np.searchsorted(mine, start_s, side="right"))
        spare += log["arrival_s"][request] + v_s * (there + 1) - start_s >= IN_HAND_S
    return spare, len(log["transfers.start_s"])


def run(study: Study) -> Verdict:
    """Simulate all settings, draw, and judge."""
    moved, moves = _simulate(study, MIGRATION_SETTINGS, MOVERS, 0.5)
    preempted, _ = _simulate(study, PREEMPTION_SETTINGS, PREEMPTERS, 0.6)
    cases = {origin: cases_of(moved[origin], preempted[origin]) for origin in ORIGINS}
    _table(study, cases)
    _draw(study, "migrations", MIGRATION_SETTINGS, list(MOVERS), moved["arrival"], ())
    _draw(study, "preemptions", PREEMPTION_SETTINGS, list(PREEMPTERS), preempted["arrival"], PREEMPTION_CASES)
    verdict = judge(cases["arrival"])
    spare, total = _spare_moves(study, moves, moved["arrival"])
    share = f" {spare} of {total} moves by tbt_chasing (50 ms) were of readers with text in hand."
    needless = sum(case.finding == "needless" for case in cases["first_token"])
    other = (
        f" With the clock from the first token {needless} of {len(cases['first_token'])} cases are needless."
    )
    return Verdict(verdict.outcome, verdict.claim, verdict.numbers + share + other)


def _simulate(
    study: Study, settings: Sequence[Setting], policies: Mapping[str, dict[str, Any]], quick_share: float
) -> tuple[dict[Origin, Found], dict[tuple[str, str], list[Scenario]]]:
    """Return the summaries, by the deadlines' origin, and the scenarios of all policies in all settings."""
    scenarios = {
        (setting.title, name): [
            setting.scenario(seed, policy, quick_share if study.quick else 1.0) for seed in study.seeds
        ]
        for setting, (name, policy) in product(settings, policies.items())
    }
    by_origin = study.both_origins([each for some in scenarios.values() for each in some])
    found: dict[Origin, Found] = {}
    for origin, summaries in by_origin.items():
        left = iter(summaries)
        found[origin] = {key: [next(left) for _ in some] for key, some in scenarios.items()}
    return found, scenarios


def _spare_moves(
    study: Study, scenarios: Mapping[tuple[str, str], Sequence[Scenario]], found: Found
) -> tuple[int, int]:
    """Return how many moves by TBT chasing were of readers with text in hand, and how many there were."""
    columns = ("arrival_s", "token_offsets", "delivered_s", "transfers.request_id", "transfers.start_s")
    spare = total = 0
    for setting in MIGRATION_SETTINGS:
        key = setting.title, MIGRATION_CASES[0][0]
        for scenario, summary in zip(scenarios[key], found[key], strict=True):
            if summary["engine"].get("migrations", 0):
                log = study.per_request(scenario, columns)
                mine, of = no_request_waited(log, scenario.user.v_s_per_token)
                spare, total = spare + mine, total + of
    return spare, total


def _draw(
    study: Study,
    kind: str,
    settings: Sequence[Setting],
    policies: Sequence[str],
    found: Found,
    cases: Sequence[tuple[str, str]],
) -> None:
    """Draw idle latency, less that of the first policy, over the number of moves or preemptions."""
    figure, grid = axes(1, len(settings), width="text", height_in=2.6)
    rows: list[tuple[Any, ...]] = []
    for panel, setting in zip(grid[0], settings, strict=True):
        where: dict[str, tuple[float, Interval]] = {}
        for colour, marker, name in zip(COLOURS, MARKERS, policies, strict=False):
            mine = found[setting.title, name]
            count = float(np.mean(counts(kind, mine)))
            change = paired(idle_s(mine), idle_s(found[setting.title, policies[0]]))
            size = 4 if where else 7  # the first one stays visible under the others
            _point(panel, count, change, marker=marker, color=colour, label=name, markersize=size)
            where[name] = count, change
            rows.append((setting.title, name, count, float(np.mean(idle_s(mine))), *vars(change).values()))
        for pair in cases:
            line = [where[name][0] for name in pair], [where[name][1].mean for name in pair]
            panel.plot(*line, color="#B0B0B0", linewidth=0.7, zorder=0)
        panel.axhline(0, color="black", linewidth=0.6, zorder=0)
        panel.set_title(f"{setting.title}, {setting.rate_rps:g}/s")
        panel.set_xlabel(f"{kind} in a run")
        if kind == "preemptions":
            panel.set_xscale("log")
            panel.set_yscale("symlog", linthresh=1)
    grid[0, 0].set_ylabel(f"user idle latency, s, less {policies[0]}'s")
    label_panels(grid)
    handles = grid[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=len(policies))
    study.save(figure, f"c7_{kind}")
    names = ("setting", "policy", kind, "idle_s", "idle_change_s", "idle_change_s_low", "idle_change_s_high")
    study.table(f"c7_{kind}", dict(zip(names, zip(*rows, strict=True), strict=True)))


def _table(study: Study, cases: Mapping[Origin, Sequence[Case]]) -> None:
    rows = [(origin, case) for origin, some in cases.items() for case in some]
    columns: dict[str, list[Any]] = {"origin": [origin for origin, _ in rows]}
    for name in ("kind", "setting", "eager", "reserved"):
        columns[name] = [getattr(case, name) for _, case in rows]
    for name, end in product(("more", "idle_s", "goodput"), ("mean", "low", "high")):
        columns[f"{name}_{end}"] = [getattr(getattr(case, name), end) for _, case in rows]
    study.table("c7_cases", columns | {"finding": [case.finding for _, case in rows]})


def _point(panel: "Axes", count: float, change: Interval, **how: Any) -> None:
    spread = [[change.mean - change.low], [change.high - change.mean]]
    panel.errorbar([count], [change.mean], spread, elinewidth=0.7, linestyle="", **how)


if __name__ == "__main__":
    main(run)
