"""The accuracy that servesim promises, set by set, on rows that no constant was fitted to."""

from collections.abc import Callable

from experiments.validation.scores import Bar, Score


def _metric(*names: str) -> Callable[[Score], bool]:
    return lambda score: score.metric in names


def _metric_on(name: str, gpu: str) -> Callable[[Score], bool]:
    return lambda score: score.metric == name and score.gpu == gpu


def _step_bars() -> list[Bar]:
    bars = []
    for gpu, analytic_pct in (("a100-80gb-sxm", 4.0), ("h100-80gb-sxm", 2.5)):
        for model, limit_pct in (("analytic", analytic_pct), ("tabulated", 1.0)):
            for kind in ("prefill", "decode", "mixed"):
                metric = f"{kind} step ms, {model}"
                what = f"{gpu}, {model} {kind}"
                bars.append(Bar("step-tables", what, "mean", limit_pct, _metric_on(metric, gpu)))
    return bars


BARS = [
    *_step_bars(),
    Bar("closed-qwen3-32b", "TPOT", "median", 4.0, _metric("TPOT ms"), "11.8 %"),
    Bar("closed-qwen3-32b", "E2E", "median", 5.0, _metric("E2E ms"), "13.3 %"),
    Bar("closed-70b-fp8", "H100 TPOT", "median", 6.0, _metric_on("TPOT ms", "h100-80gb-sxm"), "5.1 %"),
    Bar("closed-70b-fp8", "H200 TPOT", "median", 6.0, _metric_on("TPOT ms", "h200-sxm"), "4.7 %"),
    Bar("closed-70b-fp8", "B200 TPOT", "median", 6.0, _metric_on("TPOT ms", "b200-sxm"), "15.6 %"),
    Bar("closed-trtllm-8b", "TPOT", "median", 6.0, _metric("TPOT ms"), "9.3 %"),
    Bar("per-request", "mean TTFT", "worst", 4.0, _metric("mean TTFT ms"), "4.0 %"),
    Bar("per-request", "mean TPOT", "worst", 1.0, _metric("mean TPOT ms"), "1.0 %"),
    Bar("per-request", "mean E2E", "worst", 1.5, _metric("mean E2E ms"), "1.8 %"),
    Bar("per-request", "p99 TTFT", "worst", 5.0, _metric("p99 TTFT ms"), "2.0 %"),
    Bar("per-request", "p99 TPOT", "worst", 5.0, _metric("p99 TPOT ms"), "0.6 %"),
    Bar("per-request", "p99 E2E", "worst", 5.0, _metric("p99 E2E ms"), "1.6 %"),
    Bar("per-request-experts", "mean TTFT", "worst", 10.0, _metric("mean TTFT ms"), "13.6 %"),
    Bar("per-request-experts", "mean TPOT", "worst", 3.0, _metric("mean TPOT ms"), "1.7 %"),
    Bar("per-request-experts", "mean E2E", "worst", 3.0, _metric("mean E2E ms"), "2.2 %"),
    Bar("per-request-4090", "mean TTFT", "worst", 3.0, _metric("mean TTFT ms")),
    Bar("per-request-4090", "mean TPOT", "worst", 3.0, _metric("mean TPOT ms")),
    Bar("per-request-4090", "mean E2E", "worst", 3.0, _metric("mean E2E ms")),
    Bar("open-loop", "E2E", "median", 4.0, _metric("E2E ms"), "6.8 %"),
    Bar("open-loop", "TTFT", "median", 8.0, _metric("TTFT ms"), "18.4 %"),
    Bar("open-loop", "TPOT", "median", 4.0, _metric("TPOT ms")),
    Bar("open-loop", "every row", "worst", 12.0, _metric("E2E ms", "TTFT ms", "TPOT ms")),
    # "Median per batch-size bin" can be read in two ways; both count.
    Bar("step-cycles", "median cycle per batch-size bin", "median", 4.0, _metric("step ms"), "7 %"),
    Bar("step-cycles", "median cycle of every batch-size bin", "worst", 4.0, _metric("step ms"), "7 %"),
    Bar("own-tables", "prefill, 8 bits", "median", 8.0, _metric("prefill ms, fp8")),
    Bar("own-tables", "decode, 8 bits", "median", 8.0, _metric("decode ms, fp8")),
    Bar("unequal-contexts", "decodes alone", "median", 5.0, _metric("attention us, decodes alone")),
    Bar("unequal-contexts", "beside a chunk", "median", 5.0, _metric("attention us, beside a chunk")),
    Bar("layouts-70b", "throughput", "median", 8.0, _metric("throughput tok/s")),
    Bar("layouts-70b", "TTFT", "median", 20.0, _metric("TTFT ms")),
    Bar("layouts-70b", "TPOT", "median", 8.0, _metric("TPOT ms")),
    Bar("sglang-blocks", "TPOT", "median", 8.0, _metric("TPOT ms")),
    Bar("burst", "duration", "median", 8.0, _metric("duration s")),
    Bar("burst", "throughput", "median", 8.0, _metric("throughput tok/s")),
    *(
        Bar(name, what, "median", 12.0, _metric(metric))
        for name in ("mixtures", "mixtures-latent")
        for what, metric in (("TPOT", "TPOT ms"), ("throughput", "throughput tok/s"))
    ),
    Bar("kv-tiers", "TTFT ratio", "worst", 15.0, _metric("TTFT ratio")),
]
