"""Do fluidity, QoE, classic attainment and smooth goodput prefer the same scheduling policy?

Question: the same runs of seven policies, under loads at which not all requests can be served in time, scored by six
metrics: smooth goodput, QoE (Andes), the fluidity index (Etalon), the share of requests with every token in time
(token SLO), and two classic attainments: first token within 1 s and 50 ms a token on average, and a p99 of a
request's gaps of at most 100 ms. Who is best by which?

Reading of the paper: it argues that a metric is what a system is tuned for, and so decides which policy wins. It does
not compare with QoE and fluidity; this experiment goes beyond it. All metrics get the same reader: one token every
50 ms, counted from the request's arrival.

Expectation: attainments favour a policy that serves some requests well and forgets others. QoE and fluidity are
shares between 0 and 1 of each request, so they hardly tell a reader who waited for some minutes from one who waited
for an hour, and requests served at once outweigh those that starve. Smooth goodput counts every second of waiting.
They should part where a policy serves by length.

Settings: three kinds of traffic, each with all KV memory at 1.2 times the load at which one GPU falls behind, and
with a tenth of it at 0.7 times that load. They were fixed before the runs of this version. An earlier one had chosen
three of seven that it had tried, two of which were the only ones with pairs that disagreed.

Test: two metrics *disagree* in a setting if the policies with the highest means over seeds differ, and each metric is
shown to prefer its own: tests are paired over seeds, at 95 % for all comparisons of two policies by six metrics in
six settings together (Holm over the 756), since it is the data that say which policies are best. Reproduced: some
pair of metrics disagrees in more than half of the settings. Partly reproduced: in some. Not reproduced: in none.
Rates are over the arrivals' time. The verdict rests on the clock from the arrival; the other reading's count is said
beside it.

* `c9_ranks`: every policy by every metric (smooth goodput in 1000 tokens/s); the darker the better, the best is bold.
* `c9_request`: why. All requests of a run are ranked by how much better one policy serves them than the other, once
  by either of two metrics that disagree. Shown are the two requests whose ranks are furthest apart: on top the one
  that the first metric finds better served by its policy, below the one that the second metric does. A wait counts by
  its seconds in smooth goodput, and by its share of the time of reading in QoE.

About 25 s of processor time, with --quick 10 s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import product
from operator import getitem
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.paper._c9_metrics import METRICS, READINGS, Metric, Pair, Scores, compare
from experiments.paper._protocol import PROTOCOL
from experiments.paper._reproduce import (
    COLOURS,
    ORIGINS,
    Outcome,
    Reading,
    RunSummary,
    Study,
    Verdict,
    axes,
    label_panels,
    main,
)
from experiments.paper._scenarios import Setting, TrafficKind
from simulator.arrays import Floats
from simulator.metrics._log import RequestLog
from simulator.metrics._options import Origin, Slo, UserModel
from simulator.metrics._reader import benefit_tokens, idle_latency_s
from simulator.metrics.fluidity import fluidity_index
from simulator.metrics.qoe import qoe
from simulator.scenario.scenario import Scenario

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CLAIM = (
    "On the same runs, smooth goodput, QoE, fluidity and classic attainment do not agree on the best policy."
)
FIXED = PROTOCOL.studies["C9"]
SEEDS = FIXED["seeds"]
FULL_LOAD_RPS: dict[TrafficKind, float] = FIXED["full_load_rps"]
COMMON = {"workload.predictor": "perfect", "engine.max_model_len": 16000}  # so long fits into little memory
LITTLE = {"engine.num_gpu_blocks": 2770}  # a tenth
SETTINGS = tuple(
    Setting(f"{kind}, {title}", kind, load * FULL_LOAD_RPS[kind], FIXED["requests"], {**COMMON, **memory})
    for title, load, memory in (
        ("overload", FIXED["overload"], {}),
        ("little memory", FIXED["little_memory"], LITTLE),
    )
    for kind in FULL_LOAD_RPS
)
POLICIES: dict[str, dict[str, Any]] = {
    name: {"policy.scheduling": name}
    for name in ("vllm_v1", "sarathi", "sjf", "srpt", "andes", "edf", "smooth")
}
POLICIES["edf"] = {"policy.scheduling": {"name": "edf", "margin_s": 5.0}}


def judge(pairs: Sequence[Pair]) -> Verdict:
    """Apply the test that the module's docstring states."""
    apart = [pair for pair in pairs if pair.disagree]
    differ = sum(pair.first_best != pair.second_best for pair in pairs)
    settings = list(dict.fromkeys(pair.setting for pair in pairs))
    within = {pair.setting: pair for pair in reversed(apart)}  # the first of each setting
    numbers = (
        f"Of {len(pairs)} pairs of metrics (in {len(settings)} settings) {differ} have different best policies,"
        f" {len(apart)} of them surely, in {len(within)} of the settings."
    )
    caption = numbers
    for pair in within.values():
        numbers += (
            f" {pair.setting}: {pair.first} prefers {pair.first_best} to {pair.second_best} by"
            f" {pair.by_first.text('.4g')}, {pair.second} the reverse by {pair.by_second.text('.2g')}."
        )
    if not within:
        return Verdict("not reproduced", CLAIM, numbers, caption)
    outcome: Outcome = "reproduced" if len(within) > len(settings) / 2 else "partly reproduced"
    return Verdict(outcome, CLAIM, numbers, caption)


def most_disputed(first: Floats, second: Floats) -> tuple[int, int]:
    """Return two requests that the changes by two metrics (one value a request each) rank most differently.

    The first is one that the first metric finds improved, and ranks higher; the second is one that the second metric
    finds worse, and ranks lower. NaN, where a metric is not defined, is no change.
    """
    from scipy.stats import rankdata

    first, second = np.nan_to_num(first), np.nan_to_num(second)
    apart = rankdata(first) - rankdata(second)
    better = np.where(first > 0, apart, -np.inf)
    worse = np.where(second < 0, apart, -np.inf)
    return int(np.argmax(better)), int(np.argmax(worse))


def run(study: Study) -> Verdict:
    """Simulate all settings, draw, and judge."""
    share = 0.6 if study.quick else 1.0
    scenarios = {
        (setting.title, name): [setting.scenario(seed, policy, share) for seed in study.first_seeds(SEEDS)]
        for setting, (name, policy) in product(SETTINGS, POLICIES.items())
    }
    flat = [each for some in scenarios.values() for each in some]
    readings: list[tuple[Origin, Slo | None]] = list(product(ORIGINS, READINGS))
    summaries = study.readings(flat, [Reading(UserModel(origin=origin), slo) for origin, slo in readings])
    pairs: dict[Origin, list[Pair]] = {}
    for origin in ORIGINS:
        found: dict[Slo | None, dict[tuple[str, str], list[RunSummary]]] = {}
        for (of, slo), some in zip(readings, summaries, strict=True):
            left = iter(some)
            if of == origin:
                found[slo] = {key: [next(left) for _ in alike] for key, alike in scenarios.items()}
        scores = {
            setting.title: {
                metric.name: {
                    name: [_value(each, metric) for each in found[metric.slo][setting.title, name]]
                    for name in POLICIES
                }
                for metric in METRICS
            }
            for setting in SETTINGS
        }
        pairs[origin] = compare(scores)
        if origin == "arrival":
            _ranks(study, scores)
    _request(study, pairs["arrival"], scenarios)
    verdict, other = judge(pairs["arrival"]), pairs["first_token"]
    differ = sum(pair.first_best != pair.second_best for pair in other)
    also = (
        f" With the clock from the first token {differ} of {len(other)} have,"
        f" {sum(pair.disagree for pair in other)} of them surely."
    )
    return replace(verdict, numbers=verdict.numbers + also)


def _value(summary: RunSummary, metric: Metric) -> float:
    return float(reduce(getitem, metric.keys, summary))  # type: ignore[arg-type]


def _ranks(study: Study, scores: Mapping[str, Scores]) -> None:
    from scipy.stats import rankdata

    columns = min(3, len(scores))
    lines = -(-len(scores) // columns)
    figure, grid = axes(lines, columns, width="text", height_in=0.9 + 2.0 * lines, sharex=True, sharey=True)
    rows = []
    for panel, (title, of) in zip(grid.flat, scores.items(), strict=True):
        means = np.array([[np.mean(of[metric.name][name]) for metric in METRICS] for name in POLICIES])
        ranks = rankdata(-means, axis=0)
        panel.imshow(ranks, cmap="Blues_r", vmin=-1, vmax=len(POLICIES) + 1, aspect="auto")
        for row, column in np.ndindex(ranks.shape):
            value = means[row, column]
            text = f"{value / 1000:.1f}" if column == 0 else f"{value:.2f}"
            weight = "bold" if ranks[row, column] == 1 else "normal"
            colour = "white" if ranks[row, column] < 4 else "black"
            panel.text(column, row, text, ha="center", va="center", fontsize=6, color=colour, weight=weight)
            rows.append((title, list(POLICIES)[row], METRICS[column].name, value, ranks[row, column]))
        panel.grid(False)
        panel.set_xticks(range(len(METRICS)), [metric.name for metric in METRICS], rotation=45, ha="right")
        panel.set_yticks(range(len(POLICIES)), list(POLICIES))
        panel.set_title(title)
    label_panels(grid)
    study.save(figure, "c9_ranks")
    names = ("setting", "policy", "metric", "mean", "rank")
    study.table("c9_ranks", dict(zip(names, zip(*rows, strict=True), strict=True)))


def _request(
    study: Study, pairs: Sequence[Pair], scenarios: Mapping[tuple[str, str], Sequence[Scenario]]
) -> None:
    """Draw the request on which two metrics that prefer different policies disagree most."""
    by_name = {metric.name: metric for metric in METRICS}
    drawable = [pair for pair in pairs if by_name[pair.first].of_each and by_name[pair.second].of_each]
    pair = next(
        (pair for pair in drawable if pair.disagree),
        next((pair for pair in drawable if pair.first_best != pair.second_best), None),
    )
    if pair is None:
        return
    policies = (pair.first_best, pair.second_best)
    best_by = {pair.first_best: pair.first, pair.second_best: pair.second}
    sides = [study.log(scenarios[pair.setting, name][0]) for name in policies]
    user = scenarios[pair.setting, policies[0]][0].user
    changes = []
    for name in (pair.first, pair.second):
        of_each = by_name[name].of_each
        assert of_each is not None
        one, other = (of_each(log, user) for log in sides)
        changes.append(one - other)
    figure, grid = axes(2, 2, width="text", height_in=4.4, sharex="row", sharey="row")
    rows: list[tuple[Any, ...]] = []
    for panels, who in zip(grid, most_disputed(*changes), strict=True):
        for panel, name, log in zip(panels, policies, sides, strict=True):
            rows += [(who, name, *row) for row in _timeline(panel, log, who, user)]
            panel.set_title(f"request {who} under {name}, best by {best_by[name]}")
        panels[0].set_ylabel("tokens")
    for panel in grid[1]:
        panel.set_xlabel("time since arrival, s")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    label_panels(grid)
    study.save(figure, "c9_request")
    names = ("request", "policy", "token", "delivered_s", "due_s", "read_s")
    study.table("c9_request", dict(zip(names, zip(*rows, strict=True), strict=True)))


def _timeline(panel: "Axes", log: RequestLog, who: int, user: UserModel) -> list[tuple[float, ...]]:
    """Draw a request's tokens against its reader; return a row a token."""
    mine = slice(log.token_offsets[who], log.token_offsets[who + 1])
    delivered_s = log.delivered_s[mine] - log.arrival_s[who]
    token = np.arange(1, len(delivered_s) + 1)
    due_s = user.v_s_per_token * token
    read_s = due_s + np.maximum.accumulate(np.maximum(delivered_s - due_s, 0.0))
    panel.step(delivered_s, token, where="post", color=COLOURS[0], label="delivered")
    panel.plot(due_s, token, color=COLOURS[6], linestyle=":", label="due")
    panel.step(read_s, token, where="post", color=COLOURS[1], linestyle="--", label="read")
    values = (
        f"idle {idle_latency_s(log, user)[who]:.1f} s",
        f"benefit {benefit_tokens(log, user)[who]:.0f} tokens",
        f"QoE {qoe(log, user)[who]:.2f}",
        f"fluidity {fluidity_index(log, user)[who]:.2f}",
    )
    panel.text(0.55, 0.05, "\n".join(values), transform=panel.transAxes, fontsize=7)
    rows: list[tuple[float, ...]] = np.stack([token, delivered_s, due_s, read_s], axis=1).tolist()
    return rows


if __name__ == "__main__":
    main(run)
