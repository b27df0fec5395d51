"""ScaleLLM: does the gateway limit a server at 64 requests at once, which layout is best when, and who notices?

**Question.** ScaleLLM replaces the gateway before the engines and changes how GPUs are grouped by the number of
requests at once: few replicas with high tensor parallelism below 64, many with low from there on. How much of the
latency is the gateway's, when does which layout pay, and do readers notice?

**Reported** (Yao et al., arXiv 2408.00008): 4.3 times the speed of vLLM at 64 concurrent requests; at concurrency the
gateway dominates latency, not the engine. Its gateway's times, and how its baseline was run, are not published.

**Here** Llama-3.1-8B and Mixtral-8x7B on eight H100 with ShareGPT's lengths. vLLM is one engine over all GPUs behind
one Python worker; a compiled worker, four Python workers, or four engines of two GPUs behind a compiled worker are
beside it. Times of the gateways are those of other projects (``docs/delivery.md``), and those of a token are partly
inferred. Poisson arrivals; of four rates the third has about 64 requests at once. Layouts are compared by clients
that wait, without gateway: 8 to 512 of them. Readers take 20 tokens/s and allow 1 s. The switch between layouts
(``layout_switch``, its defaults) has half a minute of 160 requests/s and ten minutes of 6, in either order.

**Tests**, 95 % intervals over seeds, paired. Speed: at the third rate agree if vLLM takes twice as long (mean E2E) as
four engines behind a compiled worker, with both models; partly if shown to take longer with one. Gateway: agree if at
the third rate more than half of vLLM's E2E is due to its gateway with both models, partly with one or at a higher
rate. Workers: agree if with four Python workers E2E is within 5 % of that with a compiled one at each rate, partly at
some. Layout: agree if with both models the one engine is shown to have the lower E2E of the two extremes at each
number of clients below 64, and the four engines from 64 on; partly if it changes sides elsewhere. Readers: agree if
at each number of clients the layout with the least E2E is shown to have more smooth goodput for a token asked for
than that with the most; partly at some. Switch: agree if it is shown to have a lower mean E2E than the better of the
two layouts in both orders; partly in one.

Takes about 35 s (quick) and 95 s (full) on one core.
"""

from collections.abc import Mapping
from typing import Any

from experiments.paper._reproduce import Study, Verdict, axes, label_panels, main
from experiments.systems._findings import Finding, all_or_some, shown, verdict
from experiments.systems._lines import lines, on_log_scale
from experiments.systems._measured import Numbers, gathered, means, ratio
from experiments.systems._scalellm_switch import ORDERS, SERVED, changing, switch
from simulator.results.result import Result
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval, interval, paired

CLAIM = (
    "A compiled gateway and a layout by concurrency are 4.3 times as fast as vLLM at 64 requests at once (ScaleLLM,"
    " arXiv 2408.00008)."
)
# Requests/s, of which the third keeps one engine over all GPUs at about 64 requests at once
RATES: dict[str, tuple[float, ...]] = {
    "llama-3.1-8b": (20.0, 45.0, 67.0, 100.0),
    "mixtral-8x7b": (10.0, 20.0, 35.0, 60.0),
}
AT_64 = 2
CLIENTS = (8, 32, 64, 128, 512)
LAYOUTS = {"1 x TP8": (1, 8), "2 x TP4": (2, 4), "4 x TP2": (4, 2)}  # replicas, GPUs of each
ONE, FOUR = "1 x TP8", "4 x TP2"
BARE, VLLM, WORKERS, COMPILED, SCALELLM = (
    "no gateway",
    "vLLM",
    "4 Python workers",
    "compiled",
    "compiled, 4 x TP2",
)
WAYS: dict[str, tuple[str, str | dict[str, Any]]] = {
    BARE: (ONE, "immediate"),
    VLLM: (ONE, {"name": "gateway", "preset": "python", "workers": 1}),
    WORKERS: (ONE, {"name": "gateway", "preset": "python", "workers": 4}),
    COMPILED: (ONE, {"name": "gateway", "preset": "compiled", "workers": 1}),
    SCALELLM: (FOUR, {"name": "gateway", "preset": "compiled", "workers": 1}),
}
Found = Mapping[tuple[str, float, str], Numbers]


def scenario(
    model: str, layout: str, seed: int, delivery: str | dict[str, Any], workload: dict[str, Any]
) -> Scenario:
    """Return eight GPUs in a layout behind a gateway."""
    replicas, gpus = LAYOUTS[layout]
    return Scenario(
        seed=seed,
        hardware={"gpu": "h100-80gb-sxm", "model": model},
        engine={"tensor_parallel_size": gpus, "max_num_seqs": 256},
        cluster={"replicas": replicas},
        workload={"lengths": "chat_sharegpt_vllm", **workload},
        policy={"scheduling": "vllm_v1", "routing": "least_loaded", "delivery": delivery},
        user={"v_s_per_token": 0.05, "first_token_allowance_s": 1.0},
    )


def by_rate(study: Study, model: str, rate_rps: float, way: str, seed: int) -> Scenario:
    """Return one way to serve a model under Poisson arrivals."""
    layout, delivery = WAYS[way]
    traffic = {"arrivals": "poisson", "rate_rps": rate_rps, "duration_s": 10 if study.quick else 30}
    return scenario(model, layout, seed, delivery, traffic)


def by_clients(study: Study, model: str, clients: int, layout: str, seed: int) -> Scenario:
    """Return a layout under so many clients that wait for their answers."""
    requests = max(100, clients * (3 if study.quick else 8))
    traffic = {"arrivals": "burst", "concurrency": clients, "requests": requests}
    return scenario(model, layout, seed, "immediate", traffic)


def numbers(result: Result, _: Any) -> dict[str, float]:
    """Return what the study looks at of one run."""
    summary = result.summary()
    latency = summary["latency"]
    return {
        "e2e_s": latency["e2e_s"]["mean"],
        "ttft_s": latency["ttft_s"]["mean"],
        "tokens_per_s": summary["throughput"]["output_tokens_per_s"],
        "worth": summary["smooth_goodput"]["per_requested_token"],
    }


def at_once(found: Found, model: str, rate: float) -> float:
    """Return the mean number of requests in the engine, by Little's law."""
    return rate * float(found[model, rate, BARE]["e2e_s"].mean())


def speed(found: Found) -> Finding:
    """Judge the whole at 64 requests at once."""
    gains, said = [], []
    for model, rates in RATES.items():
        at = {way: found[model, rates[AT_64], way] for way in WAYS}
        gains.append(ratio(at[VLLM], at[SCALELLM], "e2e_s"))
        same = ratio(at[VLLM], at[COMPILED], "e2e_s")
        said.append(
            f"{model} {gains[-1].text('.2f')} ({at_once(found, model, rates[AT_64]):.0f} at once;"
            f" {same.text('.2f')} beside one engine behind a compiled worker)"
        )
    return Finding(
        "4.3 times the speed of vLLM at 64 concurrent requests",
        "agree" if all(gain.low > 1 and gain.mean >= 2 for gain in gains)
        else "partly" if any(gain.low > 1 for gain in gains) else "not",
        f"Mean E2E of vLLM over that of four engines behind a compiled worker: {'; '.join(said)}.",
    )  # fmt: skip


def gateway(found: Found) -> Finding:
    """Judge the gateway's share of latency."""
    share: dict[tuple[str, float], Interval] = {}
    for model, rates in RATES.items():
        for rate in rates:
            bare, whole = found[model, rate, BARE]["e2e_s"], found[model, rate, VLLM]["e2e_s"]
            share[model, rate] = interval((1 - bare / whole).tolist())
    half = {case: each.low > 0.5 for case, each in share.items()}
    at_64 = [half[model, rates[AT_64]] for model, rates in RATES.items()]
    said = ", ".join(
        f"{100 * each.mean:.0f} % {model} at {rate:g}/s ({at_once(found, model, rate):.0f} at once)"
        for (model, rate), each in share.items()
    )
    return Finding(
        "At concurrency the gateway dominates latency",
        "agree" if all(at_64) else "partly" if any(half.values()) else "not",
        f"The gateway's share of vLLM's mean E2E: {said}. It is nothing to speak of until its one worker is busy all"
        " the time, at about 50 requests/s of this length; then it grows as long as the load lasts.",
    )


def workers(found: Found) -> Finding:
    """Judge more workers of the same."""
    gains = {
        (model, rate): ratio(found[model, rate, WORKERS], found[model, rate, COMPILED], "e2e_s")
        for model, rates in RATES.items()
        for rate in rates
    }
    worst = max(gains.values(), key=lambda gain: gain.mean)
    return Finding(
        "Four Python workers do as well, up to 100 requests/s (expected)",
        all_or_some([gain.high < 1.05 for gain in gains.values()]),
        f"Mean E2E over that with a compiled worker: {worst.text('.3f')} at most.",
    )


def layout(clients: Found) -> Finding:
    """Judge which of the extremes is faster, by the number of clients."""
    gains = {
        (model, count): ratio(clients[model, count, FOUR], clients[model, count, ONE], "e2e_s")
        for model in RATES
        for count in CLIENTS
    }
    right = [gain.low > 1 if count < 64 else gain.high < 1 for (_, count), gain in gains.items()]
    changes = all(gains[model, CLIENTS[0]].low > 1 and gains[model, CLIENTS[-1]].high < 1 for model in RATES)
    said = [
        f"{model} " + ", ".join(f"{gains[model, count].text('.2f')} at {count}" for count in CLIENTS)
        for model in RATES
    ]
    return Finding(
        "Few engines with many GPUs are faster below 64 requests at once, many with few from there on",
        "agree" if all(right) else "partly" if changes else "not",
        f"Mean E2E of {FOUR} over that of {ONE}, by clients: {'; '.join(said)}. Eight GPUs that work together over"
        " NVLink read weights eight times as fast; one engine runs 256 requests at most.",
    )


def readers(clients: Found) -> Finding:
    """Judge whether readers notice the layout."""
    ahead, said = [], []
    for model in RATES:
        for count in CLIENTS:
            at = {each: clients[model, count, each] for each in LAYOUTS}
            fast, *_, slow = sorted(at, key=lambda each: float(at[each]["e2e_s"].mean()))
            ahead.append(paired(at[fast]["worth"].tolist(), at[slow]["worth"].tolist()).above_zero)
            times = at[slow]["e2e_s"].mean() / at[fast]["e2e_s"].mean()
            said.append(
                f"{model}, {count}: {at[fast]['worth'].mean():.3f} for {at[slow]['worth'].mean():.3f}"
                f" ({times:.1f} times the E2E)"
            )
    return Finding(
        "The faster layout serves readers better (expected)",
        all_or_some(ahead),
        f"Worth of a token, of the fastest layout for the slowest: {'; '.join(said)}.",
    )


def run(study: Study) -> Verdict:
    """Measure, draw, write the tables, and judge."""
    cases = [(model, rate, way) for model, rates in RATES.items() for rate in rates for way in WAYS]
    closed = [(model, float(count), each) for model in RATES for count in CLIENTS for each in LAYOUTS]
    seeds = study.seeds
    open_loop = {case: [by_rate(study, *case, seed) for seed in seeds] for case in cases}
    waiting = {
        (model, count, each): [by_clients(study, model, int(count), each, seed) for seed in seeds]
        for model, count, each in closed
    }
    changes = {
        (order, each): [changing(study, order, each, seed) for seed in seeds]
        for order in ORDERS
        for each in SERVED
    }
    found = gathered(study, open_loop, numbers, "gateways")
    clients = gathered(study, waiting, numbers, "layouts")
    switched = gathered(study, changes, numbers, "switches")
    figure, grid = axes(2, 2, width="text", height_in=4.2)
    for column, (model, rates) in enumerate(RATES.items()):
        top, bottom = grid[:, column]
        drawn = (VLLM, WORKERS, COMPILED, SCALELLM)
        lines(top, rates, {way: [found[model, rate, way]["e2e_s"] for rate in rates] for way in drawn})
        top.set(title=f"{model}: gateways", xlabel="requests/s", ylabel="mean E2E, s")
        lines(
            bottom, CLIENTS, {each: [clients[model, x, each]["e2e_s"] for x in CLIENTS] for each in LAYOUTS}
        )
        on_log_scale(bottom, CLIENTS)
        bottom.set(title=f"{model}: layouts", xlabel="clients", ylabel="mean E2E, s")
        for panel in (top, bottom):
            panel.set_ylim(bottom=0)
    for panel in grid[:, 0]:
        panel.legend(fontsize=6)
    label_panels(grid)
    study.save(figure, "gateways_and_layouts")
    measures = {
        "mean E2E, s": ("e2e_s", 1.0, ".2f"), "mean TTFT, s": ("ttft_s", 1.0, ".3f"),
        "tokens/s": ("tokens_per_s", 1.0, ",.0f"), "smooth goodput of a token": ("worth", 1.0, ".3f"),
    }  # fmt: skip
    for name, head, rows, each in (
        ("gateways", "requests/s", cases, found),
        ("layouts", "clients", closed, clients),
    ):
        columns = {"model": [model for model, _, _ in rows], head: [f"{x:g}" for _, x, _ in rows]}
        columns["served by"] = [way for *_, way in rows]
        shown(study, name, columns | means(each, rows, measures))
    return verdict(
        study,
        CLAIM,
        [
            speed(found),
            gateway(found),
            workers(found),
            layout(clients),
            readers(clients),
            switch(switched),
        ],
    )


if __name__ == "__main__":
    main(run)
