"""Aladdin: how many fewer GPUs does best fit within bounds need, and do readers need as many?

**Question.** Aladdin places a request where the fullest replica still keeps all its requests' bounds, and has as few
replicas as this takes. How many GPUs does that save, beside joining the shortest queue? Do readers, who take text at
their own pace, need as many?

**Reported** (Nie et al., arXiv 2405.06856): up to 71 % fewer GPUs than default vLLM for the same attainment
(simulated, high demand); for decodes alone up to 60 % fewer than joining the shortest queue and 49 % fewer than power
of two choices. Llama-2 of 7B to 70B, A100 and V100, ShareGPT, outputs up to 2,048 tokens. Bounds: TTFT the time of a
prompt of 4,096 tokens; ATGT, the mean time of a token after the first, 1.3 times that of a request alone.
Coefficients and code are not published.

**Here** Llama-2-7B on A100-80GB, 20 requests/s with ShareGPT's lengths, bounds as above by the simulator's own times;
lengths are predicted with an error of 0.4 (standard deviation of the logarithm). One to eight GPUs, each for all:
default vLLM (prompts first, as in 2024; the shortest queue), today's vLLM with the shortest queue, and with best fit,
which aims at 95 % of the bound on ATGT, as prompts computed beside decodes are not in its model. Then two GPUs for
prompts, and one to eight for decodes. Last a load that rises from 0.3 to 1.7 times 12 requests/s and falls again, for
the scaling policies; a replica takes 15 s to come. Readers take 20 tokens/s and allow 1 s.

**Tests**, 95 % intervals over seeds, paired; GPUs needed are those from which on 90 % keep both bounds. Default vLLM:
agree if 50 % fewer in the mean and shown to be fewer, partly if shown to be fewer. Decodes: agree if shown to be
fewer than with each, and by a quarter or more; partly if shown to be fewer. Scaling: agree if with 90 % kept it is
shown to take fewer GPU hours than four GPUs, which the shortest queue needs at the peak, and than a target for
requests in each; partly with four GPUs only. Readers: GPUs needed are those from which on smooth goodput is 99 % of
the tokens asked for. Agree if not shown to be fewer than the bounds', partly if by less than a quarter.

Takes about 25 s (quick) and 2 min (full) on one core.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.paper._reproduce import Study, Verdict, axes, label_panels, main
from experiments.systems._findings import Finding, shown, verdict
from experiments.systems._lines import lines
from experiments.systems._measured import KEPT, Numbers, capacity, gathered, means, ratio
from simulator.results.result import Result
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, interval, paired

CLAIM = (
    "Best fit within bounds, on as few GPUs as it takes, needs up to 71 % fewer than default vLLM (Aladdin, arXiv"
    " 2405.06856)."
)
RATE_RPS = 20.0
COUNTS = (1, 2, 3, 4, 5, 6, 8)  # GPUs, for all or for decodes
# Of a prompt of 4,095 tokens, and of a token of one request alone with 1,000 of context: measured here
FULL_PROMPT_S, ALONE_S = 0.247, 0.0113
ATGT_S = 1.3 * ALONE_S
FIT = {"name": "aladdin", "ttft_s": FULL_PROMPT_S, "atgt_s": 0.95 * ATGT_S}
DEFAULT, SHORTEST, BEST = "default vLLM", "shortest queue", "best fit"
WAYS = {DEFAULT: ("vllm_v0", "least_loaded"), SHORTEST: ("vllm_v1", "least_loaded"), BEST: ("vllm_v1", FIT)}
TWO = "power of two"
DECODES: dict[str, str | dict[str, Any]] = {
    SHORTEST: "least_loaded",
    TWO: "power_of_two",
    BEST: {**FIT, "ttft_s": 100.0},  # prompts are computed elsewhere
}
FIXED, IN_EACH, ALADDIN = "4 GPUs", "14 requests in each", "Aladdin"
DELAY_S = 30.0  # before replicas are given back
ELASTIC: dict[str, dict[str, Any]] = {
    FIXED: {"routing": "least_loaded"},
    IN_EACH: {  # as many as each of the four has at the peak
        "routing": "least_loaded",
        "scaling": {
            "name": "target_concurrency", "requests": 14.0, "window_s": 15.0, "scale_down_delay_s": DELAY_S,
        },
    },
    ALADDIN: {
        "routing": FIT,
        "scaling": {**FIT, "interval_s": 5.0, "scale_down_delay_s": DELAY_S},
    },
}  # fmt: skip
Found = Mapping[tuple[str, int], Numbers]


def scenario(seed: int, cluster: dict[str, Any], policy: dict[str, Any], **workload: Any) -> Scenario:
    """Return replicas under traffic with ShareGPT's lengths, and what is promised and read."""
    return Scenario(
        seed=seed,
        hardware={"gpu": "a100-80gb-sxm", "model": "llama-2-7b"},
        engine={"max_model_len": 4096, "max_num_seqs": 256},
        cluster=cluster,
        workload={
            "arrivals": "poisson",
            "lengths": "chat_sharegpt_vllm",
            "max_tokens": 2048,
            "predictor": "lognormal",
            "predictor_sigma": 0.4,
            **workload,
        },
        policy=policy,
        slo={"ttft_s": FULL_PROMPT_S, "tpot_s": ATGT_S},
        user={"v_s_per_token": 0.05, "first_token_allowance_s": 1.0},
    )


def steady(study: Study, way: str, count: int, seed: int) -> Scenario:
    """Return so many GPUs, each for prompts and decodes, under a steady load."""
    scheduling, routing = WAYS[way]
    policy = {"scheduling": scheduling, "routing": routing}
    return scenario(
        seed, {"replicas": count}, policy, rate_rps=RATE_RPS, duration_s=20 if study.quick else 60
    )


def decodes(study: Study, way: str, count: int, seed: int) -> Scenario:
    """Return two GPUs for prompts and so many for decodes, under the same load."""
    cluster = {
        "prefill": {"replicas": 2},
        "decode": {"replicas": count},
        "link": {"kind": "nvlink"},
        "hand_off": {"routing": DECODES[way]},
    }
    duration_s = 20 if study.quick else 60
    return scenario(seed, cluster, {"scheduling": "vllm_v1"}, rate_rps=RATE_RPS, duration_s=duration_s)


def elastic(study: Study, way: str, seed: int) -> Scenario:
    """Return a pool that is scaled, or four GPUs, under a load that rises and falls."""
    scaling = {"max_replicas": 12, "provision_s": 5.0, "load_s": 10.0}
    cluster = {"replicas": 4} if way == FIXED else {"replicas": 1, "scaling": scaling}
    last_s = 300.0 if study.quick else 900.0
    return scenario(
        seed,
        cluster,
        {"scheduling": "vllm_v1", **ELASTIC[way]},
        rate_rps=12.0,
        duration_s=last_s,
        load_points=[[0.0, 0.3], [last_s / 2, 1.7], [last_s, 0.3]],
        load_interpolation="linear",
    )


def numbers(result: Result, _: Any) -> dict[str, float]:
    """Return what the study looks at of one run."""
    summary = result.summary()
    latency = summary["latency"]
    return {
        "kept": summary["slo"]["attainment_all"],
        "smooth": summary["smooth_goodput"]["smooth_goodput_tokens_per_s"],
        "worth": summary["smooth_goodput"][
            "per_requested_token"
        ],  # a short run's last answers do not count in it
        "gpu_hours": summary["cost"]["gpu_hours"],
        "tpot_s": latency["tpot_s"]["mean"],
        "ttft_s": latency["ttft_s"]["p99"],
    }


def needed(found: Found, ways: Sequence[str], name: str = "kept", least: float = KEPT) -> dict[str, Numbers]:
    """Return the GPUs from which on a number is not below ``least``, by way, f64[seeds] under one name."""
    counts = COUNTS[::-1]
    loads = [RATE_RPS / count for count in counts]
    return {
        way: {"gpus": RATE_RPS / capacity(loads, [found[way, count][name] for count in counts], least)}
        for way in ways
    }


def fewer(gpus: Mapping[str, Numbers], other: str) -> tuple[Interval, str]:
    """Return the share of GPUs that best fit saves beside another way, and say so."""
    saved = interval((1 - gpus[BEST]["gpus"] / gpus[other]["gpus"]).tolist())
    said = f"{gpus[other]['gpus'].mean():.1f} for {other} ({saved.text('.0f', 100)} % fewer)"
    return saved, said


def default(found: Found) -> Finding:
    """Judge the GPUs beside those of default vLLM."""
    gpus = needed(found, list(WAYS))
    (saved, said), (_, beside) = fewer(gpus, DEFAULT), fewer(gpus, SHORTEST)
    return Finding(
        "Up to 71 % fewer GPUs than default vLLM",
        "agree" if saved.low > 0 and saved.mean >= 0.5 else "partly" if saved.low > 0 else "not",
        f"GPUs needed at {RATE_RPS:g} requests/s: {gpus[BEST]['gpus'].mean():.1f} for best fit, {said}, {beside}. What"
        " is saved comes from prompts in chunks beside decodes, not from where requests go.",
    )  # fmt: skip


def split(found: Found) -> Finding:
    """Judge the GPUs for decodes."""
    gpus = needed(found, list(DECODES))
    each = [fewer(gpus, way) for way in (SHORTEST, TWO)]
    less = all(saved.low > 0 for saved, _ in each)
    much = less and all(saved.mean >= 0.25 for saved, _ in each)
    return Finding(
        "For decodes up to 60 % fewer than the shortest queue, 49 % fewer than power of two",
        "agree" if much else "partly" if less else "not",
        f"GPUs needed for decodes: {gpus[BEST]['gpus'].mean():.1f} for best fit, {', '.join(said for _, said in each)}."
        " About a dozen requests fill a GPU to the bound, and evenly spread they fill it as well.",
    )


def scaled(found: Mapping[str, Numbers]) -> Finding:
    """Judge the GPU hours of the scaling policies."""
    mine = found[ALADDIN]
    less = {
        way: paired(mine["gpu_hours"].tolist(), found[way]["gpu_hours"].tolist()).below_zero
        for way in (FIXED, IN_EACH)
    }
    kept = bool(mine["kept"].mean() >= KEPT)
    said = ", ".join(
        f"{each['gpu_hours'].mean():.2f} GPU hours for {way} ({100 * each['kept'].mean():.1f} % kept)"
        for way, each in found.items()
    )
    return Finding(
        "The fewest GPUs at each heartbeat take fewer GPU hours than a pool for the peak (expected)",
        "agree" if kept and all(less.values()) else "partly" if kept and less[FIXED] else "not",
        f"{said[0].upper()}{said[1:]}: {ratio(mine, found[FIXED], 'gpu_hours').text('.2f')} times those of the pool for"
        f" the peak, {ratio(mine, found[IN_EACH], 'gpu_hours').text('.2f')} times those of a target for requests, whose"
        " number has to be known.",
    )


def readers(found: Found) -> Finding:
    """Judge whether readers need as many."""
    bounds, read = needed(found, [BEST]), needed(found, [BEST], "worth", 0.99)
    saved = interval((1 - read[BEST]["gpus"] / bounds[BEST]["gpus"]).tolist())
    return Finding(
        "As many GPUs as keep the bounds are what readers need (expected)",
        "agree" if saved.low <= 0 else "partly" if saved.mean < 0.25 else "not",
        f"GPUs with which a token keeps 99 % of its worth to readers: {read[BEST]['gpus'].mean():.1f}, for"
        f" {bounds[BEST]['gpus'].mean():.1f} by the bounds ({saved.text('.0f', 100)} % fewer). A reader of 20 tokens/s"
        f" takes one in 50 ms; the bound is {1e3 * ATGT_S:.1f} ms.",
    )


def run(study: Study) -> Verdict:
    """Measure, draw, write the tables, and judge."""
    cases = [(way, count) for way in WAYS for count in COUNTS]
    split_cases = [(way, count) for way in DECODES for count in COUNTS]
    seeds = study.seeds
    mixed = gathered(
        study, {each: [steady(study, *each, seed) for seed in seeds] for each in cases}, numbers, "GPUs"
    )
    apart = gathered(
        study,
        {each: [decodes(study, *each, seed) for seed in seeds] for each in split_cases},
        numbers,
        "decodes",
    )
    rising = gathered(
        study, {way: [elastic(study, way, seed) for seed in seeds] for way in ELASTIC}, numbers, "scaling"
    )
    figure, grid = axes(1, 3, width="text", height_in=2.4)
    for panel, found, ways, name, title in (
        (grid[0, 0], mixed, WAYS, "kept", "Within bounds"),
        (grid[0, 1], apart, DECODES, "kept", "Within bounds, decodes apart"),
        (grid[0, 2], mixed, WAYS, "worth", "Smooth goodput"),
    ):
        lines(panel, COUNTS, {way: [found[way, count][name] for count in COUNTS] for way in ways})
        panel.set(
            title=title,
            xlabel="GPUs",
            ylabel="share of tokens asked for" if name == "worth" else "share of requests",
        )
        panel.set_ylim(0, 1.05)
        panel.legend(fontsize=6, loc="lower right")
    grid[0, 1].set_xlabel("GPUs for decodes")
    label_panels(grid)
    study.save(figure, "gpus_and_readers")
    columns = {"GPUs": [str(count) for _, count in cases], "served by": [way for way, _ in cases]}
    columns |= means(mixed, cases, {
        "within bounds": ("kept", 1.0, ".3f"), "TPOT, ms": ("tpot_s", 1e3, ".1f"),
        "p99 TTFT, s": ("ttft_s", 1.0, ".2f"), "smooth goodput, tokens/s": ("smooth", 1.0, ",.0f"),
        "of a token asked for": ("worth", 1.0, ".3f"),
    })  # fmt: skip
    shown(study, "gpus", columns)
    return verdict(study, CLAIM, [default(mixed), split(apart), scaled(rising), readers(mixed)])


if __name__ == "__main__":
    main(run)
