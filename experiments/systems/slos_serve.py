"""SLOs-Serve: how much more load is kept by promising only what can be kept, and what do readers get?

**Question.** SLOs-Serve promises a request its TTFT and TPOT only if all promises can be kept, and serves the others
with what is left. How much higher is the load at which nine of ten requests meet both bounds? Does a load that is
beyond that leave readers better or worse off?

**Reported** (Chen et al., arXiv 2504.08784): 2.2 times the capacity per GPU at 90 % attainment over the best of their
baselines, on average over scenarios; almost linear in the number of replicas, from 1 to 4.

**Here** Llama-3.1-8B on an H100 and the engine of vLLM 0.24 for all; three of their kinds of traffic with their bounds
on TPOT, and bounds on TTFT of about their multiples of a lone prompt's time: chat (5 times, 100 ms a token), code
(5 times, 50 ms) and summaries (3 times, 100 ms); Poisson arrivals. Baselines are ``vllm_v1`` and ``sarathi``. Drafts
are off, and a perfect predictor says how long answers are. Readers take 20 tokens/s and allow their class's TTFT.

**Tests**, 95 % intervals over seeds, paired; capacity is where attainment falls below 0.9, log-linear between the rates
that were tried. Capacity: agree if it is 1.5 times that of the best baseline or more, in the geometric mean over kinds
of traffic; partly if it is shown to be higher with each. Replicas: agree if four, with ``next_on_decline``, have 3.6
times the capacity of one or more, partly if 3 times. Overload: agree if at the highest rate that was tried it is shown
to have more smooth goodput than each baseline with each kind of traffic, partly if with some.

Takes about 3 min (quick) and 12 min (full) on one core.
"""

from typing import Any

import numpy as np

from experiments.paper._reproduce import Study, Verdict, axes, label_panels, main
from experiments.systems._findings import Agreement, Finding, shown, verdict
from experiments.systems._lines import line
from experiments.systems._measured import KEPT, Numbers, capacity, gathered
from simulator.arrays import Floats
from simulator.results.result import Result
from simulator.scenario.scenario import Scenario
from simulator.stats import interval, paired

CLAIM = (
    "Promising only what can be kept raises the load per GPU at which 90 % of the requests meet their bounds 2.2 times"
    " on average (arXiv 2504.08784)."
)
OURS, BASELINES = "slos_serve", ("vllm_v1", "sarathi")
# Lengths, bounds on TTFT and TPOT in s, rates in requests/s up to where none of the policies keeps 90 %
TRAFFIC: dict[str, tuple[str, float, float, tuple[float, ...]]] = {
    "chat": ("chat_azure2023", 0.25, 0.1, (8.0, 12.0, 16.0, 20.0, 24.0, 32.0, 48.0)),
    "code": ("azure2023_code", 0.4, 0.05, (4.0, 6.0, 8.0, 12.0, 16.0, 20.0, 28.0)),
    "summaries": ("arxiv_summarization_4k", 0.25, 0.1, (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 18.0)),
}
SCALED = "chat"  # the traffic whose capacity is measured with four replicas, too
Found = dict[tuple[str, str, float], Numbers]


def scenario(study: Study, kind: str, policy: str, rate_rps: float, seed: int, replicas: int = 1) -> Scenario:
    """Return servers under one kind of traffic."""
    lengths, ttft_s, tpot_s, _ = TRAFFIC[kind]
    scaled = {"routing": "next_on_decline" if policy == OURS else "least_loaded"} if replicas > 1 else {}
    return Scenario(
        seed=seed,
        hardware={"gpu": "h100-80gb-sxm", "model": "llama-3.1-8b"},
        cluster={"replicas": replicas},
        workload={
            "arrivals": "poisson",
            "rate_rps": rate_rps * replicas,
            "duration_s": 20 if study.quick else 40,
            "lengths": lengths,
            "predictor": "perfect",
        },
        policy={"scheduling": policy, **scaled},
        slo={"ttft_s": ttft_s, "tpot_s": tpot_s},
        user={"v_s_per_token": 0.05, "first_token_allowance_s": ttft_s},
    )


def numbers(result: Result, _: Any) -> dict[str, float]:
    """Return what the study looks at of one run."""
    summary = result.summary()
    return {
        "kept": summary["slo"]["attainment_all"],
        "goodput": summary["slo"]["goodput_requests_per_s"],
        "smooth": summary["smooth_goodput"]["smooth_goodput_tokens_per_s"],
        "idle_s": summary["idle_latency"]["idle_latency_s"]["mean"],
    }


def capacities(found: Found, kind: str) -> dict[str, Floats]:
    """Return the capacity of each policy under a kind of traffic, requests/s, f64[seeds]."""
    rates = TRAFFIC[kind][3]
    return {
        policy: capacity(rates, [found[kind, policy, rate]["kept"] for rate in rates])
        for policy in (OURS, *BASELINES)
    }


def more_load(found: Found) -> Finding:
    """Judge the capacity against the best baseline's."""
    gains, said = [], []
    for kind in TRAFFIC:
        by_policy = capacities(found, kind)
        best = max(BASELINES, key=lambda each: float(by_policy[each].mean()))
        gain = interval((by_policy[OURS] / by_policy[best]).tolist())
        gains.append(gain)
        said.append(
            f"{kind} {by_policy[OURS].mean():.1f} requests/s for {by_policy[best].mean():.1f} ({best}),"
            f" {gain.text('.2f')} times"
        )
    mean = float(np.exp(np.mean([np.log(each.mean) for each in gains])))
    outcome: Agreement = (
        "agree" if mean >= 1.5 else "partly" if all(each.low > 1 for each in gains) else "not"
    )
    return Finding(
        "2.2 times the load per GPU at 90 % attainment, on average over scenarios",
        outcome,
        f"{'; '.join(said)}; in the geometric mean {mean:.2f} times.",
    )


def replicas(one: Floats, four: Floats) -> Finding:
    """Judge the capacity of four replicas that hand on what they decline."""
    gain = interval((four / one).tolist())
    return Finding(
        "Capacity is almost linear in the number of replicas, from 1 to 4",
        "agree" if gain.mean >= 3.6 else "partly" if gain.mean >= 3 else "not",
        f"{SCALED}: four replicas with next_on_decline keep 90 % up to {gain.text('.2f')} times the rate of one.",
    )


def overload(found: Found) -> Finding:
    """Judge smooth goodput at the highest rate."""
    more, said = 0, []
    for kind, (_, _, _, rates) in TRAFFIC.items():
        top = rates[-1]
        mine = found[kind, OURS, top]
        sure = [
            paired(mine["smooth"].tolist(), found[kind, each, top]["smooth"].tolist()) for each in BASELINES
        ]
        more += all(each.above_zero for each in sure)
        others = ", ".join(f"{found[kind, each, top]['smooth'].mean():,.0f} {each}" for each in BASELINES)
        said.append(f"{kind} at {top:g}/s {mine['smooth'].mean():,.0f} tokens/s ({others})")
    outcome: Agreement = "agree" if more == len(TRAFFIC) else "partly" if more else "not"
    return Finding(
        "Beyond its capacity readers are better off, too, as those who are promised wait for nothing (expected)",
        outcome,
        f"Smooth goodput of slos_serve: {'; '.join(said)}.",
    )


def run(study: Study) -> Verdict:
    """Measure, draw, write the tables, and judge."""
    found = gathered(
        study,
        {
            (kind, policy, rate): [scenario(study, kind, policy, rate, seed) for seed in study.seeds]
            for kind, (_, _, _, rates) in TRAFFIC.items()
            for policy in (OURS, *BASELINES)
            for rate in rates
        },
        numbers,
        "rates",
    )
    rates = TRAFFIC[SCALED][3]
    four = gathered(
        study,
        {rate: [scenario(study, SCALED, OURS, rate, seed, 4) for seed in study.seeds] for rate in rates},
        numbers,
        "replicas",
    )
    figure, grid = axes(2, len(TRAFFIC), width="text", height_in=3.9)
    for column, (kind, (_, ttft_s, tpot_s, tried)) in enumerate(TRAFFIC.items()):
        for row, name in enumerate(("kept", "smooth")):
            panel = grid[row, column]
            for place, policy in enumerate((OURS, *BASELINES)):
                values = [interval(found[kind, policy, rate][name].tolist()) for rate in tried]
                line(panel, tried, values, policy, place)
            panel.set_xscale("log", base=2)
            panel.set_xticks(tried, [f"{rate:g}" for rate in tried])
            panel.minorticks_off()
        grid[0, column].axhline(KEPT, color="black", linewidth=0.6)
        grid[0, column].set(title=f"{kind}: {ttft_s:g} s, {1000 * tpot_s:g} ms", ylim=(0, 1.05))
        highest = max(
            found[kind, policy, rate]["smooth"].mean() for policy in (OURS, *BASELINES) for rate in tried
        )
        grid[1, column].set(xlabel="requests/s", ylim=(-highest, 1.15 * highest))
    grid[0, 0].set_ylabel("requests within bounds")
    grid[1, 0].set_ylabel("smooth goodput,\ntokens/s")
    grid[0, 0].legend(loc="lower left")
    label_panels(grid)
    study.save(figure, "capacity_and_readers")
    by_kind = {kind: capacities(found, kind) for kind in TRAFFIC}
    one = by_kind[SCALED][OURS]
    together = capacity(rates, [four[rate]["kept"] for rate in rates]) * 4
    shown(
        study,
        "capacity",
        {
            "traffic": list(TRAFFIC),
            **{
                f"{policy}, requests/s": [
                    interval(by_kind[kind][policy].tolist()).text(".1f") for kind in TRAFFIC
                ]
                for policy in (OURS, *BASELINES)
            },
        },
    )
    return verdict(study, CLAIM, [more_load(found), replicas(one, together), overload(found)])


if __name__ == "__main__":
    main(run)
