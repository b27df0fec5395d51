"""Pictures of sweeps with many, wide, missing or large numbers: scales, marks and what a legend leaves out."""

import numpy as np
import pytest

from simulator.studies.sweep import figures
from tests.unit.test_sweep_pictures import RATES, SET, found, study_of

REPLICAS = '"cluster.replicas" = [1, 3]\n'
SCHEDULERS = '"policy.scheduling" = ["vllm_v1", "orca"]\n'


def one(study, values):
    """Return the only panel of a metric, and its bar of colours if it has one."""
    figure = figures.page(study, {"m": ("a metric", values)})
    return figure, *figure.axes


def rates(steps, ratio=None):
    values = [1.0 + i if ratio is None else ratio**i for i in range(steps)]
    return f'"workload.rate_rps" = {values}\n'


def test_where_nothing_is_a_number_there_is_one_picture_of_all(tmp_path):
    study = study_of(tmp_path, f"{SET}[axes]\n{SCHEDULERS}")
    assert list(figures.figures(study, {name: (name, found(study)) for name in "ab"})) == ["sweep"]
    (place, *_) = found(study).items()
    assert figures.figures(study, {"a": ("a", dict([place]))}) == {}


def test_pairs_of_names_beside_numbers_are_lines(tmp_path):
    pairs = '[[paired]]\n"policy.scheduling" = ["vllm_v1", "orca"]\n"policy.routing" = ["random", "round_robin"]\n'
    study = study_of(tmp_path, f"{SET}[axes]\n{RATES}{pairs}")
    figure, panel = one(study, found(study))
    assert [line.get_label() for line in panel.lines] == ["vllm_v1, random", "orca, round_robin"]
    assert panel.get_xlabel() == "arrival rate (requests/s)"
    assert figure.legends[0].get_title().get_text() == "scheduler, router"


@pytest.mark.parametrize(
    ("axis", "scale", "marked"),
    [
        (rates(5, 2.0), "log", True),
        (rates(13, 2.0), "log", False),
        (rates(5), "linear", True),
        (rates(9), "linear", False),
    ],
)
def test_as_many_ticks_as_can_be_read(axis, scale, marked, tmp_path):
    study = study_of(tmp_path, f"{SET}[axes]\n{axis}")
    _, panel = one(study, found(study))
    assert panel.get_xscale() == scale
    here = sorted(place[0] for place in found(study))
    assert (sorted(panel.get_xticks().tolist()) == pytest.approx(here)) == marked


def test_values_far_apart_have_a_scale_of_ratios(tmp_path):
    study = study_of(tmp_path, f"{SET}[axes]\n{RATES}")
    _, near = one(study, found(study, lambda place: place[0]))
    _, far = one(study, found(study, lambda place: 10 ** place[0]))
    assert (near.get_yscale(), far.get_yscale()) == ("linear", "log")
    assert far.get_ylim()[0] == pytest.approx(5.0)  # half of the least mean: a band may go down to 0


def test_lines_beyond_the_most_are_in_the_table_alone(tmp_path):
    study = study_of(tmp_path, f"{SET}[axes]\n{RATES}{REPLICAS}seed = [1, 2, 3, 4, 5]\n")
    figure, panel = one(study, found(study))
    assert len(panel.lines) == figures.MOST_LINES
    assert figure.legends[0].get_title().get_text().endswith("\n(and 2 more in the table)")


def test_a_map_marks_what_was_found_and_what_fits(tmp_path):
    study = study_of(tmp_path, f"{SET}[axes]\n{RATES}{REPLICAS}")
    values = found(study, lambda place: place[0])
    del values[2.5, 3]
    _, panel, _ = one(study, values)
    assert [text.get_text() for text in panel.texts] == ["1", "2.5", "4", "1", "4"]
    assert np.isnan(panel.images[0].get_array().filled(np.nan)[1, 1])
    large = study_of(tmp_path, f"{SET}[axes]\n{rates(9)}seed = {list(range(9))}\n")
    _, panel, _ = one(large, found(large, lambda place: place[0]))
    assert panel.images[0].get_array().size > figures.MOST_MARKED
    assert not panel.texts


@pytest.mark.parametrize(
    ("value", "scale", "label"),
    [
        (lambda place: 10 ** place[0], "log", None),
        (lambda place: 2000.0 + place[0], "linear", "2,00"),
        (lambda place: place[0], "linear", None),
    ],
    ids=["wide", "large", "plain"],
)
def test_the_bar_of_a_map_is_as_wide_as_its_values(value, scale, label, tmp_path):
    study = study_of(tmp_path, f"{SET}[axes]\n{RATES}{REPLICAS}")
    figure, _, bar = one(study, found(study, value))
    figure.canvas.draw()
    assert bar.get_yscale() == scale
    texts = [text.get_text() for text in bar.get_yticklabels()]
    assert not any("e" in text or "^" in text for text in texts)  # no powers of ten
    assert label is None or any(text.startswith(label) for text in texts)


def test_dots_are_where_something_was_found(tmp_path):
    study = study_of(tmp_path, f"{SET}[axes]\n{SCHEDULERS}")
    metrics = {"a": ("a", found(study)), "b": ("b", found(study, lambda place: 50.0 ** len(place[0])))}
    (lacking, kept) = metrics["a"][1]
    metrics["c"] = ("c", {kept: metrics["a"][1][kept], (*lacking[:-1], "else"): metrics["a"][1][lacking]})
    figure = figures.page(study, metrics)
    first, wide, other = figure.axes
    assert (first.get_xscale(), wide.get_xscale()) == ("linear", "log")
    assert [len(panel.containers) for panel in (first, wide, other)] == [2, 2, 2]
    assert len(first.get_yticklabels()) == 3
