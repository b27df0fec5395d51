"""AdaServe: does speculation by each request's own target keep more promises, and do readers notice?

**Question.** AdaServe gives each request the drafts that its TPOT target needs, and what is left to drafts that are
likely right. Does that keep more targets than the same drafts for all, and is it better for readers?

**Reported** (Li et al., arXiv 2501.12162): up to 4.3 times fewer violations of TPOT and 1.9 times the goodput of the
best baseline, for Llama-3.1-70B on four A100 with a drafter of 1B. Classes: coding 60 % (1.2 times the TPOT of one
request alone), chat 20 % (50 ms), summaries 20 % (150 ms); prompts of 132, 18 and 776 tokens, answers of 256.

**Here** the same model, GPUs, classes and lengths; Poisson arrivals, up to beyond what the server keeps; an EAGLE-3
drafter, as the times of a 1B one are not known, whose drafts are right with a chance of 0.9 (theirs: 5 of 7 tokens with
k = 6). All on the engine of vLLM 0.11, which plans each step when the one before has ended, as AdaServe does. Readers
take 20 tokens/s, which is the chat's target.

**Tests**, 95 % intervals over seeds, paired. The paper's baselines are no drafts, Sarathi, and 4, 6 and 8 drafts for
all. Violations: agree if at some rate AdaServe is shown to violate fewer targets than each of them, by a factor of 2 or
more in the mean; partly if it is shown to violate fewer. Goodput: agree if at some rate it is shown to be higher than
each one's, 1.2 times the best or more, partly if shown to be higher. Acceptance: agree if AdaServe is shown to keep no
fewer targets than six drafts for all, less 0.02, at each chance that was tried. Readers: agree if who keeps most
targets has most smooth goodput, at each rate at which both are shown to differ between the best and the second; partly
if at some. Slack: agree if the variant whose need is when its reader runs out of text is shown to have more smooth
goodput at the highest rate.

Takes about 20 s (quick) and 75 s (full) on one core.
"""

from collections.abc import Mapping
from typing import Any

from experiments.paper._reproduce import Study, Verdict, axes, label_panels, main
from experiments.systems._findings import Agreement, Finding, shown, verdict
from experiments.systems._lines import line
from experiments.systems._measured import Numbers, best, gathered, means
from simulator.results.result import Result
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, interval, paired

CLAIM = (
    "Speculation by each request's own target violates up to 4.3 times fewer targets and has up to 1.9 times the"
    " goodput of the best baseline (arXiv 2501.12162)."
)
RATES = (6.0, 7.0, 8.0, 9.0, 10.0)  # requests/s
SWEPT_RPS = 8.0
ACCEPTANCE = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95)
ALONE_TPOT_S = 0.0271  # of one request at a time, measured here without drafts
CLASSES: dict[str, dict[str, Any]] = {
    "coding": {"share": 0.6, "prompt_tokens": 132, "slo": {"tpot_s": 1.2 * ALONE_TPOT_S}},
    "chat": {"share": 0.2, "prompt_tokens": 18, "slo": {"tpot_s": 0.05}},
    "summary": {"share": 0.2, "prompt_tokens": 776, "slo": {"tpot_s": 0.15}},
}
ADASERVE, CHAINS, SLACK = "AdaServe", "AdaServe, chains", "AdaServe, slack"
SIX, WAITING = "6 drafts", "Sarathi, 6 drafts"
# Scheduling policy, and drafts of each request: at most, for AdaServe
WAYS: dict[str, tuple[str | dict[str, Any], int]] = {
    "no drafts": ("vllm_v1", 0),
    "Sarathi": ("sarathi", 0),
    "4 drafts": ("vllm_v1", 4),
    SIX: ("vllm_v1", 6),
    "8 drafts": ("vllm_v1", 8),
    WAITING: ("sarathi", 6),
    ADASERVE: ("adaserve", 8),
    CHAINS: ({"name": "adaserve", "most_width": 1}, 8),
    SLACK: ({"name": "adaserve", "need": "slack"}, 8),
}
BASELINES = [name for name in WAYS if name != WAITING and not name.startswith(ADASERVE)]  # the paper's


def scenario(study: Study, way: str, rate_rps: float, seed: int, chance: float = 0.9) -> Scenario:
    """Return the server under a mix of the three classes."""
    scheduling, drafts = WAYS[way]
    speculation = {"method": "eagle3", "num_speculative_tokens": drafts} if drafts else {}
    return Scenario(
        seed=seed,
        hardware={"gpu": "a100-80gb-sxm", "model": "llama-3.1-70b"},
        engine={"profile": "vllm-0.11", "tensor_parallel_size": 4, "max_num_seqs": 256},
        workload={
            "arrivals": "poisson",
            "rate_rps": rate_rps,
            "requests": round(rate_rps * (30 if study.quick else 60)),
            "classes": {name: {**each, "output_tokens": 256} for name, each in CLASSES.items()},
        },
        policy={
            "scheduling": scheduling,
            **({"acceptance": {"name": "rate", "rate": chance}} if drafts else {}),
        },
        user={"v_s_per_token": 0.05},
        **({"speculation": speculation} if speculation else {}),
    )


def numbers(result: Result, _: Any) -> dict[str, float]:
    """Return what the study looks at of one run."""
    summary = result.summary()
    classes = {f"kept, {name}": summary["classes"][name]["slo"]["attainment_all"] for name in CLASSES}
    return classes | {
        "kept": summary["slo"]["attainment_all"],
        "goodput": summary["slo"]["goodput_tokens_per_s"],
        "smooth": summary["smooth_goodput"]["smooth_goodput_tokens_per_s"],
        "ttft_s": summary["latency"]["ttft_s"]["mean"],
        "accepted_length": summary["engine"].get("accepted_length") or 1.0,
    }


Found = Mapping[tuple[float, str], Numbers]


def ahead(found: Found, rate: float, name: str, way: str = ADASERVE) -> list[Interval]:
    """Return by how much AdaServe has more of a number than each baseline, at a rate."""
    mine = found[rate, way][name].tolist()
    return [paired(mine, found[rate, each][name].tolist()) for each in BASELINES]


def violations(found: Found) -> Finding:
    """Judge the violations of targets against the best baseline."""
    outcome: Agreement = "not"
    said = []
    for rate in RATES:
        mine = 1 - found[rate, ADASERVE]["kept"].mean()
        fewest = min(BASELINES, key=lambda each: 1 - found[rate, each]["kept"].mean())
        least = 1 - found[rate, fewest]["kept"].mean()
        if all(each.above_zero for each in ahead(found, rate, "kept")):
            outcome = "agree" if least >= 2 * mine or outcome == "agree" else "partly"
        said.append(f"{100 * mine:.1f} % at {rate:g}/s ({fewest}: {100 * least:.1f} %)")
    return Finding(
        "Up to 4.3 times fewer violations of TPOT targets than the best baseline",
        outcome,
        f"Violated by AdaServe, of those promised: {', '.join(said)}. With chains for trees it violates"
        f" {100 * (1 - found[SWEPT_RPS, CHAINS]['kept'].mean()):.1f} % at {SWEPT_RPS:g}/s: wide beams cost the drafter"
        " more here than their nodes give. Our reading: drafts that are right so often pay for all alike, and"
        " with 60 % urgent ones little can be taken from the others.",
    )


def goodput(found: Found) -> Finding:
    """Judge the tokens of requests that kept their targets, a second."""
    outcome: Agreement = "not"
    said = []
    for rate in RATES:
        most = max(BASELINES, key=lambda each: found[rate, each]["goodput"].mean())
        gain = interval((found[rate, ADASERVE]["goodput"] / found[rate, most]["goodput"]).tolist())
        if all(each.above_zero for each in ahead(found, rate, "goodput")):
            outcome = "agree" if gain.mean >= 1.2 or outcome == "agree" else "partly"
        said.append(f"{gain.text('.2f')} at {rate:g}/s ({most})")
    return Finding(
        "Up to 1.9 times the goodput of the best baseline",
        outcome,
        f"Goodput over that of the best baseline: {', '.join(said)}.",
    )


def acceptance(found: Mapping[tuple[float, str], Numbers]) -> Finding:
    """Judge AdaServe against six drafts for all, by the chance that a draft is right."""
    gains = [
        paired(found[chance, ADASERVE]["kept"].tolist(), found[chance, SIX]["kept"].tolist())
        for chance in ACCEPTANCE
    ]
    never = all(each.low > -0.02 for each in gains)
    said = ", ".join(
        f"{100 * found[chance, ADASERVE]['kept'].mean():.0f} % for {100 * found[chance, SIX]['kept'].mean():.0f} %"
        f" at {chance:g}"
        for chance in ACCEPTANCE
    )
    return Finding(
        "It adapts: never fewer targets kept than with a fixed number of drafts, however many are right (expected)",
        "agree" if never else "partly" if any(each.above_zero for each in gains) else "not",
        f"Targets kept at {SWEPT_RPS:g} requests/s, for those with six drafts, by the chance of a right draft: {said}.",
    )


def readers(found: Found) -> Finding:
    """Judge whether who keeps most targets serves readers best."""
    same, looked, said = 0, 0, []
    for rate in RATES:
        at = {way: found[rate, way] for way in WAYS}
        (kept, kept_sure), (smooth, smooth_sure) = best(at, "kept"), best(at, "smooth")
        if kept_sure and smooth_sure:
            looked += 1
            same += kept == smooth
        said.append(f"{kept} and {smooth} at {rate:g}/s")
    outcome: Agreement = "not" if not same else "agree" if same == looked else "partly"
    worst = found[RATES[-1], WAITING]
    return Finding(
        "Who keeps most TPOT targets serves readers best (expected)",
        outcome,
        f"Most targets kept, and most smooth goodput: {'; '.join(said)}. A bound on TPOT does not see the wait for"
        f" the first token: Sarathi with drafts keeps {100 * worst['kept'].mean():.0f} % at {RATES[-1]:g}/s, and its"
        f" first tokens take {worst['ttft_s'].mean():.1f} s.",
    )


def slack(found: Found) -> Finding:
    """Judge the variant that asks when a reader runs out of text."""
    gains = {
        rate: paired(found[rate, SLACK]["smooth"].tolist(), found[rate, ADASERVE]["smooth"].tolist())
        for rate in RATES
    }
    return Finding(
        "A need by the reader's slack, not by TPOT, gives more smooth goodput under overload (expected)",
        "agree" if gains[RATES[-1]].above_zero else "not",
        "Smooth goodput of the variant less that of AdaServe, tokens/s: "
        + ", ".join(f"{gain.text('+.0f')} at {rate:g}/s" for rate, gain in gains.items())
        + ".",
    )


def run(study: Study) -> Verdict:
    """Measure, draw, write the tables, and judge."""
    found = gathered(
        study,
        {
            (rate, way): [scenario(study, way, rate, seed) for seed in study.seeds]
            for rate in RATES
            for way in WAYS
        },
        numbers,
        "rates",
    )
    swept = gathered(
        study,
        {
            (chance, way): [scenario(study, way, SWEPT_RPS, seed, chance) for seed in study.seeds]
            for chance in ACCEPTANCE
            for way in (SIX, ADASERVE, CHAINS)
        },
        numbers,
        "acceptance",
    )
    drawn = (SIX, WAITING, ADASERVE, CHAINS)
    figure, grid = axes(1, 3, width="text", height_in=2.4)
    panels = (("kept", "Targets kept", "share of requests"), ("smooth", "Smooth goodput", "tokens/s"))
    for panel, (name, title, unit) in zip(grid[0], panels, strict=False):
        for place, way in enumerate(drawn):
            line(panel, RATES, [interval(found[rate, way][name].tolist()) for rate in RATES], way, place)
        panel.set(title=title, xlabel="requests/s", ylabel=unit)
        panel.set_ylim(bottom=0)
    for place, way in ((0, SIX), (2, ADASERVE), (3, CHAINS)):
        values = [interval(swept[chance, way]["kept"].tolist()) for chance in ACCEPTANCE]
        line(grid[0, 2], ACCEPTANCE, values, way, place)
    grid[0, 2].set(
        title=f"Targets kept, {SWEPT_RPS:g}/s", xlabel="chance that a draft is right", ylim=(0, 1.05)
    )
    grid[0, 0].legend(loc="lower left", fontsize=6)
    label_panels(grid)
    study.save(figure, "targets_and_readers")
    cases = [(rate, way) for rate in RATES for way in WAYS]
    columns = {"requests/s": [f"{rate:g}" for rate, _ in cases], "served by": [way for _, way in cases]}
    columns |= means(found, cases, {
        "targets kept": ("kept", 1.0, ".3f"), "coding": ("kept, coding", 1.0, ".3f"),
        "goodput, tokens/s": ("goodput", 1.0, ",.0f"), "smooth goodput, tokens/s": ("smooth", 1.0, ",.0f"),
        "mean TTFT, s": ("ttft_s", 1.0, ".2f"), "tokens a step": ("accepted_length", 1.0, ".2f"),
    })  # fmt: skip
    shown(study, "rates", columns)
    findings = [violations(found), goodput(found), acceptance(swept), readers(found), slack(found)]
    return verdict(study, CLAIM, findings)


if __name__ == "__main__":
    main(run)
