"""A run in tables and words, the answer first: every number with its unit and denominator.

Pure functions of a manifest and a summary; the same records always print the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.report.answer import answer, latencies, others, states
from simulator.report.classes import by_class
from simulator.report.cluster import cluster_lines, machines, named, paid_replicas, scaled_pools
from simulator.report.energy import drawn
from simulator.report.engines import engine_lines
from simulator.report.idle_settings import without_effect
from simulator.report.measured import measured_facts, measured_title
from simulator.report.pools import by_pool
from simulator.report.scored_by import scored_by
from simulator.report.tables import Document, Facts, PrintedPart, Words
from simulator.report.text import counted, number, percent

Summary = Mapping[str, Any]

NOTICEABLE = 0.01  # share of the busy time from which a doubt is worth a warning


def report(manifest: Mapping[str, Any], summary: Summary) -> Document:
    """Return the printed report of one run: the answer, latencies, what became of requests, on what it was made."""
    measured = "measured" in manifest
    found = [f"WARNING: {text}" for text in warnings(manifest, summary)]
    parts: list[PrintedPart] = [
        Words([measured_title(manifest) if measured else _title(manifest)], "title"),
        *([Words(found, "warning")] if found else []),
        answer(summary),
        latencies(summary),
        *by_class(summary),
        *by_pool(summary),
        states(summary),
        *others(summary),
    ]
    if measured:
        return Document([*parts, Facts([*measured_facts(manifest, summary), *reader(summary)])])
    return Document([*parts, *_facts(manifest, summary)])


def _title(manifest: Mapping[str, Any]) -> str:
    scenario = manifest["scenario"]
    return f"{scenario['name']}, seed {scenario['seed']}"


def _facts(manifest: Mapping[str, Any], summary: Summary) -> list[PrintedPart]:
    """Return how the run was made: traffic, cluster, engine, how it went, the reader, and last the sum of memory."""
    from simulator.scenario.policy import IDLE_POLICY  # which only scenarios need otherwise

    policies: dict[Any, Any] = manifest["scenario"]["policy"]
    scenario, engine, workload = manifest["scenario"], manifest["engine"], manifest["workload"]
    limits = ("max_num_seqs", "max_num_batched_tokens", "max_model_len", "block_size")
    traffic = summary["traffic"]
    requests, span_s = traffic["requests"], traffic["arrivals_span_s"]
    rate = f", {number((requests - 1) / span_s)} requests/s" if span_s > 0 else ""
    made = [
        *block(
            "Workload",
            [
                *workload["source"].split("; "),
                f"{counted(requests, 'request')} over {number(span_s, 5)} s{rate}",
                *_unused(manifest),
                f"{traffic['prompt_tokens']:,} prompt and {traffic['output_tokens']:,} output tokens",
            ],
        ),
        *block("Cluster", cluster_lines(scenario["cluster"]) + scaled_pools(manifest["pools"])),
        *block("Engine", [*engine_lines(manifest), ", ".join(f"{key} {engine[key]:,}" for key in limits)]),
        *block(
            "Policies",
            [
                f"{kind} {named(choice)}"
                for kind, choice in policies.items()
                if choice["name"] != IDLE_POLICY.get(kind)
            ],
        ),
        *block("Measured", _measured(manifest, summary)),
        *reader(summary),
    ]
    return [Facts([*made, *block("Hardware", [*machines(manifest), *manifest["hardware"]])])]


def _unused(manifest: Mapping[str, Any]) -> list[str]:
    """Say that what prompts have in common saves nothing, where the traffic says it and no policy keeps prefixes."""
    if not manifest["workload"].get("shares_prompts") or "prefix_cache" in manifest:
        return []
    names = " and ".join(dict.fromkeys(pool["scheduling"] for pool in manifest["pools"]))
    remedy = ", as its enable_prefix_caching is off" if names == "vllm_v1" else ""
    return [
        f"prompts begin alike, which goes unused: {names} keeps no prefixes{remedy}; all of them are computed"
    ]


def reader(summary: Summary) -> list[tuple[str, str]]:
    """Return by what all of it is scored, where it is."""
    return block("Reader", scored_by(summary)) if "not_measured" not in summary["smooth_goodput"] else []


def _measured(manifest: Mapping[str, Any], summary: Summary) -> list[str]:
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
        f"{counted(engine['steps'], 'engine step')} in {percent(engine['busy_share'])} of the time,"
        f" {_batch(manifest, engine)} and {engine['waiting_max']:,} waiting",
        f"KV blocks in use {percent(engine['kv_usage_mean'])} on average, {percent(engine['kv_usage_max'])} at most;"
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
    if "hand_over_s" in engine:
        parts = {name: part["p50"] * 1e3 for name, part in engine["hand_over_s"].items()}
        whole = number(parts.pop("total"))
        listed = ", ".join(f"{name.replace('_', ' ')} {number(part)}" for name, part in parts.items())
        lines.append(f"from a prompt's end to its next token's delivery {whole} ms (p50): {listed}")
    if "prefix_hit_share" in engine:
        lines.append(
            f"prefix cache hits: {percent(engine['prefix_hit_share'])} of the"
            f" {engine['prefix_looked_up_tokens']:,} known tokens looked up at admissions"
        )
        if "kv_tiers" in engine:
            rows = engine["kv_tiers"]
            shares = ", ".join(f"{row['kind']} {percent(engine[row['kind'] + '_hit_share'])}" for row in rows)
            read, written = (
                sum(row.get(f"{which}_bytes", 0) / 1e9 for row in rows) for which in ("read", "written")
            )
            lines.append(f"of them by tier: {shares}; {number(read)} GB read, {number(written)} GB written")
        if again := engine.get("prefix_looked_up_again_tokens"):
            lines.append(
                f"of {again:,} tokens that preempted requests looked up, they found"
                f" {engine['prefix_found_again_tokens']:,} of their own or shared ones again"
            )
    lines += paid_replicas(cost.get("replicas", {}))
    if cost["usd_per_million_output_tokens"] is not None:
        lines.append(f"US$ {number(cost['usd'])} at {cost['usd_per_gpu_hour']:g} per GPU hour")
    return lines + drawn(summary)


def _batch(manifest: Mapping[str, Any], engine: Mapping[str, Any]) -> str:
    """Say how full the batch was: a replica that is never idle may still have most of its seats free."""
    mean, seats = engine.get("running_mean"), f"of {manifest['engine']['max_num_seqs']:,} seats"
    if mean is None:
        return f"{seats} on a replica at most {engine['running_max']:,} taken"
    return f"mean batch {number(mean, 3)} {seats} on a replica, at most {engine['running_max']:,} running"


def block(label: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    """Return facts under one label."""
    return [(label if i == 0 else "", line) for i, line in enumerate(lines)]


def warnings(manifest: Mapping[str, Any], summary: Summary) -> list[str]:
    """Return what makes this run's numbers less than they seem, one sentence each."""
    found: list[str] = []
    if manifest["stalled"] is not None:
        found.append(f"partial: the run stalled, {manifest['stalled']}")
    elif manifest["partial"]:
        clock = "" if "measured" in manifest else " of simulated time"
        found.append(f"partial: the run was interrupted at {number(manifest['end_of_run_s'], 6)} s{clock}")
    window = summary["window"]
    if window["share_of_tokens"] is not None and window["share_of_tokens"] < 1 - MOST_OUTSIDE:
        found.append(
            f"window: only {percent(window['share_of_tokens'])} of the delivered tokens fell into the measured"
            f" {number(window['duration_s'])} s, which no rate goes beyond; metrics.window = 'whole' counts all"
        )
    if summary["stability"]["unstable"]:
        found.append(f"unstable: {summary['stability']['reason']}")
    if "engine" in summary:
        found += _engine_warnings(manifest, summary["engine"])
    found += without_effect(manifest)
    for state, what in _WHAT_HAPPENED.items():
        entry = summary["states"][state]
        if entry["count"]:
            what = what if "engine" in summary or state != "failed" else "failed"
            found.append(
                f"{counted(entry['count'], 'request')} ({percent(entry['share_of_arrived'])} of arrived) {what}"
            )
    return found


def _engine_warnings(manifest: Mapping[str, Any], engine: Mapping[str, Any]) -> list[str]:
    """Return what is doubtful in what the engine did."""
    found: list[str] = []
    if engine["kv_nearly_full_share"] >= NOTICEABLE:
        found.append(
            f"KV cache saturated: at least 95 % of its blocks in use for {percent(engine['kv_nearly_full_share'])}"
            f" of the busy time; {counted(engine['preemptions'], 'preemption')}"
        )
    if engine["extrapolated_share"] >= NOTICEABLE:
        found.append(
            f"extrapolated: {percent(engine['extrapolated_share'])} of the busy time was spent in steps outside"
            " the range that the hardware profile was measured in"
        )
    found += manifest["engine"].get("model_remarks", [])
    found += [
        f"overheads carried over: {text}"
        for text in dict.fromkeys(manifest["engine"].get("overheads_carried_over", []))
    ]
    if engine["cut_at_max_model_len"]:
        cut = counted(engine["cut_at_max_model_len"], "request")
        found.append(f"{cut} ended early at max_model_len = {manifest['engine']['max_model_len']:,} tokens")
    return found


MOST_OUTSIDE = 0.5  # share of the tokens outside of the window above which that is worth a warning
_WHAT_HAPPENED = {
    "unfinished": "had not finished when the run ended; their waiting is counted up to that moment",
    "failed": "could never be served (longer than max_model_len or the KV cache)",
    "rejected": "were refused at admission",
    "abandoned_by_system": "were dropped by the system to save others",
    "abandoned_by_user": "were given up by their clients, whose patience ran out, before the last token",
}
