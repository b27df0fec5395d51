"""Where the time of a whole ``servesim run`` goes: ``python -m benchmarks.profile W3``.

Samples the stack each time the process has used some milliseconds of CPU (setitimer, of all threads), which costs
next to nothing and so shows shares that a tracing profiler distorts. A sample counts for the innermost frame of
the simulator's own code, with what it calls outside (numpy, pyarrow); ``imports`` is everything under an import,
by the package whose code ran or which imported.
CPU of other threads counts for where the main thread is at that moment; processes that a run forks are sampled too.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parent.parent
OWN = tuple(f"{ROOT / each}/" for each in ("simulator", "policies", "hardware_profiles"))
EVERY_S = 0.001  # asked for; kernels give what their clock allows, so samples are weighted with the CPU between them


@dataclass(frozen=True)
class Profile:
    """Mean CPU seconds a run, by module and by function; ``samples`` is what that rests on."""

    work: str
    seconds: float
    samples: int
    modules: Mapping[str, float]
    functions: Mapping[str, float]


def profile(work: str, settings: tuple[str, ...], rounds: int) -> Profile:
    """Run a work some times, each in a process of its own, and add up where its CPU went."""
    modules: defaultdict[str, float] = defaultdict(float)
    functions: defaultdict[str, float] = defaultdict(float)
    samples = 0
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "samples"
            command = [
                sys.executable,
                "-m",
                "benchmarks.profile",
                "--child",
                str(out),
                f"{folder}/out",
                *settings,
            ]
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            for line in out.read_text(encoding="utf-8").splitlines():
                place, seconds = line.split("\t")
                samples += 1
                functions[place] += float(seconds) / rounds
                modules[place.partition(":")[0]] += float(seconds) / rounds
    return Profile(work, sum(modules.values()), samples, _largest_first(modules), _largest_first(functions))


def _largest_first(seconds: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def _place(frame: FrameType | None) -> str:
    own = innermost = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith("<frozen importlib"):
            return f"imports:{_package(innermost or _outside(frame))}"
        innermost = innermost or name
        if not own and name.startswith(OWN):
            own = f"{Path(name).relative_to(ROOT)}:{frame.f_code.co_qualname}"
        frame = frame.f_back
    return own or "the interpreter's start and end"


def _outside(frame: FrameType | None) -> str:
    """Return the file that imports: the first outward that is not of the import system."""
    while frame is not None and frame.f_code.co_filename.startswith("<frozen"):
        frame = frame.f_back
    return "" if frame is None else frame.f_code.co_filename


def _package(name: str) -> str:
    """Return the package that a file belongs to."""
    for folder in ("/site-packages/", f"{ROOT}/"):
        if folder in name:
            return name.rpartition(folder)[2].partition("/")[0]
    return "the standard library"


def _child(out: str, folder: str, settings: list[str]) -> int:
    # Each sample is a line, written at once: processes that this one forks are killed when they have answered.
    lines = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    last = 0.0

    def sample(number: int, frame: FrameType | None) -> None:
        nonlocal last
        now = time.process_time()
        os.write(lines, f"{_place(frame)}\t{now - last}\n".encode())
        last = now

    def begin() -> None:
        nonlocal last
        last = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)

    signal.signal(signal.SIGPROF, sample)
    os.register_at_fork(after_in_child=begin)
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
    from simulator.cli import main as cli

    command = ["run", "--no-plot", "--out", folder]
    code = cli.main(command + [part for each in settings for part in ("--set", each)])
    signal.setitimer(
        signal.ITIMER_PROF, 0
    )  # Python puts the signal's default back when it ends, which is to die
    return code


def table(found: Profile, rows: int = 14) -> list[str]:
    """Return lines that show the largest modules and functions."""
    lines = [f"{found.work}: {found.seconds:.2f} s of CPU a run, {found.samples:,} samples"]
    for kind, each in (("module", found.modules), ("function", found.functions)):
        lines.append(f"  by {kind}")
        lines += [
            f"    {s:7.3f} s {s / found.seconds:6.1%}  {place}" for place, s in list(each.items())[:rows]
        ]
    return lines


def main(arguments: list[str]) -> int:
    """Profile the works named; of ``--child``, be the process that is profiled."""
    if arguments[:1] == ["--child"]:
        return _child(arguments[1], arguments[2], arguments[3:])
    from benchmarks.works import WORKS

    unknown = [each for each in arguments if each not in WORKS]
    if unknown or not arguments:
        print(f"expected some of {', '.join(WORKS)}, got {' '.join(arguments) or 'nothing'}", file=sys.stderr)
        return 2
    for name in arguments:
        rounds = 1 if name in ("W5", "W8") else 5
        print("\n".join(table(profile(name, WORKS[name].settings, rounds))), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
