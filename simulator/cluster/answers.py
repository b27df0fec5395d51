"""What policies that look at several replicas may answer: checked where it is taken, in one sentence if it is wrong.

What returns one truth value or number is asked here, too: compiled code refuses an answer of another type by itself.
"""

import numbers
import operator
import random
from collections.abc import Iterable, Sequence

import numpy as np

from simulator.blame import wrong_answer
from simulator.cluster.policy import Abandonment, Admission, Migration, Move, Roles, Scaler
from simulator.replica.job import Job
from simulator.replica.replica import Replica


def let_in(policy: Admission, job: Job, replica: Replica, now_s: float, draw: random.Random) -> bool:
    """Ask an admission policy; InputError unless it answers a truth value."""
    answer: object = policy.admit(job, replica, now_s, draw)
    if isinstance(answer, bool | np.bool_):
        return bool(answer)
    raise wrong_answer("admission", policy.admit, answer, "True or False")


def leaves_s(policy: Abandonment, job: Job, tokens: int) -> float:
    """Ask when a request is dropped, seconds; InputError unless it is a number, ``inf`` for never."""
    answer: object = policy.drop_s(job, tokens)
    if isinstance(answer, numbers.Real) and not isinstance(answer, bool):
        try:
            time_s = float(answer)
        except OverflowError:
            time_s = float("nan")
        if time_s == time_s:
            return time_s
    raise wrong_answer("abandonment", policy.drop_s, answer, "a time in seconds, math.inf for never")


def moves_of(policy: Migration, answer: object, replicas: Sequence[Replica]) -> list[Move]:
    """Return the moves that a migration policy wants; InputError unless each is a Move between replicas shown."""
    expected = f"Moves of requests between replicas 0 to {len(replicas) - 1}"
    if not isinstance(answer, Iterable):
        raise wrong_answer("migration", policy.moves, answer, expected)
    found: list[Move] = list(answer)
    for move in found:
        if (
            not isinstance(move, Move)
            or not hasattr(move.job, "request")
            or not all(
                isinstance(place, numbers.Integral)
                and not isinstance(place, bool)
                and place in range(len(replicas))
                for place in (move.source, move.destination)
            )
        ):
            raise wrong_answer("migration", policy.moves, move, expected)
    return found


def changing(policy: Roles, answer: object, replicas: Sequence[Replica]) -> Replica:
    """Return the replica that is to change its role; InputError unless it is one of those shown."""
    for each in replicas:
        if each is answer:
            return each
    raise wrong_answer("roles", policy.switch, answer, "one of the replicas it was shown, or None")


def replicas_wanted(policy: Scaler, answer: object) -> int:
    """Return how many replicas a scaling policy wants; InputError unless it is a whole number."""
    try:
        if not isinstance(answer, bool):
            return operator.index(answer)  # type: ignore[arg-type]
    except TypeError:
        pass
    raise wrong_answer("scaling", policy.target, answer, "a whole number")
