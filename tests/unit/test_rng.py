"""Streams that are seeded late: the numbers of a generator that is seeded at once, whatever is asked of them first."""

import copy
import pickle
import random

import pytest

from simulator.rng import draws, stream


def at_once():
    return random.Random(int(stream(3, "a test").integers(2**63)))


@pytest.mark.parametrize(
    "ask",
    [
        lambda rng: [rng.random() for _ in range(3)],
        lambda rng: rng.getrandbits(70),
        lambda rng: rng.randrange(10**30),
        lambda rng: (rng.choices(range(9), k=3), rng.gauss(0, 1), rng.sample(range(99), 5)),
        lambda rng: rng.getstate(),
        lambda rng: copy.deepcopy(rng).random(),
        lambda rng: pickle.loads(pickle.dumps(rng)).random(),
    ],
)
def test_a_stream_gives_what_it_would_give_seeded_at_once(ask):
    assert ask(draws(3, "a test")) == ask(at_once())


def test_a_seed_or_a_state_that_is_given_before_the_first_number_counts():
    seeded, restored = draws(3, "a test"), draws(3, "a test")
    seeded.seed(5)
    restored.setstate(random.Random(5).getstate())
    assert seeded.random() == restored.random() == random.Random(5).random()
