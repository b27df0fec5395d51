"""What the report says of a load test of a real server, where that of a simulation speaks of hardware and engine."""

from collections.abc import Mapping
from typing import Any

from simulator.report.text import counted, number


def measured_facts(manifest: Mapping[str, Any], summary: Mapping[str, Any]) -> list[str]:
    """Return which file this is, what arrived, over what it is measured, and what the file does not tell."""
    traffic, window, measured = summary["traffic"], summary["window"], manifest["measured"]
    scenario = manifest["scenario"]
    requests, span_s = traffic["requests"], traffic["arrivals_span_s"]
    rate = f" over {number(span_s, 5)} s, {number((requests - 1) / span_s)} requests/s" if span_s > 0 else ""
    prompts = traffic["prompt_tokens"]
    counted_prompts = f"{prompts:,} prompt and " if prompts is not None else ""
    model = scenario["hardware"]["model"]
    lines = [
        f"{scenario['name']}, a real server, {measured.get('source', 'file of ' + measured['tool'])}",
        "",
        *([f"Model     {model}"] if model else []),
        f"Workload  {counted(requests, 'request')}{rate}",
        f"          {counted_prompts}{traffic['output_tokens']:,} output tokens",
        f"Measured  {number(window['duration_s'], 6)} s, {counted(window['requests'], 'request')}",
    ]
    return [*lines, *(f"Note      {note}." for note in measured["notes"])]
