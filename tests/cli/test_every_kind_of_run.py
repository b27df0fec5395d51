"""Each command that reads a saved run reads every kind of run."""

import json
import shutil

import pytest

from simulator.cli.main import main
from tests import run_kinds

FORMATS = "vllm_bench", "perfetto"


@pytest.fixture(scope="module", params=run_kinds.KINDS)
def folder(request, tmp_path_factory):
    """A saved run of a kind."""
    folder = tmp_path_factory.mktemp("kind") / "run"
    run_kinds.made(request.param, "tokens").save(folder)
    return folder


def said(capsys, *words):
    assert main(list(map(str, words))) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_it_is_shown_and_explained(folder, capsys):
    of_all, printed = json.loads(said(capsys, "show", folder, "--json")), said(capsys, "show", folder)
    assert "Latency" in printed
    assert of_all["states"]["arrived"] > 0
    for name in of_all.get("pools", of_all.get("classes", {})):
        assert name in printed
    assert "request" in said(capsys, "explain", folder)
    assert said(capsys, "verify", folder)


def test_its_page_is_written(folder, tmp_path, capsys):
    page = tmp_path / "report.html"
    said(capsys, "report", folder, "--out", page)
    assert page.read_text(encoding="utf-8").rstrip().endswith("</html>")


def test_it_is_compared_with_another(folder, tmp_path, capsys):
    shutil.copytree(folder, tmp_path / "other")
    assert "smooth goodput" in said(capsys, "compare", folder, tmp_path / "other")


@pytest.mark.parametrize("to", FORMATS)
def test_it_is_exported(folder, to, tmp_path, capsys):
    said(capsys, "export", folder, "--to", to, "--out", tmp_path / "other")
    assert (tmp_path / "other").exists()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The folder of a plain run."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    run_kinds.made("plain", "tokens").save(folder)
    return folder


@pytest.mark.parametrize(
    ("to", "options"),
    [("vllm_bench", ()), ("aiperf", ()), ("guidellm", ("--even",))],
    ids=lambda each: str(each),
)
def test_what_another_tool_measured_is_read_as_runs_are(plain, to, options, tmp_path, capsys):
    said(capsys, "export", plain, "--to", to, "--out", tmp_path / "file")
    said(capsys, "score", tmp_path / "file", *options, "--out", tmp_path / "scored")
    for command in ("show", "explain", "verify"):
        assert said(capsys, command, tmp_path / "scored")
    said(capsys, "compare", tmp_path / "scored", plain)
    if not options:
        said(capsys, "export", tmp_path / "scored", "--to", "prometheus", "--out", tmp_path / "other")
    page = tmp_path / "report.html"
    said(capsys, "report", tmp_path / "scored", plain, "--out", page)
    assert "a real server, measured by" in page.read_text(encoding="utf-8")


def test_a_replay_is_compared_whenever_its_clock_began(plain, tmp_path, capsys):
    said(capsys, "export", plain, "--to", "vllm_bench", "--out", tmp_path / "bench.json")
    bench = json.loads((tmp_path / "bench.json").read_text("utf-8"))
    bench["start_times"] = [each + 123_456.5 for each in bench["start_times"]]
    (tmp_path / "bench.json").write_text(json.dumps(bench), "utf-8")
    said(capsys, "replay", tmp_path / "bench.json", "--out", tmp_path / "both")
    assert "smooth goodput" in said(capsys, "compare", tmp_path / "both/real", tmp_path / "both/simulated")


def test_a_page_without_times_of_tokens_says_so(tmp_path, capsys):
    run_kinds.made("plain", "requests").save(tmp_path / "run")
    said(capsys, "report", tmp_path / "run", "--out", tmp_path / "report.html")
    assert "expected a run with trace_level = 'tokens'" in (tmp_path / "report.html").read_text("utf-8")
