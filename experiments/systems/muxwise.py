"""MuxWise: prompts and decodes at once on two parts of a GPU; more load within bounds, and do readers notice?

**Question.** MuxWise gives decodes the fewest SMs with which tokens come in time, and prompts the others. How much more
load is kept within bounds on TTFT and TBT than by chunked prefill and by disaggregation on the same GPUs? Do readers,
who take text at their own pace, get more?

**Reported** (Zhu et al., arXiv 2504.14489): 2.20 times the peak throughput within the bounds on average over chunked
prefill (SGLang, 512 tokens), NanoFlow, LoongServe and disaggregation (SGLang, 1:1), up to 3.06 times; on H100 and H200
p99 TTFT 2.28 times and p99 TBT 1.81 times lower than chunked. TBT within 50 ms with an 8B model.

**Here** Llama-3.1-8B on two A100-80GB, engine of vLLM 0.24 (step by step for who splits SMs), contexts up to 16,384
tokens: two replicas of MuxWise, of SGLang's groups, of chunks of 512 tokens, and of chunks that are sized for each
step's TBT; or one GPU for prompts and one for decodes, over NVLink. Chat and summaries of long texts, Poisson arrivals.
A request is kept if its TTFT (1 s, summaries 2 s) and its p99 TBT (50 ms) are; those who aim at a TBT aim at 48 ms.
Readers take 20 tokens/s and allow the bound on TTFT. How kernels are slowed on a part of the GPU is not validated:
prompts are taken to scale with SMs in full, which is the worst case, and a sweep says what less would do.

**Tests**, 95 % intervals over seeds, paired; capacity is where attainment falls below 0.9. Capacity: agree if it is 1.5
times that of the best of chunks of 512 and disaggregation or more, in the geometric mean over kinds of traffic; partly
if it is shown to be higher with each. TBT: agree if no p99 TBT is over 50 ms at any rate, and that of chunks of 512 is
at some. TTFT: agree if p99 is half of that of chunks of 512 or less at the highest rate with each kind of traffic,
partly if shown to be lower. Sized chunks: agree if the capacity is shown to be higher than theirs with each. Groups:
agree if SGLang's are shown to have less capacity with each, partly with some. Readers: agree if at the highest rate it
is shown to have more smooth goodput than all others with each, partly with some.

Takes about 40 s (quick) and 2 min (full) on one core.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.paper._reproduce import Study, Verdict, axes, label_panels, main
from experiments.systems._findings import Agreement, Finding, all_or_some, shown, verdict
from experiments.systems._lines import lines
from experiments.systems._measured import KEPT, Numbers, capacity, gathered, means, ratio
from simulator.results.result import Result
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, paired

CLAIM = (
    "Prompts and decodes at once on two parts of a GPU raise the throughput within bounds on TTFT and TBT 2.2 times on"
    " average (arXiv 2504.14489)."
)
GPU, TBT_S, AIM_S = "a100-80gb-sxm", 0.05, 0.048
# Lengths, bound on TTFT in s, requests/s of both GPUs
TRAFFIC: dict[str, tuple[str, float, tuple[float, ...]]] = {
    "chat": ("chat_azure2023", 1.0, (6.0, 8.0, 10.0, 12.0, 14.0, 16.0)),
    "summaries": ("arxiv_summarization_4k", 2.0, (4.0, 6.0, 7.0, 8.0, 9.0, 10.0)),
}
MUXWISE, GROUPS, SIZED, CHUNKS, APART = (
    "MuxWise",
    "SGLang's groups",
    "sized chunks",
    "chunks of 512",
    "disaggregated",
)
WAYS: dict[str, dict[str, Any]] = {
    MUXWISE: {"name": "muxwise", "tbt_target_s": AIM_S},
    GROUPS: {"name": "pdmux_sglang"},
    SIZED: {"name": "sarathi", "chunk_size": 16384, "tbt_target_s": AIM_S},
    CHUNKS: {"name": "sarathi", "chunk_size": 512},
    APART: {"name": "vllm_v1"},
}
PAPERS = (CHUNKS, APART)  # of the paper's baselines, those that are here
SCALINGS = (0.5, 0.75, 1.0)  # share of a prompt's time that grows as its SMs get fewer
SWEPT = "chat"
Found = Mapping[tuple[str, str, float], Numbers]


def scenario(study: Study, kind: str, way: str, rate_rps: float, seed: int, **hardware: str) -> Scenario:
    """Return two GPUs under one kind of traffic."""
    lengths, ttft_s, _ = TRAFFIC[kind]
    pools = {"prefill": {"replicas": 1}, "decode": {"replicas": 1}, "link": {"kind": "nvlink"}}
    return Scenario(
        seed=seed,
        hardware={"gpu": GPU, "model": "llama-3.1-8b", **hardware},
        engine={"max_model_len": 16384, "max_num_batched_tokens": 16384, "max_num_seqs": 256},
        cluster=pools if way == APART else {"replicas": 2},
        workload={
            "arrivals": "poisson",
            "rate_rps": rate_rps,
            "duration_s": 20 if study.quick else 40,
            "lengths": lengths,
        },
        policy={"scheduling": WAYS[way], "routing": "least_loaded"},
        slo={"ttft_s": ttft_s, "tail_tbt_s": TBT_S},
        user={"v_s_per_token": 0.05, "first_token_allowance_s": ttft_s},
    )


def numbers(result: Result, _: Any) -> dict[str, float]:
    """Return what the study looks at of one run."""
    summary = result.summary()
    latency = summary["latency"]
    return {
        "kept": summary["slo"]["attainment_all"],
        "goodput": summary["slo"]["goodput_requests_per_s"],
        "ttft_s": latency["ttft_s"]["p99"],
        "tbt_s": latency["tbt_s"]["p99"],
        "smooth": summary["smooth_goodput"]["smooth_goodput_tokens_per_s"],
    }


def capacities(found: Found, kind: str) -> dict[str, Numbers]:
    """Return the capacity of each way to serve a kind of traffic, requests/s, f64[seeds] under one name."""
    rates = TRAFFIC[kind][2]
    return {way: {"rps": capacity(rates, [found[kind, way, rate]["kept"] for rate in rates])} for way in WAYS}


def by_kind(found: Found, others: tuple[str, ...]) -> tuple[list[Interval], str]:
    """Return MuxWise's capacity over the best of others' for each kind of traffic, and say so."""
    gains, said = [], []
    for kind in TRAFFIC:
        mine = capacities(found, kind)
        best = max(others, key=lambda way: float(mine[way]["rps"].mean()))
        gains.append(ratio(mine[MUXWISE], mine[best], "rps"))
        rates = f"{mine[MUXWISE]['rps'].mean():.1f} requests/s for {mine[best]['rps'].mean():.1f} ({best})"
        said.append(f"{kind} {rates}, {gains[-1].text('.2f')} times")
    return gains, "; ".join(said)


def more_load(found: Found) -> Finding:
    """Judge the capacity against chunks of 512 tokens and disaggregation."""
    gains, said = by_kind(found, PAPERS)
    mean = float(np.exp(np.mean([np.log(gain.mean) for gain in gains])))
    higher = all(gain.low > 1 for gain in gains)
    return Finding(
        "2.2 times the throughput within bounds on average, up to 3.06 times",
        "agree" if mean >= 1.5 else "partly" if higher else "not",
        f"Capacity at {100 * KEPT:.0f} % kept, of the better of chunks of 512 tokens and disaggregation: {said};"
        f" {mean:.2f} times in the geometric mean.",
    )


def in_time(found: Found) -> Finding:
    """Judge whether TBT is bounded at every rate, which chunks of one size for all loads do not do."""
    worst = {
        way: max(
            float(found[kind, way, rate]["tbt_s"].max()) for kind in TRAFFIC for rate in TRAFFIC[kind][2]
        )
        for way in WAYS
    }
    held, broken = worst[MUXWISE] <= TBT_S, worst[CHUNKS] > TBT_S
    return Finding(
        "TBT within 50 ms at every rate, which chunks of 512 tokens break",
        "agree" if held and broken else "partly" if held else "not",
        "Largest p99 TBT of a run: " + ", ".join(f"{way} {1e3 * worst[way]:.0f} ms" for way in WAYS) + ".",
    )


def first_tokens(found: Found) -> Finding:
    """Judge p99 TTFT against chunks of 512 tokens at the highest rate."""
    gains = {
        kind: ratio(found[kind, CHUNKS, rates[-1]], found[kind, MUXWISE, rates[-1]], "ttft_s")
        for kind, (_, _, rates) in TRAFFIC.items()
    }
    half, lower = all(gain.mean >= 2 for gain in gains.values()), all(gain.low > 1 for gain in gains.values())
    return Finding(
        "p99 TTFT 2.28 times lower than with chunks of 512 tokens (reported of H100 and H200)",
        "agree" if half else "partly" if lower else "not",
        "Theirs over MuxWise's at the highest rate: "
        + ", ".join(f"{kind} {gain.text('.2f')}" for kind, gain in gains.items())
        + ".",
    )


def more_capacity(gains: Sequence[Interval]) -> Agreement:
    """Agree if the capacity is shown to be more with each kind of traffic, partly if with some."""
    return all_or_some([gain.low > 1 for gain in gains])


def sized_chunks(found: Found) -> Finding:
    """Judge the capacity against chunks that are sized for the bound, step by step."""
    gains, said = by_kind(found, (SIZED,))
    return Finding(
        "More than with chunks that are sized for each step's TBT (expected)",
        more_capacity(gains),
        f"Capacity: {said}.",
    )


def groups(found: Found) -> Finding:
    """Judge SGLang's simpler rule."""
    gains, said = by_kind(found, (GROUPS,))
    return Finding(
        "Few groups of SMs, chosen by how many decode, keep less load (expected)",
        more_capacity(gains),
        f"Capacity: {said}. The groups' decodes are faster than they need be, and a batch that is through before a"
        " decode step ends leaves its SMs idle until then.",
    )


def readers(found: Found) -> Finding:
    """Judge whether readers get most from it beyond capacity."""
    ahead, said, below = [], [], []
    for kind, (_, _, rates) in TRAFFIC.items():
        at = {rate: {way: found[kind, way, rate]["smooth"] for way in WAYS} for rate in (rates[0], rates[-1])}
        mine = at[rates[-1]].pop(MUXWISE)
        gains = {way: paired(mine.tolist(), others.tolist()) for way, others in at[rates[-1]].items()}
        ahead.append(all(gain.above_zero for gain in gains.values()))
        more = ", ".join(f"{gain.text('+.0f')} ({way})" for way, gain in gains.items())
        said.append(f"{kind} {mine.mean():,.0f}: {more}")
        below += [f"{kind} {', '.join(f'{each.mean():,.0f} ({way})' for way, each in at[rates[0]].items())}"]
    return Finding(
        "Who keeps most load within TTFT and TBT serves readers best (expected)",
        all_or_some(ahead),
        f"Smooth goodput at the highest rate, tokens/s, and what it is more than that of others: {'; '.join(said)}."
        f" At the lowest rate, all within bounds: {'; '.join(below)}.",
    )


def scaled(swept: Mapping[tuple[float, str, float], Numbers]) -> Finding:
    """Judge how much depends on what is not known: how prompts scale with SMs."""
    rates = TRAFFIC[SWEPT][2]
    rps = {
        (scaling, way): {"rps": capacity(rates, [swept[scaling, way, rate]["kept"] for rate in rates])}
        for scaling in SCALINGS
        for way in (MUXWISE, CHUNKS)
    }
    gains = {each: ratio(rps[each, MUXWISE], rps[each, CHUNKS], "rps") for each in SCALINGS}
    worst = gains[SCALINGS[-1]]
    same = all((gain.low > 1) == (worst.low > 1) for gain in gains.values())
    said = ", ".join(f"{gain.text('.2f')} at {each:g}" for each, gain in gains.items())
    return Finding(
        "The order does not hang on how prompts scale with SMs, which is assumed (expected)",
        "agree" if same else "not",
        f"Capacity over that of chunks of 512 tokens, {SWEPT}, formula for tables, by the share of a prompt's time that"
        f" scales: {said}.",
    )


def derived(study: Study, scaling: float) -> str:
    """Write the profile of a GPU whose prompts scale so, and return its path."""
    path = study.out.parent / "cache" / f"prompts-scale-{scaling:g}.toml"
    path.parent.mkdir(exist_ok=True)
    said = f'name = "{path.stem}"\nlike = "{GPU}"\n[sm_split]\nprompt_scaling = {scaling}\n'
    path.write_text(said, encoding="utf-8")
    return str(path)


def run(study: Study) -> Verdict:
    """Measure, draw, write the tables, and judge."""
    cases = [(kind, way, rate) for kind in TRAFFIC for way in WAYS for rate in TRAFFIC[kind][2]]
    found = gathered(
        study,
        {case: [scenario(study, *case, seed) for seed in study.seeds] for case in cases},
        numbers,
        "rates",
    )
    gpus = {scaling: derived(study, scaling) for scaling in SCALINGS}
    swept = gathered(
        study,
        {
            (scaling, way, rate): [
                scenario(study, SWEPT, way, rate, seed, gpu=gpus[scaling], cost_model="analytic")
                for seed in study.seeds
            ]
            for scaling in SCALINGS
            for way in (MUXWISE, CHUNKS)
            for rate in TRAFFIC[SWEPT][2]
        },
        numbers,
        "scaling",
    )
    drawn = (MUXWISE, SIZED, CHUNKS, APART)
    figure, grid = axes(len(TRAFFIC), 2, width="text", height_in=4.2)
    for row, (kind, (_, _, rates)) in zip(grid, TRAFFIC.items(), strict=True):
        panels = (("kept", "within bounds", "share of requests"), ("smooth", "smooth goodput", "tokens/s"))
        for panel, (name, title, unit) in zip(row, panels, strict=True):
            lines(panel, rates, {way: [found[kind, way, rate][name] for rate in rates] for way in drawn})
            panel.set(title=f"{kind}: {title}", xlabel="requests/s", ylabel=unit)
        row[0].set_ylim(0, 1.05)
    grid[0, 0].legend(loc="lower left", fontsize=6)
    label_panels(grid)
    study.save(figure, "bounds_and_readers")
    columns: dict[str, list[str]] = {"traffic": [kind for kind, _, _ in cases]}
    columns |= {"served by": [way for _, way, _ in cases], "requests/s": [f"{rate:g}" for *_, rate in cases]}
    columns |= means(found, cases, {
        "within bounds": ("kept", 1.0, ".3f"), "goodput, requests/s": ("goodput", 1.0, ".2f"),
        "p99 TTFT, s": ("ttft_s", 1.0, ".2f"), "p99 TBT, ms": ("tbt_s", 1e3, ".1f"),
        "smooth goodput, tokens/s": ("smooth", 1.0, ",.0f"),
    })  # fmt: skip
    shown(study, "rates", columns)
    findings = [
        more_load(found), in_time(found), first_tokens(found), sized_chunks(found), groups(found), scaled(swept),
        readers(found),
    ]  # fmt: skip
    return verdict(study, CLAIM, findings)


if __name__ == "__main__":
    main(run)
