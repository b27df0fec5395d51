"""Rows of a replica's records that it needs no more while it goes on: made small, or taken out."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from simulator.replica.records import PROMPT_END_COLUMNS, RUN_COLUMNS, SPAN_COLUMNS, WIDTH, Records
from simulator.replica.replica import Replica

PACKED_ROWS = 1024  # of a list, at least, each time: as objects they take some 250 bytes
AFTER_ALL = 2**60  # a step, tick or request that comes after all there are
# Of each list whose rows belong to a step: the column that names it
_STEP_AT = {
    "steps": 0,
    "chunks": 0,
    "prompt_ends": 1,
    "withheld": 1,
    "drafts": 1,
    "trimmed": 1,
    "preemptions": 0,
}
_OF_RUNS = ("run_ends", "run_blocks")  # one for each step of the runs


class TakenRows(NamedTuple):
    """Rows that were taken, and what is not among them."""

    rows: dict[str, NDArray[Any]]  # of each list of ``Records`` that had any, flat
    least_request: int  # of those with tokens in rows that stay; ``AFTER_ALL`` if there are none


class GivenRecords(Records):
    """Records whose rows are given, flat by list: those of some requests, or of some steps."""

    __slots__ = ()

    def __init__(self, given: Mapping[str, NDArray[Any]]) -> None:
        """Have no rows in the lists that are not there."""
        super().__init__()
        self._packed |= {name: [rows] for name, rows in given.items()}


def pack(replica: Replica, at_the_end: bool = False) -> None:
    """Make lists of many rows small, but for what the replica may still need; ``at_the_end`` all of them."""
    records, least = replica.recorded, 0 if at_the_end else PACKED_ROWS
    for name, stop in _settled(replica, at_the_end).items():
        if stop > least * WIDTH[name][0]:
            records.pack(name, stop)


def take(replica: Replica, at_the_end: bool) -> TakenRows:
    """Take what a replica, whose records are never packed, has recorded and needs no more: ``at_the_end`` all of it."""
    records, stops = replica.recorded, _settled(replica, at_the_end)
    taken = {name: records.take_out(name, stop) for name, stop in stops.items() if stop}
    requests = records.spans[:: len(SPAN_COLUMNS)] + records.prompt_ends[:: len(PROMPT_END_COLUMNS)]
    return TakenRows(taken, min(requests, default=AFTER_ALL))


def _settled(replica: Replica, at_the_end: bool) -> dict[str, int]:
    """Return how many numbers of each list of its records a replica needs no more.

    What is in flight may be taken back, and what came last is looked at, so that rows of the last steps stay. A run of
    steps goes once all of it may go.
    """
    records = replica.recorded
    before_step, before_tick = (AFTER_ALL, AFTER_ALL) if at_the_end else replica.unsettled
    stops = {
        name: _before(name, getattr(records, name), width, before_step, before_tick)
        for name, (width, _) in WIDTH.items()
    }
    in_runs = int(sum(records.runs[stops["runs"] + 1 :: len(RUN_COLUMNS)]))  # steps in those that stay
    return stops | {name: len(getattr(records, name)) - in_runs for name in _OF_RUNS}


def _before(name: str, rows: Sequence[float], width: int, before_step: int, before_tick: int) -> int:
    """Return how many numbers of a list are of steps before a step, or of spans that ended before a tick."""
    place = len(rows)
    while place:
        first = place - width
        if name == "spans":
            stays = rows[first + 1] + rows[first + 2] >= before_tick
        elif name == "runs":
            stays = rows[first] + rows[first + 1] > before_step
        else:
            stays = name in _STEP_AT and rows[first + _STEP_AT[name]] >= before_step
        if not stays:
            break
        place = first
    return place
