"""What is said of a value that a file has."""

import pytest

from simulator.input_files import as_json


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "null"),
        ({"a": "ü"}, '{"a": "\\u00fc"}'),
        ("x" * 58, '"' + "x" * 58 + '"'),
        ("x" * 59, '"' + "x" * 56 + "..."),
        (nested(1_000_000), "nested too deeply"),  # which parsers of some Pythons read
    ],
)
def test_a_value_is_said_in_sixty_characters(value, said):
    assert as_json(value) == said
