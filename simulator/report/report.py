"""A run in words and tables for the terminal: plain text, every number with its unit and denominator.

Pure functions of a manifest and a summary; the same records always print the same bytes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from simulator.report.cluster import cluster_lines, machines, named, paid_replicas, scaled_pools

Summary = Mapping[str, Any]

_MOMENTS = ("mean", "p50", "p90", "p95", "p99", "max")
_LATENCIES = (
    ("TTFT", "latency", "ttft_s"),
    ("TBT (ITL)", "latency", "tbt_s"),
    ("TBT p99 of each", "latency", "tbt_p99_per_request_s"),
    ("TPOT", "latency", "tpot_s"),
    ("E2E", "latency", "e2e_s"),
    ("user idle", "idle_latency", "idle_latency_s"),
)
_BOUNDS = {"ttft_s": "TTFT", "tpot_s": "TPOT", "tail_tbt_s": "tail TBT", "e2e_s": "E2E"}

NOTICEABLE = 0.01  # share of the busy time from which a doubt is worth a warning


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with ``digits`` significant digits and thousands separators; ``-`` for None."""
    if value is None or not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{places}f}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, in the plural where that is due."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def table(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Return aligned lines: the first ``left`` columns flush left, the others flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def report(manifest: Mapping[str, Any], summary: Summary) -> str:
    """Return the printed report of one run: facts, warnings, states, latencies, classic beside smooth."""
    parts = [
        _facts(manifest, summary),
        [f"WARNING: {text}" for text in warnings(manifest, summary)],
        _states(summary),
        _latencies(summary),
        _worth(summary),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _facts(manifest: Mapping[str, Any], summary: Summary) -> list[str]:
    from simulator.scenario.policy import IDLE_POLICY  # which only scenarios need otherwise

    policies: dict[Any, Any] = manifest["scenario"]["policy"]
    scenario, engine, workload = manifest["scenario"], manifest["engine"], manifest["workload"]
    limits = ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "block_size")
    traffic = summary["traffic"]
    requests, span_s = traffic["requests"], traffic["arrivals_span_s"]
    rate = f", {number((requests - 1) / span_s)} requests/s" if span_s > 0 else ""
    return [
        f"{scenario['name']}, seed {scenario['seed']}",
        "",
        *_block("Hardware", machines(manifest)),
        *_block("", manifest["hardware"]),
        *_block("Cluster", cluster_lines(scenario["cluster"]) + scaled_pools(manifest["pools"])),
        *_block("Engine", [", ".join(f"{key} {engine[key]:,}" for key in limits)]),
        *_block(
            "Policies",
            [
                f"{kind} {named(choice)}"
                for kind, choice in policies.items()
                if choice["name"] != IDLE_POLICY.get(kind)
            ],
        ),
        *_block(
            "Workload",
            [
                workload["source"],
                f"{counted(requests, 'request')} over {number(span_s, 5)} s{rate}",
                f"{traffic['prompt_tokens']:,} prompt and {traffic['output_tokens']:,} output tokens",
            ],
        ),
        *_block("Measured", _measured(summary)),
    ]


def _measured(summary: Summary) -> list[str]:
    window, engine, cost = summary["window"], summary["engine"], summary["cost"]
    lines = [
        f"{number(window['duration_s'], 6)} s of simulated time, {counted(window['requests'], 'request')}"
    ]
    if window["trimmed_warmup_requests"] + window["trimmed_cooldown_requests"]:
        lines[0] += (
            f", without {window['trimmed_warmup_requests']:,} of the warm-up"
            f" and {window['trimmed_cooldown_requests']:,} of the cool-down"
        )
    lines += [
        f"{counted(engine['steps'], 'engine step')}, busy {_percent(engine['busy_share'])} of the time,"
        f" at most {engine['running_max']:,} running and {engine['waiting_max']:,} waiting on a replica",
        f"KV blocks in use {_percent(engine['kv_usage_mean'])} on average, {_percent(engine['kv_usage_max'])} at most;"
        f" {counted(engine['preemptions'], 'preemption')}",
    ]
    for kind, what in (("hand_off", "hand-off"), ("migration", "migration")):
        if f"{kind}s" in engine:
            took_s = engine[f"{kind}_s_mean"]
            lines.append(
                f"{counted(engine[f'{kind}s'], what)} ({engine[f'{kind}s_called_off']:,} called off),"
                f" {number(engine[f'{kind}_bytes'] / 1e9)} GB over the links"
                + (f", {number(took_s * 1e3)} ms on average" if took_s is not None else "")
            )
    if "prefix_hit_share" in engine:
        lines.append(
            f"prefix cache hits: {_percent(engine['prefix_hit_share'])} of the"
            f" {engine['prefix_looked_up_tokens']:,} known tokens looked up at admissions"
        )
    lines += paid_replicas(cost.get("replicas", {}))
    per_million = cost["usd_per_million_output_tokens"]
    if per_million is not None:
        lines.append(
            f"US$ {number(cost['usd'])} at {cost['usd_per_gpu_hour']:g} per GPU hour,"
            f" US$ {number(per_million)} per million output tokens delivered"
        )
        good = cost["usd_per_million_smooth_good_tokens"]
        lines.append(
            f"US$ {number(good)} per million smooth-good tokens"
            if good is not None
            else "no price per million smooth-good tokens: their sum is not above 0"
        )
    return lines


def _block(title: str, lines: Sequence[str]) -> list[str]:
    return [f"{title if i == 0 else '':<10}{line}" for i, line in enumerate(lines)]


def warnings(manifest: Mapping[str, Any], summary: Summary) -> list[str]:
    """Return what makes this run's numbers less than they seem, one sentence each."""
    found: list[str] = []
    engine = summary["engine"]
    if manifest["stalled"] is not None:
        found.append(f"partial: the run stalled, {manifest['stalled']}")
    elif manifest["partial"]:
        found.append(
            f"partial: the run was interrupted at {number(manifest['end_of_run_s'], 6)} s of simulated time"
        )
    if summary["stability"]["unstable"]:
        found.append(f"unstable: {summary['stability']['reason']}")
    if engine["kv_nearly_full_share"] >= NOTICEABLE:
        found.append(
            f"KV cache saturated: at least 95 % of its blocks in use for {_percent(engine['kv_nearly_full_share'])}"
            f" of the busy time; {counted(engine['preemptions'], 'preemption')}"
        )
    if engine["extrapolated_share"] >= NOTICEABLE:
        found.append(
            f"extrapolated: {_percent(engine['extrapolated_share'])} of the busy time was spent in steps outside"
            " the range that the hardware profile was measured in"
        )
    if engine["cut_at_max_model_len"]:
        cut = counted(engine["cut_at_max_model_len"], "request")
        found.append(f"{cut} ended early at max_model_len = {manifest['engine']['max_model_len']:,} tokens")
    for state, what in _WHAT_HAPPENED.items():
        entry = summary["states"][state]
        if entry["count"]:
            found.append(
                f"{counted(entry['count'], 'request')} ({_percent(entry['share_of_arrived'])} of arrived) {what}"
            )
    return found


_WHAT_HAPPENED = {
    "unfinished": "had not finished when the run ended; their waiting is counted up to that moment",
    "failed": "could never be served (longer than max_model_len or the KV cache)",
    "rejected": "were refused at admission",
    "abandoned_by_system": "were dropped by the system to save others",
    "abandoned_by_user": "were given up by their clients, whose patience ran out, before the last token",
}


def _states(summary: Summary) -> list[str]:
    rows = [["Requests", "count", "share of arrived"]]
    states = summary["states"]
    for state, entry in states.items():
        if state == "arrived":
            rows.append(["arrived", f"{entry:,}", "100 %" if entry else "-"])
        elif entry["count"] or state == "completed":
            rows.append([state.replace("_", " "), f"{entry['count']:,}", _percent(entry["share_of_arrived"])])
    return table(rows)


def _latencies(summary: Summary) -> list[str]:
    rows = [["Latency in s", *_MOMENTS, "count", ""]]
    for label, family, key in _LATENCIES:
        entry = summary[family][key]
        moments = [number(entry[moment]) for moment in _MOMENTS]
        rows.append([label, *moments, f"{entry['count']:,}", entry["over"]])
    lines = table([row[:-1] for row in rows])
    return [f"{line}  {row[-1]}".rstrip() for line, row in zip(lines, rows, strict=True)]


def _worth(summary: Summary) -> list[str]:
    classic, smooth = _classic(summary), _smooth(summary)
    height = max(len(classic), len(smooth))
    classic += [("", "", "")] * (height - len(classic))
    smooth += [("", "", "")] * (height - len(smooth))
    left = table([[name, value] for name, value, _ in classic])
    right = table([[name, value] for name, value, _ in smooth])
    left = [f"{line}  {unit}".rstrip() for line, (_, _, unit) in zip(_padded(left), classic, strict=True)]
    right = [f"{line}  {unit}".rstrip() for line, (_, _, unit) in zip(_padded(right), smooth, strict=True)]
    width = max(len(line) for line in left)
    note = _reader(summary)
    return [f"{a:<{width}}   {b}".rstrip() for a, b in zip(left, right, strict=True)] + ["", *note]


def _padded(lines: list[str]) -> list[str]:
    width = max(len(line) for line in lines)
    return [line.ljust(width) for line in lines]


def _classic(summary: Summary) -> list[tuple[str, str, str]]:
    throughput, slo = summary["throughput"], summary["slo"]
    rows = [
        ("Classic", "", ""),
        ("throughput", number(throughput["requests_per_s"]), "requests/s"),
        ("", number(throughput["output_tokens_per_s"]), "output tokens/s"),
        ("", number(throughput["total_tokens_per_s"]), "tokens/s with prompts"),
    ]
    if slo["attainment_all"] is None:
        rows.append(("SLO", "none set", "(--set slo.ttft_s=1)"))
        return rows
    for name, attained in slo["attainment"].items():
        bound = f"{_BOUNDS[name]} <= {slo['bounds'][name]:g} s"
        rows.append((bound, _percent(attained), "of arrived"))
    rows += [
        ("all SLOs", _percent(slo["attainment_all"]), "of arrived"),
        ("goodput", number(slo["goodput_requests_per_s"]), "requests/s"),
        ("", number(slo["goodput_tokens_per_s"]), "tokens/s"),
    ]
    return rows


def _smooth(summary: Summary) -> list[tuple[str, str, str]]:
    smooth, tokens, idle = summary["smooth_goodput"], summary["token_slo"], summary["idle_latency"]
    return [
        ("Token by token", "", ""),
        ("smooth goodput", number(smooth["smooth_goodput_tokens_per_s"]), "tokens/s"),
        ("benefit", number(smooth["benefit_tokens_per_request"]["mean"]), "tokens/arrived request"),
        ("negative benefit", _percent(smooth["share_of_arrived_with_negative_benefit"]), "of arrived"),
        ("ever idle", _percent(idle["share_of_arrived_that_idled"]), "of arrived"),
        ("token SLO", _percent(tokens["attainment"]), "of arrived"),
        ("tokens on time", _percent(tokens["tokens_on_time_share_of_delivered"]), "of delivered"),
        ("fluidity > 0.9", _percent(summary["fluidity"]["share_of_arrived_above_0_9"]), "of arrived"),
        ("QoE", number(summary["qoe"]["qoe"]["mean"]), "of 1, mean over arrived"),
    ]


def _reader(summary: Summary) -> list[str]:
    smooth = summary["smooth_goodput"]
    start = "its arrival" if smooth["origin"] == "arrival" else "its first token"
    allowance = smooth["first_token_allowance_s"]
    after = f" + {allowance:g} s" if allowance else ""
    shape = (
        smooth["f"]
        if smooth["f"] in ("linear", "quadratic")
        else f"{smooth['f']}, c = {smooth['f_scale_s']:g} s"
    )
    return [
        f"The reader takes a token every V = {smooth['v_s_per_token']:g} s from {start}{after} on.",
        f"Benefit of a request: {_weights(smooth)} - {smooth['alpha_tokens']:g} x f(user idle), f {shape}.",
        f"Rates are over {number(smooth['window_s'], 6)} s, from the first arrival to the last event.",
    ]


def _weights(smooth: Mapping[str, Any]) -> str:
    output = (
        "its delivered tokens"
        if smooth["weight_output"] == 1
        else f"{smooth['weight_output']:g} x delivered tokens"
    )
    prompt = smooth["weight_input"]
    return f"{prompt:g} x prompt tokens + {output}" if prompt else output


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{number(100 * share, 3)} %"
