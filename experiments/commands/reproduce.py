"""``servesim reproduce``: redraw figures and test claims, the paper's and those of other systems."""

import ast
import importlib
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simulator.cli import completion
from simulator.cli.options import Jobs, OnRay, chosen_workers
from simulator.cli.output import remark, say, wrote
from simulator.cli.report_page import ReportTo, report_beside
from simulator.errors import InputError

if TYPE_CHECKING:
    from experiments.paper._gallery import Section
    from experiments.paper._reproduce import Study, Verdict

ORDER = 90
EPILOG = "Example: servesim reproduce fig5 fig6 --quick   (all, quick: about three minutes)"
EXPERIMENTS = Path(__file__).parent.parent / "paper"
OTHERS = ("systems", "league")  # folders of studies that are not the paper's, each with a page of its name
VERDICT = "verdict.json"


def reproduce(
    claims: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[all | systems | league | fig5 fig6 ...]",
            help="Which figures and claims; default: all of the paper's. systems: studies of other systems."
            " league: every scheduler by every metric.",
            autocompletion=completion.figures,
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds and shorter runs: minutes.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for figures, data and verdicts. Default: runs/reproduce.")
    ] = None,
    jobs: Jobs = None,
    ray: OnRay = None,
    protocol: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="A changed copy of experiments/paper/protocol.toml."),
    ] = None,
    rules: Annotated[
        Path | None,
        typer.Option(
            "--league", metavar="FILE.toml", help="A changed copy of experiments/league/league.toml."
        ),
    ] = None,
    page: ReportTo = None,
) -> None:
    """Redraw the figures of the paper and test its claims; say which are reproduced.

    Each gets a folder with its figures (PNG, PDF) and their data (CSV). paper.md shows all figures beside what the
    paper reports, and results.md has all numbers. Simulations are kept in OUT/cache: after Ctrl-C, the same command
    goes on from there. With what it runs is fixed in experiments/paper/protocol.toml; a changed copy turns its knobs.
    systems, or one by its name, are the studies of what others built: systems.md shows them. league plays every
    scheduler against every other, under every traffic and by every metric: league.md.
    """
    for variable, path in (("SERVESIM_PROTOCOL", protocol), ("SERVESIM_LEAGUE", rules)):
        if path is not None:
            os.environ[variable] = str(path.resolve())  # before it is read, here and in other processes
    from experiments.paper._reproduce import Study
    from simulator.report.tables import Document, Words
    from simulator.results.folders import folder_named

    out = out if out is not None else folder_named("reproduce")
    workers = chosen_workers(jobs, ray)
    try:
        for path in _chosen(claims or ["all"]):
            remark(f"{claim_id(path)}: {_title(path)}")
            study = Study(out / path.stem, quick=quick, workers=workers)
            verdict = _run(path, study)
            _keep(study, verdict)
            write_results(out)
            told = f"{claim_id(path)}  {verdict.outcome}: {verdict.claim} {verdict.numbers}"
            say(Document([Words([told])]), kept=out)
            sys.stdout.flush()
    finally:
        workers.close()
    for name in ("paper", *OTHERS):
        if (out / f"{name}.md").exists():
            wrote("results", out / "results.md", f", figures: {out / f'{name}.md'}")
    if page is not None:
        from experiments.paper._page import claims_document

        report_beside(claims_document([*_sections(out), *_sections(out, others())], out), page)


def write_results(out: Path) -> None:
    """Write results.md, paper.md, systems.md and league.md from all verdicts in a folder, also of earlier runs."""
    from experiments.paper._gallery import gallery, results
    from experiments.systems._page import PAGES, studies_page

    paper = _sections(out)
    (out / "results.md").write_text(results(paper or _sections(out, others())), encoding="utf-8")
    if paper:
        (out / "paper.md").write_text(gallery(paper), encoding="utf-8")
    for package in OTHERS:
        if sections := _sections(out, others(package)):
            page = studies_page(PAGES[package], package, sections, out)
            (out / f"{package}.md").write_text(page, encoding="utf-8")


def _sections(out: Path, paths: Sequence[Path] | None = None) -> "list[Section]":
    from experiments.paper._gallery import Section

    found = []
    for path in experiments() if paths is None else paths:
        kept = out / path.stem / VERDICT
        if kept.exists():
            verdict = json.loads(kept.read_text(encoding="utf-8"))
            found.append(Section(claim_id(path), _title(path), path.stem, verdict))
    return found


def experiments() -> list[Path]:
    """Return the files of all experiments, in the protocol's order."""
    from experiments.paper._protocol import PROTOCOL

    order = {name.lower(): i for i, name in enumerate(PROTOCOL.order)}
    files = [path for path in EXPERIMENTS.glob("*.py") if not path.name.startswith("_")]
    return sorted(files, key=lambda path: (order.get(_word(path), len(order)), path.stem))


def others(*packages: str) -> list[Path]:
    """Return the files of all studies that are not the paper's, or those of some packages, by name."""
    folders = [EXPERIMENTS.parent / package for package in packages or OTHERS]
    return sorted(path for folder in folders for path in folder.glob("*.py") if not path.name.startswith("_"))


def claim_id(path: Path) -> str:
    """Return what an experiment is called: another study's file, or the first word, as the protocol writes it."""
    if path.parent.name in OTHERS:
        return path.stem
    from experiments.paper._protocol import PROTOCOL

    return next((name for name in PROTOCOL.order if name.lower() == _word(path)), _word(path))


def _chosen(words: list[str]) -> list[Path]:
    """Find experiments by name (``fig5``) or file (``fig5_classic``); InputError for what there is not."""
    known, beside = experiments(), others()
    chosen = set()
    for word in words:
        mine = [path for path in known if word.lower() in ("all", path.stem, _word(path))]
        mine += [path for path in beside if word.lower() in (path.parent.name, path.stem)]
        if not mine:
            from simulator.scenario.discover import nearest

            names = list(dict.fromkeys([*OTHERS, *map(claim_id, [*known, *beside])]))
            hint = nearest(word, names)
            raise InputError(
                f"reproduce: no figure or claim {word!r}; {hint}expected all, or of {', '.join(names)}"
            )
        chosen.update(mine)
    return [path for path in [*known, *beside] if path in chosen]


def _run(path: Path, study: "Study") -> "Verdict":

    from simulator.report.style import drawing

    module = importlib.import_module(f"experiments.{path.parent.name}.{path.stem}")
    with drawing():
        verdict: Verdict = module.run(study)
    return verdict


def _keep(study: "Study", verdict: "Verdict") -> None:
    runs = "quick" if study.quick else "full"
    for variable in ("SERVESIM_PROTOCOL", "SERVESIM_LEAGUE"):
        own = os.environ.get(variable)
        runs += f" by {Path(own).name}" if own else ""
    content = {**vars(verdict), "runs": runs, "files": study.files, "engines": list(study.engines)}
    (study.out / VERDICT).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _word(path: Path) -> str:
    return path.stem.partition("_")[0]


def _title(path: Path) -> str:
    return re.sub(r"\s+", " ", _docstring(path).partition("\n\n")[0]).rstrip(".")


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem
