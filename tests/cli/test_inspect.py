"""``servesim inspect``: what it says of files, good and odd ones."""

import json
from pathlib import Path

import pytest

from simulator.cli import main as cli
from tests.commands import servesim
from tests.refusals import TRACE, folder, refusal

__all__ = ["folder"]  # the fixture, used by every test here

SAMPLES = Path(__file__).parent.parent / "data" / "formats"


def facts(capsys, *arguments):
    return json.loads(servesim(capsys, "inspect", *map(str, arguments), "--json"))


def test_a_shipped_trace_is_known_to_the_last_token(capsys):
    found = facts(capsys, "azure2023_code")
    assert (found["format"], found["requests"]) == ("servesim", 8819)
    assert found["arrivals"]["rate_rps"] == pytest.approx(2.57, abs=0.01)
    assert found["arrivals"]["gap_cv"] == pytest.approx(13, abs=0.5)
    assert found["prompt_tokens"]["total"] == 18_059_974
    assert (found["sessions"], found["shared_prompt_share"], found["refused_with"]) == (None, None, None)
    assert found["odd"] == ["nothing arrives for 217 s after 2,856 s (the mean gap is 0.39 s)"]


def test_an_unlimited_prefix_cache_finds_what_is_known_of_mooncake(capsys):
    found = facts(capsys, "mooncake_fast25_synthetic")
    assert found["shared_prompt_share"] == pytest.approx(0.651, abs=0.0005)
    assert found["odd"] == ["0.3% of requests are longer than 131,072 tokens, answer included"]
    assert "% of requests are longer than 8,000 tokens" in str(
        facts(capsys, "mooncake_fast25_synthetic", "--context", 8000)
    )


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("[!Ns]*")), ids=lambda path: path.name)
def test_every_sample_can_be_looked_at(capsys, path):
    found = facts(capsys, path)
    text = servesim(capsys, "inspect", str(path))
    assert f"{found['format']}, {found['requests']:,} requests" in text
    assert ("sessions: " in text) == (found["sessions"] is not None)
    assert ("shared: " in text) == (found["shared_prompt_share"] is not None)


def test_what_is_wrong_is_said_and_the_rest_is_counted(capsys):
    Path("t.csv").write_text(TRACE + "0,50,5\n9,60,0\n3,60,6\n2,60,6\n4,x,6\n")
    found = facts(capsys, "t.csv")
    assert found["requests"] == 3
    assert found["refused_with"] == "t.csv: line 6: prompt_tokens is 'x'; expected a number"
    assert sum(found["rows_left_out"].values()) == 2
    assert "out of order: 3 rows (workload.sort puts them in order)" in found["odd"], (
        "of all, also the bad ones"
    )
    text = servesim(capsys, "inspect", "t.csv")
    assert "a run refuses it: t.csv: line 6" in text
    assert "left out: 1 as output_tokens: expected a whole number of tokens >= 1 (first: line 3)" in text
    assert facts(capsys, "t.csv", "--skip-bad")["refused_with"] is None


def test_odd_stamps_late_starts_and_doubles_are_said(capsys):
    rows = [
        f'{{"id": {i % 9}, "arrival_s": {500 + i // 4}, "prompt_tokens": 9, "output_tokens": 2}}'
        for i in range(40)
    ]
    Path("t.jsonl").write_text("\n".join(rows))
    odd = facts(capsys, "t.jsonl")["odd"]
    assert odd == [
        "time stamps on whole 1 s, 77% of requests on that of the one before (workload.jitter spreads them)",
        "the first request arrives at 500 s (workload.start_s begins there)",
        "doubles: 31 rows have the id of one before",
    ]


def test_columns_and_format_are_taken(capsys):
    Path("t.csv").write_text("when;asked;got\n2026-01-01T00:00:00Z;5;6\n2026-01-01T00:00:04Z;7;8\n")
    found = facts(capsys, "t.csv", "--columns", "arrival=when:iso,prompt=asked,output=got")
    assert found["arrivals"]["span_s"] == 4.0
    assert "workload.columns says what other columns hold" in refusal(capsys, "inspect", "t.csv")
    assert refusal(capsys, "inspect", "t.csv", "--format", "mooncook").startswith(
        "workload.format: 'mooncook' found"
    )
    assert refusal(capsys, "inspect", "gone.csv").startswith("file: no file 'gone.csv'")


def test_a_picture_is_drawn(capsys):
    for name in ("azure2023.csv", "vidur_lengths.csv", "inference_simulator_rs.jsonl"):
        assert cli.main(["inspect", str(SAMPLES / name), "--plot", "p.png"]) == 0
        assert "picture: p.png" in capsys.readouterr().err
        assert Path("p.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_takes_the_same_keys(capsys):
    Path("t.csv").write_text("when,asked,got\n2026-01-01T00:00:00Z,5,6\n2026-01-01T00:00:04Z,7,0\n")
    keys = [
        "--set",
        "workload.trace=t.csv",
        "--set",
        "workload.columns=arrival=when:iso,prompt=asked,output=got",
    ]
    assert "t.csv: line 3: got is 0" in refusal(capsys, "run", *keys, "--no-plot").replace(
        "output_tokens", "got"
    )
    out = servesim(capsys, "run", *keys, "--set", "workload.skip_bad=true", "--no-plot")
    assert (
        "1 bad rows skipped: 1 as output_tokens: expected a whole number of tokens >= 1 (first: line 3)"
        in out
    )
