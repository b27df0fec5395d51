"""By what a run is scored, in words."""

from collections.abc import Mapping
from typing import Any

from simulator.report.text import number

_ENDED = ("abandoned_by_system", "abandoned_by_user", "rejected", "failed")  # without completing
_WINDOWS = {
    "arrivals": "from the first arrival to the last",
    "whole": "from the first arrival to the last event",
}
_SECONDS = "from the first arrival on"
_UNSERVED = {  # by user.unserved
    "asks_again": "Who did not get the whole answer asks again: each missing token costs V (user.unserved).",
    "wait_ends": "Who did not get the whole answer waits until it leaves (user.unserved = wait_ends).",
    "wait_to_end": "Who did not get the whole answer waits to the end (user.unserved = wait_to_end).",
}


def scored_by(summary: Mapping[str, Any]) -> list[str]:
    """Return the reader, what its waiting costs, and the time of the rates, a sentence each."""
    smooth = summary["smooth_goodput"]
    start = "its arrival" if smooth["origin"] == "arrival" else "its first token"
    allowance = smooth["first_token_allowance_s"]
    after = f" + {allowance:g} s" if allowance else ""
    shape = (
        smooth["f"]
        if smooth["f"] in ("linear", "quadratic")
        else f"{smooth['f']}, c = {smooth['f_scale_s']:g} s"
    )
    rule = summary["window"]["rule"]
    first_due = []
    if smooth["origin"] == "arrival" and not allowance:
        first_due = [
            "With S = 0 the first token is due V after the arrival: the token SLO is first of all a TTFT within V."
        ]
    return [
        f"User model: {smooth['user_model']}.",
        f"The reader takes a token every V = {smooth['v_s_per_token']:g} s from {start}{after} on.",
        *_reading(smooth),
        f"Benefit of a request: {_weights(smooth)} - {smooth['alpha_tokens']:g} x f(user idle), f {shape}.",
        *_not_served(summary),
        f"Rates count what falls into {number(smooth['window_s'], 6)} s, {_WINDOWS.get(rule, _SECONDS)}.",
        *first_due,
    ]


def _reading(smooth: Mapping[str, Any]) -> list[str]:
    """Say how a reader who is not steady goes through an answer."""
    reads, told = smooth["reads"], []
    if reads != "token":
        told.append(
            f"reads {'units of ' + str(reads) + ' tokens' if isinstance(reads, int) else 'by ' + reads}"
        )
    if smooth["skim_speedup"] != 1:
        told.append(
            f"is {smooth['skim_speedup']:g} times as fast after {smooth['skim_after_tokens']:,} tokens"
        )
    if smooth["fatigue"]:
        told.append(f"takes {100 * smooth['fatigue']:g} % longer for a token each 1,000 tokens")
    if smooth["thinking_share"]:
        told.append(f"skips the first {100 * smooth['thinking_share']:g} % of an answer, which is thinking")
    return [f"It {', '.join(told)}."] if told else []


def _not_served(summary: Mapping[str, Any]) -> list[str]:
    """Say what the wait of readers who did not get their answers costs, where there are any."""
    states = summary["states"]
    ended = sum(states[name]["count"] for name in _ENDED)
    return [_UNSERVED[summary["smooth_goodput"]["unserved"]]] if ended else []


def _weights(smooth: Mapping[str, Any]) -> str:
    output = (
        "its delivered tokens"
        if smooth["weight_output"] == 1
        else f"{smooth['weight_output']:g} x delivered tokens"
    )
    if smooth["weight_thinking"] is not None:
        output += f" - {smooth['weight_output'] - smooth['weight_thinking']:g} x those that are thinking"
    prompt = smooth["weight_input"]
    return f"{prompt:g} x prompt tokens + {output}" if prompt else output
