"""Delaying delivery games the classic objective, and not smooth goodput.

**Question.** Tokens are held back so that they come evenly (`policy.delivery = paced`). What becomes of tail TBT and
of classic attainment, though no token comes earlier? What of token-level attainment (Eq. 6) and of smooth goodput?

**Expected.** The classic objective improves by much. With gaps up to V every reader gets its tokens in time as
before, and both token-level measures stay as they are; beyond, and under a hold of the first token, they fall.

**Paper.** Fig. 9 and section 5.3 of v2, the first of the two tricks: held tokens make TBT look better. Which server
is not known; here the one of fig. 5 on which whole prompts stall decodes most: vLLM 0.5 without chunks, LLaMA-3.1-8B,
the trace, at 0.55 times load 1. The classic objective is TTFT <= 1 s and a p99 of a request's gaps of V = 0.2 s at
most. All requests run to their ends; rates are over the arrivals' time, which holding does not move.

**Test.** With gaps of V, paired over seeds: classic attainment is shown to rise, p99 TBT to fall (Holm over both),
and smooth goodput is not shown to rise (on its own, uncorrected, as a correction would help the claim). Reproduced:
all three. Partly: one of the first two, and the third. Else not. Other readings: the third part with another user.
That no token comes earlier is checked, as it cannot fail: a difference would be a fault of the program.

* `fig9_delaying.csv` has the first token held back as well. From the first token on its reader's clock starts later:
  only that reading can be gamed, and by nothing but such a hold.

Takes 5 s (quick) and 20 s (full) on two cores.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from experiments.paper._protocol import PROTOCOL, swept
from experiments.paper._reproduce import Outcome, Study, Verdict, axes, check, label_panels, main
from experiments.paper._sweeps import AS_PUBLISHED, QUICK_SHARE
from simulator.arrays import Floats
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._reader import benefit_tokens
from simulator.report.style import BLACK, BLUE, GREEN, RED
from simulator.results.result import Result
from simulator.stats import Interval, interval, paired, signs

CLAIM = (
    "Holding tokens back improves TBT and so what the classic objective counts, though no token comes earlier;"
    " smooth goodput is not fooled (section 5.3)."
)
CLASSIC, TAIL, TOKEN = "classic attainment", "p99 TBT, s", "token-level attainment"
TOTAL = "total benefit, tokens"
MEASURES = (CLASSIC, TAIL, TOKEN, TOTAL)
Arm = tuple[float, float]  # gap_s, hold_s
NONE: Arm = (0.0, 0.0)
EVEN: Arm = (PROTOCOL.delaying.even_s, 0.0)
Measured = Mapping[Arm, Mapping[str, Floats]]  # values by seed; smooth goodput under its reading's title
NOTHING = 1e-6  # tokens/s that are rounding


def measured_run(result: Result, readers: Mapping[str, UserModel]) -> dict[str, float]:
    """Return the measures of one run, and how many tokens came before they were generated."""
    objective = Slo(ttft_s=PROTOCOL.delaying.ttft_s, tail_tbt_s=PROTOCOL.delaying.tail_tbt_s)
    generated_s = result.tokens()["generated_s"].to_numpy()
    found = {"earlier": float(np.count_nonzero(result.log.delivered_s < generated_s))}
    found["generated_s"] = float(generated_s.sum())
    found[TOTAL] = float(benefit_tokens(result.log, PROTOCOL.reader).sum())
    for title, user in readers.items():
        summary = result.summary(user, objective)
        found[title] = summary["smooth_goodput"]["smooth_goodput_tokens_per_s"]
        if title == AS_PUBLISHED:
            found[CLASSIC] = summary["slo"]["attainment_all"]
            found[TAIL] = summary["latency"]["tbt_s"]["p99"]
            found[TOKEN] = summary["token_slo"]["attainment"]
    return found


def outcome(measured: Measured, title: str = AS_PUBLISHED) -> Outcome:
    """Apply the test of this file under a reading."""
    changes = [(measured[EVEN][name] - measured[NONE][name]).tolist() for name in (CLASSIC, TAIL)]
    shown = signs(changes)
    gamed = (shown[0] == 1) + (shown[1] == -1)
    if not gamed or _change(measured, title, EVEN).low > NOTHING:
        return "not reproduced"
    return "reproduced" if gamed == 2 else "partly reproduced"


def judge(measured: Measured) -> Verdict:
    """Apply the test under every reading, and say what was measured."""
    attainment, tail = _change(measured, CLASSIC, EVEN), _change(measured, TAIL, EVEN)
    titles = [title for title in measured[NONE] if title not in MEASURES]
    held = (EVEN[0], PROTOCOL.delaying.holds_s[-1])
    smooth = [
        f"{title} {_tokens(_change(measured, title, EVEN))} (held: {_tokens(_change(measured, title, held))})"
        for title in titles
    ]
    first = _change(measured, AS_PUBLISHED, EVEN)
    numbers = (
        f"With gaps of V = {EVEN[0]:g} s classic attainment changes by {attainment.text('+.1f', 100)} points, p99 TBT"
        f" by {tail.text('+.0f', 1000)} ms. Smooth goodput changes by, tokens/s (and with the first token held for"
        f" {held[1]:g} s): {'; '.join(smooth)}. It falls where held tokens come after the arrivals' time; the total"
        f" benefit of all requests changes by {_tokens(_change(measured, TOTAL, EVEN))} tokens. Checked, as it cannot"
        " fail: no token came earlier."
    )
    caption = (
        f"Gaps of {EVEN[0]:g} s change classic attainment by {100 * attainment.mean:+.0f} points and p99 TBT by"
        f" {1000 * tail.mean:+.0f} ms. No token comes earlier: the benefit of all requests changes by"
        f" {_tokens(_change(measured, TOTAL, EVEN))} tokens, and smooth goodput by {_tokens(first)} tokens/s, as held"
        " tokens leave the arrivals' time."
    )
    other = {title: outcome(measured, title) for title in titles if title != AS_PUBLISHED}
    return Verdict(outcome(measured), CLAIM, numbers, caption, other)


def run(study: Study) -> Verdict:
    """Simulate every delay at every seed, draw, and judge."""
    settings = PROTOCOL.delaying
    gaps = [(gap_s, 0.0) for gap_s in settings.gaps_s]
    holds = [(settings.even_s, hold_s) for hold_s in settings.holds_s]
    arms = list(dict.fromkeys([*gaps, *holds]))
    seeds = range(PROTOCOL.quick_seeds if study.quick else PROTOCOL.seeds)
    readers = {AS_PUBLISHED: PROTOCOL.reader, **PROTOCOL.readers(PROTOCOL.tasks)}
    share = QUICK_SHARE if study.quick else 1.0
    scenarios = [
        swept(
            *settings.place,
            settings.load,
            seed,
            share=share,
            policy={"delivery": {"name": "paced", "gap_s": gap_s, "hold_s": hold_s}}
            if (gap_s, hold_s) != NONE
            else {},
        )
        for (gap_s, hold_s), seed in product(arms, seeds)
    ]
    rows = iter(study.each(scenarios, measured_run, readers, label="delays"))
    found = {arm: [next(rows) for _ in seeds] for arm in arms}
    for arm in arms:
        for row, undelayed in zip(found[arm], found[NONE], strict=True):
            check(row["earlier"] == 0, f"{row['earlier']} tokens came before they were generated")
            check(
                row["generated_s"] == undelayed["generated_s"], "a delay changed when tokens were generated"
            )
    measured = {
        arm: {name: np.array([row[name] for row in mine]) for name in (*MEASURES, *readers)}
        for arm, mine in found.items()
    }
    _draw(study, measured, gaps)
    names = (*MEASURES, *readers)
    columns: dict[str, list[Any]] = {"gap_s": [arm[0] for arm in arms], "hold_s": [arm[1] for arm in arms]}
    for name in names:
        columns[name] = [float(measured[arm][name].mean()) for arm in arms]
    study.table("fig9_delaying", columns)
    return judge(measured)


def _change(measured: Measured, name: str, arm: Arm) -> Interval:
    return paired(measured[arm][name].tolist(), measured[NONE][name].tolist())


def _tokens(change: Interval) -> str:
    return "0" if max(abs(change.low), abs(change.high)) <= NOTHING else change.text("+.1f")


def _draw(study: Study, measured: Measured, gaps: Sequence[Arm]) -> None:
    figure, grid = axes(1, 3, width="text", height_in=2.3)
    tail, share, benefit = grid[0]
    at_ms = [1000 * gap_s for gap_s, _ in gaps]

    def values(name: str, scale: float) -> list[Interval]:
        return [interval((scale * measured[arm][name]).tolist()) for arm in gaps]

    def percent(name: str) -> list[Interval]:
        scale = 100 / measured[NONE][name].mean()
        return [
            paired((scale * measured[arm][name]).tolist(), (scale * measured[NONE][name]).tolist())
            for arm in gaps
        ]

    _line(tail, at_ms, values(TAIL, 1000), RED, "o-", "p99 TBT")
    _line(share, at_ms, values(CLASSIC, 100), RED, "o-", "classic: TTFT, p99 TBT")
    _line(share, at_ms, values(TOKEN, 100), BLUE, "s--", "every token by d_i")
    _line(benefit, at_ms, percent(TOTAL), BLUE, "s--", "benefit, all requests")
    _line(benefit, at_ms, percent(AS_PUBLISHED), GREEN, "^:", "smooth goodput,\narrivals' time")
    for panel in grid[0]:
        panel.axvline(1000 * PROTOCOL.reader.v_s_per_token, color=BLACK, linewidth=0.6, linestyle=":")
        panel.set_xlabel("least gap, ms (dotted: V)")
    tail.set(title="Time between tokens", ylabel="p99 TBT, ms")
    share.set(title="Requests within their objective", ylabel="share, %", ylim=(0, 104))
    benefit.set(title="What readers get", ylabel="change, %")
    for panel in (share, benefit):
        panel.legend(loc="lower left")
    label_panels(grid)
    study.save(figure, "fig9_delaying")


def _line(
    panel: Any, at: Sequence[float], found: Sequence[Interval], colour: str, style: str, text: str
) -> None:
    panel.plot(at, [each.mean for each in found], style, color=colour, markersize=3, label=text)
    low, high = ([getattr(each, end) for each in found] for end in ("low", "high"))
    panel.fill_between(at, low, high, color=colour, alpha=0.12, linewidth=0)


if __name__ == "__main__":
    main(run)
