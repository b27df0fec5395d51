"""A sweep's pictures show what its axes are; points have names; what is printed and drawn can be chosen."""

import pyarrow.parquet as pq
import pytest

from simulator.cli import main as cli
from simulator.report import keys
from simulator.report.keys import key_name
from simulator.report.measures import shown
from simulator.report.style import policy_colour
from simulator.scenario.scenario import Scenario
from simulator.stats import Interval
from simulator.studies.study_file import flat
from simulator.studies.sweep import figures as sweep_figures
from simulator.studies.sweep import output as sweep_output
from simulator.studies.sweep.sweep import Study

SET = '[set]\n"workload.limit" = 8\n'


def study_of(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    return Study.from_toml(path)


def found(study, value=lambda place: 1.0):
    """Made-up values at every place of a study."""
    places = dict.fromkeys(point.place(study.shown) for point in study.points())
    return {place: Interval(value(place), value(place) - 0.1, value(place) + 0.1) for place in places}


@pytest.fixture
def drawn(monkeypatch):
    """The figures of sweep_figures.draw, not written."""
    kept = []
    monkeypatch.setattr(sweep_figures, "save", lambda figure, path: kept.append(figure) or [path.name])
    return kept


RATES = '"workload.rate_rps" = { from = 1.0, to = 4.0, steps = 3 }\n'


def test_two_numeric_axes_make_a_heat_map_with_every_value_at_its_place(tmp_path, drawn):
    study = study_of(tmp_path, f'{SET}[axes]\n{RATES}"cluster.replicas" = [1, 3]\n')
    values = found(study, value=lambda place: place[0] + 10 * place[1])
    assert sweep_figures.draw(study, {"m": ("a metric", values)}, tmp_path) == ["sweep.png"]
    ax, bar = drawn[0].axes
    assert ax.images[0].get_array().tolist() == [[11.0, 12.5, 14.0], [31.0, 32.5, 34.0]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("arrival rate (requests/s)", "replicas")
    assert [text.get_text() for text in ax.texts] == ["11", "12.5", "14", "31", "32.5", "34"]
    assert bar.get_ylabel() == "a metric"


def test_one_numeric_axis_makes_lines_with_bands(tmp_path, drawn):
    study = study_of(tmp_path, f'{SET}[axes]\n{RATES}"policy.scheduling" = ["vllm_v1", "orca"]\n')
    sweep_figures.draw(study, {"m": ("a metric", found(study))}, tmp_path)
    ax = drawn[0].axes[0]
    assert [line.get_label() for line in ax.lines] == ["vllm_v1", "orca"]
    assert len(ax.collections) == 2  # the bands
    low, high = ax.collections[0].get_datalim(ax.transData).get_points()
    assert (low[1], high[1]) == pytest.approx((0.9, 1.1))


def test_one_seed_has_no_bands(tmp_path, drawn):
    study = study_of(tmp_path, f"{SET}[axes]\n{RATES}")
    single = {
        place: Interval(1.0, -float("inf"), float("inf"))
        for place in [point.place(study.shown) for point in study.points()]
    }
    sweep_figures.draw(study, {"m": ("a metric", single)}, tmp_path)
    assert not drawn[0].axes[0].collections


def test_a_group_of_two_numbers_is_one_axis(tmp_path, drawn):
    """Prefill and decode replicas that go together are no plane to draw a map of."""
    pools = '"cluster.prefill.replicas" = [1, 2, 3]\n"cluster.decode.replicas" = [3, 2, 1]\n'
    study = study_of(tmp_path, f'{SET}"cluster.replicas" = "none"\n[[paired]]\n{pools}')
    sweep_figures.draw(study, {"m": ("a metric", found(study))}, tmp_path)
    (line,) = drawn[0].axes[0].lines
    assert line.get_xdata().tolist() == [1, 2, 3]
    study = study_of(tmp_path, f'{SET}"cluster.replicas" = "none"\n[axes]\n{RATES}[[paired]]\n{pools}')
    sweep_figures.draw(study, {"m": ("a metric", found(study))}, tmp_path)
    assert drawn[1].axes[0].images[0].get_array().shape == (3, 3)


NAMED = """
[[paired]]
name = ["one", "two", "schedule"]
"cluster.replicas" = [1, 2, 1]
"policy.scaling" = ["none", "none", { name = "schedule", at_s = [0.0], replicas = [2] }]
"""


def test_points_with_names_are_shown_by_them(tmp_path, drawn):
    study = study_of(tmp_path, f'{SET}"cluster.scaling.max_replicas" = 2\n{NAMED}')
    assert study.shown == ["name"]
    points = study.points()
    assert [point.scenario.name for point in points] == ["one", "two", "schedule"]
    assert points[2].scenario.policy.scaling.name == "schedule"
    names = sweep_figures.draw(
        study, {"m": ("a metric", found(study)), "n": ("other", found(study))}, tmp_path
    )
    assert names == ["sweep.png"]  # nothing is numeric: dots, a panel a metric
    first, other = drawn[0].axes
    assert [text.get_text() for text in first.get_yticklabels()] == ["one", "two", "schedule"]
    assert (first.get_title(loc="left"), other.get_title(loc="left")) == ("a metric", "other")


def test_more_names_than_lines_make_a_heat_map_in_their_order(tmp_path, drawn):
    names = [f"n{i}" for i in range(9)]
    study = study_of(tmp_path, f"{SET}[axes]\n{RATES}[[paired]]\nname = {names}\nseed = {list(range(9))}\n")
    sweep_figures.draw(study, {"m": ("a metric", found(study))}, tmp_path)
    ax = drawn[0].axes[0]
    assert [text.get_text() for text in ax.get_yticklabels()] == names[::-1]  # the first at the top
    assert ax.get_xlabel() == "arrival rate (requests/s)"


def test_chosen_metrics_are_printed_and_drawn(tmp_path, capsys):
    path, out = tmp_path / "study.toml", tmp_path / "out"
    path.write_text(f'metrics = ["cost.usd", "ttft_p50"]\n{SET}{NAMED}')
    text = path.read_text().replace("[[paired]]", '"cluster.scaling.max_replicas" = 2\n[[paired]]')
    path.write_text(text)
    assert cli.main(["sweep", str(path), "--out", str(out), "--jobs", "1"]) == 0
    head, units, *rows, _, user_model, engine = capsys.readouterr().out.splitlines()
    assert user_model == "user model: reader_20tps"
    assert engine == "engine: vllm-0.24"
    assert head.split() == ["name", "cost", "TTFT", "p50"]
    assert units.split() == ["US$", "ms"]
    assert [row.split()[0] for row in rows] == ["one", "two", "schedule"]
    assert (out / "sweep.png").stat().st_size > 5000
    assert (out / "sweep.svg").stat().st_size > 5000
    table = pq.read_table(out / "sweep.parquet")
    assert "schedule" in table["policy.scaling"].to_pylist()[2]  # the parameters too
    usd = table["cost.usd"].to_pylist()
    assert usd[1] == pytest.approx(2 * usd[0], rel=0.2)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('metrics = ["latency.ttft.p99"]', "did you mean 'latency.ttft_s.p99'"),
        ("metrics = 3", "metrics: expected a list of numbers"),
        ('[[paired]]\nname = ["a", "a"]\nseed = [1, 2]', "paired.name: expected a different name"),
    ],
)
def test_what_is_wrong_is_one_sentence(tmp_path, capsys, text, says):
    path = tmp_path / "study.toml"
    path.write_text(f"{text}\n[axes]\n{RATES}")
    assert cli.main(["sweep", str(path), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("xs", "by_ratio"), [([1, 2, 4, 8], True), ([1, 2, 3, 4], False), ([0, 1, 10], False), ([5], False)]
)
def test_a_scale_is_logarithmic_where_steps_are_even_by_ratio(xs, by_ratio):
    assert sweep_figures._evenly_by_ratio(xs) is by_ratio


def test_every_usual_metric_has_a_name_of_its_own():
    files = [sweep_output._file(each.key) for each in shown("sweep")]
    assert len(set(files)) == len(files)


def test_lines_of_schedulers_have_their_colours(tmp_path, drawn):
    study = study_of(tmp_path, f'{SET}[axes]\n"policy.scheduling" = ["smooth", "orca"]\n{RATES}')
    sweep_figures.draw(study, {"m": ("a metric", found(study))}, tmp_path)
    colours = {line.get_label(): line.get_color() for line in drawn[0].axes[0].lines}
    assert colours == {name: policy_colour(name) for name in ("smooth", "orca")}


def test_all_metrics_are_on_one_page_with_one_legend(tmp_path, drawn):
    study = study_of(tmp_path, f'{SET}[axes]\n{RATES}"policy.scheduling" = ["vllm_v1", "orca"]\n')
    metrics = {name: (f"metric {name}", found(study)) for name in "abcd"}
    sweep_figures.draw(study, metrics, tmp_path, "What was found")
    (page,) = drawn
    assert [panel.get_ylabel() for panel in page.axes if panel.get_visible()] == [
        f"metric {name}" for name in "abcd"
    ]
    (legend,) = page.legends
    assert legend.get_title().get_text() == "scheduler"
    assert page.get_suptitle() == "What was found"
    assert list(sweep_figures.figures(study, metrics)) == list("abcd")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("workload.rate_scale", "load (times the recorded rate)"),
        ("cluster.prefill.replicas", "prefill replicas"),
        ("cluster.link.setup_s", "link setup (s)"),
        ("workload.think_s", "think (s)"),
        ("policy.scheduling.chunk_tokens", "scheduling chunk (tokens)"),
        ("name", "name"),
    ],
)
def test_keys_have_names_in_words(key, name):
    assert key_name(key) == name


def test_keys_with_names_are_there():
    """A name of a key that no scenario has would never be seen."""
    tables = {key for key, _ in flat(Scenario().model_dump())}
    given = {key for key in keys._NAMES if key not in ("cluster.prefill.replicas", "cluster.decode.replicas")}
    assert given - tables - {key for key in given if key.startswith(("policy.", "user."))} == set()
