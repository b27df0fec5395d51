"""``servesim reproduce``: run the experiments behind the paper's claims; write figures, data and verdicts."""

import ast
import importlib
import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from simulator.errors import InputError

if TYPE_CHECKING:
    from experiments.paper._reproduce import Study, Verdict

ORDER = 90
EPILOG = "Example: servesim reproduce C1 C4 --quick   (all, quick: about three minutes)"
EXPERIMENTS = Path(__file__).parent.parent / "paper"
VERDICT = "verdict.json"


def reproduce(
    claims: Annotated[
        list[str] | None, typer.Argument(metavar="[all | C1 C4 ...]", help="Which claims; default: all.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds and shorter runs: minutes.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for figures, data and verdicts.")] = Path(
        "results/reproduce"
    ),
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Simulations at once. Default: one a processor core.")
    ] = None,
) -> None:
    """Run the experiments behind the paper's claims; say which are reproduced.

    Each claim's folder gets its figures (PNG, PDF) and their data (CSV); results.md gets a line a claim, and
    paper.md shows all figures with what they mean. Simulations are kept in OUT/cache: after Ctrl-C, the same
    command goes on from there.
    """
    from experiments.paper._reproduce import Study, close_pools
    from simulator.cli.terminal import cores

    try:
        for path in _chosen(claims or ["all"]):
            print(f"{_claim(path)}: {_title(path)}", file=sys.stderr)
            study = Study(out / path.stem, quick=quick, jobs=jobs or cores())
            verdict = _run(path, study)
            _keep(study, verdict)
            write_results(out)
            print(f"{_claim(path)}  {verdict.outcome}: {verdict.claim} {verdict.numbers}")
    finally:
        close_pools()
    print(f"results: {out / 'results.md'}, figures: {out / 'paper.md'}", file=sys.stderr)


def write_results(out: Path) -> None:
    """Write results.md and paper.md from all verdicts in a folder, also those of earlier runs."""
    found = []
    for path in experiments():
        kept = out / path.stem / VERDICT
        if kept.exists():
            found.append((path, json.loads(kept.read_text(encoding="utf-8"))))
    lines = [
        "# The paper's claims, tested\n",
        "Wang et al., arXiv 2410.14257. Each verdict is computed by the test that its file in `experiments/`",
        "states, corrected for the number of its comparisons (Holm); the intervals shown are 95 % over seeds, each",
        "for itself. What cannot fail is checked, and said to be. Figures: [paper.md](paper.md).\n",
        "| claim | verdict | runs | what is claimed | what was measured |",
        "|---|---|---|---|---|",
    ]
    for path, verdict in found:
        cells = (verdict["outcome"], _runs(verdict), verdict["claim"], verdict["numbers"])
        lines.append(f"| {_claim(path)} | " + " | ".join(each.replace("|", "\\|") for each in cells) + " |")
    (out / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (out / "paper.md").write_text(_gallery(found), encoding="utf-8")


def _runs(verdict: dict[str, Any]) -> str:
    """Say whether the runs were full, and on which engine."""
    return ", ".join([verdict["runs"], *verdict.get("engines", [])])


def experiments() -> list[Path]:
    """Return the files of all experiments, in order of their claims."""
    return sorted(EXPERIMENTS.glob("c[1-9]_*.py"))


def _gallery(found: list[tuple[Path, dict[str, Any]]]) -> str:
    """All figures with what they show: the experiments' own explanations, and the verdicts."""
    parts = [
        "# The figures behind the claims\n\nWang et al., arXiv 2410.14257, as simulated by `servesim reproduce`."
        " One line a claim: [results.md](results.md).\n"
    ]
    for path, verdict in found:
        text = _docstring(path).partition("\n")[2].strip()
        parts.append(f"\n## {_claim(path)}. {_title(path)}\n")
        parts.append(f"**{verdict['outcome'].capitalize()}** ({_runs(verdict)}). {verdict['claim']}\n")
        parts.append(f"{verdict['numbers']}\n")
        figures = [name for name in verdict["files"] if name.endswith(".png")]
        parts += [f"![{_title(path)}]({path.stem}/{name})\n" for name in figures]
        parts.append(f"{text}\n")
        files = [name for name in verdict["files"] if not name.endswith(".png")]
        links = ", ".join(f"[{name}]({path.stem}/{name})" for name in files)
        parts.append(f"Files: {links}. Source: `experiments/paper/{path.name}`.\n")
    return "\n".join(parts)


def _chosen(words: list[str]) -> list[Path]:
    """Find experiments by claim (``C1``) or file (``c1_deadlines``); InputError for what there is not."""
    known = experiments()
    chosen = set()
    for word in words:
        mine = [path for path in known if word.lower() in ("all", path.stem, _claim(path).lower())]
        if not mine:
            from simulator.scenario.discover import nearest

            claims = list(dict.fromkeys(map(_claim, known)))
            hint = nearest(word.upper(), claims)
            raise InputError(f"reproduce: no claim {word!r}; {hint}expected all, or of {', '.join(claims)}")
        chosen.update(mine)
    return [path for path in known if path in chosen]


def _run(path: Path, study: "Study") -> "Verdict":
    from matplotlib import rc_context

    from experiments.paper._reproduce import STYLE

    module = importlib.import_module(f"experiments.paper.{path.stem}")
    with rc_context(STYLE):
        verdict: Verdict = module.run(study)
    return verdict


def _keep(study: "Study", verdict: "Verdict") -> None:
    runs = "quick" if study.quick else "full"
    content = {**vars(verdict), "runs": runs, "files": study.files, "engines": list(study.engines)}
    (study.out / VERDICT).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _claim(path: Path) -> str:
    return path.stem.partition("_")[0].upper()


def _title(path: Path) -> str:
    return re.sub(r"\s+", " ", _docstring(path).partition("\n\n")[0]).rstrip(".")


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or path.stem
