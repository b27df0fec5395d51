"""No answer of a search for a rate is above the roofline, infinite, saturated, or outside what was simulated."""

import pytest

from benchmarks.capacity_bounds import SCENARIOS, TARGETS, scenario, search, served_rps, wrong
from tests.examples import examples

PAIRS = 40  # of those of the benchmark
CHUNKS = 2


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_random_scenarios_and_targets(chunk, tmp_path):
    """Others than those of the benchmark; searches stop early, where they are least sure of themselves."""
    answered = 0
    for number in range(chunk, examples(PAIRS), CHUNKS):
        target = TARGETS[number % len(TARGETS)]
        traffic = scenario(SCENARIOS + number)
        answer, scaled = search(traffic, target, tmp_path / str(number), most_simulations=4 + number % 6)
        assert list(wrong(answer, scaled.most_rate)) == [], (number, target)
        answered += answer.rate is not None or answer.low is not None
    assert answered


@pytest.mark.parametrize("number", [25 - SCENARIOS, *range(0, 40, 4)])  # the first: one seat, short prompts
def test_no_more_than_the_roofline_is_served_however_much_arrives(number, tmp_path):
    traffic = scenario(SCENARIOS + number)
    _, scaled = search(traffic, "stable", tmp_path, most_simulations=1)
    assert 0 < served_rps(traffic, scaled.most_rate) <= scaled.most_rate
