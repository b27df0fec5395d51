"""Speculative decoding: where does it stop paying, and who notices?

**Question.** Drafts shorten the time of a token while the GPU waits for memory, and cost work where it computes. Up to
which load do they pay: by the classic metrics, and for readers? How many drafts have to be right? Several tokens at
once raise the largest time between tokens: does it hurt those who read?

**Expected.** The gain in TPOT falls with the load. Readers of 5 or 20 tokens/s notice it only where the server falls
behind; who takes tokens as fast as they come notices it everywhere. What has to be right grows with the load.

**Reported.** Public benchmarks of serving with drafts: 1.6 to 1.7 times at 1 request/s and about 1.0 above 6 to 8;
suffix decoding loses above 20 clients. Their servers are not known. Here: Llama-3.1-8B on one H100 and 70B on four,
vLLM 0.24, EAGLE and EAGLE-3 with the measured curves of Llama-3.1-8B (for 70B an assumption), k = 3, ShareGPT's
lengths, Poisson arrivals. Suffix decoding is not modelled; an n-gram drafter stands for it.

**Tests.** 95 % intervals over seeds, paired. Speed-up: of TPOT, EAGLE-3's; agree if on one server it is 1.5 to 1.8 in
the mean at 1 request/s and its interval is below 1.1 at 8; partly if one of the two holds. Clients: agree if
throughput with n-gram drafts is shown to be lower at 20 clients or at some number up to 80, partly if the gain falls
from 1 client to 320, else not. Acceptance: agree if the share that has to be right rises from each load to the next.
Readers: agree if drafts change what a token is worth by less than 1 % for readers of 5 and 20 tokens/s at all rates
at which less than 1 % of it is lost without drafts, and are shown to raise it by more at some rate above. Bursts:
agree if the largest TBT is shown to be higher with 7 drafts than without, while the idle latency of a reader of 5
tokens/s is not longer by 10 ms, at all loads of the test. Adaptive verification: agree if with it throughput is shown
to be higher than with 7 fixed drafts at 128 and 256 clients, and is nowhere shown to be lower than without any;
partly if one holds. Our policy: agree if ``smooth`` with EAGLE-3 is shown to have more smooth goodput than
``vllm_v1`` with it at the two highest rates, and loses more than 1 % at none.

Takes about 3 min (quick) and 14 min (full) on one core.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from experiments.paper._reproduce import Study, Verdict, main
from experiments.systems._findings import Agreement, Finding, verdict
from experiments.systems._measured import Numbers, ratio
from experiments.systems._speculation_adaptive import by_adapting
from experiments.systems._speculation_pictures import bursts_picture, clients_picture, loads_picture
from experiments.systems._speculation_runs import (
    DRAFTERS,
    NGRAM,
    PLAIN,
    READERS,
    SERVERS,
    SMALL,
    Loads,
    clients,
    crossing,
    measured,
    scenario,
    worth,
)
from experiments.systems._speculation_tables import write_tables
from simulator.stats import Interval, paired

CLAIM = (
    "Speculative decoding gives 1.6 to 1.7 times the speed at 1 request/s and about 1.0 above 6 to 8; suffix decoding"
    " loses above 20 clients (public benchmarks, servers not known)."
)
CLIENTS = (1, 5, 20, 80, 320)
ACCEPTANCE = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
SWEPT_RPS = (8, 48, 80)  # of the acceptance, and of the bursts
SMOOTH = {"policy.scheduling": "smooth"}
FEW, MATERIAL = 1.05, 0.01  # a gain that is none; what is lost of smooth goodput, or gained


def loads(study: Study) -> Loads:
    """Measure both servers at all rates, with each drafter under vLLM's scheduler and with EAGLE-3 under ours."""
    ways: dict[str, tuple[Mapping[str, Any], ...]] = {name: (drafts,) for name, drafts in DRAFTERS.items()}
    ways |= {f"{name}, smooth": (DRAFTERS[name], SMOOTH) for name in (PLAIN, "EAGLE-3")}
    cases = {
        (server, float(rate), way): [scenario(study, server, rate, seed, *more) for seed in study.seeds]
        for server, (_, rates) in SERVERS.items()
        for rate in rates
        for way, more in ways.items()
    }
    return measured(study, cases, "rates")


def speed_up(found: Loads) -> Finding:
    """Judge the gain in TPOT at 1 and at 8 requests/s, and say from where it is none."""
    said, kept = [], 0
    for server, (_, rates) in SERVERS.items():
        gains = {
            rate: ratio(found[server, rate, PLAIN], found[server, rate, "EAGLE-3"], "tpot_s")
            for rate in map(float, rates)
        }
        throughput = {
            rate: ratio(found[server, rate, "EAGLE-3"], found[server, rate, PLAIN], "tokens_per_s")
            for rate in gains
        }
        kept = max(kept, (1.5 <= gains[1.0].mean <= 1.8) + (gains[8.0].high < 1.1))
        end = next(
            (f"{rate:g} requests/s" for rate, gain in gains.items() if gain.mean < FEW), "no rate tried"
        )
        last = max(gains)
        said.append(
            f"{server}: {gains[1.0].text('.2f')} at 1 request/s, {gains[8.0].text('.2f')} at 8,"
            f" {gains[last].text('.2f')} at {last:g}; below {FEW} from {end} on; throughput"
            f" {throughput[last].text('.2f')} times at {last:g}."
        )
    said.append(
        "Where it ends depends on the server; what large batches cost is predicted from shapes, not measured."
    )
    outcomes: tuple[Agreement, ...] = ("not", "partly", "agree")
    return Finding(
        "1.6 to 1.7 times the speed at 1 request/s, about 1.0 above 6 to 8 (public benchmarks)",
        outcomes[kept],
        " ".join(said),
    )


def readers(found: Loads) -> Finding:
    """Judge where readers notice, by what a token is worth to them: so that faster answers do not count as more."""
    *slow, fast = READERS
    calm, gains = 0.0, dict.fromkeys(READERS, 0.0)
    for server, (_, rates) in SERVERS.items():
        for rate in map(float, rates):
            for name in READERS:
                plain, drafts = (worth(found[server, rate, way], name) for way in (PLAIN, "EAGLE-3"))
                gain = paired(drafts.tolist(), plain.tolist())
                if name in slow and 1 - plain.mean() < MATERIAL:
                    calm = max(calm, abs(gain.mean))
                elif gain.above_zero:
                    gains[name] = max(gains[name], gain.mean)
    holds = (calm < MATERIAL, max(gains[name] for name in slow) > MATERIAL)
    outcome: Agreement = "agree" if all(holds) else "partly" if any(holds) else "not"
    return Finding(
        "Readers notice drafts where the server falls behind without them, and not where it does not (expected)",
        outcome,
        "Of a token's worth: where readers of 5 and 20 tokens/s lose less than 1 % to waiting, drafts change it by at"
        f" most {100 * calm:.2f} %. The largest gain elsewhere: "
        + ", ".join(f"{100 * gains[name]:.0f} % at {name}" for name in slow)
        + f"; for a program that takes {fast}, {100 * gains[fast]:.0f} %. Under overload all wait for the first token,"
        " and a step with drafts is longer.",
    )


def ours(found: Loads) -> Finding:
    """Judge ``smooth`` with drafts against vLLM's scheduler with the same drafts."""
    gains: dict[str, dict[str, list[Interval]]] = {"EAGLE-3": {}, PLAIN: {}}
    for server, (_, rates) in SERVERS.items():
        for name, by_server in gains.items():
            by_server[server] = [
                ratio(
                    found[server, rate, f"{name}, smooth"], found[server, rate, name], "smooth, 20 tokens/s"
                )
                for rate in map(float, rates)
                if found[server, rate, name]["smooth, 20 tokens/s"].min() > 0
            ]
    drafts = gains["EAGLE-3"]
    higher = all(each.low > 1 for mine in drafts.values() for each in mine[-2:])
    lost = min(each.mean for mine in drafts.values() for each in mine) - 1
    kept = higher + (lost > -MATERIAL)
    outcomes: tuple[Agreement, ...] = ("not", "partly", "agree")
    said = "; ".join(
        f"{server}: {mine[-1].text('.2f')} times at the highest rate ({gains[PLAIN][server][-1].text('.2f')} without"
        " drafts)"
        for server, mine in drafts.items()
    )
    return Finding(
        "With drafts, too, smooth has more smooth goodput than vllm_v1 under overload (expected)",
        outcomes[kept],
        f"Readers of 20 tokens/s, {said}; least at any rate {100 * lost:+.1f} %.",
    )


def by_clients(study: Study) -> tuple[Finding, dict[int, Interval]]:
    """Measure throughput with n-gram drafts by the number of clients."""
    cases = {
        (count, drafts): [clients(study, count, seed, NGRAM if drafts else {}) for seed in study.seeds]
        for count in CLIENTS
        for drafts in (False, True)
    }
    found = measured(study, cases, "clients")
    gains = {count: ratio(found[count, True], found[count, False], "tokens_per_s") for count in CLIENTS}
    loses = [count for count in CLIENTS if 20 <= count <= 80 and gains[count].high < 1]
    outcome: Agreement = "agree" if loses else "partly" if gains[320].high < gains[1].low else "not"
    measured_ = ", ".join(f"{gain.text('.2f')} at {count}" for count, gain in gains.items())
    return Finding(
        "Suffix decoding loses above 20 clients (public benchmark; here n-gram drafts, k = 5)",
        outcome,
        f"Throughput over that without drafts, by clients: {measured_}. Searching the text is taken to cost nothing,"
        " and a step without a match carries no drafts.",
    ), gains


def by_acceptance(study: Study) -> tuple[Finding, dict[int, list[Interval]], list[float]]:
    """Measure TPOT by the chance that a draft is right, at three loads; find where it is that without drafts."""
    drafts = DRAFTERS["EAGLE-3"]
    cases = {
        (rate, rate_right): [
            scenario(
                study, SMALL, rate, seed, drafts, {"policy.acceptance": {"name": "rate", "rate": rate_right}}
            )
            for seed in study.seeds
        ]
        for rate in SWEPT_RPS
        for rate_right in ACCEPTANCE
    }
    found = measured(study, cases, "acceptance")
    plain = measured(
        study,
        {rate: [scenario(study, SMALL, rate, seed) for seed in study.seeds] for rate in SWEPT_RPS},
        "acceptance",
    )
    gains = {
        rate: [ratio(plain[rate], found[rate, each], "tpot_s") for each in ACCEPTANCE] for rate in SWEPT_RPS
    }
    ends = [crossing(ACCEPTANCE, [gain.mean for gain in gains[rate]]) for rate in SWEPT_RPS]
    rising = all(later > before for before, later in pairwise(ends))
    said = ", ".join(f"{end:.2f} at {rate} requests/s" for rate, end in zip(SWEPT_RPS, ends, strict=True))
    return (
        Finding(
            "The busier the server, the more drafts have to be right (expected)",
            "agree" if rising else "not",
            f"8B, EAGLE-3, k = 3: TPOT is that without drafts where a draft is right with a chance of {said}.",
        ),
        gains,
        ends,
    )


def bursts(study: Study) -> tuple[Finding, dict[tuple[int, int], Numbers]]:
    """Measure the largest TBT and readers' waiting by k, at three loads."""
    cases = {
        (rate, k): [
            scenario(
                study, SMALL, rate, seed, {**DRAFTERS["EAGLE-3"], "speculation.num_speculative_tokens": k}
            )
            for seed in study.seeds
        ]
        for rate in SWEPT_RPS
        for k in (0, 1, 3, 5, 7)
    }
    found = measured(study, cases, "bursts")
    higher, longer_s, said = True, 0.0, []
    for rate in SWEPT_RPS:
        gap = ratio(found[rate, 7], found[rate, 0], "max_tbt_s")
        idle = paired(
            found[rate, 7]["idle_s, 5 tokens/s"].tolist(), found[rate, 0]["idle_s, 5 tokens/s"].tolist()
        )
        higher, longer_s = higher and gap.low > 1, max(longer_s, idle.mean)
        tpot = ratio(found[rate, 7], found[rate, 0], "tpot_s")
        said.append(
            f"at {rate}/s {gap.text('.2f')} times the largest TBT, {tpot.mean:.2f} times the TPOT,"
            f" {1000 * idle.mean:+.1f} ms of waiting"
        )
    outcome: Agreement = (
        "agree" if higher and longer_s < 0.01 else "partly" if higher or longer_s < 0.01 else "not"
    )
    return Finding(
        "Bursts of several tokens raise the largest TBT and hardly hurt readers (expected)",
        outcome,
        f"8B, k = 7 against none, readers of 5 tokens/s: {'; '.join(said)}. Where TPOT rises, too, it is the work"
        " of wrong drafts that makes readers wait, not the bursts.",
    ), found


def run(study: Study) -> Verdict:
    """Measure, draw, write the tables, and judge."""
    found = loads(study)
    suffix, of_clients = by_clients(study)
    right, of_acceptance, ends = by_acceptance(study)
    together, of_bursts = bursts(study)
    study.save(loads_picture(found), "where_it_pays")
    study.save(clients_picture(CLIENTS, of_clients, ACCEPTANCE, of_acceptance), "clients_and_acceptance")
    adaptive = by_adapting(study)
    study.save(bursts_picture(of_bursts), "bursts")
    write_tables(study, found, of_bursts)
    study.table(
        "acceptance",
        {
            "chance": ACCEPTANCE,
            **{f"{rate}/s": [each.mean for each in gains] for rate, gains in of_acceptance.items()},
        },
    )
    study.table("break_even", {"requests_per_s": SWEPT_RPS, "chance": ends})
    return verdict(
        study, CLAIM, [speed_up(found), suffix, adaptive, right, readers(found), together, ours(found)]
    )


if __name__ == "__main__":
    main(run)
