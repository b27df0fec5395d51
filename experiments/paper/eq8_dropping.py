"""Dropping requests games goodput; does it game smooth goodput?

**Question.** Under goodput a request that has missed its objective is worth nothing any more, and the best is to stop
it (Eq. 8). Requests are dropped so (`policy.abandonment = missed_slo`). What becomes of goodput, and of smooth
goodput, which counts what the dropped users got and how long they waited?

**Expected.** Goodput rises. Smooth goodput falls where waiting is cheap. Where it is dear, every request served makes
all later ones wait, and dropping some may be right: then it is no game.

**Paper.** Section 4.2 and Eq. 8 of v2, the second of the two tricks. Two rules, each with the goodput that it looks
at: who has no token after 1 s is dropped (TTFT <= 1 s, TPOT <= V); a request with a late token is dropped (Eq. 5 to
7: every token by d_i). The server of fig. 5, LLaMA-3.1-8B, vLLM 0.24, ShareGPT and the trace, below saturation and
beyond. A dropped request keeps its tokens, and its user has waited until it is dropped. What the tokens cost that
never come is not said: here the user asks again, V a token (`user.unserved = asks_again`); being done waiting, and
waiting to the end, are other readings.

**Test.** A case is a rule at an overload on a traffic: 8 of them. It is gamed if goodput rises in requests/s and in
tokens/s (paired over seeds, Holm over all of both). Reproduced: all are gamed, and smooth goodput rises in none of
them (Holm over the cases). Partly: some are gamed, and of these it rises not in all. Else not. The same under every
reading.

* Top: changes against serving every request, in percent of what is measured without drops (smooth goodput: of the
  tokens delivered without), with 95 % intervals. Bottom: the price of a second of waiting from which on dropping
  pays.

Takes 5 s (quick) and 60 s (full) on two cores.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from experiments.paper._protocol import PROTOCOL, swept
from experiments.paper._reproduce import Outcome, Study, Verdict, axes, label_panels, main
from experiments.paper._sweeps import AS_PUBLISHED, QUICK_SHARE, Place
from simulator.arrays import Floats
from simulator.metrics._options import Slo, UserModel
from simulator.report.style import BLACK, BLUE, GREEN, RED
from simulator.results.result import Result
from simulator.stats import Interval, interval, signs

CLAIM = (
    "Under goodput the best to do with a request that has missed its objective is to stop it; smooth goodput does not"
    " reward that (section 4.2, Eq. 8)."
)
SETTINGS = PROTOCOL.dropping
V_S = PROTOCOL.reader.v_s_per_token
RULES: dict[str, dict[str, Any]] = {
    "no token after 1 s": {"name": "missed_slo", "ttft_s": SETTINGS.ttft_s},
    "a token after d_i": {"name": "missed_slo", "token_deadlines": True},
}
DONE, _ = SETTINGS.readings  # what the missing tokens cost a dropped user
MOST_ALPHA = 100.0  # that is drawn, tokens/s
REQUESTS, TOKENS, DELIVERED = "goodput, requests/s", "goodput, tokens/s", "delivered, tokens/s"


class Case(NamedTuple):
    """A rule at a load of a server."""

    rule: str
    place: Place
    load: float

    @property
    def overloaded(self) -> bool:
        """Whether it is in the test."""
        return self.load in SETTINGS.overloads


Measured = Mapping[Case, Mapping[str, tuple[Floats, Floats]]]  # without and with drops, by seed


def measured_run(result: Result, what: tuple[str, Mapping[str, UserModel]]) -> dict[str, float]:
    """Return the goodput that a rule looks at, tokens delivered, and smooth goodput by reading, all per second."""
    rule, readers = what
    summary = result.summary(readers[AS_PUBLISHED], Slo(ttft_s=SETTINGS.ttft_s, tpot_s=V_S))
    goodput = summary["slo" if rule == next(iter(RULES)) else "token_slo"]
    found = {
        REQUESTS: goodput["goodput_requests_per_s"],
        TOKENS: goodput["goodput_tokens_per_s"],
        DELIVERED: summary["throughput"]["output_tokens_per_s"],
    }
    for title, user in readers.items():
        found[title] = result.summary(user)["smooth_goodput"]["smooth_goodput_tokens_per_s"]
    return found


def gamed(measured: Measured) -> list[Case]:
    """Return the cases of the test in which dropping raises goodput in both units."""
    cases = [case for case in measured if case.overloaded]
    tested = list(product(cases, (REQUESTS, TOKENS)))
    sides = signs([_change(measured, *each) for each in tested])
    risen = {each for each, side in zip(tested, sides, strict=True) if side == 1}
    return [case for case in cases if {(case, REQUESTS), (case, TOKENS)} <= risen]


def rises(measured: Measured, title: str) -> list[Case]:
    """Return the cases of the test in which dropping raises smooth goodput under a reading."""
    cases = [case for case in measured if case.overloaded]
    sides = signs([_change(measured, case, title) for case in cases])
    return [case for case, side in zip(cases, sides, strict=True) if side == 1]


def outcome(measured: Measured, title: str = AS_PUBLISHED) -> Outcome:
    """Apply the test of this file under a reading."""
    of, games, up = sum(case.overloaded for case in measured), gamed(measured), rises(measured, title)
    if all(case in up for case in games):  # also if there is none
        return "not reproduced"
    return "partly reproduced" if up or len(games) < of else "reproduced"


def judge(measured: Measured) -> Verdict:
    """Apply the test under every reading, and say what was measured."""
    games, of = gamed(measured), sum(case.overloaded for case in measured)
    titles = [title for title in next(iter(measured.values())) if title not in (REQUESTS, TOKENS, DELIVERED)]
    up = {title: rises(measured, title) for title in titles}
    pays = [
        f"{_name(case)} {_text(alpha_star(measured, case, DONE))}" for case in measured if case.overloaded
    ]
    numbers = (
        f"Of {of} overloaded cases {len(games)} are gamed ({'; '.join(map(_name, games)) or 'none'}). Smooth goodput"
        f" rises in, by reading: {', '.join(f'{title} {len(cases)}' for title, cases in up.items())}. Where dropped"
        f" users are done waiting it pays from this alpha on, tokens per second of waiting: {'; '.join(pays)}."
    )
    caption = (
        f"Dropping raises goodput in {len(games)} of {of} overloaded cases, and smooth goodput in"
        f" {len(up[AS_PUBLISHED])}. If dropped users are done waiting, it pays from the alpha of (c) and (d) on."
    )
    other = {title: outcome(measured, title) for title in titles if title != AS_PUBLISHED}
    return Verdict(outcome(measured), CLAIM, numbers, caption, other)


def alpha_star(measured: Measured, case: Case, title: str = AS_PUBLISHED) -> float:
    """Return the price of a second of waiting, tokens/s, above which dropping pays (of means); infinite: never.

    NaN where dropping changes nothing. The benefit is linear in it, where f is: tokens lost against waiting saved, by
    the reading's user.
    """
    keeps, drops = measured[case][DELIVERED]
    lost = float((keeps - drops).mean())
    waits = [tokens - smooth for tokens, smooth in zip((keeps, drops), measured[case][title], strict=True)]
    saved = float((waits[0] - waits[1]).mean()) / PROTOCOL.reader.alpha_tokens
    if lost <= 0 <= saved:
        return 0.0 if saved - lost else np.nan
    return lost / saved if saved > 0 else np.inf


def run(study: Study) -> Verdict:
    """Simulate with and without drops in all cases and seeds, draw, and judge."""
    seeds = range(PROTOCOL.quick_seeds if study.quick else PROTOCOL.seeds)
    readers = {AS_PUBLISHED: PROTOCOL.reader, **PROTOCOL.readers({**SETTINGS.readings, **PROTOCOL.tasks})}
    share = QUICK_SHARE if study.quick else 1.0
    measured: dict[Case, dict[str, tuple[Floats, Floats]]] = {}
    for rule, drops in RULES.items():
        cases = [Case(rule, Place(*place), load) for place, load in product(SETTINGS.places, SETTINGS.loads)]
        wanted = list(product(cases, ({}, {"abandonment": drops}), seeds))
        scenarios = [
            swept(
                case.place.model,
                case.place.traffic,
                case.place.engine,
                case.load,
                seed,
                share=share,
                policy=how,
            )
            for case, how, seed in wanted
        ]
        rows = iter(study.each(scenarios, measured_run, (rule, readers), label=f"drops, {rule}"))
        for case in cases:
            keeps, dropped = ([next(rows) for _ in seeds] for _ in range(2))
            measured[case] = {
                name: (np.array([row[name] for row in keeps]), np.array([row[name] for row in dropped]))
                for name in keeps[0]
            }
    _draw(study, measured)
    names = list(next(iter(measured.values())))
    columns: dict[str, list[Any]] = {
        "dropped": [case.rule for case in measured],
        **{part: [getattr(case.place, part) for case in measured] for part in Place._fields},
        "load": [case.load for case in measured],
        "alpha_from_which_it_pays": [alpha_star(measured, case) for case in measured],
    }
    for name in names:
        columns[f"{name}, without drops"] = [float(measured[case][name][0].mean()) for case in measured]
        columns[f"{name}, with drops"] = [float(measured[case][name][1].mean()) for case in measured]
    study.table("eq8_dropping", columns)
    return judge(measured)


def _change(measured: Measured, case: Case, name: str) -> list[float]:
    keeps, drops = measured[case][name]
    changes: list[float] = (drops - keeps).tolist()
    return changes


def _name(case: Case) -> str:
    return f"{case.rule}, {case.place.traffic} at {case.load:g}"


def _text(alpha: float) -> str:
    return "nothing dropped" if np.isnan(alpha) else f"{alpha:.2g}" if np.isfinite(alpha) else "never"


def _draw(study: Study, measured: Measured) -> None:
    traffic = list(dict.fromkeys(case.place.traffic for case in measured))
    figure, grid = axes(2, len(traffic), width="text", height_in=4.2, sharey="row")
    bars = (
        (REQUESTS, "goodput, requests/s", RED, ""),
        (TOKENS, "goodput, tokens/s", RED, "////"),
        (AS_PUBLISHED, "smooth goodput", BLUE, ""),
        ("clock from the first token", "the same, clock from the first token", GREEN, "...."),
    )
    for (top, bottom), kind in zip(grid.T, traffic, strict=True):
        cases = [case for case in measured if case.place.traffic == kind]
        for i, (name, label, colour, hatch) in enumerate(bars):
            found = [_percent(measured, case, name) for case in cases]
            at = np.arange(len(cases)) + 0.2 * (i - 1.5)
            error = [[each.mean - each.low for each in found], [each.high - each.mean for each in found]]
            how = {"facecolor": "white" if hatch else colour, "edgecolor": colour, "hatch": hatch}
            bar = {"error_kw": {"elinewidth": 0.7, "ecolor": BLACK}, "label": label}
            top.bar(at, [each.mean for each in found], 0.18, yerr=error, **how, **bar)
        top.axhline(0, color=BLACK, linewidth=0.6)
        top.set_title(f"What dropping changes, {kind}")
        stars = [alpha_star(measured, case, DONE) for case in cases]
        bottom.bar(range(len(cases)), np.minimum(stars, MOST_ALPHA), 0.5, color=BLUE)
        for place, star in enumerate(stars):
            above = f"{star:.2g}" if star <= MOST_ALPHA else "" if np.isnan(star) else f"> {MOST_ALPHA:g}"
            bottom.annotate(above, (place, min(star, MOST_ALPHA)), ha="center", va="bottom", fontsize=6)
        bottom.set_xlim(top.get_xlim())
        bottom.axhline(PROTOCOL.reader.alpha_tokens, color=BLACK, linewidth=0.6, linestyle=":")
        bottom.set_title("Alpha from which it pays (dotted: 2.5)")
        for panel in (top, bottom):
            ticks = [
                f"{case.load:g}\n{'TTFT' if i < len(cases) / 2 else 'd_i'}" for i, case in enumerate(cases)
            ]
            panel.set_xticks(range(len(cases)), ticks)
            panel.grid(axis="x", visible=False)
        bottom.set_xlabel("load (1: all that the GPU can do) and rule")
        bottom.set_yscale("symlog", linthresh=0.1)
    grid[0, 0].set_ylabel("change, %")
    grid[1, 0].set_ylabel("tokens per second\nof waiting")
    grid[1, 0].set_ylim(top=3 * MOST_ALPHA)
    label_panels(grid)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    study.save(figure, "eq8_dropping")


def _percent(measured: Measured, case: Case, name: str) -> Interval:
    """Return a change in percent of what is without drops; smooth goodput's of the tokens delivered."""
    base = measured[case][name if name in (REQUESTS, TOKENS) else DELIVERED][0].mean()
    return interval([100 * each / base for each in _change(measured, case, name)] if base else [0.0, 0.0])


if __name__ == "__main__":
    main(run)
