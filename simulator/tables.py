"""From the engine's records to columns: steps, the token trace, and one row per request.

Everything here is vectorised and runs once, after the simulation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.policy import Delivery
from simulator.records import STEP_COLUMNS, Records
from simulator.request import RequestState

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = dict[str, NDArray[Any]]

_STEP_TIMES = ("start_s", "end_s")
TRANSFER_COLUMNS = {
    "request_id": np.int32,
    "kind": np.str_,
    "source": np.int32,
    "destination": np.int32,
    "start_s": np.float64,
    "end_s": np.float64,
    "bytes": np.float64,
    "arrived": np.bool_,
}


@dataclass(frozen=True)
class Tables:
    """All that a run leaves behind, as equally long columns of numpy arrays.

    ``steps`` are ordered by replica, then time, and a step's index counts within its replica.
    ``tokens`` are ordered by request, then by position in the answer. ``requests`` are in the order of
    arrival; where a request never got somewhere, the time is NaN and the replica -1.
    """

    steps: Columns
    tokens: Columns
    requests: Columns
    transfers: Columns  # KV caches that went from replica to replica, in the order in which they ended


def step_table(records: Sequence[Records]) -> Columns:
    """Return the steps of all replicas one after another; counts are int32, times are seconds."""
    parts = [_steps_of(each) for each in records]
    rows = [len(part["end_s"]) for part in parts]
    table: Columns = {
        "replica": np.repeat(np.arange(len(rows), dtype=np.int32), rows),
        "step": np.concatenate([np.arange(n, dtype=np.int32) for n in rows]),
    }
    for name in STEP_COLUMNS:
        table[name] = np.concatenate([part[name] for part in parts])
    return table


def _steps_of(records: Records) -> Columns:
    """Return the steps of one replica that have ended, in order."""
    planned = records.rows("steps")
    ends = records.rows("run_ends")[0]
    n = planned.shape[1] + len(ends)
    steps: Columns = {
        name: np.zeros(n, np.float64 if name in _STEP_TIMES else np.int32) for name in STEP_COLUMNS
    }
    for name, column in zip(STEP_COLUMNS, planned[1:], strict=True):
        steps[name][planned[0].astype(np.int64)] = column
    first, count, start_s, seqs, context, all_running = records.rows("runs")
    counts = count.astype(np.int64)
    begins = np.cumsum(counts) - counts
    nth = np.arange(len(ends)) - np.repeat(begins, counts)  # place within the run
    rows = np.repeat(first.astype(np.int64), counts) + nth
    starts = np.empty_like(ends)
    starts[1:] = ends[:-1]
    starts[begins] = start_s
    running = np.repeat(seqs, counts)
    for name, column in (
        ("start_s", starts),
        ("end_s", ends),
        ("decode_seqs", running),
        ("decode_context_tokens", np.repeat(context, counts) + nth * running),
        ("running", np.repeat(all_running, counts)),
        ("kv_blocks_used", records.rows("run_blocks")[0]),
        ("ticks", np.ones(len(ends))),
    ):
        steps[name][rows] = column
    return {name: column[: n - records.under_way] for name, column in steps.items()}


def token_table(records: Sequence[Records], steps: Columns, delay_s: float) -> Columns:
    """Unfold spans and prompt ends into one row per generated token.

    ``delay_s`` is the constant time from generation to delivery (the server's front end).
    """
    requests, replicas, firsts, counts, ticking = [], [], [], [], []
    row_of_tick: list[Ints] = []
    row = ticks_before = 0
    steps_of = np.bincount(steps["replica"], minlength=len(records))
    for replica, each in enumerate(records):
        n_steps = int(steps_of[replica])
        ticks = row + np.flatnonzero(steps["ticks"][row : row + n_steps])
        row_of_tick.append(ticks)
        request, tick, tokens = each.rows("spans")
        ended, step = each.rows("prompt_ends")
        # The steps under way when the simulation ended gave no tokens.
        tokens = np.minimum(tokens, len(ticks) - tick)
        request, tick, tokens = request[tokens > 0], tick[tokens > 0], tokens[tokens > 0]
        ended, step = ended[step < n_steps], step[step < n_steps]
        requests += [request, ended]
        firsts += [ticks_before + tick, row + step]
        counts += [tokens, np.ones_like(step)]
        ticking += [np.ones(len(request), bool), np.zeros(len(ended), bool)]
        replicas.append(np.full(len(request) + len(ended), replica, np.int32))
        row += n_steps
        ticks_before += len(ticks)
    request, first, count = np.concatenate(requests), np.concatenate(firsts), np.concatenate(counts)
    is_span = np.concatenate(ticking)
    step_row = np.concatenate(row_of_tick)
    first_row = first.copy()
    first_row[is_span] = step_row[first[is_span]]
    order = np.lexsort((steps["end_s"][first_row], request))
    request, first, count = request[order], first[order], count[order]
    # Each segment covers consecutive ticks (or is one step); its tokens are first, first + 1, ...
    total = int(count.sum())
    begins = np.cumsum(count) - count
    position = np.repeat(first - begins, count) + np.arange(total)
    spread = np.repeat(is_span[order], count)
    position[spread] = step_row[position[spread]]
    owner = np.repeat(request, count)
    answer_begins = np.searchsorted(owner, owner[begins]) if total else begins
    generated_s = steps["end_s"][position]
    return {
        "request_id": owner.astype(np.int32),
        "token_index": (np.arange(total) - np.repeat(answer_begins, count) + 1).astype(np.int32),
        "generated_s": generated_s,
        "delivered_s": generated_s + delay_s if delay_s else generated_s,
        "replica": np.repeat(np.concatenate(replicas)[order], count),
        "step": steps["step"][position],
    }


def without_those_of_the_gone(
    tokens: Columns, records: Sequence[Records], refused: Sequence[tuple[int, RequestState, float]]
) -> Columns:
    """Leave out the tokens whose request had been dropped or had failed when they came.

    A step that is under way with asynchronous scheduling still computes one; nobody gets it.
    """
    request, state, time_s = np.concatenate([each.rows("ended") for each in records], axis=1)
    early = state != RequestState.COMPLETED
    if not early.any() or not len(tokens["request_id"]):
        return tokens
    last = max([int(tokens["request_id"].max()), *request[early].astype(int), *(row[0] for row in refused)])
    gone_s = np.full(last + 1, np.inf)
    for number, _, refused_s in refused:
        gone_s[number] = refused_s
    gone_s[request[early].astype(np.int64)] = time_s[early]
    stays = tokens["generated_s"] <= gone_s[tokens["request_id"]]
    return tokens if stays.all() else {name: column[stays] for name, column in tokens.items()}


def request_table(
    records: Sequence[Records],
    refused: Sequence[tuple[int, RequestState, float]],
    arrived: Columns,
    steps: Columns,
    tokens: Columns,
    end_of_run_s: float,
) -> Columns:
    """One row per arrived request: what it asked for, how it ended, and its milestones in seconds."""
    n = len(arrived["arrival_s"])
    state = np.full(n, int(RequestState.UNFINISHED), np.int8)
    end_s = np.full(n, end_of_run_s)
    replica = np.full(n, -1, np.int32)
    preemptions = np.zeros(n, np.int32)
    first_scheduled_s = np.full(n, np.nan)
    for request, final, time_s in refused:
        state[request], end_s[request] = final, time_s
    steps_of = np.bincount(steps["replica"], minlength=len(records))
    row = 0
    last_scheduled_s = np.full(n, -np.inf)
    for index, each in enumerate(records):
        n_steps = int(steps_of[index])
        start_s = steps["start_s"][row : row + n_steps]
        step, request, _, _ = each.rows("chunks")
        step, request = step[step < n_steps], request[step < n_steps]
        later = start_s[step] >= last_scheduled_s[request]
        replica[request[later]] = index
        last_scheduled_s[request[later]] = start_s[step[later]]
        first_s = np.full(n, np.nan)
        # Written backwards, so that the first chunk of a request is the one that stays.
        first_s[request[::-1]] = start_s[step[::-1]]
        first_scheduled_s = np.fmin(first_scheduled_s, first_s)
        _, request, _ = each.rows("preemptions")
        np.add.at(preemptions, request, 1)
        row += n_steps
    for index, each in enumerate(records):
        request, final, time_s = each.rows("ended")
        who = request.astype(np.int64)
        state[who], end_s[who], replica[who] = final, time_s, index
    delivered = np.bincount(tokens["request_id"], minlength=n).astype(np.int64)
    last = np.cumsum(delivered)
    got = delivered > 0
    first_token_s, last_token_s = np.full(n, np.nan), np.full(n, np.nan)
    first_token_s[got] = tokens["delivered_s"][(last - delivered)[got]]
    last_token_s[got] = tokens["delivered_s"][last[got] - 1]
    completed = state == RequestState.COMPLETED
    end_s[completed] = last_token_s[completed]
    return {
        "request_id": np.arange(n, dtype=np.int32),
        **arrived,
        "state": state,
        "delivered_tokens": delivered.astype(np.int32),
        "replica": replica,
        "first_scheduled_s": first_scheduled_s,
        "first_token_s": first_token_s,
        "last_token_s": last_token_s,
        "end_s": end_s,
        "preemptions": preemptions,
    }


def transfer_table(done: Sequence[tuple[int, str, int, int, float, float, float, bool]]) -> Columns:
    """One row per transfer of a KV cache: whose, why, between which replicas, when and how much."""
    columns = list(zip(*done, strict=True)) or [()] * len(TRANSFER_COLUMNS)
    return {
        name: np.array(column, kind)
        for (name, kind), column in zip(TRANSFER_COLUMNS.items(), columns, strict=True)
    }


def deliver(tokens: Columns, delivery: Delivery, rng: np.random.Generator) -> None:
    """Let a delivery policy say when tokens reach their readers; they have the front end behind them."""
    sent_s, owner = tokens["delivered_s"], tokens["request_id"]
    starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    tokens["delivered_s"] = np.maximum(delivery.deliver(sent_s, starts, rng), sent_s)


def number_replicas(steps: Columns, tokens: Columns, requests: Columns, replica_of: Sequence[int]) -> None:
    """Put the lives of a replica between crashes together: ``replica_of`` gives the replica of each."""
    owner = np.array(replica_of, np.int32)
    if (owner == np.arange(len(owner))).all():
        return
    n = np.bincount(steps["replica"], minlength=len(owner))
    before = np.zeros_like(n)  # steps of the replica in earlier lives
    for life in range(1, len(owner)):
        if owner[life] == owner[life - 1]:
            before[life] = before[life - 1] + n[life - 1]
    for table in (steps, tokens):
        lives = table["replica"]
        table["step"] = (table["step"] + before[lives]).astype(np.int32)
        table["replica"] = owner[lives]
    requests["replica"] = np.where(requests["replica"] < 0, -1, owner[requests["replica"]]).astype(np.int32)
