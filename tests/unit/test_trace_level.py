"""Levels of keeping a run: the same numbers at every level, and one sentence for what was not kept."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from simulator import Result, Scenario, run
from simulator.cli.main import main
from simulator.errors import InputError
from simulator.metrics import Slo, UserModel, _segments
from simulator.report.plots import overview
from simulator.results import result, tokens
from simulator.results.arrow import write_pieces
from simulator.results.trace_level import LEVELS, kept_tables
from tests.saved_faults import unseal

FILES = {"tokens": 3, "steps": 2, "requests": 1, "summary": 0}
BUSY = {
    "name": "busy",
    "workload": {"arrivals": "poisson", "rate_rps": 40.0, "requests": 60, "lengths": "chat_azure2023"},
    "cluster": {"replicas": 2},
    "slo": {"ttft_s": 0.05, "tail_tbt_s": 0.02},
    "user": {"v_s_per_token": 0.02},
}


@pytest.fixture(params=["whole", "parts"])
def memory(request, monkeypatch):
    """All tokens kept, or none, unfolded and read a few at a time."""
    if request.param == "parts":
        for file in (tokens, result):
            monkeypatch.setattr(file, "KEPT_TOKENS", -1)
        monkeypatch.setattr(_segments, "PART", 700)
    return request.param


def at(level, **more):
    return run(Scenario(**(BUSY | more), run={"trace_level": level, "trim_warmup": 0.1}))


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"policy": {"delivery": {"name": "jitter"}}},
        {"cluster": {"prefill": {"replicas": 1}, "decode": {"replicas": 1}}},
        {"cluster": {"replicas": 2, "faults": {"mtbf_s": 2.0, "repair_s": 0.5}}},
    ],
    ids=["plain", "jitter", "disaggregated", "faults"],
)
def test_all_levels_measure_the_same_and_are_saved_and_shown_as_measured(memory, more, tmp_path):
    summaries, shown = [], []
    for level in LEVELS:
        made = at(level, **more)
        made.save(tmp_path / level)
        if not more and level in ("requests", "summary"):
            overview(made, tmp_path / level / "overview.png")
        summaries.append(made.summary())
        again = Result.load(tmp_path / level)
        assert again.manifest["trace_level"] == again.trace_level == level
        work = ["work"] if level in ("tokens", "steps") else []
        assert {path.name for path in (tmp_path / level).glob("*.parquet")} - {"transfers.parquet"} == {
            f"{name}.parquet" for name in (*kept_tables(level), *work)
        }
        if level != "summary":
            with_other_weights = again.summary(UserModel(v_s_per_token=0.02, alpha=3.0), Slo(ttft_s=1.0))
            shown.append(with_other_weights)
        assert again.summary() == summaries[-1]
    for each in summaries[1:]:
        assert each == summaries[0]
    for each in shown[1:]:
        assert each == shown[0]
    assert shown[0]["slo"] != summaries[0]["slo"]
    exact = summaries[0]["latency"]["tbt_s"].get("exact", True)
    assert exact == (memory == "whole")
    for level in () if more else ("requests", "summary"):
        assert (tmp_path / level / "overview.png").stat().st_size > 50_000


@pytest.mark.parametrize("delivery", ["immediate", "jitter", "paced"])
def test_tokens_written_in_parts_are_the_tokens(monkeypatch, tmp_path, delivery):
    more = {"policy": {"delivery": {"name": delivery}}}
    whole = at("tokens", **more)
    whole.save(tmp_path / "whole")
    for file in (tokens, result):
        monkeypatch.setattr(file, "KEPT_TOKENS", -1)
    monkeypatch.setattr(_segments, "PART", 300)
    monkeypatch.setattr("simulator.results.arrow.ROW_GROUP", 1000)
    parts = at("tokens", **more)
    parts.save(tmp_path / "parts")
    written = [pq.ParquetFile(tmp_path / name / "tokens.parquet") for name in ("whole", "parts")]
    assert written[0].num_row_groups == 1
    assert written[1].num_row_groups > 3
    one, two = (each.read().combine_chunks() for each in written)
    assert one.equals(two)
    assert one.equals(whole.tokens())
    assert one.equals(parts.tokens())
    for name in ("requests", "steps"):
        assert getattr(whole, name)().equals(getattr(parts, name)())


def test_tokens_in_any_row_groups_are_read_part_by_part(monkeypatch, tmp_path):
    at("tokens").save(tmp_path / "o")
    exact = Result.load(tmp_path / "o")
    unseal(tmp_path / "o")
    path = tmp_path / "o" / "tokens.parquet"
    pq.write_table(exact.tokens(), path, row_group_size=97)
    monkeypatch.setattr(result, "KEPT_TOKENS", -1)
    monkeypatch.setattr(_segments, "PART", 300)
    parts = Result.load(tmp_path / "o")
    user = UserModel(v_s_per_token=0.05)
    one, two = exact.summary(user), parts.summary(user)
    assert two["latency"]["tbt_s"]["relative_error"] < 0.001
    for family in ("qoe", "fluidity", "idle_latency", "smooth_goodput", "throughput", "engine"):
        assert one[family] == two[family]
    assert parts.tokens().equals(exact.tokens())
    parts.save(tmp_path / "again")
    assert pq.read_table(tmp_path / "again" / "tokens.parquet").equals(exact.tokens())


@pytest.mark.parametrize("level", LEVELS)
def test_tables_above_the_level_are_refused(level, tmp_path):
    made = at(level)
    made.save(tmp_path / "o")
    for each in (made, Result.load(tmp_path / "o")):
        for table in kept_tables("tokens"):
            if table in kept_tables(level):
                assert len(getattr(each, table)())
            else:
                sentence = (
                    f"no {table} in this result, whose run.trace_level is '{level}'; expected '{table}'"
                )
                with pytest.raises(InputError, match=sentence):
                    getattr(each, table)()


def test_requests_below_tokens_have_what_was_made_of_their_tokens(tmp_path):
    requests = at("requests").requests()
    measured = {"log.tbt_p99_s", "reader.largest_lateness_s", "qoe.qoe", "fluidity.fluidity_index"}
    assert measured <= set(requests.column_names)
    assert not measured & set(at("tokens").requests().column_names)
    assert np.isfinite(requests["qoe.qoe"].to_numpy()).all()


def servesim(*arguments):
    return main([str(each) for each in arguments])


def test_the_command_takes_a_level_and_shows_what_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_it = ("run", "--no-plot", "--set", "workload.limit=30")
    printed = {}
    for level in LEVELS:
        assert servesim(*run_it, "--trace-level", level, "--out", level) == 0
        printed[level] = capsys.readouterr().out
        assert servesim("show", level) == 0
        assert capsys.readouterr().out == printed[level] == printed["tokens"]
    assert servesim("show", "requests", "--set", "slo.ttft_s=0.5", "--set", "user.alpha=2") == 0
    assert servesim("show", "tokens", "--set", "slo.ttft_s=0.5", "--set", "user.alpha=2") == 0
    below, above = capsys.readouterr().out.split("azure2023-conv, seed 0")[1:]
    assert below == above
    for level, option, sentence in (
        (
            "steps",
            "user.v_s_per_token=0.2",
            "the tokens of this run were not kept (run.trace_level = 'steps')",
        ),
        (
            "requests",
            "user.origin=first_token",
            "expected those of the run, or a run with trace_level = 'tokens'",
        ),
        ("summary", "slo.ttft_s=0.5", "only the summary of this run was kept"),
    ):
        assert servesim("show", level, "--set", option) == 2
        err = capsys.readouterr().err
        assert sentence in err
        assert err.count("\n") == 1
    assert servesim(*run_it, "--trace-level", "everything") == 2
    assert (
        "run.trace_level: expected one of 'tokens', 'steps', 'requests' or 'summary'"
        in capsys.readouterr().err
    )


def test_a_lower_level_leaves_no_tables_of_an_earlier_run_behind(tmp_path):
    at("tokens").save(tmp_path / "o")
    low = at("summary")
    low.save(tmp_path / "o", overwrite=True)
    assert not list((tmp_path / "o").glob("*.parquet"))
    assert Result.load(tmp_path / "o").summary() == low.summary()


@pytest.mark.parametrize("missing", ["manifest.json", "summary.json"])
def test_a_damaged_summary_is_named(tmp_path, missing):
    at("summary").save(tmp_path / "o")
    (tmp_path / "o" / missing).unlink()
    with pytest.raises(InputError, match=r"not found; expected the folder of a saved result"):
        Result.load(tmp_path / "o")


@pytest.mark.parametrize("key", ["steps", "pooled"])
def test_a_manifest_without_what_its_level_keeps_is_named(tmp_path, key):
    at("requests").save(tmp_path / "o")
    path = tmp_path / "o" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({name: value for name, value in manifest.items() if name != key}))
    with pytest.raises(InputError, match=f"manifest.json: expected .*{key}"):
        Result.load(tmp_path / "o")


def test_a_disk_that_refuses_the_tokens_is_told_of(tmp_path):
    (tmp_path / "o" / "tokens.parquet").mkdir(parents=True)
    with pytest.raises(OSError, match="tokens"):
        at("tokens").save(tmp_path / "o", overwrite=True)


def test_writing_stops_when_told(tmp_path):
    from threading import Event

    stop = Event()

    def pieces():
        yield {"x": np.arange(3)}
        stop.set()
        yield {"x": np.arange(4)}

    write_pieces(tmp_path / "x.parquet", pieces(), stop)
    assert pq.read_table(tmp_path / "x.parquet").num_rows in (0, 3)
    stop.clear()
    write_pieces(tmp_path / "y.parquet", iter([{"x": np.arange(3)}, {"x": np.arange(4)}]), stop)
    assert pq.read_table(tmp_path / "y.parquet")["x"].to_pylist() == [0, 1, 2, 0, 1, 2, 3]
    assert isinstance(pq.read_table(Path(tmp_path / "y.parquet")), pa.Table)
