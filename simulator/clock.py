"""Simulated time: a SimPy environment, and the three things this engine needs beside it.

* Exact times: an arrival at ``t`` happens at ``t``, not at ``now + (t - now)``, which can differ by
  one rounding.
* One rule for ties. An instant has three phases: what *arrives* comes first (ordinary events), then the steps that
  end at it *end*, replica by replica in the order of their numbers (their turns), then come the last events. So
  what arrives at ``t`` is seen by what is planned at ``t``, and a look at a replica shows the steps
  that end at ``t`` exactly if its turn of that instant is over: ``ended_before`` is that rule.
* Turns and calls. A replica has at most one turn that counts, at the time that it asked for last. They are a heap of
  tuples beside SimPy's queue, because an event object each would cost as much as the step that it stands for.
"""

import math
from collections.abc import Callable
from heapq import heappop, heappush
from math import nextafter
from typing import Any, Final, Protocol

import simpy
from simpy.core import StopSimulation
from simpy.events import Event, EventPriority

Call = Callable[[Any], object]
_Called = tuple[float, int, int, Call, Any]  # time, priority, number; what is called, and its argument

_TURNS: Final = (
    3  # after SimPy's URGENT (0) and NORMAL (1); plus twice the number of the replica whose turn it is
)
_LAST: Final = EventPriority(1 << 30)
_NORMAL: Final = EventPriority(1)
_FIRST: Final = EventPriority(-1)
URGENT = 0  # before all that is at an instant but its stop


def before_turn(index: int) -> int:
    """Return the priority of what comes right before the turn of replica ``index``."""
    return _TURNS + 2 * index - 1


class TakesTurns(Protocol):
    """What is to be called at a time of its own."""

    index: int  # its place among those whose turns come at the same instant

    def take_turn(self, time_s: float) -> None:
        """Do what is due now; ``time_s`` is what it had asked for, perhaps before it asked for another time."""


class _Due(Event):
    """An event that has been triggered, to be put on the queue."""

    def __init__(self, env: simpy.Environment) -> None:
        super().__init__(env)
        self._ok, self._value = True, None


class _SimPy(simpy.Environment):
    """SimPy's environment where the time is a clock's."""

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        super().__init__()
        self.queue, self.numbers = self._queue, self._eid

    @property
    def _now(self) -> float:
        return self._clock.now

    @_now.setter
    def _now(self, time_s: float) -> None:
        self._clock.now = time_s


class Clock:
    """Seconds, with exact absolute times; its events, and processes beside them, are those of ``env``."""

    __slots__ = ("_calls", "_numbers", "_queue", "_reached", "env", "now", "stops_at_s")

    def __init__(self) -> None:
        self.now, self.stops_at_s = 0.0, math.inf
        self.env = _SimPy(self)
        self._queue, self._numbers = self.env.queue, self.env.numbers
        self._reached = 0  # the highest priority among the events of this instant that have begun
        # A heap of ``_Called``, which the compiled core would unpack to compare if it knew that
        self._calls: list[Any] = []

    def at(self, time_s: float, priority: EventPriority = _NORMAL) -> Event:
        """Return an event at exactly ``time_s`` (>= now), before every replica's turn of that instant."""
        event = _Due(self.env)
        # SimPy can only schedule relative delays; an exact time has to go on its queue directly.
        heappush(self._queue, (time_s, priority, next(self._numbers), event))
        return event

    def last_at(self, time_s: float) -> Event:
        """Return an event at exactly ``time_s`` (>= now), after all replicas' turns of that instant."""
        return self.at(time_s, _LAST)

    def call_at(self, time_s: float, call: Call, argument: Any = None, priority: int = _NORMAL) -> None:
        """Call ``call(argument)`` at exactly ``time_s`` (>= now), where ``at`` has its events unless told else."""
        heappush(self._calls, (time_s, priority, next(self._numbers), call, argument))

    def stop_at(self, time_s: float) -> None:
        """End the simulation at ``time_s``, before anything else that happens at that instant."""
        self.stops_at_s = time_s
        self.at(time_s, _FIRST).callbacks.append(StopSimulation.callback)

    def advance_to(self, time_s: float) -> None:
        """Let it be ``time_s``, where nothing but arrivals is ever scheduled; they come first at an instant."""
        self.now, self._reached = time_s, _NORMAL

    def ended_before(self, index: int) -> float:
        """Return the time before which the steps of replica ``index`` have ended, seen from this moment."""
        now_s = self.now
        return nextafter(now_s, math.inf) if self._reached > _TURNS + 2 * index else now_s

    def turn_over(self, index: int) -> bool:
        """Whether a replica's turn of this instant is over; if it is given something to do, it gets another."""
        return self._reached > _TURNS + 2 * index

    def turn_at(self, time_s: float, taker: TakesTurns) -> float:
        """Call a replica's ``take_turn`` at exactly ``time_s``, or now if that is over, when its turn comes.

        Returns the time.
        """
        if time_s < self.now:
            time_s = self.now
        self.call_at(time_s, taker.take_turn, time_s, _TURNS + 2 * taker.index)
        return time_s

    @property
    def stopped(self) -> bool:
        """Whether the stopping time has been reached."""
        return self.now >= self.stops_at_s

    @property
    def anything_scheduled(self) -> bool:
        """Whether any event is to come."""
        return bool(self._queue or self._calls)

    def run_some(self, events: int) -> bool:
        """Process up to ``events`` events and turns; return whether any is left before the stopping time."""
        queue, calls = self._queue, self._calls
        try:
            for _ in range(events):
                if calls and (not queue or calls[0] < queue[0]):
                    called: _Called = heappop(calls)
                    if called[0] > self.now or called[1] > self._reached:
                        self._reached = called[1]
                    self.now = called[0]
                    called[3](called[4])
                    continue
                if not queue:
                    return False
                if queue[0][0] > self.now or queue[0][1] > self._reached:
                    self._reached = queue[0][1]
                self.env.step()
        except StopSimulation:
            return False
        return True
