"""Looking at a cluster now and then: as long as anything goes on in it, so that every simulation ends."""

from collections.abc import Callable

from simulator.clock import Clock


class Ticker:
    """Calls what is to look at the cluster at its intervals; rests while nothing changes."""

    def __init__(self, clock: Clock, going_on: Callable[[], bool]) -> None:
        """``going_on`` says whether anything is being done."""
        self.clock = clock
        self.going_on = going_on
        self.resting: list[Callable[[], None]] = []  # what ``wake`` sets going

    def every(
        self, interval_s: float, look: Callable[[], None], going_on: Callable[[], bool] | None = None
    ) -> None:
        """Call ``look`` every so many seconds from the next ``wake`` on, or from now if it has its own ``going_on``."""

        def tick(_: object) -> None:
            if (going_on or self.going_on)():
                look()
                begin()
            else:
                self.resting.append(begin)

        def begin() -> None:
            self.clock.at(self.clock.now + interval_s).callbacks.append(tick)

        if going_on is None:
            self.resting.append(begin)
        else:
            begin()

    def wake(self) -> None:
        """Something has come that sets the cluster going."""
        while self.resting:
            self.resting.pop()()
