"""What commands are seldom asked for: schemas, drafters, pages of studies, another form, an odd terminal."""

import ctypes
import io
import json
import sys
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardware_profiles.drafter import list_drafters
from simulator.cli import main as cli
from simulator.cli import output, saved_runs, saving
from simulator.cli.report_page import report_of_study
from simulator.report.tables import Document, Table, TableColumn, Words
from simulator.scenario.schema import scenario_schema
from tests import run_kinds
from tests.commands import servesim
from tests.refusals import folder, refusal
from tests.unit.test_report_documents import SMOOTH, WAIT, sweep

__all__ = ["folder"]  # the fixture, used by tests here

IDLE = '''from simulator.policy import Scheduler
class Idle(Scheduler):
    """Never schedules anything."""
    def plan(self, step):
        pass
'''
ANSWER = {
    "rate": 3.0, "low": 2.5, "high": 3.5, "confidence": 0.95, "unit": "requests/s", "engine": "e", "target": "t",
    "metric": WAIT, "simulations": 4, "user_model": "chat", "notes": ["a note"],
}  # fmt: skip


def test_the_schema_of_a_scenario_is_that_of_its_keys(capsys):
    assert json.loads(servesim(capsys, "schema")) == scenario_schema()


def test_drafters_are_listed_with_what_they_cost(capsys):
    said = servesim(capsys, "list", "drafters")
    assert all(any(line.split()[1] == name for line in said.splitlines()) for name in list_drafters())
    assert "% of a step" in said
    assert " ms a draft" in said


def test_a_form_that_is_none_and_no_command(folder, capsys):
    assert refusal(capsys, "list", "gpus", "--format", "xml").startswith(
        "--format xml: expected one of plain,"
    )
    assert refusal(capsys, "--runs", "r") == "expected a command; see: servesim --help"


@pytest.mark.parametrize("command", ["compare", "run"])
def test_a_policy_that_stands_still_ends_a_comparison_and_a_band(command, folder, capsys):
    (folder / "idle.py").write_text(IDLE)
    given = ["--set", "workload.limit=5", "--no-plot"]
    if command == "compare":
        said = refusal(capsys, command, "--vary", "policy.scheduling=vllm_v1,./idle.py", *given, code=3)
        assert said.startswith("policy Idle never schedules ")
        assert said.endswith("; nothing was saved")
        return
    assert cli.main([command, "--band", "--set", "policy.scheduling=./idle.py", "--out", "o", *given]) == 3
    found = capsys.readouterr()
    assert "marked partial" in found.err
    assert "band" not in found.out  # of a run that did not come to its end nothing more is simulated


def test_a_replay_that_stands_still_says_so(folder, capsys):
    (folder / "idle.py").write_text(IDLE)
    rows = "arrival_s,prompt_tokens,output_tokens,first_token_s,last_token_s\n0,50,5,0.1,0.2\n"
    (folder / "real.csv").write_text(rows)
    said = refusal(capsys, "replay", "real.csv", "--set", "policy.scheduling=./idle.py", "--out", "o", code=3)
    assert said.startswith("policy Idle never schedules 1 request")


@pytest.fixture
def studies(tmp_path):
    """Folders of a sweep and of a search for a rate."""
    for name in ("sweep", "rate", "broken"):
        (tmp_path / name).mkdir()
    pq.write_table(sweep(), tmp_path / "sweep" / "sweep.parquet")
    found = pa.table({"rate": [4.0, 2.0], "requests": [10, 10], WAIT: [1.0, 0.1], SMOOTH: [1.0, 2.0]})
    pq.write_table(found, tmp_path / "rate" / "capacity.parquet")
    (tmp_path / "rate" / "answer.json").write_text(json.dumps(ANSWER))
    (tmp_path / "broken" / "sweep.parquet").write_text("no table")
    return tmp_path


def test_studies_have_pages(studies, capsys):
    for name, told in (("sweep", "vllm_v1"), ("rate", "3.000 requests/s")):
        servesim(capsys, "report", studies / name, "--out", studies / f"{name}.html")
        assert told in (studies / f"{name}.html").read_text("utf-8")
    assert "damaged; expected the table that servesim wrote" in refusal(
        capsys, "report", str(studies / "broken")
    )
    (studies / "rate" / "answer.json").write_text("{")
    assert "damaged; expected the JSON that servesim wrote" in refusal(
        capsys, "report", str(studies / "rate")
    )
    pq.write_table(pa.table({"a": [1]}), studies / "sweep" / "sweep.parquet")
    assert (
        refusal(capsys, "report", str(studies / "sweep"))
        == "sweep: no sweep; expected the columns of servesim sweep"
    )


def test_a_study_is_measured_by_nothing_else(studies, capsys):
    said = refusal(capsys, "report", str(studies / "sweep"), "--set", "user.alpha=3")
    assert said == f"--set user.alpha=3: {studies / 'sweep'} is no run; expected none with a sweep or a plan"


def test_runs_of_unlike_seeds_make_no_page(tmp_path, capsys):
    result = run_kinds.made("plain", "tokens")
    for name in ("one/seed-0", "two/seed-0", "two/seed-1"):
        result.save(tmp_path / name)
    said = refusal(capsys, "report", str(tmp_path / "one"), str(tmp_path / "two"))
    assert said == "report: some runs were repeated with more seeds than others; expected as many of each"


def test_a_study_s_page_is_written_where_it_is_asked_for(studies, capsys):
    report_of_study(studies / "sweep", None)
    assert capsys.readouterr().err == ""
    report_of_study(studies / "sweep", studies / "page.html")
    assert capsys.readouterr().err == f"report: {studies / 'page.html'}\n"
    assert "workload.rate_rps" in (studies / "page.html").read_text("utf-8")


def test_listed_are_runs_that_can_be_read_and_what_became_of_plans(tmp_path, capsys):
    run_kinds.made("plain", "summary").save(tmp_path / "a" / "run")
    for name, manifest in (("list", "[]"), ("other", '{"no": "scenario"}'), ("1/2/3/4/5/6/7/deep", "{}")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text(manifest)
        (tmp_path / name / "summary.json").write_text("{}")
    assert [path for path, _, _ in saved_runs.saved_runs(tmp_path)] == [tmp_path / "a" / "run"]
    (tmp_path / "plan").mkdir()
    (tmp_path / "plan" / "plan.json").write_text('{"plan": null}')
    assert saved_runs._of_plan(tmp_path / "plan") == "nothing can be simulated"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_tables_are_as_wide_as_that(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    table = Table(
        [TableColumn("name", left=True), TableColumn("why", left=True, wraps=True)], [["a", "word " * 20]]
    )
    output.say(Document([table, Words(["a\x1b[31m line"])]))
    said = sys.stdout.getvalue()
    assert "\\x1b[31m line" in said  # what a file says cannot steer the terminal
    assert "\x1b[" in said  # headings are bold
    widths = [len(line) for line in Document([table]).render("plain").splitlines()]
    assert max(widths) > 40


def test_streams_that_were_closed_are_there_again(monkeypatch):
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    output.ready_streams()
    opened = [getattr(sys, name) for name in ("stdin", "stdout", "stderr")]
    assert sys.stdin.read() == ""
    assert sys.stdout.write("nowhere") == 7
    for each in opened:
        each.close()


def test_a_remark_is_not_made_in_quiet(capsys):
    with output.speaking(True, "plain"):
        output.remark("hello")
    assert capsys.readouterr().err == ""
    output.remark("hello")
    assert capsys.readouterr().err == "hello\n"


def test_a_run_goes_on_with_a_c_library_that_keeps_no_memory(monkeypatch):
    asked = []
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(
        ctypes, "CDLL", lambda name: SimpleNamespace(mallopt=lambda *given: asked.append(given))
    )
    saving.keep_freed_memory()
    assert asked == [(saving.M_MMAP_THRESHOLD, 4 << 20), (saving.M_TRIM_THRESHOLD, 64 << 20)]
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    saving.keep_freed_memory()
