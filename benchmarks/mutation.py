"""Small changes of functions, as a fault in writing them would be: where there are any, and making one.

A change is made in memory: the file is compiled anew with it, and the function that it is in gets the new code. No
file is written. What runs when a module is imported (constants, defaults, decorators) is left as it is, and so are
``assert`` and ``raise``, whose sentences others test, and ``strict`` of ``zip``, which asserts, too.
"""

import ast
import builtins
import copy
import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType

Functions = dict[tuple[str, str, int], list[FunctionType]]

OTHER: dict[type[ast.AST], Callable[[], ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
LEFT_OUT = {"annotation", "returns", "decorator_list", "args"}


@dataclass(frozen=True)
class Mutant:
    """One change: the ``number``-th that there is in the function that begins on line ``function_line``."""

    path: Path
    function: str
    function_line: int
    number: int
    line: int
    segment: str  # that it is in, as ``probed`` calls it
    says: str


def _changes(node: ast.AST, field: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield what a node might be instead, each with a word for it."""

    def changed(name: str, value: object) -> ast.AST:
        new = copy.deepcopy(node)
        setattr(new, name, value)
        return new

    if isinstance(node, ast.Compare) and type(node.ops[0]) in OTHER:
        yield "comparison", changed("ops", [OTHER[type(node.ops[0])](), *node.ops[1:]])
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in OTHER:
        yield "operator", changed("op", OTHER[type(node.op)]())
    if isinstance(node, ast.BoolOp):
        yield "and/or", changed("op", OTHER[type(node.op)]())
        for kept, word in ((node.values[1:], "without the first"), (node.values[:-1], "without the last")):
            yield word, changed("values", kept) if len(kept) > 1 else copy.deepcopy(kept[0])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        yield "sign", copy.deepcopy(node.operand)
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield "constant", ast.Constant(not node.value)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float) and field != "slice":
        yield "constant", ast.Constant(node.value + 1)  # type: ignore[operator]
    if isinstance(node, ast.If | ast.IfExp):
        yield "always", changed("test", ast.Constant(True))
        yield "never", changed("test", ast.Constant(False))
    if isinstance(node, ast.AugAssign | ast.Delete) or (
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    ):
        yield "left out", ast.Pass()
    if isinstance(node, ast.Continue):
        yield "left out", ast.Pass()
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("min", "max"):
        yield "min/max", changed("func", ast.Name("max" if node.func.id == "min" else "min", ast.Load()))


def _sites(parent: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST, str, ast.AST]]:
    """Yield parent, field, index, node, word and new node of every change below a node."""
    if isinstance(parent, ast.Assert | ast.Raise) or (
        isinstance(parent, ast.keyword) and parent.arg == "strict"
    ):
        return
    for field, value in ast.iter_fields(parent):
        if field in LEFT_OUT and not isinstance(parent, ast.Call):
            continue
        for index, node in enumerate(value if isinstance(value, list) else [value]):
            if not isinstance(node, ast.AST):
                continue
            place = index if isinstance(value, list) else None
            for word, new in _changes(node, field):
                yield parent, field, place, node, word, new
            yield from _sites(node)


def _functions(body: list[ast.stmt], name: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the functions of a module and the methods of its classes, by qualified name."""
    for node in body:
        if isinstance(node, ast.FunctionDef):
            yield name + node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from _functions(node.body, f"{name}{node.name}.")


def _begins(node: ast.FunctionDef) -> int:
    return min([node.lineno, *(each.lineno for each in node.decorator_list)])


def _segments(node: ast.AST) -> Iterator[tuple[list[ast.stmt], int]]:
    """Yield the lists of statements below a node, and the places in them from which on statements are run or not.

    That is where a list begins, and after each statement that has others within it, which may have left the function.
    """
    for _, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            begins = True
            for place, each in enumerate(value):
                if begins:
                    yield value, place
                begins = any(True for _ in _segments(each))
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST):
                yield from _segments(each)


def _segment_of(function: ast.FunctionDef) -> dict[int, int]:
    """Return the first line of the segment that each node is in, by its ``id``."""
    found: dict[int, int] = {}

    def note(node: ast.AST, line: int) -> None:
        found[id(node)] = line
        starts = {id(value[place]) for value, place in _segments(node)}
        for child in ast.iter_child_nodes(node):
            if id(child) in starts:
                line = child.lineno  # type: ignore[attr-defined]
            note(child, line)

    note(function, function.lineno)
    return found


def _called(path: Path, function: str, line: int) -> str:
    return f"{path.parent.name}/{path.name}:{function}:{line}"


def mutants(path: Path) -> Iterator[Mutant]:
    """Yield every change of a file that is known."""
    for name, function in _functions(ast.parse(path.read_text("utf-8")).body):
        segments, begins = _segment_of(function), _begins(function)
        for number, (parent, _, _, node, word, new) in enumerate(_sites(function)):
            before, after = (ast.unparse(each).splitlines()[0] for each in (node, new))
            line = getattr(node, "lineno", function.lineno)
            segment = segments[id(node) if id(node) in segments else id(parent)]
            called = _called(path, name, segment - begins)
            yield Mutant(path, name, begins, number, line, called, f"{word}: {before}  ->  {after}")


def _codes(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _codes(each)


def loaded(paths: set[Path]) -> Functions:
    """Return the functions in memory that are written in these files, by file, name and first line."""
    found: Functions = {}
    for each in gc.get_objects():
        if isinstance(each, FunctionType) and Path(each.__code__.co_filename) in paths:
            code = each.__code__
            found.setdefault((os.fspath(code.co_filename), code.co_qualname, code.co_firstlineno), []).append(
                each
            )
    return found


def probe(paths: set[Path], functions: Functions) -> tuple[list[str], bytearray]:
    """Let the functions in memory tell which segments they run; return their names, and 1 for each that was run."""
    names: list[str] = []
    for path in sorted(paths):
        tree = ast.parse(path.read_text("utf-8"))
        for name, function in _functions(tree.body):
            for statements, place in reversed(list(_segments(function))):
                first = statements[place]
                note = ast.parse(f"_mutants_run[{len(names)}] = 1").body[0]
                for each in ast.walk(note):
                    ast.copy_location(each, first)
                names.append(_called(path, name, first.lineno - _begins(function)))
                statements.insert(place, note)
        for code in _codes(compile(tree, os.fspath(path), "exec")):
            for same in functions.get((os.fspath(path), code.co_qualname, code.co_firstlineno), ()):
                same.__code__ = code
    run = vars(builtins)["_mutants_run"] = bytearray(len(names))
    return names, run


def make(mutant: Mutant, functions: Functions) -> None:
    """Change a function in memory, for the rest of this process. Raises LookupError if it is not there."""
    tree = ast.parse(mutant.path.read_text("utf-8"))
    function = next(
        each
        for name, each in _functions(tree.body)
        if (name, _begins(each)) == (mutant.function, mutant.function_line)
    )
    parent, field, index, node, _, new = list(_sites(function))[mutant.number]
    for each in ast.walk(new):
        ast.copy_location(each, node)
    if index is None:
        setattr(parent, field, new)
    else:
        getattr(parent, field)[index] = new
    key = (os.fspath(mutant.path), mutant.function, mutant.function_line)
    whole = compile(tree, key[0], "exec")
    for code in _codes(whole):
        if (code.co_qualname, code.co_firstlineno) == key[1:]:
            for same in functions[key]:
                same.__code__ = code
            return
    raise LookupError(f"{mutant.function} is not in {mutant.path}")
