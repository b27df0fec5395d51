"""The table of the seams in docs/write_a_policy.md, made from the classes of ``simulator.policy``.

    python -m tests.policy_tables

writes it anew; ``tests/cli/test_docs.py`` fails while the page says something else.
"""

import ast
import inspect
import re
from pathlib import Path

from simulator.scenario.seams import SEAMS, seam

PAGE = Path(__file__).parent.parent / "docs" / "write_a_policy.md"
BEGIN, END = "<!-- made by: python -m tests.policy_tables -->\n", "<!-- end -->\n"


def table():
    """Return the table: for each kind its methods and attributes, and what each says of itself."""
    rows = [("kind", "class", "what it has", "what that says", "if it is left out"), ("---",) * 5]
    for kind in SEAMS:
        first = kind, f"`{seam(kind).__name__}`"
        for found in sorted(members(seam(kind)), key=lambda found: bool(found[-1])):
            rows.append((*first, *(text.replace("|", "\\|") for text in found)))
            first = "", ""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def members(like):
    """Yield each method and attribute of a class, its first sentence, and what is taken where it is left out."""
    source = inspect.getsource(like)
    lines = source.splitlines()
    (tree,) = ast.parse(source).body
    for node in tree.body:
        if isinstance(node, ast.AnnAssign):
            said = lines[node.end_lineno - 1].partition("#")[2].strip()
            yield f"`{node.target.id}`", said, f"`{ast.unparse(node.value)}`" if node.value else ""
        elif isinstance(node, ast.FunctionDef):
            node.args.args.pop(0)  # self
            for each in node.args.args:
                if isinstance(each.annotation, ast.Constant):  # in quotes, as it is imported late
                    each.annotation = ast.Name(each.annotation.value)
            written = f"`{node.name}({ast.unparse(node.args)}) -> {ast.unparse(node.returns)}`"
            default = node.body[-1]
            other = (
                f"`{ast.unparse(default.value or ast.Constant(None))}`"
                if isinstance(default, ast.Return)
                else ""
            )
            yield written, sentence(ast.get_docstring(node)), other


def sentence(docstring):
    """Return the first sentence of a docstring, without its full stop."""
    text = " ".join(docstring.split("\n\n")[0].split())
    return re.split(r"\.(?= [A-Z`])", text)[0].rstrip(".").replace("``", "`")


def on_page(page):
    """Return the table that a page has."""
    return page.partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text.replace(BEGIN + on_page(text), BEGIN + table()), encoding="utf-8")
