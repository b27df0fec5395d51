"""Clients of a closed loop: when they start, and that one process after another sends what they ask."""

import numpy as np
import pytest

from simulator import Scenario, run
from simulator.errors import InputError
from simulator.workload import WorkloadSpec, build

BURST = {"arrivals": "burst", "requests": 40, "prompt_tokens": 3100, "output_tokens": 4}


def served(policy="vllm_v1", **workload):
    return run(Scenario(policy={"scheduling": policy}, workload={**BURST, "concurrency": 8, **workload}))


def starts_s(**workload):
    return served(**workload).log.arrival_s[:8]


def test_clients_start_evenly_over_the_ramp():
    assert starts_s(ramp_s=4.0, output_tokens=2000, requests=8).tolist() == [0.5 * i for i in range(8)]


def test_unset_they_start_one_after_another_at_once():
    assert starts_s() == pytest.approx(0.005 * np.arange(8))
    assert starts_s(send_gap_s=0.0).tolist() == [0.0] * 8


def test_no_two_requests_are_sent_closer_than_the_gap():
    arrival_s = np.sort(served(send_gap_s=0.02).log.arrival_s)
    assert np.diff(arrival_s).min() >= 0.02 - 1e-12


@pytest.mark.parametrize(("clients", "gap_s"), [(1, 0.005), (64, 0.005), (65, 0.0025), (1000, 0.005 / 16)])
def test_many_clients_have_several_processes(clients, gap_s):
    assert build(WorkloadSpec(**BURST, concurrency=clients), 0).send_gap_s == gap_s


def test_an_open_loop_has_neither():
    workload = build(WorkloadSpec(**BURST), 0)
    assert (workload.ramp_s, workload.arrival_s.tolist()) == (0.0, [0.0] * 40)


@pytest.mark.parametrize("key", ["ramp_s", "send_gap_s"])
def test_they_need_clients(key):
    with pytest.raises(
        ValueError, match=rf"workload\.{key}: only for clients that wait for answers; expected"
    ):
        WorkloadSpec(**BURST, **{key: 1.0})
    with pytest.raises(ValueError, match=key):
        WorkloadSpec(**BURST, concurrency=2, **{key: -1.0})


def test_the_ramp_is_told():
    assert (
        "8 clients, one after another, which start over 4 s"
        in served(ramp_s=4.0).manifest["workload"]["source"]
    )


def test_clients_that_do_not_stay_in_step_wait_less_when_answers_are_longer():
    """The situation of vllm-project/vllm#13412 in the small: all prompts fit one step of V0."""
    hardware = {"gpu": "h200-sxm", "model": "llama-3.1-70b"}
    engine = {"tensor_parallel_size": 8, "max_num_seqs": 256}

    def ttft_s(output_tokens, **keys):
        workload = {**BURST, "requests": 320, "output_tokens": output_tokens, "concurrency": 32, **keys}
        scenario = Scenario(
            hardware=hardware, engine=engine, policy={"scheduling": "vllm_v0"}, workload=workload
        )
        return float(run(scenario).log.ttft_s.mean())

    in_step = {"send_gap_s": 0.0}
    assert ttft_s(1, **in_step) == pytest.approx(ttft_s(100, **in_step), rel=1e-9)
    assert ttft_s(100) < 0.9 * ttft_s(1)
    assert ttft_s(100, ramp_s=8.0) < 0.7 * ttft_s(1, ramp_s=8.0)


def test_a_ramp_beyond_what_a_clock_holds_is_refused():
    with pytest.raises((ValueError, InputError), match="ramp_s"):
        WorkloadSpec(**BURST, concurrency=2, ramp_s=1e12)
