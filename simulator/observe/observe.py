"""``observe(scenario, endpoint)``: a scenario's traffic, sent to a real server in real time, as a measured result."""

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from simulator.errors import InputError, not_installed
from simulator.metrics._window import Window
from simulator.observe.driving import LOOKS_EVERY_S, Drive, OnSent
from simulator.observe.endpoint import Endpoint
from simulator.observe.measuring import is_late, lateness, outcomes, served
from simulator.observe.probing import find_model, probe, warm_up
from simulator.observe.prompts import PromptTexts
from simulator.results.measured import MeasuredResult, measured_result
from simulator.scenario.scenario import Scenario
from simulator.workload import Workload, build

if TYPE_CHECKING:
    import httpx

_Found = TypeVar("_Found")
_KEEP_IDLE_S = (
    2.0  # connections that wait; servers close theirs after 5 s (uvicorn), maybe as a request is sent
)
_MOST_FILES = 65_535


class NothingSentError(Exception):
    """The run was stopped before any request of the traffic was sent."""


def observe(
    scenario: Scenario,
    endpoint: Endpoint,
    *,
    base_dir: Path | None = None,
    max_in_flight: int | None = None,
    warmup: int = 0,
    on_ready: Callable[[str], None] | None = None,
    on_progress: OnSent | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> MeasuredResult:
    """Send the traffic of a scenario to a server and return what came back, scored as the scenario says.

    Of the scenario ``workload``, ``seed``, ``user``, ``slo``, ``metrics`` and ``run`` count; ``run.horizon_s`` ends
    the run. ``max_in_flight`` holds requests back beyond so many at a time; ``warmup`` requests are sent before and
    not recorded. ``on_ready`` gets a line on what is about to be sent; ``on_progress`` seconds, requests that ended
    and requests in all; ``should_stop`` is asked every 50 ms and ends the run early, with what came so far kept.

    Raises InputError where httpx is not installed, the server does not answer a first short request, or the horizon
    comes before any request, and NothingSentError where it was stopped before any.
    """
    try:
        import httpx  # noqa: F401
    except ModuleNotFoundError as error:
        raise not_installed("observe: httpx", "observe") from error
    workload = build(scenario.workload, scenario.seed, base_dir or Path())
    _allow_many_files()
    with _no_old_garbage():
        drive, lines = _run(
            _observe(
                scenario,
                workload,
                endpoint,
                max_in_flight,
                warmup,
                on_ready or (lambda line: None),
                on_progress,
                should_stop or (lambda: False),
            )
        )
    if not any(each.sent_s == each.sent_s for each in drive.sent):
        if drive.stopped:
            raise NothingSentError
        raise InputError("observe: the run ended before any request was sent; expected a longer one")
    run = served(drive, scenario.name)
    said = scenario.model_dump(mode="json")
    if _at_once(workload) and scenario.window == Window():
        said["metrics"]["window"] = "whole"
        lines.append("all requests were due at once, so rates are over the whole run")
    run.notes[:0] = [f"traffic: {workload.source}", *lines]
    result = measured_result(run, endpoint.shown, said, workload=said["workload"])
    result.manifest["scenario"]["seed"] = scenario.seed
    lags = lateness(drive)
    result.manifest["measured"] |= {
        "outcomes": outcomes(drive),
        "client": lags,
        "client_is_late": is_late(lags),
        "api": endpoint.api,
        "ignore_eos": endpoint.ignore_eos,
        "tokens_per_word": drive.prompts.counting.tokens_per_word,
        "tokens_around": drive.prompts.counting.around,
    }
    return result


def _at_once(workload: Workload) -> bool:
    """Whether nothing but the client's own pace decides when requests are sent: that takes no time worth a rate."""
    if workload.concurrency is not None:
        return workload.concurrency >= len(workload)
    return float(workload.arrival_s[-1]) == float(workload.arrival_s[0]) and workload.think_s is None


async def _observe(
    scenario: Scenario,
    workload: Workload,
    endpoint: Endpoint,
    max_in_flight: int | None,
    warmup: int,
    on_ready: Callable[[str], None],
    on_progress: OnSent | None,
    should_stop: Callable[[], bool],
) -> tuple[Drive, list[str]]:
    async with _client(endpoint) as client:
        endpoint = await _unless(should_stop, find_model(client, endpoint))
        endpoint, counting = await _unless(should_stop, probe(client, endpoint, workload, scenario.seed))
        prompts = PromptTexts(workload, scenario.seed, counting)
        lines = []
        if warmup:
            warming = warm_up(client, endpoint, prompts, warmup, max_in_flight)
            if failed := await _unless(should_stop, warming):
                lines.append(f"{failed:,} of {warmup:,} requests of the warm-up did not complete")
        span_s = float(workload.arrival_s[-1])
        over = f" over {span_s:,.0f} s" if workload.concurrency is None and span_s >= 1 else ""
        on_ready(f"{len(workload):,} requests{over} to {endpoint.model} at {endpoint.shown}")
        drive = Drive(client, endpoint, prompts, max_in_flight, scenario.run.horizon_s)
        await drive.run(on_progress, should_stop)
    return drive, lines


def _run(doing: Coroutine[Any, Any, _Found]) -> _Found:
    """Run it to its end in a loop of its own; in a notebook, whose thread runs a loop, in another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(doing)
    with ThreadPoolExecutor(1) as other:
        return other.submit(asyncio.run, doing).result()


async def _unless(should_stop: Callable[[], bool], doing: Coroutine[Any, Any, _Found]) -> _Found:
    """Return what comes of it; raise NothingSentError where the run is to stop before."""
    task = asyncio.create_task(doing)
    while not task.done():
        await asyncio.wait({task}, timeout=LOOKS_EVERY_S)
        if should_stop() and not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            raise NothingSentError
    return task.result()


def _client(endpoint: Endpoint) -> "httpx.AsyncClient":
    import httpx

    return httpx.AsyncClient(
        timeout=None,  # asyncio's own bounds each request as a whole
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEP_IDLE_S
        ),
        headers={"Accept-Encoding": "identity", **endpoint.headers},  # compressed chunks would come together
    )


@contextmanager
def _no_old_garbage() -> Iterator[None]:
    """Keep what was there before out of the collections of garbage, which would hold the client up."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _allow_many_files() -> None:
    """Let this process have as many connections open as the system allows; each takes a file."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
        if soft != resource.RLIM_INFINITY and soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
