"""The app's server in this process, asked as the page asks it."""

import time

import pytest
from starlette.testclient import TestClient

from simulator.cli.report_page import saved_document, saved_rates
from simulator.cli.saved_runs import saved_runs, saved_studies
from simulator.ui.app import Saved, make_app

TOKEN = "a-token-of-the-tests"
SAVED = Saved(lambda folders: saved_document(folders, (), False), saved_rates, saved_runs, saved_studies)
SMALL = {"workload.limit": "40"}
LONG = {"workload.arrivals": "poisson", "workload.rate_rps": "30", "workload.requests": "20000",
        "workload.lengths": "chat_azure2023"}  # fmt: skip
ENDS = ("done", "failed", "cancelled")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("SERVESIM_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def client(**more):
    host = more.pop("host", "127.0.0.1:8400")
    return TestClient(make_app(TOKEN, SAVED, **more), f"http://{host}", headers={"x-servesim-token": TOKEN})


def until(asking, task, *states, seconds=60):
    ends = time.monotonic() + seconds
    while task["state"] not in states:
        assert time.monotonic() < ends, task
        time.sleep(0.02)
        task = asking.get(f"/api/tasks/{task['id']}").json()
    return task


def simulated(asking, values):
    answer = asking.post("/api/runs", json={"values": values})
    return until(asking, answer.json(), *ENDS) if "state" in answer.json() else answer.json()


def is_a_sentence(text):
    return isinstance(text, str) and text and "\n" not in text and "Traceback" not in text
