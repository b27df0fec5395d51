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


def test_attainment_is_by_what_each_request_was_promised(tmp_path):
    """Of three equal requests one at a time, two were promised what they get; without bounds of their own, none."""
    rows = "0,100,50,{}\n9,100,50,{}\n18,100,50,{}\n"
    (tmp_path / "t.csv").write_text(
        "arrival_s,prompt_tokens,output_tokens,tpot_slo_s\n" + rows.format(1e-6, 1.0, "")
    )
    trace = {"trace": str(tmp_path / "t.csv")}
    for slo, attained in (({}, 2 / 3), ({"tpot_s": 1e-6}, 1 / 3), ({"tpot_s": 1.0}, 2 / 3)):
        result = seen(trace, slo)[1]
        assert result.summary()["slo"]["attainment"] == {"tpot_s": pytest.approx(attained)}
        result.save(tmp_path / "saved", overwrite=True)
        again = type(result).load(tmp_path / "saved").summary()["slo"]
        assert again["attainment_all"] == pytest.approx(attained)


def test_classes_without_bounds_are_not_counted_with_those_that_have_some():
    each = {"share": 0.5, "prompt_tokens": 20, "output_tokens": 30}
    classes = {"code": {**each, "slo": {"tpot_s": 1e-6}}, "chat": each}
    traffic = {"arrivals": "constant", "rate_rps": 5, "requests": 20, "classes": classes}
    found = seen(traffic)[1].summary()
    assert found["slo"]["attainment_all"] == 0.0
    assert found["classes"]["chat"]["slo"]["attainment_all"] is None
