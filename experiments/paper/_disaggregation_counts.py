"""Moves and preemptions of a run, read off its tokens, and which of them were to a reader's harm."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.paper._protocol import PROTOCOL
from experiments.paper._reproduce import RunSummary
from simulator.arrays import Floats, Ints
from simulator.metrics import smooth_goodput
from simulator.metrics._options import Slo, UserModel
from simulator.metrics._reader import idle_latency_s
from simulator.metrics._window import Window, measured
from simulator.results.result import Result


class Counts(NamedTuple):
    """How many moves a run had, migrations and preemptions alike; the first two kinds exclude each other."""

    harmful: int  # the pause made the user idle latency longer
    needless: (
        int  # of the others: the reader had text in hand, and no reader of that replica waited: d_i says stay
    )
    in_hand: int  # the reader had text in hand, whatever came of it
    moves: int
    pauses_idle_s: float  # by how much pauses made idle latency longer, mean over all requests, s


@dataclass(frozen=True)
class Timeline:
    """A run's tokens in order of request and position, its steps in order of replica and time, and its hand-overs."""

    request_id: Ints  # of each token, as the next five
    position: Ints  # from 1
    generated_s: Floats
    delivered_s: Floats
    replica: Ints
    step: Ints  # counts within the replica
    arrival_s: Floats  # of each request, as the next one
    handed_over_s: Floats  # when its decode replica had its KV
    step_replica: Ints  # of each step, as the next one
    step_end_s: Floats


def timeline(result: Result) -> Timeline:
    """Return what ``count`` reads of a run of prefill and decode replicas."""
    tokens, steps = result.tokens(), result.steps()
    requests, transfers = result.requests(), result.transfers()
    arrival_s = requests["arrival_s"].to_numpy()
    handed_over_s = arrival_s.copy()
    if transfers is not None:
        first = transfers["kind"].to_numpy(zero_copy_only=False) == "hand_off"
        handed_over_s[transfers["request_id"].to_numpy()[first]] = transfers["end_s"].to_numpy()[first]
    return Timeline(
        request_id=tokens["request_id"].to_numpy(),
        position=tokens["token_index"].to_numpy(),
        generated_s=tokens["generated_s"].to_numpy(),
        delivered_s=tokens["delivered_s"].to_numpy(),
        replica=tokens["replica"].to_numpy(),
        step=tokens["step"].to_numpy(),
        arrival_s=arrival_s,
        handed_over_s=handed_over_s,
        step_replica=steps["replica"].to_numpy(),
        step_end_s=steps["end_s"].to_numpy(),
    )


def count(run: Timeline, user: UserModel, worse_s: float) -> Counts:
    """Count the moves, and those that ``user`` is the worse for by ``worse_s`` or more.

    A move is a pause between two tokens: the second came from another replica (migration), or the replica had at least
    one step in between without the request (preemption, by swap or recompute). What it adds to the idle latency
    l = max_i(t_i - d_i) (arXiv 2410.14257v2, Eq. 9) is l after it less what l had been if the token had come
    from the replica's next step.
    """
    before = _moves(run)
    if not len(before):
        return Counts(0, 0, 0, 0, 0.0)
    due_s = _due_s(run, user)
    late_s = run.delivered_s - due_s
    so_far_s = _idle_so_far_s(run, late_s, before)
    would_come_s = _next_step_end_s(run, before) + (run.delivered_s - run.generated_s)[before]
    unmoved_idle_s = np.maximum(would_come_s - due_s[before + 1], so_far_s)
    longer_s = np.maximum(np.maximum(late_s[before + 1], so_far_s) - unmoved_idle_s, 0.0)
    harmful = longer_s >= worse_s
    in_hand = due_s[before + 1] > run.generated_s[before]
    needless = ~harmful & in_hand & ~_a_reader_waits(run, due_s, before)
    harmful_moves, needless_moves, moves_in_hand = (
        int(np.count_nonzero(kind)) for kind in (harmful, needless, in_hand)
    )
    pauses_idle_s = float(longer_s.sum()) / len(run.arrival_s)
    return Counts(harmful_moves, needless_moves, moves_in_hand, len(before), pauses_idle_s)


def counted(result: Result, readings: Mapping[str, UserModel]) -> dict[str, RunSummary]:
    """Return by reading ``Counts``, what readers got, and what no reading changes: the classic metrics."""
    run, log = timeline(result), measured(result.log, Window())
    worse_s = PROTOCOL.disaggregation.worse_s
    summary = result.summary()
    classic: RunSummary = {
        "ttft_s": summary["latency"]["ttft_s"]["mean"],
        "tbt_p99_s": summary["latency"]["tbt_s"]["p99"],
        "tpot_s": summary["latency"]["tpot_s"]["mean"],
        "tokens_per_s": summary["throughput"]["output_tokens_per_s"],
        "hand_overs": int(np.count_nonzero(run.handed_over_s > run.arrival_s)),
    }
    return {
        title: {
            **count(run, user, worse_s)._asdict(),
            "idle_s": float(np.mean(idle_latency_s(log, user))),
            "goodput_tokens_per_s": smooth_goodput.measure(log, user, Slo())["smooth_goodput_tokens_per_s"],
            **classic,
        }
        for title, user in readings.items()
    }


def _moves(run: Timeline) -> Ints:
    """Return the tokens before the pauses."""
    same = np.diff(run.request_id) == 0
    return np.flatnonzero(same & ((np.diff(run.replica) != 0) | (np.diff(run.step) > 1)))


def _due_s(run: Timeline, user: UserModel) -> Floats:
    """Return when each token is due, seconds."""
    clock_s = run.arrival_s + user.first_token_allowance_s
    if user.origin == "first_token":
        first = run.position == 1
        clock_s = clock_s.copy()
        clock_s[run.request_id[first]] = run.delivered_s[first] - user.v_s_per_token
    due_s: Floats = clock_s[run.request_id] + user.v_s_per_token * run.position
    return due_s


def _idle_so_far_s(run: Timeline, late_s: Floats, before: Ints) -> Floats:
    """Return the idle latency of each moved request up to the token before its pause."""
    first = before - run.position[before] + 1
    return np.array(
        [max(0.0, float(late_s[start : last + 1].max())) for start, last in zip(first, before, strict=True)]
    )


def _next_step_end_s(run: Timeline, before: Ints) -> Floats:
    """Return when the replica's next step ended; where it had none, when the last one did."""
    begins = np.searchsorted(run.step_replica, np.arange(run.step_replica.max(initial=-1) + 1))
    here = begins[run.replica[before]] + run.step[before]
    following = np.minimum(here + 1, len(run.step_replica) - 1)
    has_one = run.step_replica[following] == run.replica[before]
    ends_s: Floats = run.step_end_s[np.where(has_one, following, here)]
    return ends_s


def _a_reader_waits(run: Timeline, due_s: Floats, before: Ints) -> NDArray[np.bool_]:
    """Return whether a token of some reader was overdue at the replica of each pause when it began.

    A first token is overdue there from when the replica has the request.
    """
    from_s = np.where(run.position == 1, np.maximum(due_s, run.handed_over_s[run.request_id]), due_s)
    late = run.delivered_s > from_s
    waits = np.zeros(len(before), np.bool_)
    for replica in np.unique(run.replica[before]):
        here = late & (run.replica == replica)
        mine = run.replica[before] == replica
        at_s = run.generated_s[before][mine]
        begun = np.searchsorted(np.sort(from_s[here]), at_s, side="right")
        over = np.searchsorted(np.sort(run.delivered_s[here]), at_s, side="right")
        waits[mine] = begun > over
    return waits
