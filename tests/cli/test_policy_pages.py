"""Every policy has its place in the documents, and the commands there run."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from simulator.scenario.discover import discover

DOCS = Path(__file__).parent.parent.parent / "docs"
KINDS = ("scheduling", "routing", "admission", "abandonment", "delivery", "migration", "roles", "scaling")


@pytest.mark.parametrize("kind", KINDS)
def test_every_policy_says_how_true_it_is_to_its_source_and_what_it_is_known_for(kind):
    rows = re.findall(r"^\| (`.*) \| (.*) \| (.*) \|$", (DOCS / "policies.md").read_text("utf-8"), re.M)
    said = {name: (true, known) for names, true, known in rows for name in re.findall("`(.*?)`", names)}
    for name in discover(kind):
        true, known = said[name]
        assert known
        assert name in ("none", "fixed", "immediate") or true.startswith(
            ("faithful", "simplified", "ours")
        ), name


def commands():
    for path in sorted(DOCS.glob("*.md")):
        text = re.sub(r" *\\\n +", " ", path.read_text("utf-8"))  # commands may go on in the next line
        for line in re.findall(r"^    (\.venv/bin/servesim run .*)$", text, re.M):
            yield pytest.param(line, id=f"{path.stem}-{line[-20:]}")


@pytest.mark.parametrize("line", list(commands()))
def test_commands_in_the_documents_are_scenarios(line, tmp_path, monkeypatch):
    from simulator.scenario.scenario import default_scenario
    from tests.cli.test_docs import FILES

    monkeypatch.chdir(tmp_path)
    for name, code in FILES.items():
        (tmp_path / name).write_text(code)
    words = shlex.split(line, comments=True)
    default_scenario([value for option, value in pairwise(words) if option == "--set"])
