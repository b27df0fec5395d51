"""Does it work where others run it? Each environment that this machine has is tried, and what is missing is said.

    python -m benchmarks.environments [NAME ...] [--tests]

An environment is a Python with its dependencies, or what surrounds the process: no network, no home, a locale, a narrow
terminal. In each the commands of ``STEPS`` are run; with ``--tests`` the tests without the slow ones, too. Other
Pythons, the lowest versions and what is built need an index of packages, the last two uv besides (it is in the extra
``release``). Exit status 1 if any fails.
"""

import argparse
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MOST_S = 1800.0
TESTS = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", "tests")
# What each command is to return; "{run}" is a folder that the first makes
STEPS: tuple[tuple[int, tuple[str, ...]], ...] = (
    (0, ("--version",)),
    (0, ("run", "--set", "workload.limit=60", "--out", "{run}")),
    (0, ("show", "{run}")),
    (0, ("verify", "{run}")),
    (0, ("report", "{run}")),
    (
        0,
        (
            "compare",
            "--set",
            "workload.limit=60",
            "--vary",
            "policy.scheduling=vllm_v1,sarathi",
            "--seeds",
            "2",
        ),
    ),
    (0, ("list", "policies")),
    (2, ("run", "--set", "hardware.gpu=no_such")),
    (2, ("run", "missing.toml")),
)


class MissingError(Exception):
    """What this machine lacks for an environment."""


class BrokenError(Exception):
    """Why what is built cannot be built or installed."""


@dataclass(frozen=True)
class Place:
    """Where a command runs: its Python, what stands before it, and its environment variables."""

    python: Path
    before: tuple[str, ...] = ()
    variables: Mapping[str, str | None] | None = None  # None: not set

    def run(self, arguments: tuple[str, ...], folder: Path) -> subprocess.CompletedProcess[str]:
        """Run Python; it has no terminal, and half an hour at most."""
        variables = dict(os.environ)
        for name, value in (self.variables or {}).items():
            variables.pop(name, None)
            if value is not None:
                variables[name] = value
        return subprocess.run(
            [*self.before, str(self.python), *arguments],
            cwd=folder, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=MOST_S, check=False,
        )  # fmt: skip


@contextmanager
def this_python(before: tuple[str, ...] = (), **variables: str | None) -> Iterator[Place]:
    """Yield the Python that runs this, with other surroundings."""
    if before and (
        shutil.which(before[0]) is None or subprocess.run([*before, "true"], check=False).returncode
    ):
        raise MissingError(f"{' '.join(before)} does not work here")
    yield Place(Path(sys.executable), before, variables)


@contextmanager
def a_home(writable: bool) -> Iterator[Place]:
    """Yield a Python whose home is an empty folder, which it may write to or not."""
    if not writable and os.geteuid() == 0 and shutil.which("unshare") is None:
        raise MissingError("root may write everywhere")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        if writable:
            yield Place(
                Path(sys.executable), (), {"HOME": str(home), "XDG_CACHE_HOME": None, "MPLCONFIGDIR": None}
            )
            return
        if os.geteuid() == 0:  # for whom a mode forbids nothing: a path that cannot be a folder does
            nowhere = home / "file"
            nowhere.write_text("")
            variables: dict[str, str | None] = {"HOME": str(nowhere / "home")}
        else:
            home.chmod(stat.S_IRUSR | stat.S_IXUSR)
            variables = {"HOME": str(home)}
        yield Place(Path(sys.executable), (), variables | {"XDG_CACHE_HOME": None, "MPLCONFIGDIR": None})
        home.chmod(stat.S_IRWXU)


@contextmanager
def another_python(version: str, lowest: bool = False) -> Iterator[Place]:
    """Yield another Python with a fresh installation, of the lowest versions that are declared or of the newest."""
    python = _found(version)
    with tempfile.TemporaryDirectory() as folder:
        packages = f"{ROOT}[dev]"
        if lowest:
            how = [_uv(), "pip", "install", "-q", "--resolution", "lowest-direct", "--python"]
            yield _fresh(python, folder, lambda mine: [*how, mine, packages])
        else:
            yield _fresh(python, folder, lambda mine: [*_pip(mine), packages])


@contextmanager
def what_is_built(kind: str) -> Iterator[Place]:
    """Yield a fresh installation of the ``wheel`` or of the sources (``sdist``), without the extras."""
    with tempfile.TemporaryDirectory() as folder:
        uv = _uv()
        how = [uv, "build", "-q", f"--{kind}", "--out-dir", f"{folder}/dist", str(ROOT)]
        try:
            _done(how, "built")
            (built,) = (path for path in Path(folder, "dist").iterdir() if path.name.startswith("servesim-"))
            place = _fresh(Path(sys.executable), f"{folder}/venv", lambda mine: [*_pip(mine), str(built)])
        except MissingError as wrong:
            raise BrokenError(str(wrong)) from wrong
        yield place


def _fresh(python: Path, folder: str, install: Callable[[str], list[str]]) -> Place:
    """Make an environment, and install what a command says for its Python."""
    subprocess.run([str(python), "-m", "venv", folder], check=True)
    mine = Path(folder) / "bin" / "python"
    _done(install(str(mine)), "installed")
    return Place(mine)


def _pip(python: str) -> list[str]:
    return [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]


def _uv() -> str:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise MissingError("uv")
    return uv


def _done(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=MOST_S)
    if done.returncode:
        raise MissingError(f"could not be {what}: {(done.stderr.strip() or '?').splitlines()[-1]}")


def _found(version: str) -> Path:
    homes = [Path.home() / ".pyenv" / "versions", Path("/opt/hostedtoolcache/Python")]
    own = [path for home in homes for path in sorted(home.glob(f"{version}.*/bin/python{version}"))]
    name = shutil.which(f"python{version}")
    if not own and name is None:
        raise MissingError(f"python{version}")
    return own[-1] if own else Path(str(name))


ENVIRONMENTS: dict[str, Callable[[], AbstractContextManager[Place]]] = {
    **{f"python {version}": partial(another_python, version) for version in PYTHONS},
    "lowest versions": lambda: another_python(PYTHONS[0], lowest=True),
    "wheel": lambda: what_is_built("wheel"),
    "sources": lambda: what_is_built("sdist"),
    "no network": lambda: this_python(("unshare", "-rn")),
    "no HOME": lambda: this_python(HOME=None, USERPROFILE=None, XDG_CACHE_HOME=None, MPLCONFIGDIR=None),
    "home that is read-only": lambda: a_home(writable=False),
    "empty home": lambda: a_home(writable=True),
    "locale C, no UTF-8": lambda: this_python(LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
    "latin-1 output": lambda: this_python(PYTHONIOENCODING="latin-1"),
    "40 columns": lambda: this_python(COLUMNS="40"),
    "time zone of Apia": lambda: this_python(TZ="Pacific/Apia"),
    "warnings are errors": lambda: this_python(PYTHONWARNINGS="error"),
}


def tried(place: Place, tests: bool) -> str | None:
    """Run the steps, and the tests; return what failed first, None if nothing."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        for expected, words in STEPS:
            arguments = ("-m", "servesim", *(word.format(run=run) for word in words))
            done = place.run(arguments, Path(folder))
            if done.returncode != expected or "Traceback" in done.stderr:
                last = (done.stderr.strip() or done.stdout.strip() or "nothing said").splitlines()[-1]
                return (
                    f"servesim {' '.join(words)}: exit {done.returncode}, expected {expected}: {last[:200]}"
                )
    if tests:
        done = place.run(TESTS, ROOT)
        if done.returncode:
            return "tests: " + "; ".join(done.stdout.strip().splitlines()[-3:])[:300]
    return None


def main() -> int:
    """Try what is asked for, print a line each, and return the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of: " + "; ".join(ENVIRONMENTS))
    parser.add_argument("--tests", action="store_true", help="the tests, too")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in ENVIRONMENTS]
    if unknown:
        parser.error(f"no environment {unknown[0]!r}; expected of {', '.join(ENVIRONMENTS)}")
    failed = 0
    for name in asked.names or ENVIRONMENTS:
        try:
            with ENVIRONMENTS[name]() as place:
                wrong = tried(place, asked.tests)
        except BrokenError as broken:
            wrong = str(broken)
        except MissingError as lack:
            print(f"{name}: missing here: {lack}", flush=True)
            continue
        failed += wrong is not None
        print(f"{name}: {'works' if wrong is None else wrong}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
