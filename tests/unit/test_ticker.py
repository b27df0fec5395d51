"""Looking at a cluster now and then: at each interval, not while it rests, and again once something comes."""

import pytest

from simulator.clock import Clock
from simulator.cluster.ticker import Ticker


@pytest.mark.parametrize("own", [False, True])
def test_it_looks_at_each_interval_and_rests_while_nothing_goes_on(own):
    """It goes on until 2.5 s and from 10 s until 11.5 s; one who rests is woken, and looks an interval later."""
    clock, looks = Clock(), []

    def going_on():
        return clock.now < 2.5 or 10 <= clock.now < 11.5

    ticker = Ticker(clock, going_on if not own else lambda: False)
    ticker.every(1.0, lambda: looks.append(clock.now), going_on if own else None)
    if not own:
        assert len(ticker.resting) == 1
        ticker.wake()
    clock.at(10.0).callbacks.append(lambda _: ticker.wake())
    while clock.run_some(1):
        pass
    assert looks == [1.0, 2.0, 11.0]
    assert len(ticker.resting) == 1
