"""Dropping requests games classic goodput; does it game smooth goodput?

Question: requests that have missed the objective are dropped (policy.abandonment = missed_slo), which frees their
places. What becomes of classic goodput, and of smooth goodput, which counts what the dropped users got and how long
they waited before?

Azure conversations on Llama-3.1-8B and one H100 under vLLM, at 0.9, 1.2 and 1.5 times the 19 requests/s that it can
serve. Two rules, each with the objective that it looks at: who has no token after 1 s is dropped (TTFT <= 1 s, TPOT
<= V = 0.05 s); who is not done after 10 s is dropped, midway (E2E <= 10 s). Top: changes against serving everybody,
as means over seeds with 95 % intervals, in percent of what is measured without drops (for smooth goodput: of the
tokens delivered without drops). Bottom: the change of smooth goodput at 1.2 times capacity against alpha, the
tokens that a second of waiting costs. Dropping loses tokens and saves waiting; right of where a line crosses 0, the
waiting saved is worth more than the tokens lost. All rates are over one T, that of the run without drops, since
dropping also makes the run shorter.

Reading of the paper: a dropped request keeps its tokens, and its user's wait counts until it is dropped. Alpha and
f are left open by the paper; here f is linear, and the test uses alpha = 1/V, the tokens that could have been read.
Both origins of the deadlines are tested: from the first token, waiting in the queue costs nothing to whoever
is served at last; from the arrival, it costs as much as any other.

Expectation: classic goodput rises. Seen from the first token, smooth goodput falls. Seen from the arrival, beyond
capacity, every request served makes all later ones wait, and dropping some may be right.

Test (paired over seeds, same requests, at 1.2 and 1.5 times capacity): gamed, if classic goodput rises in requests/s
and tokens/s under both rules at both loads (95 % intervals above 0). Reproduced, if gamed and smooth goodput rises
in none of these under either origin. Partly, if gamed and it rises in none under one of the origins, or in fewer
cases than classic goodput does. Not reproduced otherwise.

Run time: 4 s quick, 15 s full, on one core.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments._figures import BLACK, BLUE, GREEN
from experiments._reproduce import ORIGINS, Study, Summary, Verdict, axes, base_scenario, label_panels, main
from experiments.stats import Interval, interval, paired
from simulator.metrics.options import Origin, Slo, UserModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLAIM_ID = "C3"
V_S = 0.05
CAPACITY_RPS = 19.0
LOADS = (0.9, 1.2, 1.5)
OVERLOADS = LOADS[1:]
SHOWN = 1.2  # of capacity, in the panels over alpha and in the verdict's figures
TTFT, E2E = "no token after 1 s", "not done after 10 s"
RULES: dict[str, tuple[dict[str, Any], Slo]] = {
    TTFT: ({"name": "missed_slo", "ttft_s": 1.0}, Slo(ttft_s=1.0, tpot_s=V_S)),
    E2E: ({"name": "missed_slo", "e2e_s": 10.0}, Slo(e2e_s=10.0)),
}
REQUESTS_PER_S, TOKENS_PER_S = "goodput, requests/s", "goodput, tokens/s"
CLASSIC = (REQUESTS_PER_S, TOKENS_PER_S)
DELIVERED = "delivered, tokens/s"
SMOOTH: dict[Origin, str] = {origin: f"smooth goodput, {origin}, tokens/s" for origin in ORIGINS}
IDLE: dict[Origin, str] = {origin: f"idle latency, {origin}, s/s" for origin in ORIGINS}
Case = tuple[str, float]  # rule, load
Measured = dict[tuple[str, Case, bool], list[float]]  # what, case, whether dropped: one value a seed


def run(study: Study) -> Verdict:
    """Simulate with and without drops at all loads and seeds, draw, and judge."""
    measured: Measured = {}
    for rule, (policy, slo) in RULES.items():
        cells = [(load, drop, seed) for load in LOADS for seed in study.seeds for drop in (False, True)]
        scenarios = [
            base_scenario(
                traffic="azure",
                rate_rps=CAPACITY_RPS * load,
                requests=1000 if study.quick else 3000,
                seed=seed,
                overrides={"policy.abandonment": policy} if drop else {},
            )
            for load, drop, seed in cells
        ]
        by_origin = study.both_origins(scenarios, user=UserModel(V_S), slo=slo, label="C3")
        for i, (load, drop, _) in enumerate(cells):
            fixed_s = by_origin["arrival"][i - drop]["window"]["duration_s"]  # of the same run without drops
            found = {origin: by_origin[origin][i] for origin in ORIGINS}
            for what, value in _values(found, fixed_s).items():
                measured.setdefault((what, (rule, load), drop), []).append(value)
    _draw(study, measured)
    keys = list(dict.fromkeys((what, case) for what, case, _ in measured))
    study.table(
        "c3_abandoning",
        {
            "dropped": [rule for _, (rule, _) in keys],
            "load": [load for _, (_, load) in keys],
            "measure": [what for what, _ in keys],
            "without_drops": [interval(measured[what, case, False]).mean for what, case in keys],
            "with_drops": [interval(measured[what, case, True]).mean for what, case in keys],
            "change_low_95": [_change(measured, what, case).low for what, case in keys],
            "change_high_95": [_change(measured, what, case).high for what, case in keys],
        },
    )
    return _judge(measured)


def _values(found: dict[Origin, Summary], fixed_s: float) -> dict[str, float]:
    """Everything as a rate over the same time."""
    summary = found["arrival"]
    slo, own_s = summary["slo"], summary["window"]["duration_s"]
    values = {
        REQUESTS_PER_S: slo["requests_meeting_all"] / fixed_s,
        TOKENS_PER_S: slo["goodput_tokens_per_s"] * own_s / fixed_s,
        DELIVERED: summary["throughput"]["output_tokens"] / fixed_s,
        "dropped, share of arrived": 1 - summary["states"]["completed"]["share_of_arrived"],
    }
    for origin in ORIGINS:
        values[SMOOTH[origin]] = found[origin]["smooth_goodput"]["benefit_tokens"] / fixed_s
        values[IDLE[origin]] = found[origin]["idle_latency"]["total_idle_s"] / fixed_s
    return values


def _change(measured: Measured, what: str, case: Case) -> Interval:
    return paired(measured[what, case, True], measured[what, case, False])


def _judge(measured: Measured) -> Verdict:
    cases: list[Case] = [(rule, load) for rule in RULES for load in OVERLOADS]
    gamed = all(_change(measured, what, case).above_zero for what in CLASSIC for case in cases)
    rises = {
        origin: sum(_change(measured, SMOOTH[origin], case).above_zero for case in cases)
        for origin in ORIGINS
    }
    if not gamed or sum(rises.values()) == 2 * len(cases):
        outcome = "not reproduced"
    else:
        outcome = "partly reproduced" if any(rises.values()) else "reproduced"

    def text(rule: str) -> str:
        classic = _percent(measured, REQUESTS_PER_S, REQUESTS_PER_S, (rule, SHOWN))
        smooth = [_percent(measured, SMOOTH[origin], DELIVERED, (rule, SHOWN)) for origin in ORIGINS]
        return (
            f"{classic.text('+.0f')} % requests/s of classic goodput, {smooth[1].text('+.0f')} % (clock from the"
            f" first token) and {smooth[0].text('+.0f')} % (from the arrival) smooth goodput"
        )

    return Verdict(
        outcome,  # type: ignore[arg-type]
        "Dropping requests that have missed their objective raises classic goodput, and not smooth goodput.",
        f"At {SHOWN:g} times capacity, dropping who has no token after 1 s: {text(TTFT)}; who is not done after"
        f" 10 s: {text(E2E)}. Smooth goodput rises in {rises['first_token']} of {len(cases)} overloaded cases seen"
        f" from the first token, and in {rises['arrival']} from the arrival (alpha = 1/V).",
    )


def _percent(measured: Measured, what: str, base: str, case: Case) -> Interval:
    """The change in percent of the mean of something without drops."""
    change, scale = _change(measured, what, case), 100 / float(np.mean(measured[base, case, False]))
    return Interval(scale * change.mean, scale * change.low, scale * change.high)


def _draw(study: Study, measured: Measured) -> None:
    figure, grid = axes(2, 2, width="text", height_in=4.6)
    short = {TTFT: "TTFT", E2E: "E2E"}
    colours = {TTFT: BLUE, E2E: GREEN}
    for panel, title, bars in (
        (grid[0, 0], "Classic goodput", [(what, what, what.partition(", ")[2]) for what in CLASSIC]),
        (
            grid[0, 1],
            "Smooth goodput",
            [(SMOOTH[origin], DELIVERED, "from " + origin.replace("_", " ")) for origin in reversed(ORIGINS)],
        ),
    ):
        for i, (rule, (what, base, label)) in enumerate((rule, bar) for rule in RULES for bar in bars):
            found = [_percent(measured, what, base, (rule, load)) for load in LOADS]
            mean = np.array([each.mean for each in found])
            error = [[each.mean - each.low for each in found], [each.high - each.mean for each in found]]
            panel.bar(
                np.arange(len(LOADS)) + 0.2 * (i - 1.5),
                mean,
                0.18,
                yerr=error,
                facecolor="white" if i % 2 else colours[rule],
                edgecolor=colours[rule],
                hatch="////" if i % 2 else "",
                error_kw={"elinewidth": 0.8, "ecolor": BLACK},
                label=f"{short[rule]} rule: {label}",
            )
        panel.axhline(0, color=BLACK, linewidth=0.7)
        panel.set_title(f"{title}: what dropping changes")
        panel.set_xticks(range(len(LOADS)), [f"{load:g}" for load in LOADS])
        panel.set_xlabel("load (times capacity)")
        panel.set_ylabel("change (%)")
        panel.grid(axis="x", visible=False)
        panel.legend(loc="upper left")
    for panel, rule in zip(grid[1], RULES, strict=True):
        _draw_alpha(panel, measured, (rule, SHOWN))
        panel.set_title(f"Drop who is {rule}" if rule == E2E else f"Drop who has {rule}")
    label_panels(grid)
    study.save(figure, "c3_abandoning")


def _draw_alpha(panel: "Axes", measured: Measured, case: Case) -> None:
    """The change of smooth goodput against what a second of waiting costs."""
    alpha = np.linspace(0, 2 / V_S, 81)
    colour = BLUE if case[0] == TTFT else GREEN
    for origin, style in zip(ORIGINS, ("--", "-"), strict=True):
        lost, saved = (
            np.subtract(measured[what, case, True], measured[what, case, False])
            for what in (DELIVERED, IDLE[origin])
        )
        found = [interval(list(lost - each * saved)) for each in alpha]
        low, high = ([getattr(each, end) for each in found] for end in ("low", "high"))
        label = f"from {origin.replace('_', ' ')}"
        panel.plot(alpha, [each.mean for each in found], style, color=colour, label=label)
        panel.fill_between(alpha, low, high, color=colour, alpha=0.15, linewidth=0)
    panel.axhline(0, color=BLACK, linewidth=0.7)
    panel.axvline(1 / V_S, color=BLACK, linewidth=0.7, linestyle=":")
    panel.annotate(
        "1/V", (1 / V_S, 0.02), (3, 0), xycoords=("data", "axes fraction"), textcoords="offset points"
    )
    panel.set_xlabel("alpha (tokens/s)")
    panel.set_ylabel("change (tokens/s)")
    panel.legend(loc="upper left")


if __name__ == "__main__":
    main(run)
