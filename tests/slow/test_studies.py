"""The worked studies: each is one command that runs, and its page shows what the command prints."""

import re
import tomllib
from pathlib import Path

import pytest
import tomli_w

from simulator.cli import main as cli

ROOT = Path(__file__).parent.parent.parent
FILES = sorted((ROOT / "experiments" / "studies").glob("*.toml"))
PAGE = (ROOT / "docs" / "studies.md").read_text("utf-8")
COMMANDS = re.findall(r"servesim (sweep|plan) (experiments/studies/\w+\.toml)", PAGE)
SMALL = {
    "workload.requests": 25,
    "workload.duration_s": 20.0,
    "workload.rate_rps": 2.0,
    "run.trim_warmup": 0.0,
}


def smaller(tables):
    """The same study of little traffic, one seed, the first value of each axis; of a plan, two replicas at most."""
    tables["replications"] = 1
    for key in SMALL.keys() & tables["set"].keys():
        tables["set"][key] = SMALL[key]
    tables["axes"] = {key: values[:1] for key, values in tables.get("axes", {}).items()}
    if "space" in tables:
        del tables["axes"]
        tables["space"] |= {"gpus": tables["space"]["gpus"][-1:], "tensor_parallel": [1], "replicas": [1, 2]}
    return tables


def test_every_study_stands_on_the_page_with_its_command():
    assert {path for _, path in COMMANDS} == {path.relative_to(ROOT).as_posix() for path in FILES}
    for path in FILES:
        (command,) = re.findall(r"^# +(servesim .*)$", path.read_text("utf-8"), re.M)
        assert f"    .venv/bin/{command}\n" in PAGE


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_study_runs_with_less_traffic(path, tmp_path, capsys):
    (command,) = {command for command, named in COMMANDS if named.endswith(f"/{path.name}")}
    less, out = tmp_path / path.name, tmp_path / "out"
    less.write_text(tomli_w.dumps(smaller(tomllib.loads(path.read_text("utf-8")))))
    checks = ["--no-checks"] if command == "plan" else []
    assert cli.main([command, str(less), "--out", str(out), "--jobs", "1", *checks]) == 0
    printed = capsys.readouterr()
    assert "failed" not in printed.err
    assert (out / {"plan": "plan.toml", "sweep": "sweep.csv"}[command]).is_file()
    # What the page shows is the table that the study prints: its columns, and a row for each of its names.
    (shown,) = [
        block
        for block in re.findall(r"```text\n(.*?)```", PAGE, re.S)
        if block.startswith(_head(printed.out))
    ]
    for group in tomllib.loads(path.read_text("utf-8")).get("paired", []):
        assert all(name in shown for name in group["name"])


def _head(printed):
    """The first words of what a command prints, which do not depend on the traffic."""
    line = printed.splitlines()[0]
    return line.split(",")[0] if ":" in line else " ".join(line.split()[:1])
