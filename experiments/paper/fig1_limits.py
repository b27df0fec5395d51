"""TBT and TPOT misjudge what readers get; token deadlines do not.

**Question.** Whom do tail TBT and TPOT condemn although the reader never waits, and whom do they pass although it
waits? Does the deadline d_i = V i (Eq. 5) judge both rightly?

**Paper.** Section 1 and Fig. 1 of v2, for a reader of 4 tokens/s: ten tokens in the first second and then a stall of
1 s are fine, though the TBT is 1 s; two tokens and then the same stall are not, though the TPOT is 0.1 s. Panels (a)
and (b) are these two; what the paper leaves open is ours: ten tokens a second before and after the first stall, and
after the second 20, at which the TPOT of all 21 tokens is 0.1 s.

**Expected.** Among simulated requests both mistakes occur: tail TBT mostly condemns, TPOT mostly passes.

**Bounds.** Condemned: the p99 of a request's gaps is above 2 V, though its reader never waited. Passed: TPOT is at most
V, though its reader waited. With the clock from the arrival, the classic objective has the bound TTFT <= V as well,
like for like, so that what is passed wrongly are waits after the first token. Who waited is found by a reader who
takes one token at a time (`waited_s`), and not from d_i. Panels (c) and (d): the same two among the requests of
ShareGPT and of Azure's conversations, under vLLM 0.5 on an A100-80GB.

**Test.** Pooled over the loads, one share of all requests a seed. Four shares are tested against 0 (Holm, 95 %):
condemned by tail TBT and passed by TPOT, in both kinds of traffic. Reproduced if all are above 0; partly, if some are;
else not. The same under the other readings that change d_i.

Checked, as it cannot fail: the two examples, and that d_i agrees with the reader about every request. A reader who
takes a token every V seconds waits exactly if some token comes after its d_i.

Takes about 5 s (quick) and 40 s (full) on two cores.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.paper._protocol import PROTOCOL
from experiments.paper._reproduce import Study, Verdict, axes, check, label_panels, main
from experiments.paper._timeline_runs import ENGINE, SETTINGS, above_zero, cells, seeds, timeline_run
from experiments.paper._timelines import draw_timeline, waited_s
from simulator.arrays import Flags, Floats
from simulator.metrics._log import RequestLog
from simulator.metrics._options import UserModel
from simulator.metrics._reader import meets_token_slo
from simulator.replica.idle_cost import ON_TIME_WITHIN_S
from simulator.report.style import BLACK, BLUE, ORANGE
from simulator.results.result import Result
from simulator.stats import Interval, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLAIM = (
    "A long TBT need not hurt the reader, and a short TPOT need not help it (section 1); deadlines of tokens judge both"
    " rightly."
)
MAIN = "the paper's"
EXAMPLE_V_S = 1 / 4  # published: 4 tokens/s
TAIL_TBT, TPOT = "tail TBT", "TPOT"
CONDEMNED, PASSED = "condemned, never waited", "passed, waited"
MISTAKES = [(bound, mistake) for bound in (TAIL_TBT, TPOT) for mistake in (CONDEMNED, PASSED)]
TESTED = ((TAIL_TBT, CONDEMNED), (TPOT, PASSED))
Counted = dict[str, dict[str, float]]  # by reading: shares by mistake, and how many judgements were wrong
Shares = Mapping[tuple[str, float], Sequence[Counted]]  # by traffic and load: one a seed


def readers() -> dict[str, UserModel]:
    """Return the verdict's user and those of the other readings whose deadlines differ from its."""
    first = PROTOCOL.reader
    others = PROTOCOL.readers().items()
    return {MAIN: first} | {
        title: user
        for title, user in others
        if (user.v_s_per_token, user.origin) != (first.v_s_per_token, first.origin)
    }


def run(study: Study) -> Verdict:
    """Count both mistakes, draw them below the examples, and judge."""
    users, mine = readers(), seeds(study)
    scenarios = [timeline_run(study, *cell, seed) for cell in cells() for seed in mine]
    found = iter(study.each(scenarios, misjudged, users, label="limits of TBT and TPOT"))
    shares = {cell: [next(found) for _ in mine] for cell in cells()}
    _draw(study, shares)
    rows = [
        (*cell, title, bound, mistake, *vars(share_of(_values(counts, title, bound, mistake))).values())
        for cell, counts in shares.items()
        for title in users
        for bound, mistake in MISTAKES
    ]
    head = ("traffic", "load", "reading", "bound", "mistake", "mean_share_of_requests", "low_95", "high_95")
    study.table("fig1_mistakes", dict(zip(head, zip(*rows, strict=True), strict=True)))
    return judge(shares)


def misjudged(result: Result, users: Mapping[str, UserModel]) -> Counted:
    """Return, for each user, the shares of requests that each bound judges wrongly."""
    log, found = result.log, {}
    for title, user in users.items():
        waited = waited_s(log, user) > ON_TIME_WITHIN_S
        found[title] = {
            "wrong": float(np.count_nonzero(meets_token_slo(log, user) == waited)),
            "judged": log.n,
        }
        for bound, passes in _classic(log, user).items():
            found[title][f"{bound}: {CONDEMNED}"] = float((~passes & ~waited).mean())
            found[title][f"{bound}: {PASSED}"] = float((passes & waited).mean())
    return found


def _classic(log: RequestLog, user: UserModel) -> dict[str, Flags]:
    """Which requests keep each bound; NaN, a latency that a request does not have, keeps it."""
    v_s = user.v_s_per_token
    in_time = log.completed & ~(log.ttft_s > (v_s if user.origin == "arrival" else np.inf))
    return {TAIL_TBT: in_time & ~(log.tbt_p99_s > 2 * v_s), TPOT: in_time & ~(log.tpot_s > v_s)}


def _values(counts: Sequence[Counted], title: str, bound: str, mistake: str) -> list[float]:
    return [each[title][f"{bound}: {mistake}"] for each in counts]


def share_of(values: Sequence[float]) -> Interval:
    """Return a share's mean over seeds with its interval, which keeps to 0 to 1."""
    return interval(values).within(0, 1)


def pooled(shares: Shares, title: str) -> dict[tuple[str, str], list[float]]:
    """Return the tested shares under a reading, by traffic and bound: the mean over the loads, one a seed."""
    return {
        (traffic, bound): np.mean(
            [
                _values(counts, title, bound, mistake)
                for (kind, _), counts in shares.items()
                if kind == traffic
            ],
            axis=0,
        ).tolist()
        for traffic in dict.fromkeys(kind for kind, _ in shares)
        for bound, mistake in TESTED
    }


def judge(shares: Shares) -> Verdict:
    """Apply the test of this file."""
    counts = [each for row in shares.values() for each in row]
    wrong = sum(each[title]["wrong"] for each in counts for title in each)
    judged = int(sum(each[title]["judged"] for each in counts for title in each))
    check(wrong == 0, f"d_i was wrong about the reader in {wrong:g} of {judged:,} judgements")
    _check_examples()
    tested = {title: pooled(shares, title) for title in counts[0]}
    outcomes = {title: above_zero(list(found.values())) for title, found in tested.items()}

    def text(title: str, traffic: str) -> str:
        both = (share_of(tested[title][traffic, bound]) for bound, _ in TESTED)
        return " and ".join(f"{each.text('.2f', 100)} %" for each in both)

    kinds = list(dict.fromkeys(kind for kind, _ in shares))
    numbers = "; ".join(
        f"{title}: " + ", ".join(f"{text(title, traffic)} ({traffic})" for traffic in kinds)
        for title in tested
    )
    means = {key: 100 * float(np.mean(values)) for key, values in tested[MAIN].items()}
    in_short = ", ".join(
        f"{means[traffic, TAIL_TBT]:.2g} % and {means[traffic, TPOT]:.2g} % ({traffic})" for traffic in kinds
    )
    return Verdict(
        outcomes.pop(MAIN),
        CLAIM,
        "Share of requests condemned by tail TBT (p99 <= 2 V) and passed by TPOT (<= V) wrongly. "
        f"{numbers}. Checked, as it cannot fail: both examples, and that d_i agrees with the reader in all of"
        f" {judged:,} judgements.",
        "The readers of the two examples wait 0 s and 0.45 s. Of simulated requests tail"
        f" TBT condemns wrongly and TPOT passes wrongly {in_short}; d_i is right about all.",
        outcomes,
    )


def examples() -> dict[str, Floats]:
    """The two worked examples: times of 21 tokens in seconds after the arrival."""
    before, after = np.arange(1, 11) / 10, 2.0 + np.arange(11) / 10
    late = np.array([0.1, 0.2]), 1.2 + np.arange(19) / 20
    return {
        "A long TBT that is fine": np.concatenate([before, after]),
        "A short TPOT that is not": np.concatenate(late),
    }


def _check_examples() -> None:
    """Hold the metrics to what section 1 says of the examples."""
    fine, bad = (RequestLog.from_lists([0.0], [times.tolist()]) for times in examples().values())
    user = UserModel(EXAMPLE_V_S)
    check(
        bool(meets_token_slo(fine, user)[0]) and np.isclose(fine.tbt_max_s[0], 1.0),
        "the first example is fine",
    )
    waits = np.isclose(waited_s(bad, user)[0], 0.45) and np.isclose(bad.tbt_max_s[0], 1.0)
    check(bool(waits) and np.isclose(bad.tpot_s[0], 0.1), "the second example is not fine")


def _draw(study: Study, shares: Shares) -> None:
    figure, grid = axes(2, 2, width="text", height_in=4.3)
    for panel, (name, times_s) in zip(grid[0], examples().items(), strict=True):
        found = draw_timeline(panel, times_s, EXAMPLE_V_S)
        gaps_s = np.diff(times_s)
        said = (
            f"longest TBT {gaps_s.max():.2g} s\nTPOT {gaps_s.mean():.2g} s\n"
            f"the reader waits {sum(end - start for start, end in found):.2g} s"
        )
        panel.set_title(name)
        panel.text(0.98, 0.05, said, transform=panel.transAxes, ha="right", va="bottom", fontsize=7)
        panel.set_xlim(0, 5.4)
    kinds = list(dict.fromkeys(kind for kind, _ in shares))
    for panel, traffic in zip(grid[1], kinds, strict=True):
        _draw_mistakes(panel, {load: counts for (kind, load), counts in shares.items() if kind == traffic})
        panel.set_title(f"Wrong verdicts, {traffic}")
    top = max(panel.get_ylim()[1] for panel in grid[1])
    for panel in grid[1]:
        panel.set_ylim(0, top)
    figure.legend(*grid[0, 1].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    figure.legend(
        *grid[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, columnspacing=1.2
    )
    label_panels(grid)
    study.save(figure, "fig1_limits")


def _draw_mistakes(panel: "Axes", by_load: Mapping[float, Sequence[Counted]]) -> None:
    """Bars of the four mistakes at each load, with their intervals; the colour is the bound, hatched is passed."""
    for i, (bound, mistake) in enumerate(MISTAKES):
        found = [share_of(_values(counts, MAIN, bound, mistake)) for counts in by_load.values()]
        error = [
            [100 * (each.mean - each.low) for each in found],
            [100 * (each.high - each.mean) for each in found],
        ]
        colour = BLUE if bound == TAIL_TBT else ORANGE
        panel.bar(
            np.arange(len(found)) + 0.2 * (i - 1.5),
            [100 * each.mean for each in found],
            0.18,
            yerr=error,
            facecolor=colour if mistake == CONDEMNED else "white",
            edgecolor=colour,
            hatch="" if mistake == CONDEMNED else "////",
            error_kw={"elinewidth": 0.8, "ecolor": BLACK},
            label=f"{bound}: {mistake}",
        )
    panel.set_xticks(range(len(by_load)), [f"{load:g}" for load in by_load])
    panel.set_xlabel(f"load ({SETTINGS.model}, {ENGINE})")
    panel.set_ylabel("share of requests (%)")
    panel.grid(axis="x", visible=False)


if __name__ == "__main__":
    main(run)
