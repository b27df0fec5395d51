"""The notebooks run, print what they hold, and draw what they hold."""

import pytest

from tests import notebooks

NOTEBOOKS = sorted(notebooks.FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_what_its_code_says(path):
    kept = notebooks.read(path)
    made = notebooks.executed(kept)
    assert notebooks.printed(made) == notebooks.printed(kept), "python -m tests.notebooks"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_the_outputs_of_its_code_alone(path):
    kept = notebooks.read(path)
    assert (kept["nbformat"], kept["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in kept["cells"]}) == len(kept["cells"])
    shown = [output["output_type"] for cell in kept["cells"] for output in cell.get("outputs", ())]
    assert set(shown) <= {"stream", "display_data", "execute_result"}
    assert "stream" in shown


def test_what_a_cell_raises_is_raised():
    broken = {"cells": [{"cell_type": "code", "source": ["print(1 / 0)"]}]}
    with pytest.raises(ZeroDivisionError):
        notebooks.executed(broken)
