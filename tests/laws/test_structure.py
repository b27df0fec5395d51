"""The shape of the code: imports go one way, files stay small, the wheel holds what it should."""

import ast
import io
import re
import shutil
import subprocess
import sys
import tokenize
import zipfile
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("simulator", "policies", "hardware_profiles", "experiments", "servesim")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MOST_LINES = 300
# What one replica is made of; an option is a part that a run may do without, in a file of its own.
KERNEL = ("simulator/clock.py", "simulator/replica")
OPTIONS = {
    "adaptive_engine.py",
    "arriving.py",
    "beyond.py",
    "block_runs.py",
    "cache_above.py",
    "content.py",
    "draft_group.py",
    "draft_runs.py",
    "draft_trees.py",
    "experts.py",
    "filled_blocks.py",
    "held_blocks.py",
    "kv_tier.py",
    "lanes.py",
    "late_prefix_blocks.py",
    "late_radix_pages.py",
    "lockstep.py",
    "long_runs.py",
    "outline.py",
    "phased_group.py",
    "pipeline_engine.py",
    "pipeline_runs.py",
    "prefix_blocks.py",
    "radix_pages.py",
    "radix_ranks.py",
    "radix_tree.py",
    "sm_split.py",
    "speculation.py",
    "speculative_engine.py",
    "taking.py",
    "tiered_cache.py",
    "transfers.py",
    "tree_engine.py",
}

# The rooms, lowest first: a room may import itself and those before it. A room is a folder, or a single file.
ROOMS = (
    "simulator.in_the_way",
    "simulator.errors",
    "simulator.blame",
    "simulator.input_files",
    "simulator.arrays",
    "simulator.rng",
    "simulator.stats",
    "simulator.clock",
    "simulator.replica",
    "simulator.workload",
    "simulator.metrics",
    "simulator.results",
    "simulator.cluster",
    "simulator.policy",
    "policies",
    "hardware_profiles",
    "simulator.scenario",
    "simulator.report",
    "simulator.studies",
    "simulator.observe",
    "simulator.functions",
    "simulator",
    "simulator.ui",
    "simulator.cli",
    "experiments.validation",
    "experiments.paper",
    "experiments.studies",
    "experiments.systems",
    "experiments.commands",
    "experiments",
    "servesim",
)

# Words for which the field has one that says which: a request, a job, a reader, a replica, a policy, a caller.
PRONOUNS = re.compile("some(body|one)|who(so)?ever|nobody|every(one|body)|any(body|one)", re.IGNORECASE)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    """The room that a module stands in; every module stands in one."""
    while module not in ROOMS:
        assert "." in module, module
        module = module.rpartition(".")[0]
    return module


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    only_for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in only_for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
            found |= {
                f"{node.module}.{alias.name}"
                for alias in node.names
                if is_module(f"{node.module}.{alias.name}")
            }
    return {name for name in found if name.split(".")[0] in PACKAGES}


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    own = ROOMS.index(room(module_of(path)))
    for name in imports(path):
        assert ROOMS.index(room(name)) <= own, f"{module_of(path)} imports {name}, which stands above it"


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize("folder", [*PACKAGES, "benchmarks", "tests"])
def test_no_file_is_long(folder):
    own = [
        path
        for kind in ("*.py", "*.js")
        for path in (ROOT / folder).rglob(kind)
        if "vendor" not in path.parts
    ]
    count = {path.relative_to(ROOT).as_posix(): lines(path) for path in own}
    assert {name: n for name, n in count.items() if n > MOST_LINES} == {}


def code_lines(path: Path) -> int:
    """Return how many lines hold code: not blank, not a comment, not a docstring."""
    text = path.read_text(encoding="utf-8")
    skipped = {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
    found: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in skipped:
            found.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            found.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(found)


def test_the_kernel_of_one_replica_is_small_and_each_option_a_file():
    files = [
        path
        for name in KERNEL
        for path in ([ROOT / name] if name.endswith(".py") else (ROOT / name).glob("*.py"))
    ]
    assert {path.name for path in files} >= OPTIONS
    kernel = {path.name: code_lines(path) for path in files if path.name not in OPTIONS}
    assert sum(kernel.values()) <= 2500, kernel
    assert {path.name: n for path in files if path.name in OPTIONS and (n := code_lines(path)) > 300} == {}


def test_no_room_holds_more_than_a_fifth_of_all_lines():
    count = dict.fromkeys(ROOMS, 0)
    for path in FILES:
        count[room(module_of(path))] += lines(path)
    assert {name: n for name, n in count.items() if n > 0.2 * sum(count.values())} == {}


def test_policies_are_short():
    for path in (ROOT / "policies").rglob("*.py"):
        assert lines(path) <= 150


def test_prose_and_names_say_which_request_or_replica_is_meant():
    found = {path for path in FILES if PRONOUNS.search(path.read_text(encoding="utf-8"))}
    assert {path.relative_to(ROOT).as_posix() for path in found} == set()


def type_names(path: Path) -> set[str]:
    """Public classes and type aliases that a module defines."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if re.fullmatch("[A-Z]+[a-z][A-Za-z0-9]*", name)}


def test_a_type_has_a_name_of_its_own():
    count = Counter(
        name
        for path in FILES
        if path.relative_to(ROOT).parts[0] != "experiments"
        for name in type_names(path)
    )
    assert {name for name, n in count.items() if n > 1} == set()


def test_wheel_holds_the_listed_packages_and_their_data(tmp_path):
    source = tmp_path / "source"
    leave = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--no-build-isolation",
            "-q",
            "-w",
            tmp_path,
            source,
        ],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("servesim-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top == set(PACKAGES)
    shipped = ("*.toml", "*.parquet", "*.json", "NOTICE.md", "*.css", "*.js", "*.csv", "*.csv.gz", "py.typed")
    data = {path.relative_to(ROOT).as_posix() for pattern in shipped
            for package in ("simulator", "hardware_profiles", "experiments")
            for path in (ROOT / package).rglob(pattern)}  # fmt: skip
    assert data <= set(names)
    modules = {path.relative_to(ROOT).as_posix() for path in FILES}
    assert modules <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_what_is_built_on_a_compiled_class_is_compiled():
    """Interpreted classes cannot inherit from those of the compiled core (``setup.py``)."""
    core = next(
        ast.literal_eval(node.value)
        for node in ast.parse((ROOT / "setup.py").read_text()).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "CORE"
    )
    compiled = {f"{folder}/{name}.py" for folder, names in core.items() for name in names}
    classes = {
        node.name
        for name in compiled
        for node in ast.parse((ROOT / name).read_text()).body
        if isinstance(node, ast.ClassDef)
    }
    for path in (ROOT / "simulator").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and classes & {ast.unparse(base) for base in node.bases}:
                assert path.relative_to(ROOT).as_posix() in compiled, (path, node.name)
