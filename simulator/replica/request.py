"""A request as the traffic brings it, and the states that it can end in."""

from enum import IntEnum
from typing import NamedTuple


class RequestState(IntEnum):
    """The state a request ends in; every request ends in exactly one. Saved by lower-case name."""

    COMPLETED = 0  # all tokens delivered (or stopped at max_model_len)
    ABANDONED_BY_SYSTEM = 1  # dropped to save others
    ABANDONED_BY_USER = 2  # patience ran out
    REJECTED = 3  # refused at admission
    FAILED = 4  # can never fit, or lost to a fault
    UNFINISHED = 5  # still waiting or running at the horizon


NEVER = float("nan")


class Request(NamedTuple):
    """A row of the workload: what a client sends, and when. It never changes."""

    row: int
    arrival_s: float
    prompt_tokens: int
    output_tokens: int  # that it will get; policies do not know it
    leave_s: float = NEVER
    priority: int = 0  # the lower, the sooner, where the policy looks at it
    tenant: int = 0  # who pays for it
    predicted_tokens: int = 1 << 30  # what a predictor says of its output, which may be wrong
    session: int = -1  # the conversation it belongs to; -1: none
    think_s: float = (
        NEVER  # from the answer before in its session to its arrival; NEVER: it arrives at arrival_s
    )
