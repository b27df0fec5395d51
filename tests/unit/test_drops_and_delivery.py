"""Who is dropped when, what it keeps, and when tokens reach their readers: through the engine and ``run``."""

from pathlib import Path

import numpy as np
import pytest

from policies.abandonment.missed_slo import MissedSlo
from policies.admission.queue_cap import QueueCap
from simulator import Scenario, run
from simulator.errors import InputError
from simulator.replica.request import RequestState
from tests.engine_cases import EvenCost
from tests.small_clusters import apart, ends, serve, tight, times, together, traffic

DONE, DROPPED = RequestState.COMPLETED, RequestState.ABANDONED_BY_SYSTEM
LEFT, REJECTED = RequestState.ABANDONED_BY_USER, RequestState.REJECTED


def alone(**more):
    return together(1, **more)


# Dropped by the system


def test_a_token_at_the_instant_of_its_deadline_counts():
    served = serve(traffic([0], [8], [3]), alone(abandonment=MissedSlo(ttft_s=1.0)))
    assert ends(served) == [(DONE, 3, 3.0)]
    dropped = serve(traffic([0], [8], [3]), alone(abandonment=MissedSlo(ttft_s=0.999)))
    assert dropped.tables.requests["state"].tolist() == [DROPPED]


def test_only_those_are_dropped_who_wait_for_their_first_token():
    """One seat: the first request has it until 4.0, so that the second gets a token at 5.0, the third never."""
    requests = traffic([0, 0, 0.5], [8] * 3, [4] * 3)
    outcome = serve(requests, alone(limits=tight(20, seqs=1), abandonment=MissedSlo(ttft_s=5.0)))
    assert [each[:2] for each in ends(outcome)] == [(DONE, 4), (DONE, 4), (DROPPED, 0)]
    assert 5.5 <= ends(outcome)[2][2] <= 6.0  # with the next plan
    assert np.isnan(outcome.tables.requests["first_scheduled_s"][2])


def test_who_is_dropped_keeps_his_tokens_and_frees_his_seat():
    """The first request has 9.5 seconds for 20 tokens; with the step in flight then it is gone."""
    requests = traffic([0, 5], [8] * 2, [20, 4])
    outcome = serve(requests, alone(limits=tight(20, seqs=1), abandonment=MissedSlo(e2e_s=9.5)))
    assert ends(outcome) == [(DROPPED, 10, 10.0), (DONE, 4, 14.0)]
    assert times(outcome, 0) == [float(i) for i in range(1, 11)]


@pytest.mark.parametrize(("allowance_s", "expected"), [(0.0, (DROPPED, 1, 1.0)), (2.0, (DONE, 6, 6.0))])
def test_a_first_token_late_for_its_reader(allowance_s, expected):
    """Tokens are due every 0.75 s from the arrival on, or from two seconds later; they come every second."""
    policy = MissedSlo(token_deadlines=True)
    deployment = alone(abandonment=policy, pace_s=0.75, allowance_s=allowance_s)
    assert ends(serve(traffic([0], [8], [6]), deployment)) == [expected]


@pytest.mark.parametrize(
    ("grace_s", "expected"), [(0.015, (DROPPED, 2, 2.0)), (0.025, (DROPPED, 3, 3.0)), (0.065, (DONE, 6, 6.0))]
)
def test_a_token_late_for_its_reader_is_the_last(grace_s, expected):
    """Token i comes at i seconds, due at 0.99 i; the step in flight when its grace is over still gives it."""
    rule = MissedSlo(token_deadlines=True, grace_s=grace_s)
    assert ends(serve(traffic([0], [8], [6]), alone(abandonment=rule, pace_s=0.99))) == [expected]


def test_a_bound_on_the_first_token_is_off_when_it_has_come():
    outcome = serve(traffic([0], [8], [50]), alone(abandonment=MissedSlo(ttft_s=2.0)))
    assert ends(outcome) == [(DONE, 50, 50.0)]


def test_a_request_on_its_way_to_its_decode_replica_is_dropped_at_once():
    """A prompt of 20 tokens travels from 1.0 to 3.0."""
    outcome = serve(traffic([0], [20], [3]), apart(abandonment=MissedSlo(e2e_s=2.5)))
    assert ends(outcome) == [(DROPPED, 1, 2.5)]
    assert outcome.tables.transfers["arrived"].tolist() == [False]


# Users who leave, and those who are not let in


def test_who_leaves_keeps_what_he_got():
    outcome = serve(traffic([0, 0], [8, 8], [9, 9], leave_s=[4.5, np.nan]), alone())
    state, tokens, end_s = ends(outcome)[0]
    assert (state, end_s) == (LEFT, 4.5)
    assert (
        tokens == 4
    )  # the engine notices with its next plan, and what the step until then brings is for no reader
    assert ends(outcome)[1] == (DONE, 9, 9.0)


def test_who_is_done_in_time_has_not_left():
    outcome = serve(traffic([0], [8], [3], leave_s=[3.5]), alone())
    assert ends(outcome) == [(DONE, 3, 3.0)]


def test_patience_counts_from_the_arrival_also_where_a_loop_delays_it():
    """Two clients' worth of requests, one at a time: each gives up 2.5 s after it asked."""
    requests = traffic([0, 0], [8, 8], [9, 9], leave_s=[2.5, 2.5], concurrency=1)
    outcome = serve(requests, alone())
    assert outcome.tables.requests["arrival_s"].tolist() == [0.0, 3.0]
    assert [each[2] for each in ends(outcome)] == [2.5, 5.5]


def test_the_queue_is_capped():
    """One runs, two wait, the fourth and fifth are sent away; at 5.5 there is room again."""
    requests = traffic([0, 0.1, 0.2, 0.3, 0.4, 5.5], [8] * 6, [3] * 6)
    outcome = serve(requests, alone(limits=tight(20, seqs=1), admission=QueueCap(max_waiting=2)))
    assert [each[0] for each in ends(outcome)] == [DONE, DONE, DONE, REJECTED, REJECTED, DONE]
    assert ends(outcome)[3] == (REJECTED, 0, 0.3)
    assert outcome.tables.requests["replica"].tolist()[3] == -1


# Delivery


class Late:
    """Delivers every token when the request's last one is there."""

    def deliver(self, generated_s, starts, rng):
        lasts = generated_s[np.append(starts[1:], len(generated_s)) - 1]
        return np.repeat(lasts, np.diff(starts, append=len(generated_s)))


def test_delivery_is_applied_to_the_tokens_of_each_request():
    deployment = alone(cost=EvenCost(0.5), delivery=Late(), frontend_s=0.25)
    tokens = serve(traffic([0, 0.75], [8, 8], [3, 2]), deployment).tables.tokens
    assert tokens["generated_s"].tolist() == [0.5, 1.0, 1.5, 1.5, 2.0]
    assert tokens["delivered_s"].tolist() == [1.75, 1.75, 1.75, 2.25, 2.25]


def test_the_end_of_a_request_is_its_last_delivered_token():
    outcome = serve(traffic([0], [8], [3]), alone(delivery=Late()))
    requests = outcome.tables.requests
    assert (requests["first_token_s"][0], requests["end_s"][0], outcome.end_s) == (3.0, 3.0, 3.0)


def scenario(changes=None, **sections):
    policy = {"scheduling": "vllm_v1", **(changes or {})}
    work = {"arrivals": "poisson", "rate_rps": 8.0, "requests": 40, "prompt_tokens": 300, "output_tokens": 25}
    return Scenario(workload={**work, **sections.pop("workload", {})}, policy=policy, **sections)


def columns(result):
    return {name: np.array(column) for name, column in result.tokens().to_pydict().items()}


def paced(generated_s, gap_s, hold_s):
    last_s, given = -np.inf, []
    for i, time_s in enumerate(generated_s):
        last_s = max(time_s + hold_s if i == 0 else time_s, last_s + gap_s)
        given.append(last_s)
    return given


def batched(generated_s, size):
    pieces = [generated_s[:1]] + [generated_s[i : i + size] for i in range(1, len(generated_s), size)]
    return [piece[-1] for piece in pieces for _ in piece]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"name": "paced", "gap_s": 0.02, "hold_s": 0.3}, lambda times_s: paced(times_s, 0.02, 0.3)),
        ({"name": "batched", "tokens": 7}, lambda times_s: batched(times_s, 7)),
        ({"name": "immediate"}, lambda times_s: times_s),
    ],
    ids=["paced", "batched", "immediate"],
)
def test_delivery_changes_nothing_but_delivery(policy, expected):
    before, after = run(scenario()), run(scenario({"delivery": policy}))
    one, two = columns(before), columns(after)
    for name in ("request_id", "token_index", "generated_s", "replica", "step"):
        assert one[name].tolist() == two[name].tolist()
    for request in range(40):
        mine = one["request_id"] == request
        assert two["delivered_s"][mine] == pytest.approx(expected(one["delivered_s"][mine].tolist()))
    assert after.manifest["end_of_run_s"] == pytest.approx(max(two["delivered_s"]))


def test_jitter_delays_tokens_in_order_and_by_the_seed():
    policy = {"name": "jitter", "delay_s": 0.01, "jitter_s": 0.05}
    plain = columns(run(scenario()))
    one, again = (columns(run(scenario({"delivery": policy}))) for _ in range(2))
    other = columns(run(scenario({"delivery": policy}, seed=5)))
    assert one["generated_s"].tolist() == plain["generated_s"].tolist()
    assert one["delivered_s"].tolist() == again["delivered_s"].tolist() != other["delivered_s"].tolist()
    assert (one["delivered_s"] >= plain["delivered_s"] + 0.01 - 1e-12).all()
    same = one["request_id"][1:] == one["request_id"][:-1]
    assert (np.diff(one["delivered_s"])[same] >= 0).all()
    first = one["token_index"] == 1
    delay_s = (one["delivered_s"] - plain["delivered_s"])[first]  # no token ahead of them
    assert 0.03 < delay_s.mean() < 0.09


SESSIONS = {"arrivals": "poisson", "rate_rps": 8.0, "session_turns": 3.0, "think_s": 1.0}


@pytest.mark.parametrize("loop", [{"arrivals": "burst", "concurrency": 4}, SESSIONS])
@pytest.mark.parametrize("name", ["paced", "jitter", "batched"])
def test_a_closed_loop_would_have_to_wait_for_delivery(loop, name):
    work = {"prompt_tokens": 300, "output_tokens": 25, "requests": 40, **loop}
    with pytest.raises(
        InputError, match=f"policy.delivery: '{name}' with a closed loop.*expected 'immediate'"
    ):
        run(Scenario(workload=work, policy={"delivery": name}))


# What becomes of it in a scenario's metrics


def counts(result):
    states = result.requests()["state"].to_pylist()
    return {state: states.count(state) for state in set(states)}


def test_states_are_counted_against_all_who_arrived():
    hard = {"rate_rps": 400.0, "requests": 200, "prompt_tokens": 2000}
    capped = run(scenario({"admission": {"name": "queue_cap", "max_waiting": 10}}, workload=hard))
    assert counts(capped)["rejected"] > 50
    assert sum(counts(capped).values()) == 200
    dropping = run(scenario({"abandonment": {"name": "missed_slo", "ttft_s": 1.0}}, workload=hard))
    requests = dropping.requests().to_pydict()
    assert counts(dropping)["abandoned_by_system"] > 50
    for state, arrival_s, first_s in zip(
        requests["state"], requests["arrival_s"], requests["first_token_s"], strict=True
    ):
        frontend_s = dropping.manifest["engine"]["frontend_s"]
        in_time = first_s is not None and first_s - frontend_s <= arrival_s + 1.0
        assert (state == "completed") == in_time
    impatient = run(scenario(workload={**hard, "patience_s": 2.0}))
    assert counts(impatient)["abandoned_by_user"] > 50


def test_the_patience_of_a_trace_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = "arrival_s,prompt_tokens,output_tokens,patience_s\n0,50,5000,1.5\n0,50,20,\n"
    Path("t.csv").write_text(rows)
    requests = run(Scenario(workload={"trace": "t.csv"})).requests().to_pydict()
    assert requests["state"] == ["abandoned_by_user", "completed"]
    assert requests["end_s"][0] == pytest.approx(1.5, abs=0.05)
    assert 50 < requests["delivered_tokens"][0] < 1000
