"""The app's server: forms become results or one sentence, tasks end when asked, nothing is told without the token."""

import shlex
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from simulator.cli import main as cli
from simulator.cli.report_page import saved_document
from simulator.errors import InputError
from simulator.scenario.scenario import Scenario, default_scenario
from simulator.ui.app import MOST_BYTES, make_app
from simulator.ui.form import MOST_REQUESTS, fields
from simulator.ui.guard import check_host
from tests.app_clients import ENDS, LONG, SAVED, SMALL, TOKEN, client, is_a_sentence, root, simulated, until

__all__ = ["root"]  # a fixture


def test_a_run_is_simulated_shown_and_there_after_a_restart(root):
    with client() as asking:
        task = simulated(asking, SMALL | {"policy.scheduling": "orca"})
        assert (task["state"], task["done"], task["total"]) == ("done", 40, 40)
        before = asking.get("/api/report", params={"run": task["run"]}).json()
    with client() as again:
        (row,) = again.get("/api/runs").json()["runs"]
        assert (row["name"], row["kind"]) == (task["run"], "run")
        assert row["words"].startswith("orca")
        assert again.get("/api/report", params={"run": task["run"]}).json() == before
    assert before["runs"][0]["policies"]["scheduling"] == "orca"


def test_its_numbers_are_those_of_the_command_that_the_form_gives(root, tmp_path):
    values = SMALL | {"policy.scheduling": "sarathi", "user.alpha": "4"}
    with client() as asking:
        said = asking.post("/api/scenario", json={"values": values}).json()
        task = simulated(asking, values)
        ours = asking.get("/api/report", params={"run": task["run"]}).json()
    (tmp_path / "my.toml").write_text(said["toml"])
    words = shlex.split(said["command"])
    assert words[:2] == ["servesim", "run"]
    assert cli.main([*words[1:], "--no-plot", "--out", str(root / "command")]) == 0
    assert Scenario.from_toml(tmp_path / "my.toml") == default_scenario(words[3::2])
    theirs = saved_document([root / "command"], (), False)
    assert ours["runs"][0]["values"] == theirs["runs"][0]["values"]


def texts(field):
    """Mostly what the field is for: one of its choices, a number, a word."""
    odd = st.sampled_from(
        ["", "0", "-1", "1e400", "nan", "none", "true", "../x", "x.py", "[1]", "'", "\u2603"]
    )
    whole, share = st.integers(1, 50).map(str), st.floats(0.01, 0.99).map("{:.3g}".format)
    usual = st.sampled_from(field["choices"]) if field["choices"] else st.one_of(whole, share)
    return st.one_of(usual, usual, usual, odd, st.text(max_size=8))


def forms():
    known = {each["key"]: texts(each) for each in fields() if each["key"] != "workload.limit"}
    chosen = st.lists(st.sampled_from(sorted(known)), max_size=2, unique=True)
    values = chosen.flatmap(lambda keys: st.fixed_dictionaries({key: known[key] for key in keys}))
    return values.flatmap(
        lambda some: st.sampled_from([SMALL, LONG | {"workload.requests": "30"}]).map(
            lambda base: base | some
        )
    )


@pytest.mark.slow
def test_any_form_gives_a_result_or_one_sentence(root):
    states = []

    with client() as asking:

        @settings(
            max_examples=100,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            database=None,
        )
        @given(forms())
        def one(values):
            task = simulated(asking, values)
            if task.get("state") == "done":
                shown = asking.get("/api/report", params={"run": task["run"]})
                assert shown.status_code == 200 or is_a_sentence(shown.json()["error"]), values
            else:
                assert is_a_sentence(task["error"]), values
                assert "error in servesim" not in task["error"], values
            states.append(task.get("state", "refused"))

        one()
    assert len(states) >= 100
    assert min(states.count("done"), states.count("refused")) >= 20, states


@pytest.mark.parametrize(
    "values",
    [
        [], "x", None, {"no.key": "1"}, {"seed": 1}, {"seed": "x" * 300}, {"workload.trace": "/etc/passwd"},
        {"workload.trace": "../x"}, {"policy.scheduling": "mine.py"}, {"hardware.model": "org/name"},
        {"cluster.replicas": "many"}, LONG | {"workload.requests": str(MOST_REQUESTS + 1)},
    ],
)  # fmt: skip
def test_a_bad_form_is_refused_in_one_sentence(root, values):
    with client() as asking:
        for address in ("/api/runs", "/api/scenario", "/api/plans"):
            answer = asking.post(address, json={"values": values, "target": "x", "gpus": "", "replicas": 1})
            assert set(answer.json()) == {"error"}
            assert is_a_sentence(answer.json()["error"])
    assert not root.exists()


def test_a_name_that_looks_like_a_number_is_a_name(root):
    values = SMALL | {"name": "2026"}
    with client() as asking:
        task = simulated(asking, values)
        words = shlex.split(asking.post("/api/scenario", json={"values": values}).json()["command"])
    assert task["run"] == "2026-1"
    assert default_scenario(words[3::2]).name == "2026"


def test_a_trace_of_too_many_requests_is_refused_before_it_is_simulated(root, monkeypatch):
    monkeypatch.setattr("simulator.ui.form.MOST_REQUESTS", 100)
    with client() as asking:
        task = simulated(asking, {"workload.trace": "azure2023_conv"})
    assert "expected at most 100 in the app" in task["error"], task
    assert not root.exists()


def test_a_run_can_be_cancelled_and_leaves_nothing(root):
    with client() as asking:
        task = asking.post("/api/runs", json={"values": LONG}).json()
        until(asking, task, "running")
        assert asking.post(f"/api/tasks/{task['id']}/cancel").status_code == 200
        assert until(asking, task, *ENDS)["state"] == "cancelled"
        assert asking.get("/api/runs").json() == {"runs": []}


def test_two_clients_at_once_get_each_their_own(root):
    app = make_app(TOKEN, SAVED)
    address, headers = "http://localhost", {"x-servesim-token": TOKEN}
    with TestClient(app, address, headers=headers) as one:
        other = TestClient(app, address, headers=headers)
        asked = [
            (each, each.post("/api/runs", json={"values": SMALL | {"policy.scheduling": name}}).json())
            for each, name in ((one, "orca"), (other, "sarathi"), (one, "srpt"), (other, "vllm_v1"))
        ]
        tasks = [until(each, task, *ENDS) for each, task in asked]
    assert [task["state"] for task in tasks] == ["done"] * 4 or tasks[2]["error"], tasks
    found = [task["run"] for task in tasks if task["state"] == "done"]
    assert len(set(found)) == len(found) >= 3


def test_a_plan_is_found_and_kept(root):
    with client() as asking:
        given_plan = {
            "values": SMALL,
            "target": "latency.ttft_s.p99 <= 5",
            "gpus": "h100-80gb-sxm",
            "replicas": 2,
        }
        task = until(asking, asking.post("/api/plans", json=given_plan).json(), *ENDS)
        assert task["state"] == "done", task
        document = asking.get("/api/report", params={"run": task["run"]}).json()
        assert document["kind"] == "plan"
        bad = until(
            asking, asking.post("/api/plans", json=given_plan | {"target": "speed > 1"}).json(), *ENDS
        )
        assert is_a_sentence(bad["error"])


def test_a_plan_can_be_cancelled_and_leaves_nothing(root):
    with client() as asking:
        asked = {"values": LONG | {"workload.requests": "3000"}, "target": "token_slo.attainment >= 0.9",
                 "gpus": "h100-80gb-sxm, a100-80gb", "replicas": 8}  # fmt: skip
        task = until(asking, asking.post("/api/plans", json=asked).json(), "running")
        time.sleep(0.3)  # some simulations
        asking.post(f"/api/tasks/{task['id']}/cancel")
        assert until(asking, task, *ENDS)["state"] == "cancelled"
    assert list(root.iterdir()) == []


def test_a_dropped_file_is_inspected_whatever_its_name(root):
    rows = b"arrival_s,prompt_tokens,output_tokens\n0,100,20\n1,200,40\n"
    with client() as asking:
        for name in ("my.csv", "../../evil.csv", "/etc/a.csv"):
            said = asking.post("/api/inspect", params={"name": name}, content=rows).json()["text"]
            assert "2" in said
            assert ".." not in said
            assert "/etc" not in said
            assert "/tmp" not in said
        for content in (b"", b"\x00\xff" * 50, b"a,b\nx,y\n"):
            answer = asking.post("/api/inspect", params={"name": "x.csv"}, content=content)
            assert is_a_sentence(answer.json()["error"])
            assert "/tmp" not in answer.json()["error"]
        large = asking.post("/api/inspect", content=bytes(MOST_BYTES + 1))
        assert "at most" in large.json()["error"]
    assert not root.exists()


PLACES = (
    "/",
    "/api/runs",
    "/api/report?run=x",
    "/api/tasks/x",
    "/api/figures",
    "/api/figure?name=x",
    "/nothing",
)


@pytest.mark.parametrize("place", PLACES)
def test_without_the_token_or_under_another_name_nothing_is_told(root, place):
    app = make_app(TOKEN, SAVED)
    right = {"x-servesim-token": TOKEN}
    for host, headers in (
        ("127.0.0.1", {}), ("127.0.0.1", {"x-servesim-token": TOKEN[:-1]}), ("127.0.0.1", {"x-servesim-token": "\xe9"}),
        ("evil.example", right), ("127.0.0.1.evil.example", right), ("192.168.1.5", right),
        ("127.0.0.1", right | {"origin": "http://evil.example"}),
    ):  # fmt: skip
        coded = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = TestClient(app, f"http://{host}").get(place, headers=coded)
        assert answer.status_code == 403
        assert is_a_sentence(answer.text)


def test_a_host_that_others_reach_has_to_be_allowed():
    for host in ("0.0.0.0", "192.168.1.5", "example.com", "::"):
        with pytest.raises(InputError, match="--allow-remote"):
            check_host(host, False)
        check_host(host, True)
    for host in ("127.0.0.1", "::1", "localhost"):
        check_host(host, False)
    assert cli.main(["ui", "--host", "0.0.0.0"]) == 2
    with client(remote=True, host="192.168.1.5:8400") as asking:
        assert asking.get("/api/figures").status_code == 200
    with client(remote=True, host="evil.example") as asking:
        assert asking.get("/api/figures").status_code == 403


@pytest.mark.parametrize("name", ["../secret", "..", "/etc", "%2e%2e/secret", "a/../../secret", ""])
def test_names_are_no_paths(root, name):
    secret = root.parent / "secret"
    assert cli.main(["run", "--set", "workload.limit=20", "--no-plot", "--out", str(secret)]) == 0
    with client() as asking:
        for address, key in (("/api/report", "run"), ("/api/figure", "name")):
            answer = asking.get(address, params={key: name})
            assert answer.status_code == 404
            assert is_a_sentence(answer.json()["error"])
