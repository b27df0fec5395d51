"""One folder, several runs: one of them writes to it, and at no moment do files of two stand in it together."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from simulator.cli import main as cli
from simulator.errors import InputError
from simulator.results.folders import claimed, claimed_anew, whole
from simulator.results.result import Result
from simulator.scenario.run import run
from simulator.scenario.scenario import Scenario
from tests.refusals import command, environment, folder, one_line, refusal

__all__ = ["folder"]  # the fixture, used by every test here

# Ends the process, as kill -9 does, at the given call of a function of the system.
KILLED = """
import os, sys
from simulator.results.result import Result
real, calls = getattr(os, sys.argv[1]), 0
def killed(*given, **named):
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os._exit(9)
    return real(*given, **named)
result = Result.load("new")
setattr(os, sys.argv[1], killed)
result.save("o", overwrite=True)
"""


def requests_in(path: Path) -> int | None:
    """How many requests the folder is of, by all that is in it; None where it cannot be read."""
    try:
        result = Result.load(path)
        requests = result.requests().num_rows
    except InputError:
        return None
    if (path / "summary.json").exists():  # it is the last to come
        assert json.loads((path / "summary.json").read_text())["traffic"]["requests"] == requests
    assert result.summary()["traffic"]["requests"] == requests
    assert pq.read_table(path / "tokens.parquet")["request_id"].to_numpy().max() == requests - 1
    return int(requests)


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_of_two_runs_to_one_folder_one_is_refused(overwrite):
    both = [
        subprocess.Popen(
            command("run", "--set", f"workload.limit={n}", "--no-plot", "--out", "o", *overwrite),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        for n in (400, 600)
    ]
    said = [process.communicate(timeout=60) for process in both]
    codes = [process.returncode for process in both]
    kept = requests_in(Path("o"))
    if 2 in codes:
        assert sorted(codes) == [0, 2]
        refused = one_line(said[codes.index(2)][1])
        assert refused.startswith(("o: another run is writing to it", "o: exists and is not empty"))
        assert kept == (400, 600)[codes.index(0)]
    else:  # one after the other, by chance
        assert overwrite
        assert codes == [0, 0]
        assert kept in (400, 600)


def test_a_folder_that_a_run_writes_to_is_refused_before_anything_runs(capsys, monkeypatch):
    monkeypatch.setattr("simulator.scenario.run.run", None)
    with claimed(Path("o"), overwrite=False):
        for more in ([], ["--overwrite"]):
            text = refusal(capsys, "run", "s.toml", "--out", "o", *more)
            assert text == "o: another run is writing to it; expected a folder of its own"
        with pytest.raises(InputError, match="another run"), claimed(Path("o"), overwrite=True):
            pass
    assert not Path("o").exists()


def test_compare_claims_the_folders_of_all_its_scenarios(capsys):
    with claimed(Path("o/2"), overwrite=False):
        text = refusal(capsys, "compare", "s.toml", "--vary", "cluster.replicas=1,2", "--out", "o")
    assert text == "o/2: another run is writing to it; expected a folder of its own"


def test_runs_without_a_folder_of_their_own_take_different_ones():
    with claimed_anew("x") as first, claimed_anew("x") as second:
        assert [first.name, second.name] == ["x-1", "x-2"]
    assert not first.exists()
    assert not second.exists()


def test_a_killed_run_leaves_no_claim_and_no_litter(capsys):
    code = (
        "import os\nfrom pathlib import Path\nfrom simulator.results.folders import claimed, part_of\n"
        "with claimed(Path('o'), False):\n    part_of(Path('o/tokens.parquet')).touch()\n"
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(Path("o").iterdir())) == 2
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot"]) == 0
    assert all(not path.name.startswith(".") for path in Path("o").iterdir())
    capsys.readouterr()


def test_a_run_killed_while_it_overwrites_leaves_no_summary_beside_tables_of_another():
    for name, limit in (("o", 3), ("new", 5)):
        run(Scenario(workload={"limit": limit})).save(name)
    found = []
    for call, number in [("replace", n) for n in (1, 3, 5)] + [("unlink", n) for n in (1, 2, 5)]:
        done = subprocess.run(
            [sys.executable, "-c", KILLED, call, str(number)], env=environment(), check=False
        )
        kept = requests_in(Path("o"))
        found.append(kept)
        assert done.returncode == 9 or kept == 5
        assert kept is not None or not Path("o/summary.json").exists()
        run(Scenario(workload={"limit": 3})).save("o", overwrite=True)
        assert requests_in(Path("o")) == 3
    assert None in found
    assert 3 in found  # killed before anything was in the way of the old run


def test_a_disk_that_fills_up_while_a_folder_is_overwritten_leaves_what_was_there(monkeypatch):
    run(Scenario(workload={"limit": 3})).save("o")

    def full(*arguments: object, **options: object) -> None:
        raise OSError("full")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", full)
        with pytest.raises(OSError, match="full"):
            run(Scenario(workload={"limit": 5})).save("o", overwrite=True)
    assert requests_in(Path("o")) == 3
    assert not [path for path in Path("o").iterdir() if path.name.startswith(".")]


def test_an_old_picture_goes_with_the_run_it_shows(capsys):
    assert cli.main(["run", "s.toml", "--out", "o"]) == 0
    assert Path("o/overview.png").exists()
    assert cli.main(["run", "s.toml", "--out", "o", "--no-plot", "--overwrite"]) == 0
    assert not Path("o/overview.png").exists()
    capsys.readouterr()


def test_a_file_is_there_whole_or_not_at_all():
    with suppress(ZeroDivisionError), whole(Path("a/b.txt")) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert list(Path("a").iterdir()) == []
    with whole(Path("a/b.txt")) as part:
        part.write_text("whole")
        assert os.listdir("a") == [part.name]
    assert Path("a/b.txt").read_text() == "whole"


def test_what_a_killed_process_has_left_of_a_file_goes_with_the_next_one(tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    code = (
        "import os\nfrom pathlib import Path\nfrom simulator.results.folders import whole\n"
        "with whole(Path('sweep.png')) as part:\n    part.touch()\n"
        f"    os.kill(os.getpid(), {int(signal.SIGKILL)})\n"
    )
    subprocess.run([sys.executable, "-c", code], env=environment(), cwd=here, check=False)
    (left,) = here.iterdir()
    others = here / ".servesim-elsewhere-1-sweep.png", here / left.name.replace("sweep", "other")
    for each in others:
        each.touch()
    with whole(here / "sweep.png") as part:
        part.touch()
        assert set(here.iterdir()) == {part, *others}
    assert set(here.iterdir()) == {here / "sweep.png", *others}
