"""What a command costs: wall and CPU seconds and peak memory, those of its own children included.

The command is started by a small process of its own: on Linux, a program's peak memory is never less than
that of the process which started it was at that moment.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Cost:
    """Seconds of wall and CPU time, MB (10^6 bytes) of the largest process."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def measure(command: Sequence[str], cwd: Path = ROOT) -> Cost:
    """Run a command and return its cost; raises RuntimeError with what it said if it fails.

    It keeps its bytecode, as an installed command has it: without, a start compiles 250 files.
    """
    starter = [sys.executable, "-I", "-S", __file__, *command]
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(starter, cwd=cwd, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    return Cost(found["wall_s"], found["cpu_s"], found["peak_mb"])


def _start(command: Sequence[str]) -> int:
    answer = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    begin = time.perf_counter()
    child = os.spawnvp(os.P_NOWAIT, command[0], list(command))
    _, status, usage = os.wait4(child, 0)
    wall_s = time.perf_counter() - begin
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    cost = {
        "wall_s": wall_s,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss * unit / 1e6,
    }
    os.write(answer, json.dumps(cost).encode())
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(_start(sys.argv[1:]))
