"""Do the tests find faults? Random small changes of the code, each of which some test has to notice.

    python -m benchmarks.mutants [--sample N] [--seed S] [--at FILE[:LINE]] [--seconds S] [--reached FILE]

The code is that of ``simulator/replica``, ``simulator/cluster`` and ``simulator/metrics``; a changed line is drawn at
random among those that have code which tests reach, and a change at random among those of the line. A change is made
in the memory of a process of its own: no file is touched. First the tests run once, to see which parts of functions
each runs (``--reached`` keeps that for the next time). Those that run the changed part run until one fails, the
shortest and most particular first, for so many ``--seconds`` of processor time. A change under which they do not
end counts as noticed. Prints the changes that none noticed, and the share that was noticed; Ctrl-C ends early.
Unnoticed ones are to be looked at: some change nothing that anyone could see.
"""

import argparse
import contextlib
import gc
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

import pytest

from benchmarks.mutation import Functions, Mutant, loaded, make, mutants, probe

ROOT = Path(__file__).parent.parent
ROOMS = ("replica", "cluster", "metrics")
TESTS = ("tests/unit", "tests/laws", "tests/oracles")
PATIENCE_S = 600.0  # of any kind of time
MOST_BYTES = 3 << 30

Reached = dict[str, tuple[float, list[str]]]  # by test: seconds, and the segments of functions that it runs


def _forked(work: Callable[[], int], seconds: float) -> int:
    """Run in a process of its own, silent and bounded; returns its exit status, negative if a signal ended it."""
    child = os.fork()
    if not child:
        status = 70
        try:
            os.setsid()
            quiet = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(quiet, stream)
            resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 1))
            resource.setrlimit(resource.RLIMIT_DATA, (MOST_BYTES, MOST_BYTES))
            status = work()
        finally:
            os._exit(status)
    begin = time.monotonic()
    try:
        while time.monotonic() - begin < PATIENCE_S + seconds:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        return -signal.SIGKILL
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)


class Trial:
    """A pytest plugin: instead of the tests, all that is tried with them."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.failed = False
        self.noticed = self.tried = 0
        self.noticers: Counter[str] = Counter()  # files of tests, by the changes that they noticed
        self.sound: dict[pytest.Item, bool] = {}  # of those, whether they pass without a change
        self._told = Path(tempfile.mkdtemp()) / "noticer"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed

    def _passes(self, items: list[pytest.Item], place: int) -> bool:
        item, after = items[place], items[place + 1] if place + 1 < len(items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        return not self.failed

    def _look(self, items: list[pytest.Item], functions: Functions, paths: set[Path], path: Path) -> int:
        """Run tests once and write what each runs, a line each; one that fails is left out."""
        names, run = probe(paths, functions)
        shared = bytes(len(run))  # run where fixtures were set up: for every test of the file
        file = None
        with path.open("a") as out:
            print(json.dumps(names), file=out)
            for place, item in enumerate(items):
                if item.path != file:
                    file, shared = item.path, bytes(len(run))
                run[:] = bytes(len(run))
                self.failed, begin = False, time.process_time()
                passes, seconds = self._passes(items, place), time.process_time() - begin
                if not place or items[place - 1].path != item.path:
                    shared = bytes(run)
                if passes:
                    numbers = [
                        number for number, (a, b) in enumerate(zip(run, shared, strict=True)) if a or b
                    ]
                    print(json.dumps([item.nodeid, seconds, numbers]), file=out, flush=True)
        return 0

    def _reached(self, items: list[pytest.Item], functions: Functions, paths: set[Path]) -> Reached:
        path = Path(self.asked.reached or f"{tempfile.mkdtemp()}/reached.jsonl")
        for _ in range(2):
            known: Reached = {}
            names: list[str] = []
            for line in map(json.loads, path.read_text().splitlines() if path.exists() else ()):
                if len(line) == 3 and not isinstance(line[1], str):
                    known[line[0]] = line[1], [names[number] for number in line[2]]
                else:
                    names = line
            new = [item for item in items if item.nodeid not in known]
            if not new:
                break
            print(f"what {len(new)} tests run", flush=True)
            _forked(lambda new=new: self._look(new, functions, paths, path), 3600.0)  # type: ignore[misc]
        if new:
            print(f"{len(new)} tests are left out, because they fail when they are watched", flush=True)
        return known

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        paths = {path for room in ROOMS for path in (ROOT / "simulator" / room).glob("*.py")}
        functions = loaded(paths)
        known = self._reached(session.items, functions, paths)
        gc.freeze()  # what is there already is shared by all processes
        by_name = {item.nodeid: item for item in session.items if item.nodeid in known}
        tests: dict[str, list[pytest.Item]] = {}
        for name in sorted(by_name, key=lambda each: known[each][0] * len(known[each][1])):
            for segment in set(known[name][1]):
                tests.setdefault(segment, []).append(by_name[name])
        for mutant in self._drawn(paths, functions, tests):
            if mutant:
                self._try(mutant, functions, tests[mutant.segment], known)
        return True

    def _drawn(
        self, paths: set[Path], functions: Functions, tests: dict[str, list[pytest.Item]]
    ) -> Iterator[Mutant]:
        file, _, line = (self.asked.at or "").partition(":")
        by_line: dict[tuple[Path, int], list[Mutant]] = {}
        unreached = 0
        for path in sorted(paths):
            for mutant in mutants(path):
                if file and (path != ROOT / file or (line and int(line) != mutant.line)):
                    continue
                if mutant.segment not in tests:
                    unreached += 1
                elif (os.fspath(path), mutant.function, mutant.function_line) in functions:
                    by_line.setdefault((path, mutant.line), []).append(mutant)
        if line:
            yield from (mutant for same in by_line.values() for mutant in same)
            return
        print(
            f"{sum(map(len, by_line.values()))} changes on {len(by_line)} lines; {unreached} not reached by {TESTS}"
        )
        draw = random.Random(self.asked.seed)
        for place in draw.sample(sorted(by_line), min(self.asked.sample, len(by_line))):
            yield draw.choice(by_line[place])

    def _chosen(self, tests: list[pytest.Item], known: Reached) -> tuple[list[pytest.Item], float]:
        """Return tests and their seconds: the shortest for half of the time, then one of each file in turn."""
        by_file: dict[Path, list[pytest.Item]] = {}
        for item in tests:
            by_file.setdefault(item.path, []).append(item)
        in_turn = [item for turn in zip_longest(*by_file.values()) for item in turn if item is not None]
        chosen: dict[pytest.Item, None] = {}
        seconds = 0.0
        shortest = sorted(tests, key=lambda item: known[item.nodeid][0])
        for items, most_s in ((shortest, self.asked.seconds / 2), (in_turn, self.asked.seconds)):
            for item in items:
                lasts_s = known[item.nodeid][0]
                if item not in chosen and (not seconds or seconds + lasts_s < most_s):
                    chosen[item] = None
                    seconds += lasts_s
        # What noticed most is run first, which saves time and changes nothing
        files = sorted({item.path: None for item in chosen}, key=lambda path: -self.noticers[os.fspath(path)])
        return [item for path in files for item in by_file[path] if item in chosen], seconds

    def _try(self, mutant: Mutant, functions: Functions, tests: list[pytest.Item], known: Reached) -> None:
        chosen, seconds = self._chosen(tests, known)

        def work() -> int:
            make(mutant, functions)
            for place, item in enumerate(chosen):
                if not self._passes(chosen, place):
                    self._told.write_text(item.nodeid)
                    return 1
            return 0

        status = _forked(work, 5.0 + 3.0 * seconds)
        if status == 1:
            noticer = next(item for item in chosen if item.nodeid == self._told.read_text())
            if noticer not in self.sound:
                alone = _forked(lambda: int(not self._passes([noticer], 0)), 60.0 + 3.0 * seconds)
                self.sound[noticer] = not alone
            if not self.sound[noticer]:
                print(f"left out, as it fails without any change: {noticer.nodeid}", flush=True)
                self._try(mutant, functions, [item for item in tests if item is not noticer], known)
                return
            self.noticers[os.fspath(noticer.path)] += 1
        place = f"{mutant.path.relative_to(ROOT)}:{mutant.line}"
        if status == 70:
            print(f"could not be tried: {place} {mutant.says}", flush=True)
            return
        self.tried += 1
        self.noticed += status != 0
        if not status:
            print(f"unnoticed by {len(chosen)} of {len(tests)} tests: {place} {mutant.says}", flush=True)
        elif status < 0:
            print(f"no end ({status}): {place} {mutant.says}", flush=True)
        if self.tried % 20 == 0:
            print(f"noticed {self.noticed} of {self.tried}", flush=True)


def main() -> int:
    """Run it; exit status 1 when no change was noticed at all, because then nothing was tested."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--sample", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--at")
    parser.add_argument("--reached")
    trial = Trial(parser.parse_args())
    os.environ["HYPOTHESIS_PROFILE"] = "mutants"
    with contextlib.suppress(KeyboardInterrupt):
        options = [
            "-o",
            "addopts=",
            "-s",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "-p",
            "no:terminal",
            "-m",
            "not slow",
        ]
        pytest.main([*options, *TESTS], plugins=[trial])
    print(
        f"noticed {trial.noticed} of {trial.tried}"
        + (f": {trial.noticed / trial.tried:.1%}" if trial.tried else "")
    )
    return int(not trial.noticed)


if __name__ == "__main__":
    sys.exit(main())
