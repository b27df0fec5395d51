"""Every table of every command, at 60, 80 and 120 columns: no line too long, no word broken, nothing lost unsaid.

What is printed is kept in tests/data/tables/, a file a command with all three widths, to be looked at. After a change
that is meant, this writes them anew, and git shows what has changed:

    SERVESIM_RENEW=1 .venv/bin/pytest tests/cli/test_tables_fit.py
"""

import os
import re
from pathlib import Path

import pytest

from experiments.validation.bars import BARS
from experiments.validation.report import bars_text, rows_text, summary_text
from experiments.validation.scores import judge
from experiments.validation.sets import open_loops
from simulator.cli import main as cli
from simulator.report.tables import Document, Table
from tests.result_files import path_of

WIDTHS = (60, 80, 120)
SMALL = ["--set", "workload.limit=40", "--set", "cluster.replicas=1", "--no-plot"]
RANDOM = [
    "--set", "workload.arrivals=poisson", "--set", "workload.rate_rps=20", "--set", "workload.requests=100",
    "--set", "workload.prompt_tokens=200", "--set", "workload.output_tokens=20", "--set", "cluster.replicas=1",
]  # fmt: skip
STUDY = """
replications = 2
target = ["latency.ttft_s.p99 <= 0.01", "token_slo.attainment >= 0.1"]
[set]
"workload.arrivals" = "poisson"
"workload.requests" = 30
"workload.prompt_tokens" = 200
"workload.output_tokens" = 20
[axes]
"policy.scheduling" = ["vllm_v1", "sarathi"]
"workload.rate_rps" = [20.0, 40.0]
"""
PLAN = """
target = ["latency.ttft_s.p99 <= 2.0", "token_slo.attainment >= 0.1"]
[set]
"workload.limit" = 40
[space]
gpus = ["l4", "a100-80gb-sxm"]
tensor_parallel = [1]
shapes = ["colocated"]
replicas = [1, 2]
settings = {}
"""
ODD_TRACE = "arrival_s,prompt_tokens,output_tokens\n" + "".join(
    f"{i + 600 * (i > 150)},{100 + 7 * i},{i % 40}\n" for i in range(200)
)
PAIR = "policy.scheduling=vllm_v1,sarathi"
FOUR = "policy.scheduling=vllm_v1,sarathi,smooth,orca"
SIX = f"{FOUR},edf,static"
FIVE_SETTINGS = ["--within", "0.3", "--most-simulations", "60", "--jobs", "1"]

COMMANDS = {
    "run": ["run", *SMALL, "--set", "slo.ttft_s=0.1", "--out", "a"],
    "run of a disaggregated cluster": [
        "run", *SMALL, "--set", "cluster.prefill.replicas=1", "--set", "cluster.decode.replicas=1", "--out", "b",
    ],
    "show": ["show", "a"],
    "explain": ["explain", "a"],
    "compare two": ["compare", "--vary", PAIR, *SMALL],
    "compare four": ["compare", "--vary", FOUR, *SMALL],
    "compare six": ["compare", "--vary", SIX, *SMALL],
    "compare over seeds": ["compare", "--vary", PAIR, "--seeds", "3", *RANDOM],
    "sweep": ["sweep", "study.toml", "--out", "s", "--jobs", "1"],
    "capacity": ["capacity", *RANDOM, "--target", "ttft_p99<=0.1", "--out", "c", *FIVE_SETTINGS],
    "plan": ["plan", "plan.toml", "--out", "p", "--jobs", "1"],
    "score": ["score", "vllm_bench.json", "--out", "r"],
    "replay": ["replay", "vllm_bench.json", "--no-plot"],
    "inspect": ["inspect", "odd.csv"],
    "list runs": ["list", "runs", "."],
    **{f"list {topic}": ["list", topic] for topic in ("policies", "engines", "gpus", "models", "links", "workloads")},
    "profile list": ["profile", "list"],
    "profile show": ["profile", "show", "h100-80gb-sxm"],
}  # fmt: skip
SNAPSHOTS = Path(__file__).parent.parent / "data/tables"
RENEW = "SERVESIM_RENEW" in os.environ
LEFT_OUT = re.compile(r"left out at \d+ columns: (.*)")


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Return what each command prints, before it is made as wide as a terminal is."""
    found: dict[str, list[Document]] = {}
    render = Document.render
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("printed"))
        Path("study.toml").write_text(STUDY)
        Path("plan.toml").write_text(PLAN)
        Path("odd.csv").write_text(ODD_TRACE)
        path_of(".", "vllm_bench")
        for name, words in COMMANDS.items():
            printed = found.setdefault(name, [])
            patch.setattr(
                Document, "render", lambda self, *a, into=printed: into.append(self) or render(self, *a)
            )
            assert cli.main(words) == 0, name
    scores = list(open_loops(True))
    verdicts = [judge(bar, scores) for bar in BARS if bar.set_name == scores[0].set_name]
    found["validate"] = [rows_text("open-loop", scores), summary_text(scores), bars_text(verdicts)]
    return found


@pytest.mark.parametrize("name", [*COMMANDS, "validate"])
def test_what_is_printed_is_what_was_looked_at(documents, name):
    text = "".join(
        f"{f' {width} columns ':=^{width}}\n\n{document.render(width=width)}\n"
        for width in WIDTHS
        for document in documents[name]
    )
    path = SNAPSHOTS / f"{name.replace(' ', '_')}.txt"
    if RENEW:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text.splitlines() == path.read_text(encoding="utf-8").splitlines(), (
        "after a change that is meant: see above"
    )


def test_no_snapshot_is_left_over():
    assert {path.stem for path in SNAPSHOTS.iterdir()} == {
        each.replace(" ", "_") for each in [*COMMANDS, "validate"]
    }


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", [*COMMANDS, "validate"])
def test_no_line_is_too_long_and_no_word_is_broken(documents, name, width):
    for document in documents[name]:
        known = set(document.render().split())
        exact = {line for part in document.parts if getattr(part, "exact", False) for line in part.lines}
        for line in document.render(width=width).splitlines():
            if line in exact or LEFT_OUT.match(line):
                continue
            assert len(line) <= width or len(line.split()) == 1, line
            names = {f"({column.unit})" for table in document.tables for column in table.columns}
            names |= {word for each in names for word in each.split()}
            assert set(line.split()) <= known | names | {"at", "columns:"} | continued(document), line


def continued(document):
    """Words of notes on what was left out, which may go on in a second line."""
    return {
        word
        for table in document.tables
        for column in table.columns
        for word in f"{column.name},".split() + column.name.split()
    }


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", [*COMMANDS, "validate"])
def test_what_is_left_out_is_said_and_all_else_is_there(documents, name, width):
    for document in documents[name]:
        for table in document.tables:
            text = Document([table]).render(width=width)
            flat = " ".join(text.split())
            note = flat.partition(f"left out at {width} columns: ")[2].split(", ")
            for column in table.columns:
                shown = all(word in flat for word in column.name.split())
                assert shown or column.name in note, (column.name, text)
            for row in table.rows:
                for column, cell in zip(table.columns, row, strict=True):
                    if column.name not in note:
                        assert all(word in flat for word in str(cell).split())


def test_120_columns_hold_every_number_of_most_tables(documents):
    """Only tables of more than ten columns leave some out there."""
    for found in documents.values():
        for table in (table for document in found for table in document.tables):
            if "left out" in Document([table]).render(width=120):
                assert len(table.columns) >= 7, [column.name for column in table.columns]


@pytest.mark.parametrize("form", ["md", "latex", "csv", "json"])
@pytest.mark.parametrize("name", [*COMMANDS, "validate"])
def test_other_formats_hold_every_cell(documents, name, form):
    for document in documents[name]:
        text = document.render(form)
        for table in document.tables:
            assert isinstance(table, Table)
            first = str(table.rows[0][0]).strip()
            assert first.replace("_", "\\_") in text or first in text or form == "json"
