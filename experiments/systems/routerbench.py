"""RouterBench: does a cascade of models give the best answers for the money, and do its readers wait for them?

**Question.** Several models are behind one router. Which router gives the best quality for its price? A cascade asks
from cheap to dear until a judge takes an answer: does quality that is waited for still serve readers best?

**Reported** (Hu et al., arXiv 2403.12031; 11 models, 405,000 recorded answers, AIQ: mean quality over prices on a
router's hull): cascades whose judge is wrong in up to 10 % of cases beat all others, and are quickly worse from 20 %
on; routers that predict quality (nearest neighbours, small networks) do about as well as a mix of single models. No
latency.

**Here** the five of its models that no mix of others outdoes for their price, with its scores and list prices. They
are served on A100-80GB by models of like size whose speed is known: Llama-3.1-8B for Mistral-7B, Qwen3-14B for
WizardLM-13B, Mixtral-8x7B on two GPUs, three of Qwen3-32B on two for Yi-34B, two of Llama-3.1-70B on four for GPT-4.
How hard a request is, is drawn (``simulator/workload/difficulty.py``: assumed, fitted to one of its numbers).
Predictive routers see it with a noise as large as what differs between requests, half and twice as large: theirs is
not known. Prices are list prices. Short answers (250 tokens, then 10, as in its tasks) and chat; readers take 20
tokens/s and allow 1 s.

**Tests**, 95 % intervals over seeds, paired. Cascades: agree if AIQ with a judge who is wrong in 0 and in 10 % is
shown to be above that of each predictive router and of the mix; partly with 0 only. Decay: agree if AIQ is shown to
fall from 10 to 20 % and from 20 to 40 %, and is not shown to be above the mix at 40 %; partly if it is shown to fall.
Predictive: agree if with a noise of 1 AIQ is within 0.01 of the mix, partly with 2. Latency: agree if the mean TTFT
of the cascade with 10 % is shown to be twice that of the predictive router or more at the lowest rate with both kinds
of answers, partly with one. Readers: agree if this cascade is shown to have more smooth goodput of good answers than
each router that asks one model and is no dearer by list price, at each rate with both kinds; partly at some.

Takes about 35 s (quick) and 2 min (full) on one core.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.paper._reproduce import Study, Verdict, axes, label_panels, main
from experiments.systems._findings import Finding, all_or_some, shown, verdict
from experiments.systems._hull import Point, hull, mean_quality
from experiments.systems._lines import line, lines, on_log_scale
from experiments.systems._measured import Numbers, gathered, means, ratio
from simulator.arrays import Floats
from simulator.results.result import Result
from simulator.scenario.scenario import Scenario
from simulator.stats import interval, paired

CLAIM = (
    "Cascades whose judge is wrong in up to 10 % of cases give the best quality for its price, and decay quickly above"
    " 20 %; predictive routers are about as good as single models (RouterBench, arXiv 2403.12031)."
)
POOLS: dict[str, dict[str, Any]] = {
    "mistral-7b": {"model": "llama-3.1-8b"},
    "wizardlm-13b": {"model": "qwen3-14b"},
    "mixtral-8x7b": {"model": "mixtral-8x7b", "tensor_parallel_size": 2},
    "yi-34b": {"model": "qwen3-32b", "tensor_parallel_size": 2, "replicas": 3},
    "gpt-4-1106": {"model": "llama-3.1-70b", "tensor_parallel_size": 4, "replicas": 2},
}
SHORT, CHAT = "short", "chat"
# Lengths, and requests/s of the fleet
TRAFFIC: dict[str, tuple[dict[str, Any], tuple[float, ...]]] = {
    SHORT: ({"prompt_tokens": 250, "output_tokens": 10}, (4.0, 16.0, 32.0)),
    CHAT: ({"lengths": "chat_azure2023"}, (1.0, 4.0, 6.0)),
}
NOISES = (0.5, 1.0, 2.0)  # of the estimate, in standard deviations of the difficulty
WORTH_USD = (1e-4, 3e-4, 1e-3, 1e-2, 3e-2, 1e-1)  # of a good answer
ERRORS = (0.0, 0.1, 0.2, 0.4)  # of the judge
MOST_CALLS = (2, 3, 4, 5)
MIX, LOADED, MEETS, CHEAPEST = "single models", "least loaded", "cheapest that meets", "mistral-7b"


def predictive(noise: float, usd: float) -> str:
    """Return the name of a router by willingness to pay."""
    return f"predictive, noise {noise:g}, ${usd:g}"


def cascade(error: float, calls: int = MOST_CALLS[-1]) -> str:
    """Return the name of a cascade."""
    return f"cascade, {100 * error:g} %, {calls} calls"


WAYS: dict[str, str | dict[str, Any]] = {
    **dict.fromkeys([*POOLS, LOADED], "least_loaded"),  # by name of a model: it alone
    MEETS: "cheapest_that_meets",  # TTFT of 1 s and the reader's pace, whatever the quality
    **{
        predictive(noise, usd): {
            "name": "willingness_to_pay", "usd_per_good_answer": usd, "estimate_error": noise,
        }
        for noise in NOISES for usd in WORTH_USD
    },
    **{
        cascade(error, calls): {"name": "cascade", "judge_error": error, "most_calls": calls}
        for error in ERRORS for calls in MOST_CALLS
    },
}  # fmt: skip
CURVES: dict[str, list[str]] = {
    MIX: list(POOLS),
    **{f"predictive, noise {noise:g}": [predictive(noise, usd) for usd in WORTH_USD] for noise in NOISES},
    **{f"cascade, {100 * error:g} %": [cascade(error, calls) for calls in MOST_CALLS] for error in ERRORS},
}
ONE_CALL = (LOADED, MEETS, predictive(1.0, 1e-3), predictive(1.0, 1e-1))
ALL, TWO = cascade(0.1), cascade(0.1, 2)
SERVED = (*ONE_CALL, TWO, ALL)  # looked at by readers
Found = Mapping[tuple[str, float, str], Numbers]


def scenario(study: Study, kind: str, rate_rps: float, way: str, seed: int) -> Scenario:
    """Return the fleet, or one of its models, under traffic of one kind."""
    lengths, _ = TRAFFIC[kind]
    pools = {
        f"pool{place}": {"gpu": "a100-80gb-sxm", "quality": name, **pool}
        for place, (name, pool) in enumerate(POOLS.items())
        if way not in POOLS or way == name
    }
    return Scenario(
        seed=seed,
        cluster={"pools": pools},
        workload={
            "arrivals": "poisson",
            "rate_rps": rate_rps,
            "requests": 120 if study.quick else 800,
            **lengths,
        },
        policy={"routing": WAYS[way]},
        user={"v_s_per_token": 0.05, "first_token_allowance_s": 1.0},
    )


def numbers(result: Result, _: Any) -> dict[str, float]:
    """Return what the study looks at of one run."""
    summary = result.summary()
    quality = summary["quality"]
    return {
        "good": quality["good_share"],
        "usd": quality["usd_per_request"],
        "calls": quality["calls_per_request"],
        "gpu_usd": quality["usd_per_good_answer"],
        "worth": quality["smooth_goodput_tokens_per_s"],
        "smooth": summary["smooth_goodput"]["smooth_goodput_tokens_per_s"],
        "ttft_s": summary["latency"]["ttft_s"]["mean"],
        "ttft_p99_s": summary["latency"]["ttft_s"]["p99"],
    }


def points(found: Found, curve: str, seed: int) -> list[Point]:
    """Return price and quality of a curve's settings and of the cheapest model, for one seed."""
    rate = TRAFFIC[SHORT][1][0]
    runs = [found[SHORT, rate, way] for way in (CHEAPEST, *CURVES[curve])]
    return [(float(run["usd"][seed]), float(run["good"][seed])) for run in runs]


def aiq(found: Found) -> dict[str, Floats]:
    """Return the mean quality of each curve over prices from the cheapest to the dearest model, f64[seeds]."""
    ends = [found[SHORT, TRAFFIC[SHORT][1][0], way]["usd"] for way in (CHEAPEST, list(POOLS)[-1])]
    return {
        curve: np.array([
            mean_quality(points(found, curve, seed), low, high)
            for seed, (low, high) in enumerate(zip(*ends, strict=True))
        ])
        for curve in CURVES
    }  # fmt: skip


def above(scores: Mapping[str, Floats], curve: str, other: str) -> bool:
    """Whether a curve is shown to be above another."""
    return paired(scores[curve].tolist(), scores[other].tolist()).above_zero


def cascades(scores: Mapping[str, Floats]) -> Finding:
    """Judge cascades with a good judge."""
    others = [curve for curve in CURVES if not curve.startswith("cascade")]
    best = [all(above(scores, f"cascade, {error} %", each) for each in others) for error in (0, 10)]
    return Finding(
        "Cascades with a judge who is wrong in up to 10 % of cases beat all others",
        "agree" if all(best) else "partly" if best[0] else "not",
        "AIQ: " + ", ".join(f"{values.mean():.3f} {curve}" for curve, values in scores.items()) + ".",
    )


def decay(scores: Mapping[str, Floats]) -> Finding:
    """Judge how cascades get worse with their judge."""
    steps = [(10, 20), (20, 40)]
    falls = [above(scores, f"cascade, {low} %", f"cascade, {high} %") for low, high in steps]
    lost = not above(scores, "cascade, 40 %", MIX)
    said = ", ".join(
        paired(scores[f"cascade, {high} %"].tolist(), scores[f"cascade, {low} %"].tolist()).text("+.3f")
        + f" from {low} to {high} %"
        for low, high in steps
    )
    over = paired(scores["cascade, 40 %"].tolist(), scores[MIX].tolist())
    return Finding(
        "They are quickly worse when the judge is wrong in more than 20 %",
        "agree" if all(falls) and lost else "partly" if all(falls) else "not",
        f"AIQ: {said}; with 40 % {over.text('+.3f')} beside the mix of single models.",
    )


def estimates(scores: Mapping[str, Floats]) -> Finding:
    """Judge routers that predict."""
    gains = {
        noise: paired(scores[f"predictive, noise {noise:g}"].tolist(), scores[MIX].tolist())
        for noise in NOISES
    }
    close = {noise: gain.low > -0.01 and gain.high < 0.01 for noise, gain in gains.items()}
    return Finding(
        "Routers that predict quality are about as good as a mix of single models",
        "agree" if close[1.0] else "partly" if close[2.0] else "not",
        "AIQ less that of the mix, by the noise of what they see: "
        + ", ".join(f"{gain.text('+.3f')} at {noise:g}" for noise, gain in gains.items())
        + ". How good theirs was at telling hard requests is not published.",
    )


def latency(found: Found) -> Finding:
    """Judge what RouterBench cannot show: how long readers wait."""
    other = ONE_CALL[-1]
    lowest = {
        kind: (found[kind, rates[0], ALL], found[kind, rates[0], other])
        for kind, (_, rates) in TRAFFIC.items()
    }
    gains = {kind: ratio(*each, "ttft_s") for kind, each in lowest.items()}
    twice = [gain.low > 2 for gain in gains.values()]
    return Finding(
        "Cascades pay for it in latency (expected; RouterBench has none)",
        all_or_some(twice),
        f"Mean TTFT of the cascade with 10 % over that of {other}, at the lowest rate: "
        + ", ".join(
            f"{kind} {gain.text('.1f')} times ({lowest[kind][0]['ttft_s'].mean():.2f} s, p99"
            f" {lowest[kind][0]['ttft_p99_s'].mean():.1f} s, {lowest[kind][0]['calls'].mean():.1f} calls)"
            for kind, gain in gains.items()
        )
        + ". Each model that is asked answers to the end before its judge reads.",
    )  # fmt: skip


def readers(found: Found) -> Finding:
    """Judge whether the best quality for the money is the best for readers."""
    ahead, said = [], []
    for kind, (_, rates) in TRAFFIC.items():
        for rate in rates:
            runs = {way: found[kind, rate, way] for way in (ALL, *ONE_CALL)}
            mine = runs.pop(ALL)
            cheap = [way for way, run in runs.items() if run["usd"].mean() <= mine["usd"].mean()]
            gains = [paired(mine["worth"].tolist(), runs[way]["worth"].tolist()) for way in cheap]
            ahead.append(all(gain.above_zero for gain in gains))
            best = {
                max(ways, key=lambda way: runs[way]["worth"].mean()): None
                for ways in (cheap, ONE_CALL)
                if ways
            }
            others = " and ".join(f"{runs[way]['worth'].mean():,.0f} ({way})" for way in best)
            said.append(f"{kind} {rate:g}/s {mine['worth'].mean():,.0f} for {others}")
    return Finding(
        "Who has the best quality for its price serves readers best (expected)",
        all_or_some(ahead),
        "Smooth goodput of good answers, tokens/s, of the cascade with 10 %, for the best that asks one model and is no"
        " dearer by list price, and the best at any price: " + "; ".join(said) + ".",
    )


def run(study: Study) -> Verdict:
    """Measure, draw, write the tables, and judge."""
    cases = [(SHORT, TRAFFIC[SHORT][1][0], way) for way in WAYS]
    read = [(kind, rate, way) for kind, (_, rates) in TRAFFIC.items() for rate in rates for way in SERVED]
    all_cases = dict.fromkeys([*cases, *read])
    runs = {case: [scenario(study, *case, seed) for seed in study.seeds] for case in all_cases}
    found = gathered(study, runs, numbers, "routers")
    scores = aiq(found)
    figure, grid = axes(1, 3, width="text", height_in=2.4)
    for place, curve in enumerate((MIX, "predictive, noise 1", "cascade, 40 %", "cascade, 10 %")):
        mean = np.mean([points(found, curve, seed) for seed in study.seeds], axis=0)
        x, y = np.array(hull(mean.tolist())).T
        line(grid[0, 0], (1e3 * x).tolist(), [interval([each]) for each in y], curve, place)
    on_log_scale(grid[0, 0], (0.05, 0.1, 0.3, 1.0, 3.0))
    grid[0, 0].set(title="Quality for its price", xlabel="US$ for 1,000 requests", ylabel="good answers")
    for panel, kind in zip(grid[0, 1:], TRAFFIC, strict=True):
        rates = TRAFFIC[kind][1]
        drawn = (LOADED, ONE_CALL[-1], TWO, ALL)
        lines(panel, rates, {way: [found[kind, rate, way]["worth"] for rate in rates] for way in drawn})
        panel.set(title=f"Good answers, {kind}", xlabel="requests/s", ylabel="smooth goodput, tokens/s")
    grid[0, 0].legend(fontsize=5)
    grid[0, 2].legend(fontsize=5, loc="lower left")
    label_panels(grid)
    study.save(figure, "quality_and_readers")
    columns: dict[str, list[str]] = {"answers": [kind for kind, _, _ in read]}
    columns |= {"requests/s": [f"{rate:g}" for _, rate, _ in read], "router": [way for *_, way in read]}
    columns |= means(found, read, {
        "good answers": ("good", 1.0, ".3f"), "calls": ("calls", 1.0, ".2f"),
        "list price, US$ a 1,000": ("usd", 1e3, ".3f"), "GPUs, US$ a 1,000 good answers": ("gpu_usd", 1e3, ".2f"),
        "mean TTFT, s": ("ttft_s", 1.0, ".2f"), "smooth goodput, tokens/s": ("smooth", 1.0, ",.0f"),
        "of good answers": ("worth", 1.0, ",.0f"),
    })  # fmt: skip
    shown(study, "routers", columns)
    findings = [cascades(scores), decay(scores), estimates(scores), latency(found), readers(found)]
    return verdict(study, CLAIM, findings)


if __name__ == "__main__":
    main(run)
