"""Files that are almost those of a trace format give requests or one sentence: never a traceback."""

import random

import pytest

from simulator.workload.recognise import ReadAs
from tests.format_faults import FILES, SAMPLES, changed, is_read_or_refused
from tests.structured_faults import altered

CASES = 40


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_read_or_refused_in_one_sentence(name, tmp_path):
    rng = random.Random(name)
    data = (SAMPLES / name).read_bytes()
    refused = 0
    for i in range(CASES):
        path = tmp_path / f"{i}_{name}"
        path.write_bytes(altered(data, name, rng) if i % 2 else changed(data, rng))
        plain = is_read_or_refused(path, ReadAs())
        refused += plain
        skipping = is_read_or_refused(path, ReadAs(skip_bad=True, sort=True))
        assert plain or not skipping, "what is read whole is read as well where bad rows may be skipped"
    assert refused, "some of the changes are beyond reading"
