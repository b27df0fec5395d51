"""The page to put beside the paper, and the table of all numbers: made from the verdicts."""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

WIDTH = 118
HOW_TESTED = (
    "corrected for the number of its comparisons (Holm); intervals are 95 % over seeds, each for itself."
)
SIGNS = {"reproduced": "yes", "partly reproduced": "partly", "not reproduced": "no"}


class Section(NamedTuple):
    """One figure or claim."""

    name: str  # as the protocol has it
    title: str
    folder: str
    verdict: dict[str, Any]

    @property
    def heading(self) -> str:
        """Its name as in a text, and its title."""
        name = f"Fig. {self.name[3:]}" if self.name.startswith("fig") else self.name
        name = f"Eq. {self.name[2:]}" if self.name.startswith("eq") else name
        return f"{name[0].upper()}{name[1:]}. {self.title}"

    @property
    def runs(self) -> str:
        """Whether the runs were full, and on which engine."""
        return ", ".join([self.verdict["runs"], *self.verdict.get("engines", [])])

    @property
    def found(self) -> str:
        """What we find, in short."""
        return str(self.verdict.get("found") or self.verdict["numbers"])


def results(sections: Sequence[Section]) -> str:
    """Return the table of everything that was measured for the verdicts."""
    lines = [
        "# The paper's figures and claims, tested\n",
        *wrapped(
            "Wang et al., arXiv 2410.14257. Each verdict is computed by the test that its file in"
            f" `experiments/paper/` states, {HOW_TESTED} What cannot fail is checked, and said to be. Figures:"
            " [paper.md](paper.md)."
        ),
        "",
        "| figure or claim | verdict | runs | what is claimed | what was measured |",
        "|---|---|---|---|---|",
    ]
    for each in sections:
        cells = (each.verdict["outcome"], each.runs, each.verdict["claim"], each.verdict["numbers"])
        lines.append(f"| {each.name} | " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines) + "\n"


def gallery(sections: Sequence[Section]) -> str:
    """Return the page with all figures: what the paper reports, what we find, and whether they agree."""
    parts = [
        "# The paper, figure by figure\n",
        *wrapped(
            "Wang et al., arXiv 2410.14257v2, redrawn by `servesim reproduce all`: its servers, traffic and user (one"
            " token each 0.2 s, alpha = 2.5, deadlines from the request on), as far as they are known. What is fixed"
            " before the runs: `experiments/paper/protocol.toml`; each verdict's test: its file; all numbers:"
            " [results.md](results.md)."
        ),
        "",
        *_overview(sections),
    ]
    for each in sections:
        parts += ["", f"## {each.heading}", ""]
        source = "Beyond the paper" if each.name.startswith("C") else "The paper"
        parts += wrapped(f"**{source}:** {each.verdict['claim']}")
        parts += ["", *wrapped(f"**{each.verdict['outcome'].capitalize()}:** {each.found}")]
        for file in each.verdict["files"]:
            if file.endswith(".png"):
                parts += ["", f"![{each.title}]({each.folder}/{file})"]
        rest = [name for name in each.verdict["files"] if not name.endswith(".png")]
        links = ", ".join(f"[{name}]({each.folder}/{name})" for name in rest)
        parts += ["", f"Files: {links}, `experiments/paper/{each.folder}.py` ({each.runs})"]
    return "\n".join(parts) + "\n"


def _overview(sections: Sequence[Section]) -> list[str]:
    """Return the table of verdicts, and that of verdicts under every reading in which they were tried."""
    lines = ["| figure | what is shown | verdict |", "|---|---|---|"]
    lines += [f"| {each.name} | {_cell(each.title)} | **{each.verdict['outcome']}** |" for each in sections]
    tried = [each for each in sections if each.verdict.get("readings")]
    titles = dict.fromkeys(title for each in tried for title in each.verdict["readings"])
    if titles:
        names = " | ".join(each.name for each in tried)
        lines += ["", f"| verdict for | {names} |", "|---|" + "---|" * len(tried)]
        for title in titles:
            cells = [SIGNS.get(each.verdict["readings"].get(title, ""), "") for each in tried]
            lines.append(f"| {_cell(title)} | {' | '.join(cells)} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def wrapped(text: str) -> list[str]:
    """Return a paragraph's lines."""
    return textwrap.wrap(text, WIDTH, break_long_words=False, break_on_hyphens=False)
