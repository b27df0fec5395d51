"""An optional field of a request is one declaration: from a trace, to a policy, to the saved requests."""

import filecmp
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator.replica.request import DEFAULTS, FIELDS, TRACE_COLUMNS, Request
from tests.small_clusters import serve, together, traffic

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("simulator", "policies", "hardware_profiles")
DECLARED = "simulator/replica/request.py"
ADDED = """\
    deadline_s: Annotated[float, Field("when it is to be done", "seconds", column="due_s", saved=True)] = NEVER
    weight: Annotated[float, Field("what it counts for", "number", column="weight", most=9.5, saved=True)] = 1.0
    level: Annotated[int, Field("its service level", "whole", column="level", least=0, saved=True)] = 3
    team: Annotated[int, Field("who sent it", "label", column="team", saved=True)] = -1
    secret: Annotated[int, Field("which no result has", "tokens", column="secret")] = 7
"""
POLICY = '''"""One of mine."""


class Mine:
    """Lets in what is not overdue, nor light, and is of the first two teams."""

    def admit(self, job, replica, now_s, draw):
        request = job.request
        return not request.deadline_s < now_s and request.weight > 0.5 and request.team < 2 and request.secret == 7
'''
TRACE = {
    "arrival_s": [0.0, 1.0, 2.0, 3.0],
    "prompt_tokens": [100] * 4,
    "output_tokens": [5] * 4,
    "due_s": [None, 0.5, 9.0, None],
    "weight": [None, 2.0, 3.0, 0.25],
    "level": [None, 0, 1, 2],
    "team": ["a", "b", "a", "b"],
    "session_id": [1, 2, 3, 4],
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the packages with five lines more in one file, and a policy that reads the fields."""
    tmp_path = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    text = (tmp_path / DECLARED).read_text()
    before, after, rest = text.partition("    think_s: Annotated[")
    assert after
    (tmp_path / DECLARED).write_text(before + ADDED + after + rest)
    (tmp_path / "policies/admission/mine.py").write_text(POLICY)
    return tmp_path


def run(folder: Path, trace: str, *settings: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulator.cli.main", "run", "--out", "o", "--overwrite", "--no-plot"]
    sets = [f"--set={each}" for each in (f"workload.trace={trace}", "policy.admission=mine", *settings)]
    return subprocess.run(
        [*command, *sets],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        check=False,
    )


def saved(folder: Path) -> dict[str, list[object]]:
    return pq.read_table(folder / "o/requests.parquet").to_pydict()


def write(path: Path, columns: dict[str, list[object]]) -> str:
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        rows = [columns, *zip(*columns.values(), strict=True)]
        path.write_text(
            "".join(",".join("" if each is None else str(each) for each in row) + "\n" for row in rows)
        )
    return path.name


def test_a_field_is_declared_once(tree):
    alone = {name: column for name, column in TRACE.items() if name != "session_id"}
    for name, columns in (("t.parquet", alone), ("t.csv", alone), ("s.parquet", TRACE), ("s.csv", TRACE)):
        done = run(tree, write(tree / name, columns))
        assert done.returncode == 0, done.stderr
        found = saved(tree)
        assert found["deadline_s"] == [None, 0.5, 9.0, None]
        assert found["weight"] == [1.0, 2.0, 3.0, 0.25]
        assert found["level"] == [3, 0, 1, 2]
        assert found["team"] == [0, 1, 0, 1]
        assert "secret" not in found
        assert found["state"] == ["completed", "rejected", "completed", "rejected"]
    cut = run(tree, "t.parquet", "workload.start_s=0.5", "workload.limit=2")
    assert cut.returncode == 0, cut.stderr
    assert saved(tree)["level"] == [0, 1]
    plain = {name: TRACE[name] for name in ("arrival_s", "prompt_tokens", "output_tokens")}
    assert run(tree, write(tree / "p.csv", plain)).returncode == 0
    assert not {"deadline_s", "weight", "level", "team"} & saved(tree).keys()
    assert saved(tree)["state"] == ["completed"] * 4
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*"):
            name = path.relative_to(ROOT).as_posix()
            if path.is_file() and "__pycache__" not in path.parts and name != DECLARED:
                assert filecmp.cmp(path, tree / name, shallow=False), name


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("due_s", -1.0, "due_s is -1; expected a number of seconds from 0 to 1e+10, or nothing"),
        ("weight", 9.75, "weight is 9.75; expected a number from -1e+300 to 9.5\n"),
        ("level", -2, "level is -2; expected a whole number from 0 to 9,007,199,254,740,991"),
        ("level", 0.5, "level is 0.5; expected a whole number"),
        ("team", None, "team is empty; expected a whole number >= 0 or a text"),
        ("secret", 0, "secret is 0; expected a whole number of tokens >= 1"),
    ],
)
def test_its_values_are_checked_as_declared(tree, column, value, message):
    given = TRACE.get(column, [1] * 4)
    done = run(tree, write(tree / "t.csv", {**TRACE, column: [*given[:2], value, given[3]]}))
    assert done.returncode != 0
    assert f"t.csv: line 4: {message}" in done.stderr


def test_declarations_hold_together():
    """Types are those of the kinds, and no two columns are called the same."""
    for name, field in FIELDS.items():
        assert get_args(Request.__annotations__[name])[0] is (float if field.is_float else int)
        assert field.is_float or DEFAULTS[name] == int(DEFAULTS[name])
        assert field.means
    assert len(set(TRACE_COLUMNS.values())) == len(TRACE_COLUMNS)
    outcome = serve(traffic([0], [8], [2]), together())
    assert not outcome.tables.requests.keys() & {name for name, field in FIELDS.items() if field.saved}
