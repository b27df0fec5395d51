"""The page of all systems, made from their verdicts, tables and pictures."""

import csv
from collections.abc import Sequence
from pathlib import Path

from experiments.paper._gallery import Section, wrapped
from experiments.systems._findings import OUTCOMES, TABLE

MOST_ROWS = 24  # of a table that stands in the page; longer ones are linked
PAGES = {  # title and introduction, by the package of the studies
    "systems": (
        "Other systems, by their own metric and by smooth goodput",
        "What others built to serve readers better, in the small: what each reports, by its own metric, and the same by"
        " smooth goodput. Made by `servesim reproduce systems`; each study is one file in `experiments/systems/`, which"
        " states its question, its servers and its tests. A claim is agreed with, partly or not; what differs is said.",
    ),
    "league": (
        "The league: every scheduler, by every metric",
        "Every scheduler on one engine, under every traffic, by every metric. Made by `servesim reproduce league`;"
        " a scheduler enters by being a file in `policies/scheduling/`. Schedulers are in order of smooth goodput. A"
        " cell is one traffic under one load; bold, and framed in the picture, is the metric that the paper"
        " of a scheduler measures by.",
    ),
}


def studies_page(about: tuple[str, str], package: str, sections: Sequence[Section], out: Path) -> str:
    """Return a page of studies in Markdown: a table of verdicts, and a section with tables and pictures of each.

    ``about`` is its title and introduction; the tables are read from the studies' folders in ``out``.
    """
    title, introduction = about
    words = {outcome: word for word, outcome in OUTCOMES.items()}
    parts = [
        f"# {title}\n",
        *wrapped(introduction),
        "",
        "| study | what is asked | verdict | runs |",
        "|---|---|---|---|",
    ]
    parts += [
        f"| {each.name} | {each.title} | **{words[each.verdict['outcome']]}** | {each.verdict['runs']} |"
        for each in sections
    ]
    for each in sections:
        files = each.verdict["files"]
        tables = [
            name for name in files if name.startswith(TABLE) and _rows(out / each.folder / name) <= MOST_ROWS
        ]
        parts += ["", f"## {each.title}", "", *wrapped(f"{each.verdict['claim']} {each.found}")]
        parts += ["", *_table(out / each.folder / f"{TABLE}findings.csv")]
        for name in files:
            if name.endswith(".png"):
                parts += ["", f"![{each.title}]({each.folder}/{name})"]
            elif name in tables and name != f"{TABLE}findings.csv":
                parts += ["", *_table(out / each.folder / name)]
        links = ", ".join(
            f"[{name}]({each.folder}/{name})"
            for name in files
            if not name.endswith(".png") and name not in tables
        )
        parts += ["", f"Files: {links}, `experiments/{package}/{each.folder}.py` ({each.runs})"]
    return "\n".join(parts) + "\n"


def _rows(path: Path) -> int:
    with path.open(newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def _table(path: Path) -> list[str]:
    """Return a table of a study in Markdown."""
    with path.open(newline="", encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    lines = [" | ".join(head), "|".join("---" for _ in head)]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return [f"| {line} |" if line[0] != "-" else f"|{line}|" for line in lines]
