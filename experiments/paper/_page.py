"""All verdicts and their figures as the document of a page."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.paper._gallery import Section
from simulator.report.html.document import FORMAT


def claims_document(sections: Sequence[Section], out: Path) -> dict[str, Any]:
    """Return the verdicts for JSON, with the PNG files that are in the experiments' folders."""
    return {
        "format": FORMAT,
        "kind": "claims",
        "title": "The paper, figure by figure",
        "common_facts": {"paper": "Wang et al., arXiv 2410.14257v2", "by": "redrawn by servesim reproduce"},
        "notes": [],
        "claims": [_claim(each, out) for each in sections],
    }


def _claim(section: Section, out: Path) -> dict[str, Any]:
    pictures = [out / section.folder / name for name in section.verdict["files"] if name.endswith(".png")]
    return {
        "id": section.folder,
        "name": section.name,
        "title": section.title,
        "heading": section.heading,
        "outcome": section.verdict["outcome"],
        "runs": section.runs,
        "claim": section.verdict["claim"],
        "found": section.found,
        "numbers": section.verdict["numbers"],
        "pictures": [_in_page(path) for path in pictures if path.exists()],
    }


def _in_page(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
