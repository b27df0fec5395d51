"""``servesim observe`` as its users call it: what it leaves, what it refuses, and where its results go."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from simulator import Result, Scenario, run
from simulator.cli import interrupts
from tests.commands import servesim
from tests.refusals import folder, refusal  # noqa: F401
from tests.streaming_server import Behaviour, StreamingServer

ROOT = Path(__file__).parent.parent.parent
TRAFFIC = {"arrivals": "burst", "requests": 6, "prompt_tokens": 30, "output_tokens": 8}
ASK = [word for key, value in TRAFFIC.items() for word in ("--set", f"workload.{key}={value}")]
WHOLE = ("--set", "metrics.window=whole")
ASK += ["--set", "name=asked"]


def test_what_is_observed_goes_where_a_run_goes(capsys, folder):  # noqa: F811
    with StreamingServer() as server:
        out = servesim(capsys, "observe", server.url, *ASK, "--out", "real", "--no-plot")
    assert out.startswith(f"asked, a real server, {server.url}/v1/completions, by servesim observe\n")
    assert servesim(capsys, "show", "real") == out
    run(Scenario(workload=TRAFFIC)).save("simulated")
    compared = servesim(capsys, "compare", "real", "simulated", "--different-traffic")
    assert "a real server: real" in compared
    assert "6 simulated at the times" in servesim(capsys, "replay", "real", "--out", "r", "--no-plot")
    np.testing.assert_array_equal(Result.load("r/real").log.delivered_s, Result.load("real").log.delivered_s)
    (scored,) = json.loads(servesim(capsys, "score", "real", *WHOLE, "--json"))
    assert scored["summary"] == Result.load("real").summary()
    servesim(capsys, "export", "real", "--to", "vllm_bench", "--out", "bench.json")
    (scored,) = json.loads(servesim(capsys, "score", "bench.json", "--json"))
    assert scored["summary"]["latency"] == Result.load("real").summary()["latency"]
    assert "a real server" in servesim(capsys, "list", "runs", ".")
    assert "the folder of a simulation; expected that of a real server" in refusal(
        capsys, "score", "simulated"
    )


def test_a_picture_is_drawn_of_it(capsys, folder):  # noqa: F811
    with StreamingServer() as server:
        servesim(capsys, "observe", server.url, *ASK, "--num-requests", "3", "--json")
    (picture,) = Path("runs").glob("*/overview.png")
    assert len(Result.load(picture.parent).log.arrival_s) == 3


def test_what_is_wrong_is_one_sentence(capsys, folder, monkeypatch):  # noqa: F811
    gone = "http://127.0.0.1:9"
    for arguments, said in (
        ((gone,), f"{gone}/v1/completions: .*; expected a server of OpenAI's API"),
        ((gone, "--model", "m"), "a first short request did not complete: the connection failed"),
        (("localhost",), "localhost: expected the URL of a server"),
        ((gone, "--api", "soap"), "--api: expected completions or chat, got 'soap'"),
        ((gone, "--header", "X"), "--header: expected NAME: VALUE"),
        ((gone, "--extra-body", "7"), "--extra-body 7: expected a JSON object"),
        ((gone, "--api-key-env", "NO_KEY"), "the environment has no NO_KEY"),
        ((gone, "--scenario", "no.toml"), "no.toml: no such file"),
    ):
        assert re.search(said, refusal(capsys, "observe", *arguments))
    with StreamingServer(models=("a", "b")) as server:
        assert "serves a, b; expected one of them" in refusal(capsys, "observe", server.url, *ASK)
        assert servesim(capsys, "observe", server.url, *ASK, "--model", "b", "--out", "o", "--no-plot")
        assert "exists and is not empty" in refusal(capsys, "observe", server.url, *ASK, "--out", "o")
    monkeypatch.setitem(sys.modules, "httpx", None)
    assert "pip install 'servesim[observe]'" in refusal(capsys, "observe", gone)
    assert not Path("runs").exists() or not list(Path("runs").iterdir())


def test_a_key_is_sent_and_never_saved(capsys, folder, monkeypatch):  # noqa: F811
    monkeypatch.setenv("MY_KEY", "s3cret")
    with StreamingServer() as server:
        servesim(capsys, "observe", server.url, *ASK, "--api-key-env", "MY_KEY", "--header", "X-A: s3cret2",
                 "--out", "o", "--no-plot")  # fmt: skip
        assert {each.headers["authorization"] for each in server.requests} == {"Bearer s3cret"}
        assert {each.headers["x-a"] for each in server.requests} == {"s3cret2"}
    assert b"s3cret" not in b"".join(path.read_bytes() for path in Path("o").iterdir())


def test_ctrl_c_keeps_what_came(folder):  # noqa: F811
    with StreamingServer(choose=lambda n, body: Behaviour(gap_s=0.05)) as server:
        command = [sys.executable, "-m", "simulator.cli.main", "observe", server.url, *ASK, "--set",
                   "workload.output_tokens=2000", "--out", "o"]  # fmt: skip
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
        while not (server.recorded and server.recorded[-1].token_s) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == interrupts.INTERRUPTED, err
    assert "the records up to there are in o, marked partial" in err
    assert "Traceback" not in err
    assert "partial: the run was interrupted" in out
    result = Result.load("o")
    assert result.partial
    assert "unfinished" in result.requests()["state"].to_pylist()
    assert result.log.token_counts.sum() > 0
