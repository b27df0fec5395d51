"""From requests that were sent to a run with the columns of a measured one, and what is to be said of it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from simulator.arrays import Columns
from simulator.metrics._distribution import distribution
from simulator.observe.driving import Drive
from simulator.observe.sending import Sent
from simulator.replica.request import FIELDS, RequestState
from simulator.results.imports import ServedRequest, ServedRun
from simulator.results.imports._served import served_run
from simulator.workload import Workload

TOOL = "servesim observe"
LATE_S = 0.02  # p99 of the client's own lateness from which on its times are not to be trusted
_MOST_REASONS = 8  # that are said one by one


def served(drive: Drive, name: str) -> ServedRun:
    """Return the run: one row a request that was sent, on a clock that is 0 at the start of the run."""
    sent = sorted((each for each in drive.sent if each.sent_s == each.sent_s), key=lambda each: each.sent_s)
    requests = [_request(each, drive) for each in sent]
    run = served_run(
        name, TOOL, requests, notes=_notes(drive, sent), model=drive.endpoint.model, tokens_needed=False
    )
    thinking = run.thinking_tokens
    asked = drive.prompts.workload.thinking_tokens
    if thinking is None and asked is not None:  # the server does not tell thinking from the rest
        most = np.maximum(run.output_tokens - 1, 0)
        thinking = np.minimum(asked[[each.row for each in sent]], most)
    cut_off = any(each.state is RequestState.UNFINISHED for each in sent)
    return replace(
        run,
        columns=_columns(drive, sent),
        thinking_tokens=thinking,
        partial=drive.stopped,
        end_of_run_s=max(run.end_of_run_s, drive.end_s - drive.start_s)
        if cut_off or drive.stopped
        else run.end_of_run_s,
    )


def lateness(drive: Drive) -> dict[str, Any]:
    """Return by how much the client itself was late, in seconds: in sending, and in looking at what came."""
    late_s = np.array([each.late_s for each in drive.sent if each.sent_s == each.sent_s])
    return {
        "send_lag_s": distribution(late_s, "requests sent"),
        "loop_lag_s": distribution(np.array(drive.oversleeps_s), "looks of the client's loop"),
    }


def is_late(lags: dict[str, Any]) -> bool:
    """Whether the client could not keep up."""
    return any((each["p99"] or 0.0) > LATE_S for each in lags.values())


def outcomes(drive: Drive) -> dict[str, int]:
    """Return how many requests did not complete for which reason, the most frequent first."""
    return dict(
        Counter(
            each.reason for each in drive.sent if each.reason and each.sent_s == each.sent_s
        ).most_common()
    )


def _request(each: Sent, drive: Drive) -> ServedRequest:
    answer, workload = each.answer, drive.prompts.workload
    times_s = np.repeat(np.array(answer.times_s), answer.tokens) - drive.start_s
    prompt = answer.prompt_tokens
    return ServedRequest(
        where=f"request {each.row}",
        arrival_s=each.sent_s - drive.start_s,
        prompt_tokens=int(workload.prompt_tokens[each.row]) if prompt is None else prompt,
        output_tokens=_output(each, len(times_s)),
        chunks_s=times_s if len(times_s) else None,
        state=each.state,
        end_s=each.end_s - drive.start_s,
        thinking_tokens=answer.thinking_tokens or None,
    )


def _output(each: Sent, chunks: int) -> int:
    """Return how many tokens were delivered: as the server counts a whole answer, else those that came."""
    answer = each.answer
    if answer.completion_tokens is None or not chunks or each.state is not RequestState.COMPLETED:
        return chunks
    hidden = 0 if answer.thinking_tokens else answer.hidden_tokens
    return max(answer.completion_tokens - hidden, 1)


def _columns(drive: Drive, sent: Sequence[Sent]) -> Columns:
    """Return what is known of each request beside what every load test tells."""
    workload = drive.prompts.workload
    rows = np.array([each.row for each in sent], np.int64)
    cached = [-1 if each.answer.cached_tokens is None else each.answer.cached_tokens for each in sent]
    found: Columns = {
        "row": rows,
        "due_s": np.array([each.due_s - drive.start_s for each in sent]),
        "asked_prompt_tokens": np.asarray(workload.prompt_tokens)[rows],
        "asked_output_tokens": np.asarray(workload.output_tokens)[rows],
        "cached_tokens": np.array(cached, np.int64),
    }
    for name, field in FIELDS.items():
        column = workload.optional.get(name)
        if field.saved and column is not None and name != "thinking_tokens":
            found[name] = column[rows]
    return found


def _notes(drive: Drive, sent: Sequence[Sent]) -> list[str]:
    workload = drive.prompts.workload
    said = [*_ends(drive, sent), *_lengths(workload, sent)]
    done = [each.answer for each in sent if each.state is RequestState.COMPLETED]
    if several := sum(any(count > 1 for count in each.tokens) for each in done):
        said.append(
            f"{several:,} of {len(done):,} answers came in chunks of several tokens, which have one time each"
        )
    if uncounted := sum(not each.counted and each.completion_tokens is None for each in done):
        said.append(
            f"of {uncounted:,} answers the server did not count the tokens; each chunk is counted as one"
        )
    if hidden := sum(each.hidden_tokens for each in done if not each.thinking_tokens):
        said.append(
            f"{hidden:,} tokens of thinking were counted by the server and not sent; they are left out"
        )
    if known := [each for each in done if each.cached_tokens is not None and each.prompt_tokens]:
        share = sum(each.cached_tokens or 0 for each in known) / sum(
            each.prompt_tokens or 0 for each in known
        )
        said.append(f"the server found {share:.1%} of the prompt tokens in its prefix cache")
    held_s = np.array([each.held_s for each in sent])
    if (held_s > LATE_S).any():
        said.append(
            f"{int((held_s > LATE_S).sum()):,} requests were held back by --max-concurrency, by {held_s.max():.3g} s at"
            " most; they count from when they were sent"
        )
    lags = lateness(drive)
    late = ", ".join(
        f"{_ms(lags[name]['p99'])} in {what}"
        for name, what in (("send_lag_s", "sending"), ("loop_lag_s", "looking at what came"))
        if lags[name]["p99"] is not None
    )
    said += [f"the client itself was late by p99 {late}"] if late else []
    if is_late(lags):
        said.append(
            "the client did not keep up, and latencies contain its own; expected a faster or less busy machine"
        )
    return said


def _ends(drive: Drive, sent: Sequence[Sent]) -> list[str]:
    """Return how many requests did not complete and why, and how many were never sent."""
    found = []
    reasons = list(outcomes(drive).items())
    for reason, count in reasons[:_MOST_REASONS]:
        first = next(each for each in sent if each.reason == reason)
        such_as = (
            "" if not first.detail else f" ({'such as ' if count > 1 else ''}{first.detail.rstrip('.')})"
        )
        found.append(f"{count:,} of {len(sent):,} requests did not complete: {reason}{such_as}")
    if rest := sum(count for _, count in reasons[_MOST_REASONS:]):
        found.append(f"{rest:,} of {len(sent):,} requests did not complete for other reasons")
    if never := len(drive.prompts.workload) - len(sent):
        found.append(
            f"{never:,} requests of the traffic were not sent: the run ended before, or a turn before them failed"
        )
    return found


def _lengths(workload: Workload, sent: Sequence[Sent]) -> list[str]:
    """Return how far lengths are from those that were asked."""
    found = []
    known = [each for each in sent if each.answer.prompt_tokens is not None]
    if known:
        asked, counted = _sums(
            known, workload.prompt_tokens, [each.answer.prompt_tokens or 0 for each in known]
        )
        found.append(
            f"prompts have {counted:,} tokens as the server counts; asked were {asked:,}{_off(counted, asked)}"
        )
    if len(known) < len(sent):
        found.append(
            f"the server did not count the prompts of {len(sent) - len(known):,} requests; they are taken as asked"
        )
    done = [each for each in sent if each.state is RequestState.COMPLETED]
    lengths = [_output(each, sum(each.answer.tokens)) for each in done]
    asked, counted = _sums(done, workload.output_tokens, lengths)
    if asked != counted:
        found.append(f"completed answers have {counted:,} tokens; asked were {asked:,}{_off(counted, asked)}")
    return found


def _sums(sent: Sequence[Sent], asked: Any, counted: Sequence[int]) -> tuple[int, int]:
    return int(sum(int(asked[each.row]) for each in sent)), sum(counted)


def _off(counted: int, asked: int) -> str:
    return f" ({100 * (counted / asked - 1):+.1f} %)" if asked and counted != asked else ""


def _ms(value_s: float) -> str:
    return f"{1e3 * value_s:.3g} ms"
