"""Why a request of a real server took as long as it did, as far as the client saw: before, during, after its tokens."""

import numpy as np

from simulator.report.explain import longest, waits
from simulator.report.phases import columns_of
from simulator.report.text import counted, number
from simulator.results.measured import MeasuredResult


def explain_measured(result: MeasuredResult, request: int) -> str:
    """Return lines: the request, its times before, during and after its tokens, and when its reader waited.

    The times add up to that from its arrival to its last token or its end, whichever is later. What the server did
    in them is not known, only what else was in flight.
    """
    columns = columns_of(result.requests())
    mine = {name: column[request] for name, column in columns.items()}
    got = int(mine["delivered_tokens"])
    arrival_s, first_s, last_s, end_s = (
        float(mine[name]) for name in ("arrival_s", "first_token_s", "last_token_s", "end_s")
    )
    ends_s = float(np.fmax(last_s, end_s))
    prompt = f"{int(mine['prompt_tokens']):,} prompt tokens, " if mine["prompt_tokens"] >= 0 else ""
    lines = [
        f"request {request}: {prompt}{counted(got, 'answer token')}, {mine['state']},"
        f" {number(ends_s - arrival_s)} s from its arrival at {number(arrival_s)} s"
    ]
    others = np.arange(len(columns["arrival_s"])) != request
    ends = np.fmax(columns["last_token_s"], columns["end_s"])
    beside = others & (columns["arrival_s"] <= arrival_s) & (ends > arrival_s)
    reading = beside & (columns["first_token_s"] <= arrival_s)
    flight = (
        f"{counted(int(beside.sum()), 'request')} in flight before it, {int(reading.sum()):,} getting tokens"
    )
    if not got:
        return "\n".join([*lines, _line(ends_s - arrival_s, f"without a token; {flight}")]) + "\n"
    lines.append(_line(first_s - arrival_s, f"until its first token; {flight}"))
    if got > 1:
        lines.append(
            _line(last_s - first_s, f"for the {got - 1:,} tokens after it{_longest_gap(result, request)}")
        )
    if ends_s > last_s:
        lines.append(_line(ends_s - last_s, "after its last token, until it ended"))
    return "\n".join([*lines, *(waits(result, request) if result.scored_by_token else ())]) + "\n"


def slowest_measured(result: MeasuredResult, count: int) -> list[int]:
    """Return the requests that took longest from their arrival, first the longest."""
    return [int(row) for row in longest(columns_of(result.requests()), count)]


def _longest_gap(result: MeasuredResult, request: int) -> str:
    """Say before which token the longest gap was, where each token has a time of its own."""
    if result.manifest["measured"]["token_times"] != "each":
        return ""
    log = result.log
    gaps_s = np.diff(log.delivered_s[log.token_offsets[request] : log.token_offsets[request + 1]])
    most = int(np.argmax(gaps_s))
    return f", at most {number(float(gaps_s[most]))} s between two, before token {most + 2:,}"


def _line(lasts_s: float, said: str) -> str:
    return f"  {number(lasts_s):>9} s  {said}"
