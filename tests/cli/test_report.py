"""``servesim report``: one file that needs nothing else, of runs, a sweep or a plan; refusals in one sentence."""

import json
import re

import pytest

from simulator.cli import main as cli
from simulator.report.html.page import in_script, library, scripts

SMALL = ("--set", "workload.limit=80", "--no-plot")
EVIL = "</script><script>alert(1)</script>\"'&<b>"


def call(*words):
    return cli.main([str(word) for word in words])


def document(path):
    text = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="document">(.*?)</script>', text, re.DOTALL)
    return json.loads(found[1])


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for policy in ("vllm_v1", "orca"):
        assert call("run", *SMALL, "--set", f"policy.scheduling={policy}", "--out", root / policy) == 0
    assert call("run", *SMALL, "--set", "workload.limit=50", "--out", root / "other") == 0
    assert call("run", *SMALL, "--trace-level", "requests", "--out", root / "requests") == 0
    assert call("run", *SMALL, "--trace-level", "summary", "--out", root / "summary") == 0
    return root


def test_the_page_of_a_run_is_one_file_that_asks_for_nothing(runs, capsys):
    assert call("report", runs / "vllm_v1") == 0
    path = runs / "vllm_v1" / "report.html"
    assert f"report: {path}" in capsys.readouterr().err
    text = path.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)\s*=\s*["\']', text[: text.index('id="library"')])
    assert "default-src 'none'" in text
    assert set(re.findall(r"https?://[\w./]+", scripts())) == set()
    assert text.index("charset") < 1000  # where browsers look for it
    notices = text[text.index("<!--") : text.index("-->")]
    assert all(
        each in notices for each in ("Apache ECharts", "Apache License", "Baidu", "Bostock", "Microsoft")
    )
    found = document(path)
    assert found["kind"] == "runs"
    assert [run["name"] for run in found["runs"]] == ["vllm_v1"]
    assert {"engine", "hardware", "model", "policy", "traffic", "rate", "reader", "seed"} == set(
        found["common_facts"]
    )
    assert len(found["runs"][0]["slowest"]) == 50
    assert all(row["why"] and row["explained"] for row in found["runs"][0]["slowest"])


def test_its_numbers_are_those_of_the_summary(runs):
    assert call("report", runs / "vllm_v1", runs / "orca", "--out", runs / "two.html") == 0
    found = document(runs / "two.html")
    for run, name in zip(found["runs"], ("vllm_v1", "orca"), strict=True):
        summary = json.loads((runs / name / "summary.json").read_text())
        assert run["values"]["latency.ttft_s.p99"] == summary["latency"]["ttft_s"]["p99"]
        assert run["counts"]["latency.ttft_s.p99"] == "80 requests with a first token"
    assert set(found["within_trace"]) == {"latency.ttft_s.mean", "latency.tpot_s.mean", "latency.e2e_s.mean"}
    mean, low, high = found["within_trace"]["latency.ttft_s.mean"][1]
    assert low <= mean <= high
    assert "policy" in found["runs"][1]["own_facts"]
    assert "policy" not in found["common_facts"]


def test_another_reader_and_a_page_that_is_there(runs, capsys):
    out = runs / "reader.html"
    assert call("report", runs / "orca", "--out", out, "--set", "user.preset=paper_v2") == 0
    assert document(out)["runs"][0]["readers"]["user"]["v_s"] == 0.2
    assert call("report", runs / "orca", "--out", out) == 2
    assert "exists; expected a new path, or --overwrite" in capsys.readouterr().err
    assert call("report", runs / "orca", "--out", out, "--overwrite") == 0


def test_runs_with_fewer_records_show_what_they_have(runs, capsys):
    assert call("report", runs / "requests", "--out", runs / "requests.html") == 0
    run = document(runs / "requests.html")["runs"][0]
    assert run["readers"] is None
    assert run["distributions"]["ttft"]["s"]
    assert "trace_level = 'tokens'" in run["slowest_note"]
    assert call("report", runs / "summary", "--out", runs / "summary.html") == 2
    assert "whose run.trace_level is 'summary'; expected 'requests' or above" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "does not exist; expected the folder of a saved run, a sweep or a plan"),
        (["file"], "is no folder"),
        (["empty"], "not found; expected the folder of a saved result"),
        (["vllm_v1", "other"], "other serves other traffic than vllm_v1"),
        (["vllm_v1", "--set", "policy.scheduling=orca"], "can be measured anew only in user.*"),
        (["vllm_v1", "--out", "."], "is a folder; expected the name of a file"),
        (["vllm_v1"] * 13, "13 runs; expected at most 12"),
    ],
)
def test_what_is_no_run_is_refused_in_a_sentence(runs, capsys, monkeypatch, words, said):
    monkeypatch.chdir(runs)
    (runs / "file").write_text("")
    (runs / "empty").mkdir(exist_ok=True)
    assert call("report", *words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_names_are_text_and_nothing_else(runs, tmp_path):
    folder = tmp_path / "<b onload=x>&amp;"
    assert (
        call(
            "run",
            *SMALL,
            "--set",
            f"name={json.dumps(EVIL)}",
            "--out",
            folder,
            "--report",
            tmp_path / "a.html",
        )
        == 0
    )
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "alert(1)</script>" not in text
    assert text.count("</script>") == 3
    assert document(tmp_path / "a.html")["runs"][0]["name"] == EVIL
    assert call("report", folder, "--out", tmp_path / "b.html") == 0
    assert "<title>&lt;b onload=x&gt;&amp;amp; · servesim</title>" in (tmp_path / "b.html").read_text(
        encoding="utf-8"
    )


def test_json_in_a_script_ends_no_element():
    assert "<" not in in_script({"a": EVIL, "b": "\u2028"})
    assert json.loads(in_script({"a": EVIL})) == {"a": EVIL}


def test_modules_are_joined_without_imports_and_the_library_is_small():
    joined = scripts()
    assert not re.search(r"^(import|export) ", joined, re.MULTILINE)
    declared = re.findall(r"^(?:async )?(?:function|const|let) (\w+)", joined, re.MULTILINE)
    assert sorted(declared) == sorted(set(declared))
    assert len(library()) < 300_000


def test_compare_writes_the_page_with_intervals_over_seeds(tmp_path, capsys):
    keys = ("workload.arrivals=poisson", "workload.rate_rps=9", "workload.requests=80", "cluster.replicas=1",
            "workload.lengths=chat_azure2023")  # fmt: skip
    sets = [word for key in keys for word in ("--set", key)]
    words = ("--vary", "policy.scheduling=vllm_v1,sarathi", "--seeds", "3", "--no-plot", *sets)
    assert call("compare", *words, "--out", tmp_path / "runs", "--report", tmp_path / "page.html") == 0
    found = document(tmp_path / "page.html")["over_seeds"]
    assert found["count"] == 3
    row = found["differences"]["latency.ttft_s.mean"][1]
    assert row["low"] <= row["mean"] <= row["high"]
    # The saved folders, a folder a seed in each, give the same.
    assert (
        call("report", tmp_path / "runs/vllm_v1", tmp_path / "runs/sarathi", "--out", tmp_path / "saved.html")
        == 0
    )
    assert document(tmp_path / "saved.html")["over_seeds"] == found
