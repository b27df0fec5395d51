"""Whatever a result file holds, reading and scoring it gives a result or one sentence."""

import json
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import InputError
from simulator.report.report import report
from simulator.results.imports import read_runs
from simulator.results.measured import measured_result
from simulator.scenario.scenario import Scenario
from tests.result_files import WRITERS, path_of

BY = Scenario().model_dump(mode="json")
ODD = st.sampled_from(
    [
        None,
        True,
        -1,
        0,
        1e300,
        float("nan"),
        "",
        "x",
        [],
        {},
        10**4000,
        0.5,
        "\ud800",
        [None],
        {"value": "y"},
        3,
    ]
)


def scored(path):
    """Read, score and report; a sentence of one line is all that may come out besides."""
    said = ""
    try:
        for run in read_runs(path):
            result = measured_result(run, path, BY)
            assert str(report(result.manifest, result.summary())).encode()
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    said.encode()


def changed(value, data):
    """Replace one place of a JSON value by something odd, or take it away."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 9)):
        key = data.draw(st.sampled_from(sorted(value)))
        inner = {name: each for name, each in value.items() if name != key}
        return inner if not data.draw(st.integers(0, 5)) else inner | {key: changed(value[key], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 9)):
        i = data.draw(st.integers(0, len(value) - 1))
        return [
            *value[:i],
            *([] if not data.draw(st.integers(0, 5)) else [changed(value[i], data)]),
            *value[i + 1 :],
        ]
    return data.draw(ODD)


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "requests_csv"])
@given(data=st.data())
def test_values_that_cannot_be(name, data, tmp_path_factory):
    text = WRITERS[name]()
    values = [json.loads(line) for line in text.splitlines()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = "\n".join(json.dumps(changed(value, data)) for value in values)
        scored(path_of(tmp_path_factory.getbasetemp(), name, out))


@pytest.mark.parametrize("name", WRITERS)
@given(data=st.data())
def test_bytes_that_were_changed(name, data, tmp_path_factory):
    path = path_of(tmp_path_factory.getbasetemp(), name)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    path.write_bytes(bytes(content))
    scored(path)
