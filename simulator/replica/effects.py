"""What a replica tells others: one argument of its constructor."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator.replica.job import Job
from simulator.replica.request import RequestState

if TYPE_CHECKING:
    from simulator.replica.replica import Replica


@dataclass(frozen=True)
class Effects:
    """Functions that are called when something happens at a replica; None: nothing depends on it.

    A replica whose step ends reach others has a timer in the clock; one without effects is computed when looked at.
    """

    ended: Callable[[Job, RequestState, float], None] | None = None  # a request has reached a final state
    prompt_done: Callable[[Job, "Replica"], None] | None = None  # a prefill replica's part of it is done
    # a planned step computes so many tokens of each of these jobs' prompts; when it starts and when it ends
    chunks: Callable[["Replica", Mapping[Job, int], float, float], None] | None = None
    withholds: bool = False  # whether the replica that a request is handed over to gives its next token
    idle: Callable[["Replica", float], None] | None = None  # nothing is left to do
    load_fell: Callable[["Replica"], None] | None = None  # its outstanding tokens may have become fewer
    every_step: bool = False  # whether the end of any step may reach others


NO_EFFECTS = Effects()
