"""The app's tabs beside Run: a dropped trace is simulated, a plan takes seeds, the paper's rates are drawn."""

import pytest

from simulator.results.result import Result
from simulator.ui.form import MOST_REQUESTS
from simulator.ui.paper import LOADS, paper_scenarios
from tests.app_clients import ENDS, LONG, SMALL, client, is_a_sentence, root, until

__all__ = ["root"]  # a fixture
ROWS = b"arrival_s,prompt_tokens,output_tokens\n" + b"".join(b"%d,%d,20\n" % (i, 100 + i) for i in range(30))


def test_a_dropped_trace_is_simulated_with_the_rest_of_the_form(root):
    with client() as asking:
        found = asking.post("/api/inspect", params={"name": "../my trace.csv"}, content=ROWS).json()
        asked = {"values": {"policy.scheduling": "orca"}, "file": found["file"]}
        task = until(asking, asking.post("/api/runs", json=asked).json(), *ENDS)
        assert (task["state"], task["done"], task["total"]) == ("done", 30, 30), task
        document = asking.get("/api/report", params={"run": task["run"]}).json()
    (run,) = document["runs"]
    assert run["policies"]["scheduling"] == "orca"
    log = Result.load(root / task["run"]).log
    assert log.prompt_tokens.tolist() == list(range(100, 130))
    assert log.arrival_s.tolist() == list(range(30))
    assert "/" not in document["runs"][0]["facts"].get("traffic", "") + task["run"]


def test_a_file_that_is_not_there_or_too_long_is_refused(root):
    many = b"arrival_s,prompt_tokens,output_tokens\n" + b"".join(
        b"%d,10,2\n" % i for i in range(MOST_REQUESTS + 1)
    )
    with client() as asking:
        for key in ("x", 3, ["a"], "../.."):
            answer = asking.post("/api/runs", json={"values": {}, "file": key}).json()
            assert is_a_sentence(answer["error"])
        assert (
            "file" not in asking.post("/api/inspect", params={"name": "x.csv"}, content=b"a,b\nx,y\n").json()
        )
        key = asking.post("/api/inspect", params={"name": "x.csv"}, content=many).json()["file"]
        task = until(asking, asking.post("/api/runs", json={"values": SMALL, "file": key}).json(), *ENDS)
        assert task["state"] == "done"  # the first 20,000
        assert task["total"] == MOST_REQUESTS


def test_a_plan_takes_seeds_and_is_tried_with_other_traffic(root):
    values = LONG | {"workload.requests": "60", "workload.rate_rps": "5"}
    asked = {"values": values, "target": "latency.ttft_s.p99 <= 5", "gpus": "h100-80gb-sxm", "replicas": 1}
    with client() as asking:
        task = asking.post("/api/plans", json=asked | {"seeds": 2, "checks": True}).json()
        task = until(asking, task, *ENDS)
        assert task["state"] == "done", task
        document = asking.get("/api/report", params={"run": task["run"]}).json()
        assert document["robustness"]
        for seeds in (0, 11, "2", True, 1.5):
            assert is_a_sentence(asking.post("/api/plans", json=asked | {"seeds": seeds}).json()["error"])


@pytest.mark.slow
def test_the_papers_rates_are_simulated_and_drawn_for_any_reader(root):
    with client() as asking:
        task = until(asking, asking.post("/api/paper", json={}).json(), *ENDS)
        assert task["state"] == "done", task
        document = asking.get("/api/report", params={"rates": "", "run": task["runs"]}).json()
    assert document["kind"] == "rates"
    assert len(document["runs"]) == len(paper_scenarios()) == 2 * len(LOADS)
    assert {run["server"] for run in document["runs"]} == {"whole prompts", "chunks of 512"}
    first = document["runs"][0]["readers"]["user"]
    assert (first["v_s"], first["alpha"], first["origin"]) == (0.2, 2.5, "arrival")
