"""Readers who do not get what they asked for, and what that costs; and readers of a speed of their own."""

from typing import Any

import numpy as np
import pytest

from simulator import Scenario, run
from simulator.errors import InputError
from simulator.metrics import RequestLog, Slo, UserModel, summarise
from simulator.metrics._reader import benefit_tokens, idle_latency_s, meets_token_slo, stalls
from simulator.metrics.fluidity import fluidity_index
from simulator.metrics.qoe import qoe
from simulator.replica.request import RequestState


@pytest.mark.parametrize(
    ("unserved", "expected"),
    [
        ("wait_ends", [0.0, 1.0, 4.0, 12.0]),
        ("asks_again", [0.0, 6.0, 14.0, 12.0]),
        ("wait_to_end", [0.0, 7.0, 12.0, 12.0]),
    ],
)
def test_what_an_unserved_reader_waits_by_each_option(unserved: Any, expected: list[float]) -> None:
    """V = 1; of ten tokens one comes in time and all; five, until 7 s; none, until 5 s; none by the end at 13 s."""
    log = RequestLog.from_lists(
        [0.0] * 4,
        [[float(i) for i in range(1, 11)], [1.0, 2.0, 3.0, 4.0, 5.0], [], []],
        output_tokens=[10] * 4,
        state=[
            RequestState.COMPLETED,
            RequestState.ABANDONED_BY_USER,
            RequestState.REJECTED,
            RequestState.UNFINISHED,
        ],
        end_s=[10.0, 7.0, 5.0, 13.0],
        end_of_run_s=13.0,
    )
    user = UserModel(v_s_per_token=1.0, unserved=unserved)
    found = idle_latency_s(log, user).tolist()
    assert found == pytest.approx(expected)
    waits = stalls(log, user)
    of_each = np.bincount(waits.request, waits.idle_after_s - waits.idle_before_s, minlength=4)
    assert of_each == pytest.approx(found)


def refused(unserved: Any = "asks_again") -> tuple[RequestLog, UserModel]:
    """Two requests refused at once, of three."""
    log = RequestLog.from_lists(
        [0.0, 0.0, 0.0],
        [[], [], [0.05, 0.1]],
        output_tokens=[100, 40, 2],
        state=[RequestState.REJECTED, RequestState.REJECTED, RequestState.COMPLETED],
        end_s=[0.0, 0.0, 0.1],
    )
    return log, UserModel(unserved=unserved)


@pytest.mark.parametrize("unserved", ["asks_again", "wait_ends", "wait_to_end"])
def test_who_is_refused_has_no_quality(unserved: Any) -> None:
    log, user = refused(unserved)
    assert qoe(log, user).tolist() == [0.0, 0.0, 1.0]
    assert fluidity_index(log, user).tolist() == [0.0, 0.0, 1.0]


def test_a_refused_request_costs_what_reading_its_answer_takes() -> None:
    log, user = refused()
    assert idle_latency_s(log, user) == pytest.approx([5.0, 2.0, 0.0])
    assert benefit_tokens(log, user) == pytest.approx(
        [-100.0, -40.0, 2.0]
    )  # with alpha = 1/V: as many tokens
    log, user = refused("wait_ends")
    assert benefit_tokens(log, user) == pytest.approx([0.0, 0.0, 2.0])


def test_refusing_all_is_the_worst_and_not_the_best() -> None:
    """A third of three times the capacity is served; with ``wait_ends`` turning readers away pays most."""
    work = {"arrivals": "poisson", "rate_rps": 150.0, "requests": 300, "lengths": "chat_sharegpt_vllm"}
    found = {}
    for most in (1, 100_000):
        policy = {"admission": {"name": "queue_cap", "max_waiting": most}}
        found[most] = run(Scenario(workload=work, policy=policy, engine={"max_num_seqs": 8})).summary()
    assert found[1]["states"]["rejected"]["count"] > 100
    assert found[1]["qoe"]["qoe"]["mean"] < 0.5
    served = found[1]["states"]["completed"]["share_of_arrived"]
    assert found[1]["qoe"]["qoe"]["mean"] <= served


def test_readers_of_their_own_speed() -> None:
    """The same tokens, once a second: for a reader of one a second in time, for one of two a second not."""
    log = RequestLog.from_lists([0.0] * 3, [[1.0, 2.0, 3.0, 4.0]] * 3, v_s_per_token=[1.0, 0.5, np.nan])
    user = UserModel(v_s_per_token=2.0)
    assert idle_latency_s(log, user) == pytest.approx([0.0, 2.0, 0.0])
    assert benefit_tokens(log, user) == pytest.approx([4.0, 4.0 - 2.0 / 0.5, 4.0])
    assert meets_token_slo(log, user).tolist() == [True, False, True]
    alone = [RequestLog.from_lists([0.0], [[1.0, 2.0, 3.0, 4.0]])] * 3
    users = [UserModel(v_s_per_token=v) for v in (1.0, 0.5, 2.0)]
    for metric in (qoe, fluidity_index):
        each = [metric(one, of)[0] for one, of in zip(alone, users, strict=True)]
        assert metric(log, user).tolist() == pytest.approx(each)


def test_classes_of_readers_in_a_scenario() -> None:
    work = {
        "arrivals": "poisson",
        "rate_rps": 4.0,
        "requests": 200,
        "prompt_tokens": 200,
        "output_tokens": 20,
    }
    result = run(Scenario(workload={**work, "readers": [[0.7, 0.2], [0.3, 0.01]]}))
    v_s = np.array(result.requests()["v_s_per_token"])
    assert set(v_s) == {0.2, 0.01}
    assert np.mean(v_s == 0.2) == pytest.approx(0.7, abs=0.1)
    met = meets_token_slo(result.log, result.user)
    assert not met[v_s == 0.01].any()  # whose first token is due after 10 ms
    slow = [[1.0, 0.2]]
    plain = run(Scenario(workload=work, user={"v_s_per_token": 0.2})).summary()
    alike = run(Scenario(workload={**work, "readers": slow})).summary()
    for name in ("smooth_goodput_tokens_per_s", "benefit_tokens"):
        assert alike["smooth_goodput"][name] == pytest.approx(plain["smooth_goodput"][name])
    with pytest.raises(InputError, match=r"user\.alpha: unset with readers whose V is 0"):
        run(Scenario(workload={**work, "readers": [[0.5, 0.1], [0.5, 0.0]]}))
    with pytest.raises(InputError, match=r"workload\.readers: expected shares that add up to 1"):
        Scenario(workload={**work, "readers": [[0.5, 0.1]]})
    with pytest.raises(InputError, match=r"workload\.readers: expected \[share, V in seconds per token\]"):
        Scenario(workload={**work, "readers": [[1.0]]})
    text = Scenario(workload={**work, "readers": [[0.7, 0.2], [0.3, 0.01]]}).to_toml()
    assert "readers = [[0.7, 0.2], [0.3, 0.01]]" in text


def test_the_fluid_token_rate_is_the_pace_of_the_slowest_percent() -> None:
    """200 readers get 10 tokens a second from the start on, two of them 5: beyond 99 % is one reader too many."""
    gaps = [0.1] * 198 + [0.2] * 2
    log = RequestLog.from_lists([0.0] * 200, [[gap * i for i in range(1, 101)] for gap in gaps])
    found = summarise(log, UserModel(), Slo(), ["fluid_rate"])["fluid_rate"]["tokens_per_s"]
    # 1 % may be slower; one of 10 tokens may be late
    assert found == pytest.approx(10.0, rel=0.12)
    slow = RequestLog.from_lists(
        [0.0] * 200, [[gap * i for i in range(1, 101)] for gap in [0.1] * 197 + [0.2] * 3]
    )
    found = summarise(slow, UserModel(), Slo(), ["fluid_rate"])["fluid_rate"]["tokens_per_s"]
    assert found == pytest.approx(5.0, rel=0.12)


@pytest.mark.parametrize(("left_s", "count"), [(1.999, 0), (2.0, 0), (2.001, 1)])
def test_who_leaves_when_the_next_token_is_due_has_not_waited(left_s: float, count: int) -> None:
    """The first token is due after one second, and the second after two."""
    user = UserModel(v_s_per_token=1.0, unserved="wait_ends")
    log = RequestLog.from_lists(
        [0.0], [[0.5]], state=[RequestState.ABANDONED_BY_USER], end_s=[left_s], start_s=0.0, end_of_run_s=9.0
    )
    found = stalls(log, user)
    assert (found.end_s - found.start_s).tolist() == pytest.approx([left_s - 2.0] * count)


def test_who_waits_to_the_end_is_owed_tokens_until_then() -> None:
    """One of nine came in time. At 3 s it has been there for 2 s, of 3 that were due; at 11 s for 10 s, of 54."""
    log = RequestLog.from_lists(
        [0.0],
        [[1.0]],
        state=[RequestState.ABANDONED_BY_USER],
        end_s=[3.0],
        end_of_run_s=11.0,
        output_tokens=[9],
    )
    for unserved, expected in (("wait_ends", 2 / 3), ("wait_to_end", 10 / 54)):
        user = UserModel(v_s_per_token=1.0, unserved=unserved)  # type: ignore[arg-type]
        assert qoe(log, user) == pytest.approx([expected])
