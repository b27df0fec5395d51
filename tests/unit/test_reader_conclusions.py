"""The study of user models: its table follows what was measured, and turns with it."""

import numpy as np
import pytest

from experiments.paper._sweeps import CLASSIC, Place, Sweep
from experiments.studies.reader_conclusions import DEARER, MODEL, Row, conclusions, dear

LOADS = np.geomspace(0.1, 2.0, 9)
SEEDS = 6


def sweep(traffic: str, engine: str, peak_load: float, *, falls: bool = True, moves: float = 0.5) -> Sweep:
    """Tokens grow with the load; waiting costs so much that the peak is where it is asked for."""
    loads = np.broadcast_to(LOADS, (SEEDS, len(LOADS)))
    noise = 1 + 0.001 * np.random.default_rng(0).standard_normal((SEEDS, 1))
    tokens = loads * noise
    # tokens − cost has its top at peak_load: d/dx (x − x^(1 + moves)/((1 + moves)·p^moves)) = 0 at x = p
    cost = noise * loads ** (1 + moves) / ((1 + moves) * peak_load**moves) if falls else 0.0 * loads
    smooth = {"mine": tokens - cost, dear("mine"): tokens - DEARER * cost}
    zeros = np.zeros_like(tokens)
    rates = LOADS * 28.5 if traffic == "ShareGPT" else LOADS * 9.4
    return Sweep(Place(MODEL, traffic, engine), rates, dict.fromkeys(CLASSIC, zeros), smooth, zeros, zeros)


def both(whole: float, chunked: float, **more: float) -> list[Sweep]:
    return [
        sweep(traffic, engine, load, **more)
        for traffic in ("ShareGPT", "trace")
        for engine, load in (("vLLM 0.24, unchunked", whole), ("vLLM 0.24", chunked))
    ]


@pytest.mark.parametrize(("whole", "chunked", "up", "down"), [(0.4, 0.6, 2, 0), (0.6, 0.4, 0, 2)])
def test_chunks_move_the_peak_the_way_that_was_measured(whole, chunked, up, down):
    row = conclusions(both(whole, chunked, moves=2.0), "mine")
    assert row[:4] == ("mine", 4, 4, 0)
    assert (row.chunks_up, row.chunks_down) == (up, down)
    assert row.best_load == pytest.approx(0.5, abs=0.05)


def test_where_waiting_costs_nothing_there_is_no_peak():
    row = conclusions(both(0.5, 0.5, falls=False), "mine")
    assert row == Row("mine", 0, 0, 0, 0, 0, 2.0)


def test_where_waiting_is_worth_something_a_dearer_one_moves_the_peak_up():
    """Which no reader does: the test can say so."""
    sweeps = both(0.5, 0.5, moves=2.0)
    for each in sweeps:
        each.smooth["mine"], each.smooth[dear("mine")] = each.smooth[dear("mine")], each.smooth["mine"]
    assert conclusions(sweeps, "mine").rises == 4
