"""The median is numpy's, to the bit."""

import numpy as np
import pytest

from simulator.arrays import median


@pytest.mark.parametrize("n", [1, 2, 3, 10, 101])
def test_it_is_what_numpy_says_of_floats_and_whole_numbers(n):
    rng = np.random.default_rng(n)
    for values in (rng.lognormal(0, 9, n), rng.integers(0, 5, n)):
        before = values.copy()
        assert median(values) == np.median(values)
        assert (values == before).all()


def test_what_is_no_number_has_no_middle():
    assert np.isnan(median(np.array([1.0, np.nan, 2.0])))
