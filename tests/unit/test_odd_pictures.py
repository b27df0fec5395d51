"""Pages and pictures of runs in which nothing came, no time passed, hours passed, or little differed."""

from copy import deepcopy

import numpy as np
import pytest
from matplotlib.figure import Figure

from simulator import Result, Scenario, run
from simulator.metrics import RequestLog, UserModel
from simulator.report import comparison_picture
from simulator.report.comparison_picture import BEST_BY, comparison_figure
from simulator.report.html import document, requests
from simulator.report.html.curves import over_time
from simulator.report.html.runs import run_document
from simulator.report.panels_over_time import draw_in_flight
from simulator.report.plots import overview_figure
from tests import run_kinds

BURST = {"arrivals": "burst", "requests": 3, "prompt_tokens": 300, "output_tokens": 30}


class Closed:
    """Takes no request."""

    def admit(self, job, replica, now_s, draw):
        return False


def scenario(**tables):
    return Scenario(**{"workload": BURST} | tables)


@pytest.fixture(scope="module")
def plain():
    return run_kinds.made("plain", "tokens")


@pytest.fixture(scope="module")
def refused():
    """A run whose requests come at once and are all turned away: it takes no time."""
    return run(scenario(policy={"admission": Closed}))


@pytest.fixture(scope="module")
def cut():
    """A run that ends before anyone has a token."""
    return run(scenario(run={"horizon_s": 0.001}))


def texts(figure):
    return [each.get_text() for each in figure.findobj(lambda part: hasattr(part, "get_text"))]


def page(result):
    by = result.scoring
    return run_document("name", result, result.summary(), by.user, by.slo, by.window)


def test_a_page_of_a_run_without_time_has_no_rate_and_no_course(refused):
    found = page(refused)
    assert over_time(refused) is None
    assert found["time"] is None
    assert found["spent"] is None
    assert "rate" not in found["facts"]
    assert found["distributions"]["ttft"] == {"s": [], "share": []}
    assert "tbt" not in found["distributions"]
    assert all(each["took_s"] == 0 for each in found["slowest"])


def test_a_page_of_a_run_without_a_token_says_what_there_is(cut):
    found = page(cut)
    assert found["spent"] is None
    assert found["distributions"]["e2e"] == {"s": [], "share": []}
    assert sum(found["time"]["tokens_per_s"]) == 0


def test_who_is_in_flight_is_drawn_where_there_is_time(refused):
    panel = Figure().add_subplot()
    draw_in_flight(panel, refused.log)
    assert [text.get_text() for text in panel.texts] == ["no requests"]


def test_replicas_are_drawn_where_their_number_changes(refused):
    scaled = run_kinds.made("autoscaling", "tokens")
    panels = {panel.get_ylabel(): panel for panel in overview_figure(scaled).axes}
    assert "replicas" in panels
    paid = panels["replicas"].patches[0].get_data().values
    assert 1 <= paid.max() <= 3
    assert len(page(scaled)["time"]["replicas"]) > 1
    alone = run(
        scenario(
            policy={"admission": Closed, "scaling": "queue_length"},
            cluster={"scaling": {"max_replicas": 3}},
        )
    )
    (panel,) = (panel for panel in overview_figure(alone).axes if panel.get_ylabel() == "replicas")
    assert not panel.patches


def test_long_runs_are_drawn_in_hours():
    rare = BURST | {"arrivals": "constant", "rate_rps": 0.0002, "requests": 4}
    figure = overview_figure(run(scenario(workload=rare)))
    assert "time (h)" in texts(figure)
    assert "time (s)" not in texts(figure)
    (panel,) = (each for each in figure.axes if each.get_xlabel() == "time (h)" and "KV" in each.get_ylabel())
    figure.canvas.draw()
    assert {"1", "2", "3", "4"} <= {tick.get_text() for tick in panel.get_xticklabels()}
    (rates,) = (each for each in figure.axes if each.get_ylabel() == "tokens/s")
    said = [tick.get_text() for tick in rates.get_yticklabels()]
    assert len(set(said)) == len(said)  # less than a token a second is not rounded to none
    assert rates.get_ylim()[1] < 0.5


def beside(one, other, *, goodput):
    """Draw two runs with made-up smooth goodput, one number a seed."""
    summaries = []
    for result, values in zip((one, other), goodput, strict=True):
        runs = [deepcopy(result.summary()) for _ in values]
        for summary, value in zip(runs, values, strict=True):
            family, _, name = BEST_BY.partition(".")
            summary[family][name] = value
        summaries.append(runs)
    return comparison_figure(["a", "b"], [one, other], summaries, UserModel())


@pytest.mark.parametrize(
    ("goodput", "said"),
    [
        (([10.0, 30.0], [29.0, 12.0]), "b is not shown to differ from a in smooth goodput"),
        (([1000.0], [1000.1]), "No difference in smooth goodput"),
        (([10.0, 11.0], [20.0, 21.0]), "b has the most smooth goodput: +95.2 % to a"),
    ],
)
def test_the_finding_is_as_sure_as_its_seeds(plain, goodput, said):
    assert beside(plain, plain, goodput=goodput).texts[0].get_text() == said


def test_a_number_that_a_run_has_not_is_none_in_its_picture(plain, cut):
    figure = beside(plain, cut, goodput=([10.0], [5.0]))
    titles = {panel.get_title(loc="left").partition(" (")[0]: panel for panel in figure.axes[:4]}
    assert " none" in [text.get_text() for text in titles["TTFT p99"].texts]
    assert len(titles["TTFT p99"].patches) == 1
    assert [len(panel.lines) for panel in figure.axes[4:6]] == [1, 1]
    empty = beside(cut, cut, goodput=([5.0], [5.0]))
    assert [len(panel.lines) for panel in empty.axes[4:6]] == [0, 0]
    assert empty.axes[4].get_legend() is None


def test_runs_of_which_only_sums_were_kept_have_bars_alone(plain, tmp_path):
    run_kinds.made("plain", "summary").save(tmp_path / "run")
    sums = Result.load(tmp_path / "run")
    figure = beside(sums, plain, goodput=([10.0], [20.0]))
    assert len(figure.axes) == len(comparison_picture._BARS)


def test_differences_within_a_trace_need_many_requests_of_the_same_fate():
    rng = np.random.default_rng(1)
    ours, theirs = rng.random((2, 200))
    mean, low, high = document._difference(ours + 5.0, theirs)
    assert low < mean < high
    assert 4 < mean < 6
    assert document._difference(ours[:9], theirs[:9]) is None
    lacking = np.where(np.arange(200) < 195, np.nan, ours)
    assert document._difference(lacking, theirs) is None
    assert document._difference(lacking, np.where(np.isnan(lacking), np.nan, theirs)) is None


def test_a_page_holds_the_slowest_and_others_at_even_distances(monkeypatch):
    monkeypatch.setattr(requests, "_MOST_TOKENS", 100)
    counts = np.full(50, 10)
    counts[7] = 60
    chosen = requests.sample(counts, [7, 3])
    assert chosen[:2] == [7, 3]
    assert counts[chosen].sum() <= 100
    assert len(chosen) > 3
    assert requests.sample(counts[:9] // 10, [7]) == list(range(9))


def test_a_log_of_no_requests_has_no_curves():
    panel = Figure().add_subplot()
    draw_in_flight(panel, RequestLog.from_lists([], []))
    assert not panel.lines
