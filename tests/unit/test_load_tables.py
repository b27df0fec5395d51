"""Shipped loads, tables of a load, and keys that contradict each other."""

import math

import numpy as np
import pytest

from simulator import Scenario
from simulator.errors import InputError
from simulator.report.listing import listing
from simulator.workload import WorkloadSpec, build, library
from simulator.workload.load_table import read
from tests.loads import DAY_S, POISSON, SAW, arrivals, make


@pytest.mark.parametrize("name", sorted(library.shipped_loads()))
def test_every_shipped_load_is_whole_days_of_recorded_rates(name):
    table = read(name, None)
    days = 7 if name.endswith("week") else 1
    assert table.are_rates
    assert table.period_s == days * DAY_S
    assert table.time_s.tolist() == [600.0 * i for i in range(144 * days)]
    assert table.factor.min() > 0
    assert f"workload.load     {name} " in str(listing("workloads"))


def test_a_shipped_day_is_played_at_its_own_rates_or_at_a_mean():
    table = read("servegen_r1_day", None)
    keys = {"load": "servegen_r1_day", "load_time_scale": 0.01}
    own = arrivals(**keys, duration_s=2 * 864.0)
    expected = table.factor.repeat(2) * 6.0
    counts = np.histogram(own, np.arange(0, 864.1, 3.0))[0]
    assert np.all(np.abs(counts - expected / 2) <= 5 * np.sqrt(expected / 2) + 5)
    assert len(own) == pytest.approx(expected.sum(), abs=5 * math.sqrt(expected.sum()))
    mean = make(**POISSON, **keys, rate_rps=3.0, duration_s=864.0)
    assert len(mean) == pytest.approx(2592, abs=5 * math.sqrt(2592))
    assert "at 3 requests/s on average, load servegen_r1_day repeated every 864 s" in mean.source


def test_a_table_of_ones_own_is_found_beside_the_scenario(tmp_path):
    (tmp_path / "day.csv").write_text("time_s,factor\n0,1\n10,3\n")
    spec = WorkloadSpec(**POISSON, load="day.csv", rate_rps=100.0, duration_s=20.0)
    times = build(spec, 0, tmp_path).arrival_s
    assert (times > 10).sum() == pytest.approx(1500, abs=5 * math.sqrt(1500))
    (tmp_path / "day.csv").write_text("rate_rps,time_s\n100,0\n300,10\n")
    again = build(WorkloadSpec(**POISSON, load="day.csv", duration_s=20.0), 0, tmp_path).arrival_s
    assert len(again) == pytest.approx(4000, abs=5 * math.sqrt(4000))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time_s,load\n0,1\n", "columns 'time_s', 'load' found; expected time_s/rate_rps, or time_s/factor"),
        ("time_s,factor\n", "the load table is empty"),
        ("time_s,factor\n0,1\n5,-1\n", "line 3: factor is -1; expected a number from 0 to"),
        ("time_s,factor\n0,1\n-5,1\n", "line 3: time_s is -5; expected a number of seconds"),
        ("time_s,factor\n0,1\n0,1\n", "line 3: time_s is 0; expected a time after that of the row before"),
        ("time_s,factor\n0,x\n", "line 2: factor is 'x'; expected a number"),
        ("time_s,factor\n0,0\n5,0\n", "factor is 0 in every row"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path, text, message):
    path = tmp_path / "l.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        arrivals(load=str(path), rate_rps=1.0, duration_s=10.0)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)


LOAD = {"load_points": [[0.0, 1.0]]}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({**LOAD, "load": "servegen_r1_day"}, "workload.load_points: given together with workload.load"),
        ({"load_period_s": 5.0}, "workload.load_period_s: given without a load; expected workload.load or"),
        ({"load_interpolation": "linear"}, "workload.load_interpolation: given without a load"),
        ({"load_points": [[0.0, 1.0], [5.0]]}, "workload.load_points.1: expected [time_s, factor], got [5.0]"),
        ({"load_points": [[0.0, 1.0], [0.0, 2.0]]}, "load_points.1: its time is 0 after 0 just before"),
        ({"load_points": [[0.0, 0.0]]}, "workload.load_points: every factor is 0"),
        ({"load_points": [[0.0, -1.0]]}, "workload.load_points.0.1: expected a number >= 0, got -1"),
        ({**SAW, "load_period_s": 60.0}, "load_period_s: expected more than the last time of load_points, 60 s"),
        ({"spike_s": 5.0}, "workload.spike_factor: missing; expected beside workload.spike_s"),
        ({"spike_factor": 2.0, "spike_s": 5.0}, "workload.spike_every_s: missing"),
        ({"spike_factor": 2.0, "spike_s": 5.0, "spike_every_s": 5.0}, "expected more than spike_s = 5, got 5"),
        ({"spikes": "random"}, "workload.spike_factor: missing; expected beside workload.spikes"),
        ({"growth_every_s": 5.0}, "workload.growth: missing; expected beside workload.growth_every_s"),
        ({**LOAD, "arrivals": "burst", "requests": 3, "duration_s": None}, "workload.load_points: no meaning with"),
        ({"growth": 2.0, "rate_rps": None}, "workload.rate_rps: missing"),
    ],
)  # fmt: skip
def test_keys_that_contradict_or_lack_each_other_are_named(keys, message):
    tables = {**POISSON, "rate_rps": 1.0, "duration_s": 10.0, **keys}
    if tables["arrivals"] == "burst":
        del tables["rate_rps"]
    with pytest.raises(InputError) as caught:
        Scenario(workload={key: value for key, value in tables.items() if value is not None})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"load": "servegen_r1"}, "did you mean the shipped 'servegen_r1_day'"),
        ({"load": "servegen_r1_day", "load_period_s": 5.0}, "more than the last time of servegen_r1_day, 85800 s"),
        ({"load_points": [[0.0, 0.0], [50.0, 1.0]]}, "workload.load_points: it is 0 from 0 to 10 s, over which"),
        ({"load_points": [[0.0, 0.0], [50.0, 1.0]], "rate_rps": None}, "nothing arrives within 10 s under this load"),
        ({"load_points": [[0.0, 1e9]], "rate_rps": None}, "about 1e+10 requests; expected at most 50,000,000"),
        ({"growth": 10.0, "growth_every_s": 0.01}, "workload.growth: 10 every 0.01 s are more than 1e+100 after 10 s"),
        ({"growth": 1.1, "growth_every_s": 1e-7}, "workload.growth_every_s: 1e-07 s go 1e+08 times into 10 s"),
        ({**LOAD, "load_period_s": 1e-7}, "workload.load_period_s: 1e-07 s go"),
        (
            {"load_points": [[0.0, 1.0], [5.0, 0.0]], "duration_s": None, "requests": 50},
            "workload.requests: about 50 of 50 arrivals come within 1e+10 s under this load",
        ),
    ],
)  # fmt: skip
def test_loads_that_cannot_be_made_are_refused(keys, message):
    given_keys = {**POISSON, "rate_rps": 1.0, "duration_s": 10.0, **keys}
    with pytest.raises(InputError) as caught:
        make(1, **{key: value for key, value in given_keys.items() if value is not None})
    assert message in str(caught.value)


def test_a_trace_with_times_has_a_load_of_its_own():
    with pytest.raises(
        InputError, match=r"workload\.growth: azure2023_conv has arrival times, and so a load"
    ):
        make(growth=2.0)
    with pytest.raises(InputError, match=r"workload\.load_points: no meaning with workload.concurrency"):
        Scenario(workload={"concurrency": 5, **LOAD})


def test_a_factor_table_needs_a_mean_rate(tmp_path):
    (tmp_path / "f.csv").write_text("time_s,factor\n0,1\n")
    with pytest.raises(InputError, match="which need a mean rate"):
        arrivals(load=str(tmp_path / "f.csv"), duration_s=10.0)


def test_points_are_written_on_one_line_and_read_back():
    scenario = Scenario(workload={**POISSON, **SAW, "rate_rps": 1.0, "requests": 5})
    text = scenario.to_toml()
    assert "\nload_points = [[0.0, 1.0], [50.0, 5.0], [60.0, 0.0]]  # " in text
    again = Scenario().with_overrides(
        ["workload.trace=none", "workload.arrivals=poisson", "workload.requests=5", "workload.rate_rps=1",
         "workload.prompt_tokens=10", "workload.output_tokens=2", "workload.load_points=[[0, 1], [50, 5], [60, 0]]",
         "workload.load_period_s=100"]
    )  # fmt: skip
    assert again.workload == scenario.workload
