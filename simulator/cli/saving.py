"""Simulate and save, for ``run`` and ``compare``: what a Ctrl-C, a stall and a full disk leave behind."""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.cli.terminal import InterruptedRunError, progress, stop_on_interrupt
from simulator.errors import InputError, StallError

if TYPE_CHECKING:
    from simulator.results.result import Result
    from simulator.scenario.scenario import Scenario

# malloc.h: up to which size a block is not the system's own, and how much may lie free
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
_OF_MALLOC = {M_MMAP_THRESHOLD: 4 << 20, M_TRIM_THRESHOLD: 64 << 20}


def simulate_and_save(
    scenario: "Scenario",
    base_dir: Path | None,
    folder: Path | None,
    *,
    plot: bool,
    processes: int = 1,
    only_summary: bool = False,
) -> "tuple[Result, Exception | None]":
    """Simulate and save; return the result, and what the command must fail with once that is printed.

    ``folder`` is claimed by the caller, or in one that is. The first Ctrl-C ends the simulation early, or skips the
    picture; the records are saved all the same. ``only_summary`` as in ``simulator.scenario.run.run``.
    """
    keep_freed_memory()
    with stop_on_interrupt() as asked:
        try:
            result = _simulate(scenario, base_dir, asked, processes, only_summary and not plot)
        except KeyboardInterrupt as error:
            raise InterruptedRunError("interrupted twice; nothing was saved") from error
        cut_off = asked()
        try:
            if folder is not None:
                result.write(folder)
                if plot and asked() == cut_off:
                    from simulator.report.plots import overview
                    from simulator.results.folders import whole
                    from simulator.results.writing import PICTURE

                    with whole(folder / PICTURE) as part:
                        overview(result, part)
        except OSError as error:
            return result, InputError(f"{folder}: the records could not be saved: {error.strerror or error}")
        except KeyboardInterrupt as error:
            raise InterruptedRunError(
                f"interrupted twice; the records of this run are not in {folder}"
            ) from error
        return result, _cut_off(result, folder, asked())


def keep_freed_memory() -> None:
    """Have the C library keep what long columns leave behind for the next: the system gives it page by page."""
    if sys.platform == "linux":
        # There are Pythons without ctypes, and C libraries without such settings
        with suppress(ImportError, AttributeError):
            from ctypes import CDLL

            mallopt = CDLL(None).mallopt
            for setting, n_bytes in _OF_MALLOC.items():
                mallopt(setting, n_bytes)


def _simulate(
    scenario: "Scenario", base_dir: Path | None, asked: Callable[[], bool], processes: int, only_summary: bool
) -> "Result":
    with progress(scenario.name) as on_progress:
        from simulator.scenario.run import run as simulate  # slow enough for a Ctrl-C to land in it

        try:
            return simulate(
                scenario, base_dir=base_dir, on_progress=on_progress, should_stop=asked, processes=processes,
                only_summary=only_summary,
            )  # fmt: skip
        except StallError as error:
            stalled: Result | None = error.result
            if stalled is None:
                raise
            return stalled  # marked as stalled: saved and shown like any other before the command fails


def _cut_off(result: "Result", folder: Path | None, asked: bool) -> Exception | None:
    """Return what the command fails with if the run did not come to its end, or was asked to stop after."""
    kept = f"the records up to there are in {folder}, marked partial" if folder else "nothing was saved"
    stalled = result.manifest["stalled"]
    if stalled is not None:
        return StallError(f"{stalled}; {kept}")
    if result.partial:
        end_s = result.manifest["end_of_run_s"]
        return InterruptedRunError(f"interrupted at {end_s:,.0f} s of simulated time; {kept}")
    if asked:
        kept = f"all records are in {folder}" if folder else "nothing was saved"
        return InterruptedRunError(f"interrupted after the end of the simulation; {kept}")
    return None
