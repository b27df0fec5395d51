"""Graphs of agents: a request comes when all that it waits for has been answered, and its think time is over."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import Scenario, run
from simulator.clock import Clock
from simulator.cluster.agent_graph import AgentGraph
from simulator.cluster.traffic import Traffic
from simulator.errors import InputError
from simulator.replica.request import Request, RequestState
from simulator.workload import Workload, WorkloadSpec, build
from simulator.workload.reader import Trace
from simulator.workload.survey import shared_share

CACHED = {"scheduling": {"name": "vllm_v1", "enable_prefix_caching": True}}


def turn(text, tokens=20, **more):
    return {"messages": [{"role": "user", "content": text}], "max_tokens": tokens, **more}


PLAN = [
    {"session_id": "writer", "turns": [turn("w" * 400, 50)]},
    {"session_id": "root", "pre_session_spawns": ["watch"], "turns": [
        turn("r" * 4000, 60, spawns=["a", {"children": ["b"], "join_at": 2}]),
        turn("s" * 40, 30, delay=250),
        turn("t" * 40, 10, forks=["writer"]),
    ]},
    {"session_id": "a", "turns": [turn("a" * 800, 200, delay=1000), turn("a" * 80, 40)]},
    {"session_id": "b", "turns": [turn("b" * 800, 400)]},
    {"session_id": "watch", "turns": [turn("x" * 80, 5)]},
]  # fmt: skip


def write(path, sessions):
    path.write_text("\n".join(map(json.dumps, sessions)))
    return path


@pytest.fixture
def plan(tmp_path):
    return write(tmp_path / "plan.jsonl", PLAN)


def test_the_requests_of_a_graph_and_what_each_waits_for(plan):
    traffic = build(WorkloadSpec(trace=str(plan)), 0)
    offsets, rows = traffic.waits_for
    waits = {}
    lengths = list(zip(traffic.prompt_tokens.tolist(), traffic.output_tokens.tolist(), strict=True))
    for i in range(len(traffic)):
        waits[lengths[i]] = {lengths[j] for j in rows[offsets[i] : offsets[i + 1]]}
    root, second, third = (1000, 60), (1070, 30), (1110, 10)
    a, a2, b, writer, watch = (200, 200), (420, 40), (200, 400), (1220, 50), (20, 5)
    assert waits == {
        root: set(), watch: set(), second: {root, a2}, third: {second, b}, a: {root}, a2: {a}, b: {root},
        writer: {third},
    }  # fmt: skip


def test_each_comes_when_all_that_it_waits_for_has_been_answered(plan):
    found = run(Scenario(workload={"trace": str(plan)}, cluster={"replicas": 2}))
    traffic = build(WorkloadSpec(trace=str(plan)), 0)
    offsets, rows = traffic.waits_for
    table = found.requests().to_pydict()
    of = {
        (p, o): i for i, (p, o) in enumerate(zip(table["prompt_tokens"], table["output_tokens"], strict=True))
    }
    lengths = list(zip(traffic.prompt_tokens.tolist(), traffic.output_tokens.tolist(), strict=True))
    assert len(of) == 8
    for i, each in enumerate(lengths):
        parents = [of[lengths[j]] for j in rows[offsets[i] : offsets[i + 1]]]
        if parents:
            answered_s = max(table["last_token_s"][j] for j in parents)
            think_s = {(1070, 30): 0.25, (200, 200): 1.0}.get(each, 0.0)
            assert table["arrival_s"][of[each]] == pytest.approx(answered_s + think_s, abs=1e-9)
        else:
            assert table["arrival_s"][of[each]] == 0.0


def test_a_fork_goes_on_from_its_parent_s_prompt_and_answer_and_a_spawn_does_not(plan):
    traffic = build(WorkloadSpec(trace=str(plan)), 0)
    lengths = zip(traffic.prompt_tokens.tolist(), traffic.output_tokens.tolist(), strict=True)
    rows = {each: i for i, each in enumerate(lengths)}
    third, writer, spawned = (traffic.segments[rows[each]] for each in ((1110, 10), (1220, 50), (200, 200)))
    assert writer[: len(third) - 1] == third[:-1]
    assert sum(tokens for _, tokens in writer[:-1]) == 1120, "the prompt before and its answer"
    assert len(spawned) == 1
    assert shared_share(Trace(plan).read()[0]) > 0.5
    engine = run(Scenario(workload={"trace": str(plan)}, policy=CACHED)).summary()["engine"]
    assert engine["prefix_hit_share"] > 0.4


def test_a_session_that_two_turns_spawn_is_played_twice(tmp_path):
    sessions = [
        {"session_id": "r", "turns": [turn("a", spawns=["x"]), turn("b", spawns=["x"]), turn("c")]},
        {"session_id": "x", "turns": [turn("x" * 40, 7)]},
    ]
    found, _ = Trace(write(tmp_path / "t.jsonl", sessions)).read()
    assert found.output_tokens.tolist().count(7) == 2
    assert len(set(found.session.tolist())) == 3


def test_what_waits_for_an_answer_that_never_comes_never_comes(tmp_path):
    sessions = [
        {"session_id": "r", "turns": [turn("a" * 40, 5, spawns=["x"]), turn("b" * 40, 6), turn("c" * 40, 7)]},
        {"session_id": "x", "turns": [turn("x" * 4_000_000, 9), turn("y", 8)]},
        {"session_id": "other", "turns": [turn("o", 11)]},
    ]
    path = write(tmp_path / "t.jsonl", sessions)
    keys = {"policy": {"scheduling": "vllm_v1"}, "hardware": {"gpu": "l4", "model": "llama-3.1-8b"}}
    traffic = build(WorkloadSpec(trace=str(path)), 0)
    assert len(traffic) == 6
    with pytest.raises(InputError, match="request"):
        run(Scenario(workload={"trace": str(path)}, **keys))  # too long: refused before anything is simulated
    graph = AgentGraph(traffic)
    requests = [Request(i, 0.0, 1, 1) for i in range(6)]
    first = graph.first(requests)
    assert len(first) == 2
    outputs = traffic.output_tokens.tolist()
    ready, lost = graph.answered(outputs.index(5), RequestState.COMPLETED)
    assert ([outputs[each.row] for each in ready], lost) == ([9], 0)
    assert graph.answered(outputs.index(9), RequestState.FAILED) == ([], 3)


@given(data=st.data())
def test_any_graph_is_played_in_an_order_that_it_allows(data):
    n = data.draw(st.integers(1, 25))
    parents = [sorted(data.draw(st.sets(st.integers(0, i - 1), max_size=3))) if i else [] for i in range(n)]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in parents])]).astype(np.int64)
    rows = np.array([each for some in parents for each in some], np.int64)
    traffic = Workload("t", np.zeros(n), np.full(n, 5), np.full(n, 2), 2, "t", waits_for=(offsets, rows))
    fails = data.draw(st.sets(st.integers(0, n - 1), max_size=2))
    graph = AgentGraph(traffic)
    running, done, lost = (
        [each.row for each in graph.first(Request(i, 0.0, 5, 2) for i in range(n))],
        set(),
        0,
    )
    while running:
        row = running.pop(data.draw(st.integers(0, len(running) - 1)))
        assert all(parent in done for parent in parents[row])
        if row not in fails:
            done.add(row)
        ready, gone = graph.answered(row, RequestState.FAILED if row in fails else RequestState.COMPLETED)
        running += [each.row for each in ready]
        lost += gone
    below = set(fails)
    for i in range(n):
        if below & set(parents[i]):
            below.add(i)
    assert done == set(range(n)) - below
    assert len(done) + lost + len([each for each in fails if not below & set(parents[each])]) == n


def test_a_mix_plays_graphs_beside_ordinary_sessions(plan):
    classes = {
        "agents": {"trace": str(plan)},
        "chats": {"trace": "sharegpt_multiturn", "rate_rps": 1.0, "think_s": 1.0, "limit": 12},
    }
    traffic = build(WorkloadSpec(classes=classes), 0)
    offsets, rows = traffic.waits_for
    assert len(traffic) == 20
    chats = np.flatnonzero((traffic.traffic_class == 1) & ~np.isnan(traffic.think_s))
    for i in chats.tolist():
        (before,) = rows[offsets[i] : offsets[i + 1]].tolist()
        assert traffic.session[before] == traffic.session[i]
    found = run(Scenario(workload={"classes": classes}))
    assert found.summary()["states"]["completed"]["count"] == 20


@pytest.mark.parametrize(
    ("sessions", "problem"),
    [
        ([{"session_id": "a", "turns": [turn("x", forks=["b"])]}], r"line 1: forks or spawns is 'b'; expected the"),
        ([{"session_id": "a", "turns": [turn("x", forks=["b"])]},
          {"session_id": "b", "turns": [turn("x", forks=["a"])]}],
         r"line 1: session_id is 'a', which starts itself"),
        ([{"session_id": "a", "turns": [turn("x")]}] * 2, r"line 2: session_id is 'a'; expected a text that no other"),
        ([{"session_id": "a", "turns": [{"messages": []}]}], r"line 1: turns\[0\]\.max_tokens is empty"),
        ([{"session_id": "a", "turns": [turn("x", spawns=[{"children": ["b"], "join_at": 0}])]},
          {"session_id": "b", "turns": [turn("x")]}], r"line 1: turns\[0\]\.spawns\.join_at is 0; expected a later"),
    ],
)  # fmt: skip
def test_a_graph_that_is_none_is_refused_with_its_line(sessions, problem, tmp_path):
    with pytest.raises(InputError, match=problem):
        Trace(write(tmp_path / "t.jsonl", sessions)).read()


def test_own_columns_may_tell_a_graph(tmp_path):
    rows = [
        {"session_id": "a", "arrival_s": 0, "prompt_tokens": 10, "output_tokens": 5, "node": 7, "after": []},
        {"session_id": "b", "arrival_s": 0, "prompt_tokens": 11, "output_tokens": 5, "node": 3, "after": []},
        {"session_id": "c", "arrival_s": 0, "prompt_tokens": 12, "output_tokens": 5, "node": 1, "after": [7, 3],
         "think_time_s": 2.0},
    ]  # fmt: skip
    path = write(tmp_path / "t.jsonl", rows)
    table = run(Scenario(workload={"trace": str(path)})).requests().to_pydict()
    assert table["arrival_s"][2] == pytest.approx(max(table["last_token_s"][:2]) + 2.0)
    rows[2]["after"] = [7, 9]
    with pytest.raises(InputError, match=r"line 3: after holds 9; expected numbers out of column node"):
        Trace(write(tmp_path / "u.jsonl", rows)).read()
    rows[2]["after"], rows[1]["node"] = [7], 7
    with pytest.raises(InputError, match=r"line 2: node is 7; expected one of its own"):
        Trace(write(tmp_path / "v.jsonl", rows)).read()
    with pytest.raises(InputError, match=r"workload\.concurrency: given for a graph of agents"):
        build(WorkloadSpec(trace=str(path), concurrency=2), 0)


def test_a_workload_waits_only_for_what_comes_before():
    with pytest.raises(InputError, match=r"request 0: waits for the answer to request 1"):
        Workload("t", [0, 0], [5, 5], [2, 2], 2, "t", waits_for=(np.array([0, 1, 1]), np.array([1])))


def test_a_request_that_never_comes_is_not_waited_for():
    """Root, child, grandchild: the first fails, so nothing is to come any more."""
    waits_for = np.array([0, 0, 1, 2]), np.array([0, 1])
    workload = Workload("t", np.zeros(3), np.full(3, 5), np.full(3, 2), 2, "t", waits_for=waits_for)
    clock, came = Clock(), []
    traffic = Traffic(clock, workload, lambda request, number, arrival_s: came.append(request.row), {})
    traffic.start()
    while clock.run_some(1):
        pass
    assert (came, traffic.to_come) == ([0], 2)
    traffic.answered(0, RequestState.FAILED, 1.0)
    assert traffic.to_come == 0
