"""The shape of the code: imports go one way, files stay small, the wheel holds what it should."""

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("simulator", "policies", "hardware_profiles", "experiments")
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

# Who may import whom, beside the standard library and packages from outside. A name stands for the
# module and everything below it; a module may always import from its own package of this list.
ARROWS = {
    "simulator.errors": [],
    "simulator.rng": [],
    "simulator.request": [],
    "simulator.cost": [],
    "simulator.limits": [],
    "simulator.clock": [],
    "simulator.records": ["simulator.request"],
    "simulator.decode_group": ["simulator.request"],
    "simulator.ledger": [
        "simulator.cost", "simulator.decode_group", "simulator.limits", "simulator.records", "simulator.request",
    ],
    "simulator.policy": ["simulator.ledger", "simulator.request"],
    "simulator.crossing": [
        "simulator.ledger", "simulator.limits", "simulator.records", "simulator.request",
    ],
    "simulator.books": [
        "simulator.cost", "simulator.crossing", "simulator.decode_group", "simulator.records", "simulator.request",
    ],
    "simulator.prefix_cache": [
        "simulator.books", "simulator.decode_group", "simulator.limits", "simulator.request",
    ],
    "simulator.radix_tree": [],
    "simulator.radix_cache": [
        "simulator.books", "simulator.limits", "simulator.prefix_cache", "simulator.radix_tree", "simulator.request",
    ],
    "simulator.view": [
        "simulator.books", "simulator.clock", "simulator.cost", "simulator.records", "simulator.request",
    ],
    "simulator.replica": [
        "simulator.books", "simulator.clock", "simulator.cost", "simulator.errors", "simulator.policy",
        "simulator.records", "simulator.request", "simulator.view",
    ],
    "simulator.fleet": ["simulator.replica"],
    "simulator.deployment": ["simulator.cost", "simulator.limits", "simulator.policy"],
    "simulator.link": ["simulator.clock"],
    "simulator.courier": [
        "simulator.clock", "simulator.deployment", "simulator.link", "simulator.replica", "simulator.request",
    ],
    "simulator.hand_off": [
        "simulator.courier", "simulator.crossing", "simulator.deployment", "simulator.replica",
        "simulator.request",
    ],
    "simulator.migrations": [
        "simulator.courier", "simulator.policy", "simulator.replica", "simulator.request",
    ],
    "simulator.faults": ["simulator.cost", "simulator.deployment", "simulator.replica"],
    "simulator.traffic": ["simulator.clock", "simulator.request", "simulator.workload"],
    "simulator.workload": ["simulator.errors", "simulator.rng"],
    "simulator.metrics": ["simulator.errors", "simulator.request"],
    "simulator.intake": [
        "simulator.deployment", "simulator.replica", "simulator.request", "simulator.traffic", "simulator.workload",
    ],
    "simulator.autoscaler": [
        "simulator.clock", "simulator.courier", "simulator.deployment", "simulator.errors", "simulator.hand_off",
        "simulator.migrations", "simulator.policy", "simulator.replica", "simulator.request", "simulator.ticker",
        "simulator.traffic",
    ],
    "simulator.cluster": [
        "simulator.autoscaler", "simulator.clock", "simulator.courier", "simulator.deployment", "simulator.errors",
        "simulator.faults", "simulator.fleet", "simulator.hand_off", "simulator.intake", "simulator.migrations",
        "simulator.policy", "simulator.replica", "simulator.request", "simulator.rng", "simulator.ticker",
        "simulator.traffic", "simulator.workload",
    ],
    "simulator.ticker": ["simulator.clock"],
    "simulator.recorded": ["simulator.records", "simulator.request"],
    "simulator.tokens": [
        "simulator.metrics", "simulator.policy", "simulator.recorded", "simulator.records", "simulator.request",
    ],
    "simulator.tables": ["simulator.recorded", "simulator.records", "simulator.request", "simulator.tokens"],
    "simulator.shards": [
        "simulator.cluster", "simulator.prefix_cache", "simulator.records", "simulator.request",
    ],
    "simulator.engine": [
        "simulator.autoscaler", "simulator.books", "simulator.clock", "simulator.cluster", "simulator.deployment",
        "simulator.errors", "simulator.faults", "simulator.limits", "simulator.policy", "simulator.prefix_cache",
        "simulator.radix_cache", "simulator.recorded", "simulator.replica", "simulator.rng", "simulator.shards",
        "simulator.tables", "simulator.tokens", "simulator.workload",
    ],
    "simulator.trace_level": [],
    "simulator.step_totals": [],
    "simulator.billing": [],
    "simulator.engine_summary": ["simulator.billing", "simulator.metrics", "simulator.step_totals"],
    "simulator.plots": ["simulator.billing", "simulator.metrics", "simulator.step_totals"],
    "simulator.arrow": ["simulator.request"],
    "simulator.saved": [
        "simulator.errors", "simulator.metrics", "simulator.step_totals", "simulator.trace_level",
    ],
    "simulator.result": [
        "simulator.arrow", "simulator.billing", "simulator.engine_summary", "simulator.errors", "simulator.metrics",
        "simulator.plots", "simulator.saved", "simulator.step_totals", "simulator.tables",
        "simulator.tokens", "simulator.trace_level",
    ],
    "simulator.discover": ["simulator.errors"],
    "policies.scheduling": ["simulator.cost", "simulator.ledger", "simulator.policy", "simulator.request"],
    "policies.routing": ["simulator.policy", "simulator.request"],
    "policies.admission": ["simulator.policy", "simulator.request"],
    "policies.abandonment": ["simulator.request"],
    "policies.migration": ["simulator.policy", "simulator.request"],
    "policies.delivery": [],
    "policies.roles": ["simulator.policy"],
    "policies.scaling": ["simulator.policy"],
    "simulator.scenario_engine": [],
    "simulator.scenario_policy": ["simulator.discover", "simulator.errors", "simulator.scenario_engine"],
    "simulator.scenario_cluster": [
        "simulator.errors", "simulator.scenario_engine", "simulator.scenario_policy",
    ],
    "hardware_profiles": ["simulator.cost", "simulator.errors"],
}  # fmt: skip
FREE = {"simulator", "simulator.runner", "simulator.cli", "policies", "experiments"}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def home(module: str) -> str:
    """The entry of ARROWS that a module falls under."""
    while module not in ARROWS and module not in FREE and "." in module:
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
    own = home(module_of(path))
    if own in FREE:
        return
    allowed = {own, *ARROWS.get(own, [])}
    for name in imports(path):
        target = home(name)
        assert target in allowed or target == "policies", f"{own} may not import {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_long(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 350


def test_policies_are_short():
    for path in (ROOT / "policies").rglob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 150


def test_wheel_holds_the_listed_packages_and_their_data(tmp_path):
    source = tmp_path / "source"
    leave = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "results", "tests")
    shutil.copytree(ROOT, source, ignore=leave)
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
    data = {path.relative_to(ROOT).as_posix() for pattern in ("*.toml", "*.parquet", "*.json", "NOTICE.md")
            for package in ("simulator", "hardware_profiles", "experiments")
            for path in (ROOT / package).rglob(pattern)}  # fmt: skip
    assert data <= set(names)
    modules = {path.relative_to(ROOT).as_posix() for path in FILES}
    assert modules <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
