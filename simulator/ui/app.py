"""The app's addresses: the page, the form's scenario, tasks, saved runs, a dropped file, the paper's pictures."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from simulator.errors import InputError
from simulator.report.html.page import in_script
from simulator.results.folders import runs_root
from simulator.ui.dropped import DroppedFiles
from simulator.ui.form import command_of, scenario_of, with_trace
from simulator.ui.guard import Guard
from simulator.ui.page import app_page
from simulator.ui.paper import paper_scenarios
from simulator.ui.tasks import Task, Tasks, search, simulate, simulate_all

MOST_BYTES = 64 * 2**20  # of a dropped file
_MOST_FORM_BYTES = 2**16
_MOST_REPLICAS = 16
_MOST_SEEDS = 10
_FIGURES = Path(__file__).parents[2] / "docs" / "paper"  # in a checkout; runs below the root else


@dataclass(frozen=True)
class Saved:
    """How saved results are read: documents of folders, and the runs and studies below a folder.

    ``document`` is of runs of the same traffic or of one study, ``rates`` of runs at several rates. ``runs`` yields
    folder, manifest and summary, ``studies`` folder, kind and answer.
    """

    document: Callable[[Sequence[Path]], dict[str, Any]]
    rates: Callable[[Sequence[Path]], dict[str, Any]]
    runs: Callable[[Path], Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]]
    studies: Callable[[Path], Iterator[tuple[Path, str, str]]]

    def listed(self) -> dict[str, tuple[Path, str, str]]:
        """Return folder, kind and words of each result below the root by its name, the newest first."""
        root = runs_root()
        found = [(folder, "run", _words(manifest)) for folder, manifest, _ in self.runs(root)]
        found += [each for each in self.studies(root) if each[1] in ("sweep", "plan", "capacity")]
        found.sort(key=lambda each: each[0].stat().st_mtime, reverse=True)
        return {each[0].relative_to(root).as_posix(): each for each in found}


def _words(manifest: dict[str, Any]) -> str:
    try:
        scenario = manifest["scenario"]
        policy = scenario["policy"]["scheduling"]
        name = policy["name"] if isinstance(policy, dict) else policy
        return f"{name}, {scenario['hardware']['gpu']}, {scenario['hardware']['model']}"
    except (LookupError, TypeError):
        return ""


def make_app(token: str, saved: Saved, *, remote: bool = False) -> ASGIApp:
    """Return the app (ASGI); every request needs the token."""
    api = _Api(saved)

    @asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        """End what is running, and drop what was dropped, when the server ends."""
        yield
        await run_in_threadpool(api.tasks.close)
        api.dropped.close()

    routes = [
        Route("/", api.page),
        Route("/api/scenario", _told(api.scenario), methods=["POST"]),
        Route("/api/runs", _told(api.runs)),
        Route("/api/runs", _told(api.run), methods=["POST"]),
        Route("/api/paper", _told(api.paper), methods=["POST"]),
        Route("/api/plans", _told(api.plan), methods=["POST"]),
        Route("/api/tasks/{id}", _told(api.task)),
        Route("/api/tasks/{id}/cancel", _told(api.cancel), methods=["POST"]),
        Route("/api/report", _told(api.report, 404)),
        Route("/api/inspect", _told(api.inspect), methods=["POST"]),
        Route("/api/figures", _told(api.figures)),
        Route("/api/figure", _told(api.figure, 404)),
    ]
    return Guard(Starlette(routes=routes, lifespan=life), token, remote)


def _told(
    answer: Callable[[Request], Awaitable[Response]], status: int = 200
) -> Callable[[Request], Awaitable[Response]]:
    """Turn what is refused into one sentence.

    To say what is wrong with a form is what it was sent for: browsers call other states than 200 errors of the page.
    """

    async def refusing(request: Request) -> Response:
        try:
            return await answer(request)
        except InputError as error:
            return JSONResponse({"error": " ".join(str(error).split())}, status)
        except OSError as error:
            return JSONResponse({"error": f"the disk refused: {error.strerror or error}"}, status)

    return refusing


async def _body(request: Request, most_bytes: int) -> bytes:
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > most_bytes:
            raise InputError(f"more than {most_bytes:,} bytes; expected at most so many")
    return bytes(found)


async def _form(request: Request) -> dict[str, Any]:
    try:
        found = json.loads(await _body(request, _MOST_FORM_BYTES))
    except (ValueError, RecursionError) as error:
        raise InputError("form: expected JSON") from error
    if not isinstance(found, dict):
        raise InputError("form: expected a JSON object")
    return found


@dataclass(frozen=True)
class _Api:
    saved: Saved
    tasks: Tasks = field(default_factory=Tasks)
    dropped: DroppedFiles = field(default_factory=DroppedFiles)

    async def page(self, request: Request) -> Response:
        return HTMLResponse(await run_in_threadpool(app_page))

    async def scenario(self, request: Request) -> Response:
        values = (await _form(request)).get("values")
        scenario = await run_in_threadpool(scenario_of, values)
        return JSONResponse({"toml": scenario.to_toml(), "command": command_of(values)})

    async def runs(self, request: Request) -> Response:
        listed = await run_in_threadpool(self.saved.listed)
        rows = [{"name": name, "kind": kind, "words": words} for name, (_, kind, words) in listed.items()]
        return JSONResponse({"runs": rows})

    async def run(self, request: Request) -> Response:
        given = await _form(request)
        scenario = await run_in_threadpool(scenario_of, given.get("values"))
        files = None
        if given.get("file") is not None:
            path = self.dropped.get(given["file"])
            scenario, files = with_trace(scenario, path.name), path.parent
        return JSONResponse(self.tasks.start(partial(simulate, scenario, files=files)).as_dict())

    async def paper(self, request: Request) -> Response:
        return JSONResponse(self.tasks.start(partial(simulate_all, paper_scenarios())).as_dict())

    async def plan(self, request: Request) -> Response:
        given = await _form(request)
        target, gpus, replicas = (given.get(name) for name in ("target", "gpus", "replicas"))
        if not isinstance(target, str) or not isinstance(gpus, str):
            raise InputError("plan: expected a target such as: token_slo.attainment >= 0.9")
        replicas = _count("replicas", replicas, _MOST_REPLICAS)
        seeds = _count("seeds", given.get("seeds", 1), _MOST_SEEDS)
        checks = given.get("checks") is True
        scenario = await run_in_threadpool(scenario_of, given.get("values"))
        return JSONResponse(
            self.tasks.start(partial(search, scenario, target, gpus, replicas, seeds, checks)).as_dict()
        )

    def _told_of(self, task: Task) -> Response:
        names = [folder.relative_to(runs_root()).as_posix() for folder in task.folders]
        return JSONResponse(task.as_dict() | {"run": names[0] if names else None, "runs": names})

    async def task(self, request: Request) -> Response:
        return self._told_of(self.tasks.get(request.path_params["id"]))

    async def cancel(self, request: Request) -> Response:
        task = self.tasks.get(request.path_params["id"])
        task.asked.set()
        return self._told_of(task)

    async def report(self, request: Request) -> Response:
        asked = request.query_params
        made = self.saved.rates if "rates" in asked else self.saved.document
        document = await run_in_threadpool(self._document, made, asked.getlist("run"))
        return Response(in_script(document), media_type="application/json")

    def _document(
        self, made: Callable[[Sequence[Path]], dict[str, Any]], names: Sequence[str]
    ) -> dict[str, Any]:
        listed = self.saved.listed()
        unknown = next((name for name in names if name not in listed), None)
        if unknown is not None or not names:
            raise InputError(f"{(unknown or '')[:200]!r} is no saved run; expected names of the list")
        return made([listed[name][0] for name in dict.fromkeys(names)])

    async def inspect(self, request: Request) -> Response:
        content = await _body(request, MOST_BYTES)
        key, path = await run_in_threadpool(self.dropped.keep, request.query_params.get("name", ""), content)
        try:
            return JSONResponse({"text": await run_in_threadpool(_inspected, path), "file": key})
        except InputError:
            self.dropped.forget(key)
            raise

    async def figures(self, request: Request) -> Response:
        return JSONResponse({"figures": [*await run_in_threadpool(_pictures)]})

    async def figure(self, request: Request) -> Response:
        found = (await run_in_threadpool(_pictures)).get(request.query_params.get("name", ""))
        if found is None:
            raise InputError("no such figure; expected a name of the list")
        return FileResponse(found, media_type="image/png")


def _count(name: str, given: Any, most: int) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= most:
        raise InputError(f"plan: {name}: expected a whole number from 1 to {most}")
    return given


def _inspected(path: Path) -> str:
    from simulator.functions.inspect import inspect

    try:
        return str(inspect(path).document()).replace(str(path), path.name)
    except InputError as error:
        raise InputError(str(error).replace(str(path), path.name)) from error


def _pictures() -> dict[str, Path]:
    """Return the paper's figures by name: those that servesim reproduce left below the root, else the docs' own."""
    found: dict[str, Path] = {}
    for folder in (_FIGURES, *(path.parent for path in sorted(runs_root().glob("*/results.md")))):
        for path in sorted(folder.glob("*/*.png")):
            found[f"{path.parent.name}/{path.stem}"] = path
    return found
