"""Triggers that chase TBT move and preempt requests to readers' harm where triggers that follow d_i do not.

**Question.** The same scheduler on the same prefill and decode replicas, with no trigger, with one that keeps the
time between tokens within a bound, and with one that follows the deadlines d_i = V i: what do their moves do to
readers, and which metric says so? Three ways to move: preemption by recompute, preemption by swap, migration between
decode replicas.

**Expected.** Chasing TBT makes more detrimental moves where steps are near the bound, above all with a slow replica.
Its tail TBT is the shorter, and its readers wait longer.

**Paper.** Unconfirmed: a summary that a machine wrote says that smooth goodput "reveals operating points and reduces
detrimental migrations and preemptions in disaggregated architectures"; a fuller record of v2 lists one GPU and no
such experiment. It is tested all the same, with the paper's models, GPU and reader. All else is ours: 1P1D, 2P2D and
1P3D, ShareGPT and long prompts, loads 0.9 and 1.2, and 0.6 and 0.9 with one decode replica twice slower for half of
the time. Hand-overs and migrations go over 100 Gbit/s Ethernet at the costs that were measured of it.

**Triggers.** The plainest rules of their kind, and our own. Preemption (`continuous`): chasing TBT, decodes give way,
the latest first, where their step takes longer than the bound, and none starts that would make it so; following d_i,
those furthest ahead of their readers give way where one whose token is overdue waits for a seat or KV blocks.
Migration: `tbt_chasing`, from a replica whose last step was longer than the bound; `token_slack`, from one where a
reader waits or KV is short, of those who have text in hand. The bound is 25 ms (8B) and 50 ms (14B), about twice an
unloaded step.

**Moves.** One is *harmful* if its pause makes the reader's idle latency longer, by 50 ms or more, than the replica's
next step would have. It is *needless* if not, but the reader had text in hand and none of that replica waited: d_i
says leave it. Both are *detrimental*. That following d_i makes hardly any needless moves is its rule; harmful ones it
could make. What smooth goodput tells is the whole trigger: the one that chases TBT also holds starts back, and moves
take time from all. `pauses_idle_s` in the tables is what the pauses alone add to idle latency.

**Test.** A case is a setting in which either trigger moves anything. In each, the one that chases TBT is compared
with the one that follows d_i: detrimental moves, smooth goodput, p99 TBT, mean TPOT; paired over seeds, two-sided, at
95 % for all tests of all cases together (Holm). Smooth goodput tells if it is shown to be lower, by 0.5 % of the
tokens or more; TBT or TPOT tells if it is shown to be longer. Reproduced: detrimental moves are shown to be more in
more than half of the cases, and in more than half of those smooth goodput tells and neither TBT nor TPOT does.
Partly: they are more in at least 10 % of the cases, and in more than they are fewer in; and in at least 10 % of those
smooth goodput alone tells. Else not. Each other reading is a family of its own; where V differs, the trigger that
follows d_i is told.

Takes about 20 s (quick) and 6 min (full) on two cores.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from experiments.paper._disaggregation_cases import (
    MECHANISMS,
    TRIGGERS,
    Case,
    ClusterSetting,
    Found,
    Trigger,
    cases_of,
    decided,
    scenario,
    settings,
    values,
)
from experiments.paper._disaggregation_counts import counted
from experiments.paper._disaggregation_pictures import draw_cases, draw_counts, draw_readers
from experiments.paper._protocol import PROTOCOL
from experiments.paper._reproduce import SOME, Outcome, Study, Verdict, main
from experiments.paper._sweeps import AS_PUBLISHED
from simulator.metrics._options import UserModel
from simulator.stats import interval

CLAIM = (
    "In disaggregated architectures smooth goodput reduces detrimental migrations and preemptions (unconfirmed: a"
    " summary that a machine wrote says so, a fuller record of the paper lists no such experiment)."
)
QUICK_SHARE = 1 / 3


def outcome(cases: Sequence[Case]) -> Outcome:
    """Apply the test of this file."""
    more, fewer = (sum(getattr(case, name) for case in cases) for name in ("more", "fewer"))
    hidden = sum(case.hidden for case in cases)
    if more > len(cases) / 2 and hidden > more / 2:
        return "reproduced"
    some = more >= SOME * len(cases) and more > fewer and hidden and hidden >= SOME * more
    return "partly reproduced" if some else "not reproduced"


def judge(by_reading: Mapping[str, Sequence[Case]]) -> Verdict:
    """Apply the test under every reading, and say what was measured; the first reading is the verdict's."""
    cases, *_ = by_reading.values()
    more = [case for case in cases if case.more]
    hidden = [case for case in more if case.hidden]
    parts = [
        f"Of {len(cases)} cases, detrimental moves are shown to be more by chasing TBT in {len(more)}, and fewer in"
        f" {sum(case.fewer for case in cases)}. Of those {len(more)}, smooth goodput tells in"
        f" {sum(case.goodput_tells for case in more)}, p99 TBT in {sum(case.tbt_tells for case in more)}, mean TPOT in"
        f" {sum(case.tpot_tells for case in more)}; smooth goodput alone in {len(hidden)}."
    ]
    for mechanism in MECHANISMS:
        mine = [case for case in cases if case.setting.mechanism == mechanism]
        parts.append(
            f"By {mechanism}: more in {sum(case.more for case in mine)} of {len(mine)} cases, smooth goodput alone"
            f" tells in {sum(case.hidden for case in mine)}."
        )
    if more:
        case = min(more, key=lambda case: np.mean(case.goodput))
        parts.append(
            f"The largest loss ({', '.join(case.setting)}): {interval(case.detrimental).text('+.0f')} detrimental moves"
            f" a run, p99 TBT {interval(case.tbt_p99_s).text('+.0f', 1000)} ms, mean TPOT"
            f" {interval(case.tpot_s).text('+.1f', 1000)} ms, smooth goodput"
            f" {interval(case.goodput).text('+.1f', 100)} % of the tokens."
        )
        idle_s, pauses_s = (
            float(np.mean([getattr(case, name) for case in more])) for name in ("idle_s", "pauses_idle_s")
        )
        parts.append(
            f"On average over the {len(more)} cases mean idle latency is {idle_s:+.2f} s, of which the pauses of moves"
            f" make {pauses_s:+.2f} s; the rest comes of starts held back, and of the work that moves cost."
        )
    other = {title: outcome(some) for title, some in list(by_reading.items())[1:]}
    counts = [f"{title}: {sum(each.more for each in by_reading[title])}" for title in other]
    parts.append(f"Cases with more under other readings: {', '.join(counts)}.")
    found = (
        f"Chasing TBT makes more detrimental moves in {len(more)} of {len(cases)} cases; in {len(hidden)} of those"
        " smooth goodput is lower though neither tail TBT nor TPOT is longer."
    )
    return Verdict(outcome(cases), CLAIM, " ".join(parts), found, other)


def run(study: Study) -> Verdict:
    """Simulate all settings, draw, and judge."""
    readings = {AS_PUBLISHED: PROTOCOL.reader, **PROTOCOL.readers()}
    where = settings(study.quick)
    found = _simulate(study, where, TRIGGERS, PROTOCOL.reader, readings)
    for v_s in dict.fromkeys(user.v_s_per_token for user in readings.values()):
        # Only the trigger that follows d_i knows the reader; the other runs are the same.
        mine = {title: user for title, user in readings.items() if user.v_s_per_token == v_s}
        if AS_PUBLISHED not in mine:
            followed = _simulate(study, where, ("d_i",), next(iter(mine.values())), mine)
            found |= {title: {**found[title], **followed[title]} for title in mine}
    cases = {title: decided(cases_of(each)) for title, each in found.items()}
    _tables(study, found[AS_PUBLISHED], cases)
    draw_counts(study, found[AS_PUBLISHED])
    draw_readers(study, found[AS_PUBLISHED])
    draw_cases(study, cases[AS_PUBLISHED])
    return judge(cases)


def _simulate(
    study: Study,
    where: Sequence[ClusterSetting],
    triggers: Sequence[Trigger],
    told: UserModel,
    readings: Mapping[str, UserModel],
) -> dict[str, Found]:
    """Return by reading the summaries of all settings under the triggers, whose rules are told of one reader."""
    seeds = range(1, 1 + (PROTOCOL.quick_seeds if study.quick else PROTOCOL.seeds))
    share = QUICK_SHARE if study.quick else 1.0
    keys = list(product(where, triggers))
    scenarios = [scenario(setting, trigger, seed, told, share) for setting, trigger in keys for seed in seeds]
    runs = study.each(scenarios, counted, readings, label="prefill and decode replicas")
    left = {title: (run[title] for run in runs) for title in readings}
    return {title: {key: [next(mine) for _ in seeds] for key in keys} for title, mine in left.items()}


_MEANS = (
    *("moves", "harmful", "needless", "in_hand", "hand_overs"),
    *("idle_s", "pauses_idle_s", "goodput_tokens_per_s", "tokens_per_s", "ttft_s", "tbt_p99_s", "tpot_s"),
)


def _tables(study: Study, found: Found, cases: Mapping[str, Sequence[Case]]) -> None:
    """Write down the means of all settings, and all cases under every reading."""
    runs: list[tuple[Any, ...]] = [
        (*setting, trigger, *(float(np.mean(values(each, column))) for column in _MEANS))
        for (setting, trigger), each in found.items()
    ]
    names = (*ClusterSetting._fields, "trigger", *_MEANS)
    study.table("disaggregation_runs", dict(zip(names, zip(*runs, strict=True), strict=True)))
    changes = ("detrimental", "goodput", "tbt_p99_s", "tpot_s", "idle_s", "pauses_idle_s")
    findings = ("more", "fewer", "goodput_tells", "tbt_tells", "tpot_tells", "hidden")
    ends = ("mean", "low", "high")
    rows: list[tuple[Any, ...]] = [
        (
            name,
            *case.setting,
            *(getattr(interval(getattr(case, change)), end) for change, end in product(changes, ends)),
            *(getattr(case, finding) for finding in findings),
        )
        for name, some in cases.items()
        for case in some
    ]
    columns = (f"{change}_{end}" for change, end in product(changes, ends))
    head = ("reading", *ClusterSetting._fields, *columns, *findings)
    study.table("disaggregation_cases", dict(zip(head, zip(*rows, strict=True), strict=True)))


if __name__ == "__main__":
    main(run)
