"""What the report says of a load test of a real server, where that of a simulation speaks of hardware and engine."""

from collections.abc import Mapping
from typing import Any

from simulator.report.text import counted, number


def measured_title(manifest: Mapping[str, Any]) -> str:
    """Return whose file this is."""
    measured = manifest["measured"]
    source = measured.get("source", f"file of {measured['tool']}")
    return f"{manifest['scenario']['name']}, a real server, {source}"


def measured_facts(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what arrived, over what it is measured, and what the file does not tell, each with its label."""
    traffic, window = summary["traffic"], summary["window"]
    requests, span_s = traffic["requests"], traffic["arrivals_span_s"]
    rate = f" over {number(span_s, 5)} s, {number((requests - 1) / span_s)} requests/s" if span_s > 0 else ""
    prompts = traffic["prompt_tokens"]
    counted_prompts = f"{prompts:,} prompt and " if prompts is not None else ""
    model = manifest["scenario"]["hardware"]["model"]
    return [
        *([("Model", model)] if model else []),
        ("Workload", f"{counted(requests, 'request')}{rate}"),
        ("", f"{counted_prompts}{traffic['output_tokens']:,} output tokens"),
        ("Measured", f"{number(window['duration_s'], 6)} s, {counted(window['requests'], 'request')}"),
        *(("Note", f"{note}.") for note in manifest["measured"]["notes"]),
    ]
