"""JITServe: is more served in time if the reward of a second decides who runs, and is it better for readers?

**Question.** JITServe (first "Tempo") gives the batch to those whose reward for the time they still take is largest,
of like length, and bounds output lengths from above. Is more served in time than by the schedulers that know no
promises? Do readers and programs, who wait on after a missed bound, get more?

**Reported** (Zhang et al., arXiv 2504.20068): 1.4 to 6.3 times the service goodput of vLLM, Sarathi, Autellix, LTR
and SLOs-Serve, 28.5 to 83.2 % fewer resources for the same, within 3 to 9 % of an oracle; Llama-3.1-8B among others,
16 A100. A third each: latency (TTFT 2 s, TBT 100 ms), deadline (20 s), collective (20 s a stage). Service goodput:
tokens of latency requests by TTFT + i TBT; all tokens of the others if the last is in time.

**Here** the same classes and bounds, as many calls of each, Poisson arrivals, lengths of Azure's chat; collections of
2 to 4 stages of 1 to 3 calls each. Llama-3.1-8B on one A100-80GB, 32 seats as in the authors' script, 16 GiB to swap
to. JITServe and LTR see predictions with an error of 0.4 (standard deviation of the logarithm), for which a quantile
of errors stands in for their forest; rewards fall with power 100, as in the paper's runs. Readers of latency requests
take 20 tokens/s and allow 2 s; the other requests are waited for whole, with 20 s allowed for each call, and a second
of waiting costs 20 tokens in either case.

**Tests**, 95 % intervals over seeds, paired. Goodput: agree if at some rate it is shown to be above that of each
baseline, and 1.4 times each or more; partly if shown to be above. Resources: capacity is where less than 90 % of
tokens are in time; agree if each baseline's is shown to be lower and 28.5 % lower in the mean, partly if shown to be
lower. Oracle: agree if at each rate goodput is 91 % of that with exact lengths or more, partly if at some. Window:
agree if at the highest rate it is shown to be above that of the choice by reward alone. Readers: agree if who has
most service goodput has most smooth goodput at each rate at which both are shown to have more than the second; partly
if at some.

Takes about 30 s (quick) and 2 min (full) on one core.
"""

from collections.abc import Mapping
from typing import Any

from experiments.paper._reproduce import Study, Verdict, axes, label_panels, main
from experiments.systems._findings import Agreement, Finding, all_or_some, shown, verdict
from experiments.systems._jitserve_traffic import READER_S_PER_TOKEN, TTFT_S, in_time, write_traffic
from experiments.systems._lines import lines
from experiments.systems._measured import KEPT, Numbers, best, capacity, gathered, means, ratio
from simulator.results.result import Result
from simulator.scenario.scenario import Scenario
from simulator.stats import interval, paired

CLAIM = (
    "A scheduler by the reward of a second has 1.4 to 6.3 times the service goodput of others, with 28.5 to 83.2 %"
    " fewer resources (JITServe, arXiv 2504.20068)."
)
RATES = (4.0, 6.0, 8.0, 12.0)  # requests/s
OURS: dict[str, Any] = {"name": "jitserve", "penalty": 100.0}
JIT, ALONE, EXACT, SMOOTH = "JITServe", "JITServe, reward alone", "JITServe, exact lengths", "smooth"
WAYS: dict[str, str | dict[str, Any]] = {
    "vLLM": "vllm_v1",
    "Sarathi": "sarathi",
    "Autellix": "autellix",
    "LTR": "ltr",
    "SLOs-Serve": "slos_serve",
    JIT: OURS,
    ALONE: {**OURS, "candidates": 1.0},
    EXACT: OURS,
    SMOOTH: "smooth",
}
BASELINES = [way for way in WAYS if not way.startswith(JIT) and way != SMOOTH]
KINDS = ("latency", "deadline", "collective")
Found = Mapping[tuple[float, str], Numbers]


def scenario(study: Study, rate_rps: float, way: str, seed: int) -> Scenario:
    """Return the server under the three kinds of requests; the trace is made once and kept."""
    requests = round(rate_rps * (50 if study.quick else 120))
    path = study.out.parent / "cache" / f"jitserve-{rate_rps:g}-{requests}-{seed}.jsonl"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        write_traffic(path, rate_rps, requests, seed)
    error = {"predictor": "lognormal", "predictor_sigma": 0.4}
    return Scenario(
        seed=seed,
        hardware={"gpu": "a100-80gb-sxm", "model": "llama-3.1-8b"},
        engine={"max_num_seqs": 32, "swap_space": 16.0},
        workload={"trace": str(path.resolve()), **({"predictor": "perfect"} if way == EXACT else error)},
        policy={"scheduling": WAYS[way]},
        user={"v_s_per_token": READER_S_PER_TOKEN, "first_token_allowance_s": TTFT_S, "alpha": 20.0},
    )


def numbers(result: Result, _: Any) -> dict[str, float]:
    """Return what the study looks at of one run."""
    found, summary = in_time(result), result.summary()
    arrival_s = result.log.arrival_s
    tokens = sum(each.tokens for each in found.values())
    return {
        "goodput": tokens / float(arrival_s[-1] - arrival_s[0]),
        "kept": tokens / sum(each.of_tokens for each in found.values()),
        "smooth": summary["smooth_goodput"]["smooth_goodput_tokens_per_s"],
        "ttft_s": summary["latency"]["ttft_s"]["mean"],
        **{kind: each.tokens / each.of_tokens for kind, each in found.items()},
    }


def goodput(found: Found) -> Finding:
    """Judge service goodput against each baseline."""
    outcome: Agreement = "not"
    said = []
    for rate in RATES:
        gains = {way: ratio(found[rate, JIT], found[rate, way], "goodput") for way in BASELINES}
        ahead = all(
            paired(found[rate, JIT]["goodput"].tolist(), found[rate, way]["goodput"].tolist()).above_zero
            for way in BASELINES
        )
        if ahead:
            much = all(gain.mean >= 1.4 for gain in gains.values())
            outcome = "agree" if much or outcome == "agree" else "partly"
        said.append(f"{rate:g}/s " + ", ".join(f"{gain.text('.2f')} ({way})" for way, gain in gains.items()))
    return Finding(
        "1.4 to 6.3 times the service goodput of its baselines",
        outcome,
        f"Service goodput over that of others: {'; '.join(said)}.",
    )


def resources(found: Found) -> Finding:
    """Judge the load at which most is still in time."""
    rps = {way: capacity(RATES, [found[rate, way]["kept"] for rate in RATES]) for way in WAYS}
    lower = {way: interval((1 - rps[way] / rps[JIT]).tolist()) for way in BASELINES}
    less = all(gain.low > 0 for gain in lower.values())
    much = less and all(gain.mean >= 0.285 for gain in lower.values())
    said = ", ".join(
        f"{rps[way].mean():.1f} requests/s {way} ({gain.text('.1f', 100)} % less)"
        for way, gain in lower.items()
    )
    return Finding(
        "28.5 to 83.2 % fewer resources for the same load",
        "agree" if much else "partly" if less else "not",
        f"Capacity at {100 * KEPT:.0f} % of tokens in time: {rps[JIT].mean():.1f} requests/s JITServe, {said}.",
    )


def oracle(found: Found) -> Finding:
    """Judge what exact lengths would add."""
    shares = {rate: ratio(found[rate, JIT], found[rate, EXACT], "goodput") for rate in RATES}
    return Finding(
        "Within 3 to 9 % of an oracle",
        all_or_some([share.mean >= 0.91 for share in shares.values()]),
        "Service goodput over that with exact lengths: "
        + ", ".join(f"{share.text('.2f')} at {rate:g}/s" for rate, share in shares.items())
        + ".",
    )


def window(found: Found) -> Finding:
    """Judge the choice of neighbours in length."""
    gains = {rate: ratio(found[rate, JIT], found[rate, ALONE], "goodput") for rate in RATES}
    return Finding(
        "A batch of like lengths (GMAX) serves more in time than the batch of most reward",
        "agree" if gains[RATES[-1]].low > 1 else "not",
        "Service goodput over that of the choice by reward alone: "
        + ", ".join(f"{gain.text('.2f')} at {rate:g}/s" for rate, gain in gains.items())
        + ". Our reading: attention that pays for each sequence's own context gains nothing from like lengths.",
    )


def readers(found: Found) -> Finding:
    """Judge whether who serves most in time is best for those who wait."""
    same, said = [], []
    for rate in RATES:
        at = {way: found[rate, way] for way in WAYS}
        (most, sure), (smoothest, sure_too) = best(at, "goodput"), best(at, "smooth")
        if sure and sure_too:
            same.append(most == smoothest)
        said.append(
            f"{rate:g}/s {most} ({at[most]['smooth'].mean():,.0f} tokens/s) and {smoothest}"
            f" ({at[smoothest]['smooth'].mean():,.0f})"
        )
    late = found[RATES[-1], JIT]
    return Finding(
        "Who serves most in time serves readers best (expected)",
        all_or_some(same) if same else "not",
        f"Most service goodput, most smooth goodput: {'; '.join(said)}. What has missed its bound has no reward left"
        f" and comes last: at {RATES[-1]:g}/s the mean TTFT of JITServe is {late['ttft_s'].mean():.1f} s,"
        f" {found[RATES[-1], 'vLLM']['ttft_s'].mean():.1f} s that of vLLM.",
    )


def run(study: Study) -> Verdict:
    """Measure, draw, write the tables, and judge."""
    cases = [(rate, way) for rate in RATES for way in WAYS]
    found = gathered(
        study,
        {case: [scenario(study, *case, seed) for seed in study.seeds] for case in cases},
        numbers,
        "rates",
    )
    figure, grid = axes(1, 3, width="text", height_in=2.4)
    panels = (("kept", "Tokens in time", "share"), ("collective", "Of collections", "share"),
              ("smooth", "Smooth goodput", "tokens/s"))  # fmt: skip
    for panel, (name, title, unit) in zip(grid[0], panels, strict=True):
        drawn = ("vLLM", "LTR", JIT, SMOOTH)
        lines(panel, RATES, {way: [found[rate, way][name] for rate in RATES] for way in drawn})
        panel.set(title=title, xlabel="requests/s", ylabel=unit)
    for panel in grid[0, :2]:
        panel.set_ylim(0, 1.05)
    grid[0, 0].legend(loc="lower left", fontsize=6)
    label_panels(grid)
    study.save(figure, "in_time_and_readers")
    columns = {"requests/s": [f"{rate:g}" for rate, _ in cases], "served by": [way for _, way in cases]}
    columns |= means(found, cases, {
        "service goodput, tokens/s": ("goodput", 1.0, ",.0f"), "tokens in time": ("kept", 1.0, ".3f"),
        **{kind: (kind, 1.0, ".3f") for kind in KINDS},
        "smooth goodput, tokens/s": ("smooth", 1.0, ",.0f"), "mean TTFT, s": ("ttft_s", 1.0, ".2f"),
    })  # fmt: skip
    shown(study, "rates", columns)
    findings = [goodput(found), resources(found), oracle(found), window(found), readers(found)]
    return verdict(study, CLAIM, findings)


if __name__ == "__main__":
    main(run)
