"""The page to put beside the paper: every figure of the protocol, in its order, in few words, with its pictures."""

import re
from pathlib import Path

import pytest

from experiments.commands.reproduce import claim_id, experiments
from experiments.paper._gallery import Section, gallery, results
from experiments.paper._protocol import PROTOCOL

DOCS = Path(__file__).parent.parent.parent / "docs"
MOST_PROSE_LINES = 60


def prose(page: str) -> list[str]:
    """Lines that are read: no headings, tables, pictures, lists of files."""
    return [line for line in page.splitlines() if line and not line.startswith(("#", "|", "!", "Files:"))]


def test_every_experiment_has_its_place_in_the_protocol():
    assert [claim_id(path) for path in experiments()] == list(PROTOCOL.order)


def test_the_page_has_every_figure_in_order_in_few_words():
    page = (DOCS / "paper.md").read_text(encoding="utf-8")
    assert len(prose(page)) <= MOST_PROSE_LINES
    rows = re.findall(r"^\| (\w+) \|.*\*\*(?:partly |not )?reproduced\*\* \|", page, re.MULTILINE)
    assert rows == list(PROTOCOL.order)
    assert len(re.findall("^## ", page, re.MULTILINE)) == len(rows)
    pictures = re.findall(r"\]\((paper/[^)]+\.png)\)", page)
    assert {picture.split("/")[1] for picture in pictures} == {path.stem for path in experiments()}
    for name in pictures:
        assert (DOCS / name).exists()


def test_the_page_is_of_full_runs_and_says_every_verdict_of_the_table():
    page = (DOCS / "paper.md").read_text(encoding="utf-8")
    table = (DOCS / "paper" / "results.md").read_text(encoding="utf-8")
    for name in PROTOCOL.order:
        (outcome, runs) = re.findall(rf"^\| {name} \| ([a-z ]+) \| ([^|]+) \|", table, re.MULTILINE)[0]
        assert runs.startswith("full"), name
        assert re.search(rf"^\| {name} \|.*\| \*\*{outcome}\*\* \|", page, re.MULTILINE)


@pytest.mark.parametrize("name", ["fig6", "eq8", "disaggregation", "C5"])
def test_a_section_says_what_the_paper_reports_what_is_found_and_under_which_readings(name: str) -> None:
    verdict = {
        "outcome": "partly reproduced",
        "claim": "It peaks | somewhere.",
        "numbers": "3 of 4 [1, 2].",
        "found": "In short.",
        "runs": "full",
        "engines": ["vllm-0.24"],
        "files": ["a.png", "a.csv"],
        "readings": {"alpha 1": "reproduced", "alpha 10": "not reproduced"},
    }
    section = Section(name, "A title", "folder", verdict)
    page = gallery([section])
    assert f"| {name} | A title | **partly reproduced** |" in page
    assert f"| verdict for | {name} |" in page
    assert "| alpha 1 | yes |" in page
    assert "| alpha 10 | no |" in page
    assert ("**Beyond the paper:**" if name == "C5" else "**The paper:**") + " It peaks | somewhere." in page
    assert "**Partly reproduced:** In short." in page
    assert "![A title](folder/a.png)" in page
    assert "[a.csv](folder/a.csv)" in page
    assert "| It peaks \\| somewhere. | 3 of 4 [1, 2]. |" in results([section])
