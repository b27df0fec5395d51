"""``import servesim`` and ``python -m servesim`` are the simulator and its command line."""

import subprocess
import sys

import pytest

import servesim
import simulator


@pytest.mark.parametrize("name", simulator.__all__)
def test_the_public_names_are_the_simulators(name):
    assert name in servesim.__all__
    assert getattr(servesim, name) is getattr(simulator, name)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'servesim' has no attribute 'runs'"):
        _ = servesim.runs


def test_the_module_is_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "servesim", "list", "links"], capture_output=True, text=True, check=True
    )
    assert "infiniband" in done.stdout
