"""A run in words and tables for the terminal: plain text, every number with its unit and denominator.

Pure functions of a manifest and a summary; the same records always print the same bytes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.metrics._measure import MOMENTS, SHARE_OF
from simulator.report.classes import by_class
from simulator.report.cluster import cluster_lines, machines, named, paid_replicas, scaled_pools
from simulator.report.engines import engine_lines
from simulator.report.measured import measured_facts
from simulator.report.measures import family, rows_of_latencies, shown
from simulator.report.scored_by import scored_by
from simulator.report.text import counted, number, percent, table
from simulator.results.vocabulary import vocabulary

Summary = Mapping[str, Any]
ReportLine = tuple[str, str, str]  # label, number, unit

_CLASSIC = ("throughput", "slo")
_TOKEN_BY_TOKEN = ("smooth_goodput", "idle_latency", "token_slo", "fluidity", "qoe")

NOTICEABLE = 0.01  # share of the busy time from which a doubt is worth a warning


def report(manifest: Mapping[str, Any], summary: Summary) -> str:
    """Return the printed report of one run: facts, warnings, states, latencies, classic beside smooth."""
    facts = measured_facts if "measured" in manifest else _facts
    parts = [
        facts(manifest, summary),
        [f"WARNING: {text}" for text in warnings(manifest, summary)],
        _states(summary),
        _latencies(summary),
        by_class(summary),
        _others(summary),
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
        *_block("Engine", [*engine_lines(manifest), ", ".join(f"{key} {engine[key]:,}" for key in limits)]),
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
                *workload["source"].split("; "),
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
        f"{counted(engine['steps'], 'engine step')}, busy {percent(engine['busy_share'])} of the time,"
        f" at most {engine['running_max']:,} running and {engine['waiting_max']:,} waiting on a replica",
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


def _states(summary: Summary) -> list[str]:
    rows = [["Requests", "count", "share of arrived"]]
    states = summary["states"]
    for state, entry in states.items():
        if state == "arrived":
            rows.append(["arrived", f"{entry:,}", "100 %" if entry else "-"])
        elif entry["count"] or state == "completed":
            rows.append([state.replace("_", " "), f"{entry['count']:,}", percent(entry["share_of_arrived"])])
    return table(rows)


def _latencies(summary: Summary) -> list[str]:
    rows = [["Latency in s", *MOMENTS, "count", ""]]
    for label, key in rows_of_latencies().items():
        found: Any = summary
        for part in key.split("."):
            found = found.get(part, {})
        moments = [number(found.get(moment)) for moment in MOMENTS]
        rows.append([label, *moments, f"{found.get('count', 0):,}", found.get("over", "")])
    lines = table([row[:-1] for row in rows])
    return [f"{line}  {row[-1]}".rstrip() for line, row in zip(lines, rows, strict=True)]


def _worth(summary: Summary) -> list[str]:
    classic, smooth = _classic(summary), _smooth(summary)
    height = max(len(classic), len(smooth))
    left, right = (_with_units([*rows, *[("", "", "")] * (height - len(rows))]) for rows in (classic, smooth))
    width = max(len(line) for line in left)
    note = scored_by(summary) if "not_measured" not in summary["smooth_goodput"] else []
    return [f"{a:<{width}}   {b}".rstrip() for a, b in zip(left, right, strict=True)] + ["", *note]


def _with_units(rows: Sequence[ReportLine]) -> list[str]:
    lines = _padded(table([[name, value] for name, value, _ in rows]))
    return [f"{line}  {unit}".rstrip() for line, (_, _, unit) in zip(lines, rows, strict=True)]


def _padded(lines: list[str]) -> list[str]:
    width = max(len(line) for line in lines)
    return [line.ljust(width) for line in lines]


def _classic(summary: Summary) -> list[ReportLine]:
    slo, names = summary["slo"], vocabulary()
    rows = [("Classic", "", ""), *_lines(summary, ["throughput"])]
    if slo["attainment_all"] is None:
        return [*rows, ("SLO", "none set", "(--set slo.ttft_s=1)")]
    for name, attained in slo["attainment"].items():
        bound = f"{names[f'slo.attainment.{name}'].label} <= {slo['bounds'][name]:g} s"
        rows.append((bound, percent(attained), "of arrived"))
    return rows + _lines(summary, ["slo"])


def _smooth(summary: Summary) -> list[ReportLine]:
    return [("Token by token", "", ""), *_lines(summary, _TOKEN_BY_TOKEN)]


def _others(summary: Summary) -> list[str]:
    """What metrics of one's own have to say."""
    known = (*_CLASSIC, *_TOKEN_BY_TOKEN)
    rows = _lines(
        summary, [name for name in dict.fromkeys(map(family, shown("report"))) if name not in known]
    )
    return _with_units([("Others", "", ""), *rows]) if rows else []


def _lines(summary: Summary, families: Sequence[str]) -> list[ReportLine]:
    """Return label, number and unit of what families of measures report; a label is not repeated."""
    rows: list[ReportLine] = []
    last = None
    for each in (each for name in families for each in shown("report") if family(each) == name):
        if family(each) not in summary:  # measured only where it is asked for
            continue
        value, of = each.of(summary), each.unit.removeprefix(SHARE_OF)
        said = (number(value), each.unit) if of == each.unit else (percent(value), f"of {of}")
        rows.append(("" if each.label == last else each.label, *said))
        last = each.label
    return rows
