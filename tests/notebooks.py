"""The notebooks of docs/tutorials: their code is run here, and what it prints and draws is kept in them.

    python -m tests.notebooks [NAME ...]

runs them and writes their outputs anew; ``tests/slow/test_notebooks.py`` runs them and compares what they print.
Jupyter is not needed: a cell is code that runs, and its last expression is shown.
"""

import ast
import base64
import contextlib
import io
import json
import sys
import tempfile
from pathlib import Path

from matplotlib.figure import Figure

FOLDER = Path(__file__).parent.parent / "docs" / "tutorials"


def read(path):
    """Return a notebook (nbformat 4) as the dict that it is."""
    return json.loads(path.read_text(encoding="utf-8"))


def executed(notebook):
    """Return a notebook with new outputs: its code cells, run one after another in a folder of their own."""
    names = {"__name__": "notebook"}
    cells = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for number, cell in enumerate(notebook["cells"], 1):
            if cell["cell_type"] == "code":
                outputs = _run("".join(cell["source"]), names, number)
                cells.append({**cell, "execution_count": None, "outputs": outputs})
            else:
                cells.append(cell)
    return {**notebook, "cells": cells}


def _run(source, names, number):
    """Run a cell; return its outputs as the format has them."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(tree, f"cell {number}", "exec"), names)
        value = eval(compile(ast.Expression(last.value), f"cell {number}", "eval"), names) if last else None
    found = []
    if said.getvalue():
        found.append(
            {"name": "stdout", "output_type": "stream", "text": said.getvalue().splitlines(keepends=True)}
        )
    if isinstance(value, Figure):
        file = io.BytesIO()
        value.savefig(file, format="png", dpi=110)
        data = {"image/png": base64.b64encode(file.getvalue()).decode("ascii")}
        found.append({"data": data, "metadata": {}, "output_type": "display_data"})
    elif value is not None:
        data = {"text/plain": repr(value).splitlines(keepends=True)}
        found.append({"data": data, "execution_count": None, "metadata": {}, "output_type": "execute_result"})
    return found


def printed(notebook):
    """Return what each code cell printed and showed as text."""
    return [
        ["".join(each.get("text", each.get("data", {}).get("text/plain", []))) for each in cell["outputs"]]
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


if __name__ == "__main__":
    for path in sorted(FOLDER.glob("*.ipynb")):
        if path.stem in sys.argv[1:] or len(sys.argv) == 1:
            path.write_text(
                json.dumps(executed(read(path)), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
