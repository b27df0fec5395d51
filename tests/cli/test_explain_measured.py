"""Why a request of a real server took long, as far as its client saw."""

import json
import re
from pathlib import Path

import pytest

from simulator import Result
from tests.commands import servesim
from tests.refusals import folder, refusal  # noqa: F401

# Request 1 is sent while request 0 gets tokens, and has its longest gap before its third token; request 2 fails.
BENCH = {
    "input_lens": [10, 20, 30],
    "output_lens": [4, 4, 0],
    "ttfts": [0.5, 1.0, 0.0],
    "itls": [[0.5, 0.5, 0.5], [0.25, 2.0, 0.25], []],
    "start_times": [0.0, 1.25, 1.5],
}


@pytest.fixture
def scored(capsys, folder):  # noqa: F811
    Path("bench.json").write_text(json.dumps(BENCH))
    servesim(capsys, "score", "bench.json", "--out", "scored", "--no-plot")


def test_times_add_up_and_say_what_was_in_flight(capsys, scored):
    first, *told = servesim(capsys, "explain", "scored", "1").splitlines()
    assert (
        first
        == "request 1: 20 prompt tokens, 4 answer tokens, completed, 3.500 s from its arrival at 1.250 s"
    )
    assert "1.000 s  until its first token; 1 request in flight before it, 1 getting tokens" in told[0]
    assert "2.500 s  for the 3 tokens after it, at most 2.000 s between two, before token 3" in told[1]
    lasts_s = [float(re.match(r" +([\d.]+) s  ", line).group(1)) for line in told[:2]]
    assert sum(lasts_s) == 3.5
    idle_s = Result.load("scored").summary()["idle_latency"]["idle_latency_s"]["max"]
    assert told[2].startswith(f"  its reader waits {idle_s:.3f} s in all: ")
    assert len(told) == 3


def test_a_request_without_a_token_and_the_slowest(capsys, scored):
    assert servesim(capsys, "explain", "scored", "2").splitlines() == [
        "request 2: 30 prompt tokens, 0 answer tokens, failed, 0 s from its arrival at 1.500 s",
        "          0 s  without a token; 2 requests in flight before it, 1 getting tokens",
    ]
    told = servesim(capsys, "explain", "scored", "--slowest", "2")
    assert re.findall("^request (.)", told, re.M) == ["1", "0"]
    assert "no request 3; expected a number from 0 to 2" in refusal(capsys, "explain", "scored", "3")


def test_where_only_first_and_last_tokens_have_times_no_gap_is_said(capsys, folder):  # noqa: F811
    Path("a.csv").write_text("arrival_s,first_token_s,last_token_s,output_tokens\n0,1,3,5\n")
    servesim(capsys, "score", "a.csv", "--out", "scored", "--no-plot")
    assert servesim(capsys, "explain", "scored").splitlines() == [
        "request 0: 5 answer tokens, completed, 3.000 s from its arrival at 0 s",
        "      1.000 s  until its first token; 0 requests in flight before it, 0 getting tokens",
        "      2.000 s  for the 4 tokens after it",
    ]


def test_the_same_as_json(capsys, scored):
    (found,) = json.loads(servesim(capsys, "explain", "scored", "1", "--json"))
    assert found["request"] == 1
    assert found["said"] == servesim(capsys, "explain", "scored", "1").splitlines()
    assert found["phases"] == []  # of a real server its steps are not known
