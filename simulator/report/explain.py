"""Why a request took as long as it did: a sentence a phase, from the records alone."""

from collections.abc import Iterator, Sequence

import numpy as np

from simulator.arrays import Columns, Ints
from simulator.metrics._reader import stalls
from simulator.replica.shortage import NO_REQUEST, STUCK
from simulator.report.phases import Histories, Phase
from simulator.report.text import counted, number
from simulator.results.result import Result

MOST_NAMED = 5


def explain(histories: Histories, request: int) -> str:
    """Return lines: the request, its phases with what made them, and when its reader waited.

    The phases add up to the time from its arrival to its last token, or to its end without one.
    """
    phases = histories.phases(request)
    mine = {name: column[request] for name, column in histories.requests.items()}
    prompt, asked, got = (int(mine[name]) for name in ("prompt_tokens", "output_tokens", "delivered_tokens"))
    took_s = sum(phase.lasts_s for phase in phases)
    head = (
        f"request {request}: {prompt:,} prompt tokens, {got:,} of {asked:,} answer tokens, {mine['state']},"
        f" {number(took_s)} s from its arrival at {number(mine['arrival_s'])} s"
    )
    told = [f"  {number(phase.lasts_s):>9} s  {_sentence(histories, request, phase)}" for phase in phases]
    return "\n".join([head, *told, *waits(histories.result, request)]) + "\n"


def slowest(histories: Histories, count: int) -> Ints:
    """Return the requests that took longest from their arrival, first the longest."""
    return longest(histories.requests, count)


def longest(requests: Columns, count: int) -> Ints:
    """Return the rows of the requests that took longest from their arrival, first the longest."""
    ends = np.fmax(requests["last_token_s"], requests["end_s"])
    took_s = np.nan_to_num(ends - requests["arrival_s"], nan=-1.0)
    found: Ints = np.argsort(-took_s, kind="stable")[:count]
    return found


def _sentence(histories: Histories, request: int, phase: Phase) -> str:
    if phase.doing == "read":
        return "read by its API server"
    if phase.doing == "queued":
        return _queued(histories, request, phase)
    if phase.doing == "prefill":
        return f"prefill in {counted(phase.steps, 'step')}{_beside(histories, request, phase)}"
    if phase.doing == "decode":
        return f"decode, {counted(phase.steps, 'step')}"
    if phase.doing == "preempted":
        return f"preempted{_preempted_for(histories, request, phase)}"
    if phase.doing == "transfer":
        return "its KV cache was moved between replicas"
    if phase.doing == "delivery":
        return "from the end of its last step to its reader"
    return "in the batch, while steps went on without it"


def _queued(histories: Histories, request: int, phase: Phase) -> str:
    """Say behind how many it queued, and who overtook."""
    columns = histories.requests
    began_on = histories.began_on
    replica = began_on[request]
    arrival, first = columns["arrival_s"], columns["first_scheduled_s"]
    here = (began_on == replica) & (np.arange(len(arrival)) != request)
    began = np.where(np.isnan(first), np.inf, first)
    ends = np.fmax(columns["end_s"], columns["last_token_s"])
    if histories.transfers:
        # What went elsewhere ran here until its prompt was computed, or it had moved
        moved = {name: column[histories.transfers["arrived"]] for name, column in histories.transfers.items()}
        np.fmin.at(ends, moved["request_id"], np.fmin(moved["prefill_end_s"], moved["end_s"]))
    before = here & (arrival <= arrival[request]) & (began > phase.start_s) & (began < phase.end_s)
    running = here & (began <= phase.start_s) & (ends > phase.start_s)
    overtook = here & (arrival > arrival[request]) & (began < phase.end_s)
    text = f"queued on replica {replica}" if replica >= 0 else "queued"
    text += f", {counted(int(running.sum()), 'request')} running and {int(before.sum()):,} waiting before it"
    if overtook.any():
        named = np.flatnonzero(overtook)
        text += f"; {counted(len(named), 'later one')} began first ({_names(named)})"
    return text


def _beside(histories: Histories, request: int, phase: Phase) -> str:
    """Say in how many chunks, and what was beside it in the same steps."""
    work = histories.work
    rows = [row for row in histories.work_of(request).tolist() if work["kind"][row] == "prefill"]
    rows = [row for row in rows if work["tokens"][row]]  # 0: some layers only, beside decodes
    inside = []
    for row in rows:
        replica, step = int(work["replica"][row]), int(work["step"][row])
        if phase.start_s <= histories.step_start_s[replica][step] + 1e-9 < phase.end_s:
            inside.append((replica, step, int(work["tokens"][row])))
    if not inside:
        return ""
    chunks = [tokens for _, _, tokens in inside]
    others = sum(histories.prompts_beside(replica, step) - 1 for replica, step, _ in inside)
    sizes = f"{chunks[0]:,} tokens" if len(chunks) == 1 else f"{min(chunks):,} to {max(chunks):,} tokens"
    return (
        f" ({counted(len(chunks), 'chunk')} of {sizes}; beside {counted(others, 'chunk')} of other prompts)"
    )


def _preempted_for(histories: Histories, request: int, phase: Phase) -> str:
    """Say at which step of which replica, for which request, and with how many of its tokens computed."""
    work = histories.work
    for row in histories.work_of(request).tolist():
        replica, step = int(work["replica"][row]), int(work["step"][row])
        at_s = float(histories.step_start_s[replica][step])
        if work["kind"][row] == "preempted" and phase.start_s - 1e-9 <= at_s < phase.end_s:
            return (
                f" at {number(at_s)} s (step {step} of replica {replica}){_caused_by(histories, request, row)};"
                f" {counted(int(work['tokens'][row]), 'token')} had been computed"
            )
    return ""


def _caused_by(histories: Histories, request: int, row: int) -> str:
    """Say which request needed the KV blocks of the one preempted, or was let ahead of it."""
    work = histories.work
    if "for_request" not in work:  # saved by an earlier version
        return ""
    cause, blocks = int(work["for_request"][row]), int(work["blocks_lacked"][row])
    if cause == STUCK:
        return ", because requests that waited held all KV blocks and none could go on"
    if cause == request:
        return f", because it needed {counted(blocks, 'KV block')} itself and none was left"
    if blocks:
        return f" by request {cause}, which needed {counted(blocks, 'KV block')}"
    policy = f" by the policy {histories.policy(int(work['replica'][row]))}"
    return policy if cause == NO_REQUEST else f"{policy}, to let request {cause} ahead"


def waits(result: Result, request: int) -> Iterator[str]:
    """Say before which of its tokens its reader had nothing to read."""
    (log,) = result.measured.all.rows(request, request + 1).parts()
    found = stalls(log, result.user)
    mine = np.flatnonzero(found.idle_after_s > found.idle_before_s)
    if not len(mine):
        yield "  its reader never waits"
        return
    tokens = log.delivered_s
    places = []
    for row in mine[:MOST_NAMED].tolist():
        token = int(np.searchsorted(tokens, found.end_s[row] - 1e-9)) + 1
        lost_s = found.idle_after_s[row] - found.idle_before_s[row]
        places.append(f"{number(lost_s)} s before token {token:,}")
    more = f" and {len(mine) - MOST_NAMED:,} more times" if len(mine) > MOST_NAMED else ""
    total_s = float(found.idle_after_s[mine[-1]])
    yield f"  its reader waits {number(total_s)} s in all: {', '.join(places)}{more}"


def _names(requests: Sequence[int] | Ints) -> str:
    shown = ", ".join(str(int(each)) for each in requests[:MOST_NAMED])
    return shown + (", ..." if len(requests) > MOST_NAMED else "")
