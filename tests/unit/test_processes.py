"""What finished points are kept under changes with what decides results, and with nothing else."""

import shutil

import pytest

from simulator.studies.processes import ROOT, code_digest


@pytest.fixture
def copy(tmp_path):
    for package in ("simulator", "policies", "hardware_profiles"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("data", "tables"))
    return tmp_path


@pytest.mark.parametrize("file", ["report/plots.py", "cli/main.py", "studies/sweep/output.py"])
def test_how_results_are_shown_does_not_count(copy, file):
    before = code_digest.__wrapped__(copy)
    with (copy / "simulator" / file).open("a") as stream:
        stream.write("# a comment\n")
    assert code_digest.__wrapped__(copy) == before


@pytest.mark.parametrize(
    "file", ["simulator/replica/ledger.py", "policies/scheduling/orca.py", "simulator/rng.py"]
)
def test_what_decides_results_counts(copy, file):
    before = code_digest.__wrapped__(copy)
    with (copy / file).open("a") as stream:
        stream.write("# a comment\n")
    assert code_digest.__wrapped__(copy) != before
