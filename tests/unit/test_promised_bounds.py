"""Bounds that a request was promised: from a trace, its class or the scenario, to whatever policy asks."""

import pytest

from simulator import Scenario, run

SEEN: dict[int, tuple[float, float]] = {}


class Looks:
    """Lets all in, and keeps what it saw."""

    def admit(self, job, replica, now_s, draw):
        SEEN[job.id] = job.request.ttft_slo_s, job.request.tpot_slo_s
        return True


def seen(workload, slo=None):
    SEEN.clear()
    result = run(Scenario(workload=workload, policy={"admission": Looks}, slo=slo or {}))
    return [SEEN[number] for number in sorted(SEEN)], result


def test_a_class_promises_and_the_scenario_does_where_it_does_not():
    each = {"prompt_tokens": 20, "output_tokens": 3}
    classes = {
        "code": {"share": 0.5, **each, "slo": {"tpot_s": 0.02}},
        "chat": {"share": 0.5, **each},
    }
    traffic = {"arrivals": "constant", "rate_rps": 5, "requests": 20, "classes": classes}
    bounds, result = seen(traffic, {"ttft_s": 1.5, "tpot_s": 0.1})
    assert set(bounds) == {(1.5, 0.02), (1.5, 0.1)}
    of_class = result.requests()["traffic_class"].to_pylist()
    assert [tpot_s for _, tpot_s in bounds] == [(0.02, 0.1)[number] for number in of_class]


def test_a_trace_promises_row_by_row(tmp_path):
    (tmp_path / "t.csv").write_text(
        "arrival_s,prompt_tokens,output_tokens,tpot_slo_s\n0,10,3,0.05\n1,10,3,\n2,10,3,0.2\n"
    )
    bounds, result = seen({"trace": str(tmp_path / "t.csv")}, {"tpot_s": 0.1})
    assert [tpot_s for _, tpot_s in bounds] == [0.05, 0.1, 0.2]
    assert all(ttft_s != ttft_s for ttft_s, _ in bounds)  # NaN: nothing is promised
    assert result.requests()["tpot_slo_s"].to_pylist() == [0.05, None, 0.2]


@pytest.mark.parametrize("slo", [{}, {"tpot_s": 0.1}])
def test_without_a_promise_of_its_own_nothing_is_saved(slo):
    traffic = {"arrivals": "constant", "rate_rps": 5, "requests": 3, "prompt_tokens": 5, "output_tokens": 2}
    bounds, result = seen(traffic, slo)
    assert "tpot_slo_s" not in result.requests().column_names
    assert [tpot_s == slo.get("tpot_s") for _, tpot_s in bounds] == [bool(slo)] * 3
