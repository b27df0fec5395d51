"""What is recorded of a server that streams is what it did, whatever it did."""

import asyncio
import time

import numpy as np
import pytest

from simulator import Scenario
from simulator.errors import InputError
from simulator.observe.endpoint import Endpoint
from simulator.observe.observe import NothingSentError, observe
from tests.streaming_server import Behaviour, StreamingServer

BURST = {"arrivals": "burst", "requests": 12, "prompt_tokens": 40, "output_tokens": 10}


def observed(server, workload, *, api="completions", in_flight=None, timeout_s=10.0, warmup=0, **sections):
    scenario = Scenario(name="real", workload=workload, **sections)
    endpoint = Endpoint.of(server.url, api=api, timeout_s=timeout_s)
    return observe(scenario, endpoint, max_in_flight=in_flight, warmup=warmup)


def columns(result):
    table = result.requests()
    return {name: table[name].to_numpy() for name in table.column_names}


def states(result):
    found = result.requests()["state"].to_pylist()
    return {state: found.count(state) for state in set(found)}


def notes(result):
    return "\n".join(result.manifest["measured"]["notes"])


def by_row(result):
    """Return the recorded times of each request's tokens, in the order of the traffic."""
    log, rows = result.log, columns(result)["row"]
    each = np.split(log.delivered_s, log.token_offsets[1:-1])
    return [each[i] for i in np.argsort(rows)]


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_times_are_those_at_which_the_server_wrote(api):
    does = Behaviour(ttft_s=0.03, gap_s=0.01)
    with StreamingServer(does) as server:
        result = observed(server, BURST | {"requests": 4}, api=api)
        written = [np.array(each.token_s) for each in server.recorded]
    assert result.log.token_counts.tolist() == [10] * 4
    # The clock of the run begins a constant before; what is left is what the machine takes to hand bytes over.
    apart = np.concatenate(by_row(result)) - np.concatenate(written)
    assert np.median(apart - apart.min()) < 0.05
    assert result.log.ttft_s.min() >= does.ttft_s
    for ours, theirs in zip(by_row(result), written, strict=True):
        assert np.ptp(ours) == pytest.approx(np.ptp(theirs), rel=0.25)


@pytest.mark.parametrize("api", ["completions", "chat"])
@pytest.mark.parametrize(
    "does",
    [
        Behaviour(per_chunk=4),
        Behaviour(per_chunk=4, counts="end"),
        Behaviour(per_chunk=4, counts="logprobs"),
        Behaviour(counts="never"),
        Behaviour(line_end="\r\n", piece=3),
        Behaviour(fault="whole"),
        Behaviour(fault="no finish"),
    ],
    ids=lambda does: "-".join(
        f"{key}={value}" for key, value in vars(does).items() if value != vars(Behaviour())[key]
    ),
)
def test_tokens_are_counted_exactly(does, api):
    with StreamingServer(does, around=3) as server:
        result = observed(server, BURST, api=api)
    assert states(result) == {"completed": 12}
    assert result.log.token_counts.tolist() == [10] * 12
    assert result.log.prompt_tokens.tolist() == [40] * 12
    assert ("each chunk is counted as one" in notes(result)) == (does.counts == "never")
    assert ("more tokens than chunks" in notes(result)) == (does.counts == "end")
    together = does.fault == "whole" or (does.per_chunk > 1 and does.counts != "end")
    assert ("12 of 12 answers came in chunks of several tokens" in notes(result)) == together


def test_thinking_is_told_from_the_rest():
    with StreamingServer(Behaviour(thinking=4)) as server:
        result = observed(server, BURST, api="chat")
    assert columns(result)["thinking_tokens"].tolist() == [4] * 12


FAULTS = {
    "cut": (Behaviour(fault="cut"), "failed", "the stream was cut before its end"),
    "ended": (Behaviour(fault="ended"), "failed", "the stream was cut before its end"),
    "bad json": (Behaviour(fault="bad json"), "failed", "a chunk is not JSON"),
    "error": (Behaviour(fault="error"), "failed", "the server sent an error"),
    "hang": (Behaviour(fault="hang"), "abandoned_by_user", "the client gave up"),
    "reset": (Behaviour(fault="reset"), "failed", "the connection failed"),
    "abort": (Behaviour(fault="abort"), "abandoned_by_system", "the server aborted it"),
    "full": (Behaviour(status=429), "rejected", "HTTP 429"),
    "broken": (Behaviour(status=500), "failed", "HTTP 500"),
    "too long": (Behaviour(status=400), "failed", "HTTP 400"),
    "nothing": (Behaviour(stops_after=0), "failed", "an answer without a token"),
}


def test_every_fault_is_an_outcome_with_its_reason():
    """All faults in one run, each twice, beside as many requests that complete."""
    does = [each[0] for each in FAULTS.values()] * 2 + [Behaviour()] * 22
    with StreamingServer(choose=lambda n, body: does[n]) as server:
        workload = BURST | {"arrivals": "constant", "rate_rps": 200.0, "requests": len(does)}
        result = observed(server, workload, timeout_s=3.0)
    assert len(result.log.arrival_s) == 44
    outcomes = result.manifest["measured"]["outcomes"]
    reasons = [reason for _, _, reason in FAULTS.values()]
    assert outcomes == {reason: 2 * reasons.count(reason) for reason in reasons}
    ended = [state for _, state, _ in FAULTS.values()]
    assert states(result) == {state: 2 * ended.count(state) for state in ended} | {"completed": 22}
    counts = result.log.token_counts
    assert sorted(counts[result.log.completed]) == [10] * 22
    got = sorted(counts[~result.log.completed].tolist())
    assert got == [0] * 10 + [5] * 10 + [10] * 2
    assert "2 of 44 requests did not complete: HTTP 429 (such as no room)" in notes(result)
    assert "CUDA out of memory" in notes(result)


def test_a_run_in_which_nothing_completes_is_a_result_too():
    with StreamingServer(choose=lambda n, body: Behaviour(status=503)) as server:
        result = observed(server, BURST)
    assert states(result) == {"rejected": 12}
    assert result.log.delivered_s.tolist() == []


def test_no_more_are_in_flight_than_is_said():
    with StreamingServer() as server:
        result = observed(server, BURST, in_flight=3)
        assert server.most_in_flight == 3
    assert states(result) == {"completed": 12}
    assert "were held back by --max-concurrency" in notes(result)
    with StreamingServer() as server:
        observed(server, BURST | {"arrivals": "burst", "concurrency": 2})
        assert server.most_in_flight == 2


def test_requests_are_sent_when_they_are_due():
    with StreamingServer() as server:
        result = observed(server, BURST | {"arrivals": "poisson", "rate_rps": 60.0})
        came_s = np.array([each.came_s for each in server.recorded])
    table = columns(result)
    late_s = table["arrival_s"] - table["due_s"]
    assert (late_s >= 0).all()
    assert np.median(late_s) < 0.2
    lag = result.manifest["measured"]["client"]["send_lag_s"]
    assert (lag["count"], lag["max"]) == (12, pytest.approx(late_s.max(), abs=1e-6))
    assert f"the client itself was late by p99 {1e3 * lag['p99']:.3g} ms in sending" in notes(result)
    assert (np.diff(came_s) > 0).all()
    assert came_s[-1] - came_s[0] == pytest.approx(np.ptp(table["due_s"]), abs=0.2)


def test_a_client_that_does_not_keep_up_says_so():
    with StreamingServer() as server:
        scenario = Scenario(workload=BURST | {"arrivals": "poisson", "rate_rps": 30.0})
        slow = lambda seconds, done, total: time.sleep(0.1)  # noqa: E731, as a machine that is busy otherwise
        result = observe(scenario, Endpoint.of(server.url), on_progress=slow)
    assert result.manifest["measured"]["client_is_late"]
    assert result.manifest["measured"]["client"]["send_lag_s"]["p99"] > 0.02
    assert "the client did not keep up" in notes(result)


def test_a_turn_waits_for_the_answer_and_the_think_time():
    workload = BURST | {"session_turns": 3.0, "think_s": 0.05, "requests": 8}
    with StreamingServer() as server:
        result = observed(server, workload, api="chat")
        seen = server.recorded
    table = columns(result)
    assert len(table["session"]) == 8
    for session in set(table["session"].tolist()):
        rows = np.flatnonzero(table["session"] == session)
        ends_s, begins_s = table["end_s"][rows[:-1]], table["arrival_s"][rows[1:]]
        assert (begins_s >= ends_s).all()
    followed = [each for each in seen if len(each.body["messages"]) > 1]
    assert len(followed) == 8 - len(set(table["session"].tolist()))
    for each in followed:
        before = [one for one in seen if one.body["messages"] == each.body["messages"][:-2]]
        assert len(before) == 1  # its prompt begins with that of the turn before, and then repeats the answer
        assert each.came_s >= before[0].ended_s - 0.02
        assert each.body["messages"][-2] == {"role": "assistant", "content": ("wörd " * 10).strip()}


def test_a_session_ends_with_a_turn_that_fails():
    workload = BURST | {"session_turns": 3.0, "think_s": 0.0, "requests": 8}
    with StreamingServer(choose=lambda n, body: Behaviour(status=500)) as server:
        result = observed(server, workload)
    sessions = columns(result)["session"]
    assert len(sessions) == len(set(sessions.tolist())) < 8
    assert f"{8 - len(sessions)} requests of the traffic were not sent" in notes(result)


def test_a_client_gives_up_when_the_traffic_says_so():
    with StreamingServer(Behaviour(ttft_s=5.0), choose=lambda n, body: Behaviour(ttft_s=5.0)) as server:
        server.behaviour = Behaviour()
        result = observed(server, BURST | {"patience_s": 0.05})
    assert result.manifest["measured"]["outcomes"] == {"the client gave up": 12}


def test_the_horizon_ends_the_run():
    with StreamingServer(choose=lambda n, body: Behaviour(gap_s=0.1)) as server:
        result = observed(server, BURST, run={"horizon_s": 0.35})
    assert result.requests()["state"].to_pylist() == ["unfinished"] * 12
    assert 0 < result.log.token_counts.sum() < 120
    assert not result.partial


def test_a_server_that_knows_fewer_keys_is_asked_with_fewer():
    with StreamingServer(refuses=("continuous_usage_stats",)) as server:
        assert states(observed(server, BURST)) == {"completed": 12}
    hint = r"Unknown parameter: ignore_eos\); --no-ignore-eos sends no keys but OpenAI's"
    with StreamingServer(refuses=("ignore_eos",)) as server, pytest.raises(InputError, match=hint):
        observed(server, BURST)


def test_prompts_are_as_long_as_asked_by_the_servers_own_count():
    with StreamingServer(tokens_per_word=2, around=9) as server:
        result = observed(server, BURST | {"prompt_tokens": 401}, warmup=3)
        assert len(server.requests) == 2 + 3 + 12
    assert set(result.log.prompt_tokens.tolist()) == {401}


def test_a_stop_before_the_first_request_is_heeded():
    with StreamingServer(Behaviour(ttft_s=30.0)) as server:
        began_s = time.perf_counter()
        with pytest.raises(NothingSentError):
            observe(
                Scenario(workload=BURST),
                Endpoint.of(server.url),
                should_stop=lambda: time.perf_counter() > began_s + 0.2,
            )
        assert time.perf_counter() < began_s + 10.0


def test_rates_of_requests_that_are_due_at_once_are_over_the_whole_run():
    with StreamingServer() as server:
        burst = observed(server, BURST)
        clients = observed(server, BURST | {"concurrency": 12})
        apart = observed(server, BURST | {"arrivals": "poisson", "rate_rps": 200.0})
    assert [each.scoring.window.rule for each in (burst, clients, apart)] == ["whole", "whole", "arrivals"]
    assert burst.summary()["window"]["duration_s"] >= 0.01


def test_it_can_be_called_where_a_loop_runs_already():
    async def notebook(server):
        return observed(server, BURST)

    with StreamingServer() as server:
        assert states(asyncio.run(notebook(server))) == {"completed": 12}
