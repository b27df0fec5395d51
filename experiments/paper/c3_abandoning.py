"""Dropping requests games classic goodput; does it game smooth goodput?

Question: requests that have missed the objective are dropped (policy.abandonment = missed_slo), which frees their
places. What becomes of classic goodput, and of smooth goodput, which counts what the dropped users got and how long
they waited before?

Lengths of Azure conversations, Poisson arrivals, Llama-3.1-8B on one H100 under vLLM, at 0.9, 1.2 and 1.5 times the
20 requests/s that it can serve, for 120 s. Two rules, each with the objective that it looks at: who has no token
after 1 s is dropped (TTFT <= 1 s, TPOT <= V = 0.05 s); who is not done after 10 s is dropped, midway (E2E <= 10 s).
Top: changes against serving every request, as means over seeds with 95 % intervals, in percent of what is measured
without drops (for smooth goodput: of the tokens delivered without drops). Bottom, at 1.2 times capacity: the change
of smooth goodput against how long the overload lasts, and after 120 s against alpha, the tokens that a second of
waiting costs. Dropping loses tokens and saves waiting: above 0, the waiting saved is worth more than the tokens
lost. All rates are over one T, that of the run without drops, since dropping also makes the run shorter.

Reading of the paper: a dropped request keeps its tokens, and its user's wait counts until it is dropped. Alpha and
f are left open by the paper; here f is linear, and the test uses alpha = 1/V, the tokens that could have been read.
Both origins of the deadlines are tested: from the first token, waiting in the queue costs nothing to a request
that is served at last; from the arrival, it costs as much as any other.

Expectation: classic goodput rises. Seen from the first token, smooth goodput falls. Seen from the arrival, in an
overload that lasts, every request served makes all later ones wait, and dropping some may be right.

Test (paired over seeds, same requests, 120 s at 1.2 and at 1.5 times capacity): gamed, if classic goodput rises in
requests/s and tokens/s under both rules at both loads (95 % intervals above 0). Reproduced, if gamed and smooth
goodput rises in none of these four cases under either origin. Partly, if gamed and it rises in some of them, but not
in all under both origins. Not reproduced otherwise.

Run time: 15 s quick, 100 s full, on one core.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.paper._reproduce import (
    ORIGINS,
    RunSummary,
    Study,
    Verdict,
    axes,
    base_scenario,
    label_panels,
    main,
)
from simulator.metrics._options import Origin, Slo, UserModel
from simulator.report.style import BLACK, BLUE, RED
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, interval, paired

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLAIM_ID = "C3"
V_S = 0.05
CAPACITY_RPS = 20.0
LOADS = (0.9, 1.2, 1.5)
OVERLOADS = LOADS[1:]
SHOWN = 1.2  # of capacity, in the lower panels
LASTS_S = 120.0  # arrivals, in the test
TTFT, E2E = "no token after 1 s", "not done after 10 s"
RULES: dict[str, tuple[dict[str, Any], Slo]] = {
    TTFT: ({"name": "missed_slo", "ttft_s": 1.0}, Slo(ttft_s=1.0, tpot_s=V_S)),
    E2E: ({"name": "missed_slo", "e2e_s": 10.0}, Slo(e2e_s=10.0)),
}
SHORT, COLOUR = {TTFT: "TTFT", E2E: "E2E"}, {TTFT: BLUE, E2E: RED}
REQUESTS_PER_S, TOKENS_PER_S = "goodput, requests/s", "goodput, tokens/s"
CLASSIC = (REQUESTS_PER_S, TOKENS_PER_S)
DELIVERED = "delivered, tokens/s"
SMOOTH: dict[Origin, str] = {origin: f"smooth goodput, {origin}, tokens/s" for origin in ORIGINS}
IDLE: dict[Origin, str] = {origin: f"idle latency, {origin}, s/s" for origin in ORIGINS}
Case = tuple[str, float, float]  # rule, load, how long requests arrive in s
Measured = dict[tuple[str, Case, bool], list[float]]  # what, case, whether dropped: one value a seed


def run(study: Study) -> Verdict:
    """Simulate with and without drops at all loads and seeds, draw, and judge."""
    measured: Measured = {}
    times_s = (30.0, 60.0, LASTS_S) if study.quick else (30.0, 60.0, LASTS_S, 240.0)
    seeds = study.first_seeds(8)
    conditions = [(load, LASTS_S) for load in LOADS] + [(SHOWN, each) for each in times_s if each != LASTS_S]
    for rule, (policy, slo) in RULES.items():
        cells = [
            ((rule, load, lasts_s), seed, drop)
            for load, lasts_s in conditions
            for seed in seeds
            for drop in (False, True)
        ]
        scenarios = [_scenario(case, seed, policy if drop else None) for case, seed, drop in cells]
        by_origin = study.both_origins(scenarios, user=UserModel(V_S), slo=slo, label="C3")
        for i, (case, _, drop) in enumerate(cells):
            fixed_s = by_origin["arrival"][i - drop]["window"]["duration_s"]  # of the same run without drops
            found = {origin: by_origin[origin][i] for origin in ORIGINS}
            for what, value in _values(found, fixed_s).items():
                measured.setdefault((what, case, drop), []).append(value)
    _draw(study, measured)
    keys = list(dict.fromkeys((what, case) for what, case, _ in measured))
    study.table(
        "c3_abandoning",
        {
            "dropped": [rule for _, (rule, _, _) in keys],
            "load": [load for _, (_, load, _) in keys],
            "lasts_s": [lasts_s for _, (_, _, lasts_s) in keys],
            "measure": [what for what, _ in keys],
            "without_drops": [interval(measured[what, case, False]).mean for what, case in keys],
            "with_drops": [interval(measured[what, case, True]).mean for what, case in keys],
            "change_low_95": [_change(measured, what, case).low for what, case in keys],
            "change_high_95": [_change(measured, what, case).high for what, case in keys],
        },
    )
    return _judge(measured)


def _scenario(case: Case, seed: int, policy: dict[str, Any] | None) -> Scenario:
    _, load, lasts_s = case
    drops = {"policy.abandonment": policy} if policy else {}
    return base_scenario(
        rate_rps=CAPACITY_RPS * load,
        requests=round(CAPACITY_RPS * load * lasts_s),
        seed=seed,
        overrides={"workload.lengths": "chat_azure2023", **drops},
    )


def _values(found: dict[Origin, RunSummary], fixed_s: float) -> dict[str, float]:
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
    cases: list[Case] = [(rule, load, LASTS_S) for rule in RULES for load in OVERLOADS]
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
        classic = _percent(measured, REQUESTS_PER_S, REQUESTS_PER_S, (rule, SHOWN, LASTS_S))
        smooth = [_percent(measured, SMOOTH[origin], DELIVERED, (rule, SHOWN, LASTS_S)) for origin in ORIGINS]
        return (
            f"{classic.text('+.0f')} % requests/s of classic goodput, {smooth[1].text('+.0f')} % (clock from the"
            f" first token) and {smooth[0].text('+.0f')} % (from the arrival) smooth goodput"
        )

    return Verdict(
        outcome,  # type: ignore[arg-type]
        "Dropping requests that have missed their objective raises classic goodput, and not smooth goodput.",
        f"{LASTS_S:g} s at {SHOWN:g} times capacity, dropping who has no token after 1 s: {text(TTFT)}; who is not"
        f" done after 10 s: {text(E2E)}. Smooth goodput rises in {rises['first_token']} of {len(cases)} overloaded"
        f" cases seen from the first token, and in {rises['arrival']} from the arrival (alpha = 1/V).",
    )


def _percent(measured: Measured, what: str, base: str, case: Case) -> Interval:
    """The change in percent of the mean of something without drops."""
    change, scale = _change(measured, what, case), 100 / float(np.mean(measured[base, case, False]))
    return Interval(scale * change.mean, scale * change.low, scale * change.high)


def _draw(study: Study, measured: Measured) -> None:
    figure, grid = axes(2, 2, width="text", height_in=4.6)
    for panel, title, bars in (
        (grid[0, 0], "Classic goodput", [(what, what, what.partition(", ")[2]) for what in CLASSIC]),
        (
            grid[0, 1],
            "Smooth goodput",
            [(SMOOTH[origin], DELIVERED, "from " + origin.replace("_", " ")) for origin in reversed(ORIGINS)],
        ),
    ):
        for i, (rule, (what, base, label)) in enumerate((rule, bar) for rule in RULES for bar in bars):
            found = [_percent(measured, what, base, (rule, load, LASTS_S)) for load in LOADS]
            mean = np.array([each.mean for each in found])
            error = [[each.mean - each.low for each in found], [each.high - each.mean for each in found]]
            panel.bar(
                np.arange(len(LOADS)) + 0.2 * (i - 1.5),
                mean,
                0.18,
                yerr=error,
                facecolor="white" if i % 2 else COLOUR[rule],
                edgecolor=COLOUR[rule],
                hatch="////" if i % 2 else "",
                error_kw={"elinewidth": 0.8, "ecolor": BLACK},
                label=f"{SHORT[rule]} rule: {label}",
            )
        panel.axhline(0, color=BLACK, linewidth=0.7)
        panel.set_title(f"{title}: what dropping changes")
        panel.set_xticks(range(len(LOADS)), [f"{load:g}" for load in LOADS])
        panel.set_xlabel("load (times capacity)")
        panel.set_ylabel("change (%)")
        panel.grid(axis="x", visible=False)
        panel.legend(loc="upper left")
    _draw_lines(grid[1, 0], grid[1, 1], measured)
    label_panels(grid)
    study.save(figure, "c3_abandoning")


def _draw_lines(lasting: "Axes", weighing: "Axes", measured: Measured) -> None:
    """The change of smooth goodput against how long the overload lasts, and against the weight of waiting."""
    alpha = np.linspace(0, 2 / V_S, 41)
    times_s = sorted({lasts_s for _, (_, load, lasts_s), _ in measured if load == SHOWN})
    for rule in RULES:
        case = (rule, SHOWN, LASTS_S)
        for origin in reversed(ORIGINS):
            over_time = [_change(measured, SMOOTH[origin], (rule, SHOWN, lasts_s)) for lasts_s in times_s]
            lost, saved = (
                np.subtract(measured[what, case, True], measured[what, case, False])
                for what in (DELIVERED, IDLE[origin])
            )
            over_alpha = [interval(list(lost - each * saved)) for each in alpha]
            style = "-" if origin == "first_token" else "--"
            label = f"{SHORT[rule]} rule: from {origin.replace('_', ' ')}"
            _line(lasting, times_s, over_time, COLOUR[rule], f"o{style}", label)
            _line(weighing, alpha, over_alpha, COLOUR[rule], style, label)
    lasting.set_title(f"Smooth goodput at {SHOWN:g} times capacity")
    lasting.set_xlabel("arrivals last for (s)")
    weighing.set_title(f"Smooth goodput at {SHOWN:g} times capacity, {LASTS_S:g} s")
    weighing.set_xlabel("alpha (tokens per s of waiting)")
    weighing.axvline(1 / V_S, color=BLACK, linewidth=0.7, linestyle=":")
    weighing.annotate(
        "1/V", (1 / V_S, 0.02), (3, 0), xycoords=("data", "axes fraction"), textcoords="offset points"
    )
    for panel in (lasting, weighing):
        panel.axhline(0, color=BLACK, linewidth=0.7)
        panel.set_ylabel("change (tokens/s)")
    lasting.legend(loc="upper left")


def _line(panel: "Axes", at: Any, found: list[Interval], colour: str, style: str, label: str) -> None:
    low, high = ([getattr(each, end) for each in found] for end in ("low", "high"))
    panel.plot(at, [each.mean for each in found], style, color=colour, label=label)
    panel.fill_between(at, low, high, color=colour, alpha=0.12, linewidth=0)


if __name__ == "__main__":
    main(run)
