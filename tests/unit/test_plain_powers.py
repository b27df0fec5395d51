"""Ticks of logarithmic axes: written in letters, as the style has no TeX read."""

import pytest

from simulator.report import style
from simulator.report.picture import plain


@pytest.mark.parametrize(
    ("of_matplotlib", "written"),
    [
        (r"$\mathdefault{10^{-2}}$", "10\u207b\u00b2"),
        (r"$\mathdefault{-10^{1}}$", "\u221210\u00b9"),
        (r"$\mathdefault{2\times10^{3}}$", "2\u00d710\u00b3"),
        (r"$\mathdefault{0}$", "0"),
        ("", ""),
    ],
)
def test_a_power_is_written_in_letters(of_matplotlib, written):
    assert plain(of_matplotlib) == written


@pytest.mark.parametrize("scale", [{"value": "log"}, {"value": "symlog", "linthresh": 0.1}])
def test_no_tick_of_a_saved_picture_has_a_dollar_sign_and_a_name_keeps_its_own(tmp_path, scale):
    figure, grid = style.axes()
    grid[0, 0].plot([2, 30], [0.02, 300])
    grid[0, 0].set_xscale("log")
    grid[0, 0].set_yscale(**scale)
    grid[0, 0].set_title("a $name$")
    style.save(figure, tmp_path / "picture.png")
    ticks = [*grid[0, 0].get_xticklabels(which="both"), *grid[0, 0].get_yticklabels(which="both")]
    written = [each.get_text() for each in ticks]
    assert any("10" in each for each in written)
    assert not any("$" in each or "\\" in each for each in written)
    assert grid[0, 0].get_title() == "a $name$"
