"""What finished points are kept under changes with what decides results; processes are started without a Ctrl-C."""

import shutil
import signal
import subprocess
import sys
import threading

import pytest

from simulator.studies import processes
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


def test_a_ctrl_c_that_another_thread_gets_is_held_back_while_processes_start():
    """The system gives a signal to any thread that does not block it; Python raises it in the main thread."""
    go, gone = threading.Event(), threading.Event()

    def other():
        go.wait()
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        gone.set()

    thread = threading.Thread(target=other)
    thread.start()
    before, came_through = signal.getsignal(signal.SIGINT), False

    def start():
        nonlocal came_through
        with processes._interrupt_held():
            go.set()
            gone.wait()
            for _ in range(1000):  # so that Python would have raised it
                pass
            came_through = True

    with pytest.raises(KeyboardInterrupt):
        start()
    thread.join()
    assert came_through
    assert signal.getsignal(signal.SIGINT) is before
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


INTERRUPTED = """
import os, signal
from multiprocessing.context import SpawnProcess
from simulator.studies.workers import Workers

start = SpawnProcess.start

def interrupted(process):
    start(process)
    if process.name.endswith("-2"):
        os.kill(os.getpid(), signal.SIGINT)

SpawnProcess.start = interrupted
workers = Workers(jobs=2)
try:
    list(workers.done(abs, {key: (key,) for key in range(8)}))
except KeyboardInterrupt:
    print("heard", flush=True)
finally:
    workers.close()
print("ended")
"""


def test_a_ctrl_c_right_after_a_process_has_started_leaves_none_that_is_waited_for():
    """The second of a pool, whose start the pool has not noted yet."""
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["heard", "ended"], done.stderr
