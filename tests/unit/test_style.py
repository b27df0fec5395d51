"""One style for all pictures: the font that ships, a colour a policy, a PNG and an SVG, equal bytes."""

import ast
import re
from itertools import combinations
from pathlib import Path

import pytest
from matplotlib import font_manager, rcParams

from simulator.report import style
from simulator.scenario.discover import discover

ROOT = Path(__file__).parent.parent.parent
SOURCES = [
    path
    for folder in ("simulator", "policies", "hardware_profiles", "experiments", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
DRAWING = [
    path
    for path in SOURCES
    if re.search("matplotlib|savefig", path.read_text(encoding="utf-8"))
    and path.name not in ("style.py", "picture.py")
]


def drawn():
    with style.drawing():
        figure, grid = style.axes(1, 2)
        grid[0, 0].plot([0, 1], [1, 2])
        grid[0, 0].set(title="≤ 20 tokens → 50 µs", xlabel="time (s)")
    return figure


@pytest.mark.parametrize("path", DRAWING, ids=lambda path: str(path.relative_to(ROOT)))
def test_all_that_draws_has_its_figures_and_files_from_the_style(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    made = {ast.unparse(each.func) for each in ast.walk(tree) if isinstance(each, ast.Call)}
    assert not {
        name for name in made if re.search(r"(^|\.)(Figure|rc_context|rc_file|subplots_mosaic)$|^plt\.", name)
    }
    if path.is_relative_to(ROOT / "simulator") and made & {"axes", "picture"}:
        assert "drawing" in made, "what is drawn on the figure would look otherwise"
    assert "pyplot" not in path.read_text(encoding="utf-8")
    if any(name.endswith(".savefig") for name in made):
        assert path.relative_to(ROOT).as_posix() in (
            "experiments/paper/_reproduce.py",
            "simulator/report/plots.py",
        )


def test_letters_are_of_the_font_that_ships():
    with style.drawing():
        for weight, file in (
            (400, "Inter-Regular.ttf"),
            ("bold", "Inter-SemiBold.ttf"),
        ):
            found = font_manager.findfont(
                font_manager.FontProperties(weight=weight), fallback_to_default=False
            )
            assert Path(found) == style.FONTS / file
    assert sum(path.stat().st_size for path in style.FONTS.iterdir()) < 1_500_000
    assert "SIL OPEN FONT LICENSE" in (style.FONTS / "OFL.txt").read_text()


def test_ticks_too_though_they_are_made_when_the_figure_is_drawn():
    figure = drawn()
    figure.draw_without_rendering()
    labels = [
        label for panel in figure.axes for label in [*panel.get_xticklabels(), *panel.get_yticklabels()]
    ]
    assert labels
    assert {label.get_fontfamily()[0] for label in labels} == {style.FAMILY[0]}


def test_no_setting_is_left_behind():
    before = dict(rcParams)
    drawn()
    assert dict(rcParams) == before


def test_a_png_and_an_svg_with_equal_bytes_each_time(tmp_path):
    for folder in ("a", "b"):
        assert style.save(drawn(), tmp_path / folder / "p.png") == ["p.png", "p.svg"]
    for name in ("p.png", "p.svg"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    data = (tmp_path / "a" / "p.png").read_bytes()
    assert int.from_bytes(data[16:20], "big") == round(200 * style.COLUMN_IN)
    assert "<svg" in (tmp_path / "a" / "p.svg").read_text()
    assert style.save(drawn(), tmp_path / "only.svg") == ["only.svg"]
    assert not (tmp_path / "only.png").exists()
    assert style.save(drawn(), tmp_path / "named") == ["named", "named.svg"]


def lightness_and_hues(colour):
    """CIE Lab of a colour, D65."""
    linear = [
        x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4
        for x in (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    ]
    rows = ((0.4124, 0.3576, 0.1805), (0.2126, 0.7152, 0.0722), (0.0193, 0.1192, 0.9505))
    x, y, z = (
        sum(a * b for a, b in zip(row, linear, strict=True)) / white
        for row, white in zip(rows, (0.9505, 1.0, 1.089), strict=True)
    )
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def apart(one, other):
    pairs = zip(lightness_and_hues(one), lightness_and_hues(other), strict=True)
    return sum((a - b) ** 2 for a, b in pairs) ** 0.5


def test_policies_are_told_apart():
    """Of one kind by 15 units of CIE Lab at least (2.3 are just seen), a scheduler and a router by 10."""
    schedulers, routers = discover("scheduling"), discover("routing")
    for least, names in ((15, schedulers), (15, routers), (10, [*schedulers, *routers])):
        for one, other in combinations(names, 2):
            assert apart(style.policy_colour(one), style.policy_colour(other)) >= least, (one, other)


def test_the_colours_of_policies_stay():
    """Those of pictures in documents that are out there."""
    fixed = {"vllm_v1": "#0072B2", "sarathi": "#E69F00", "smooth": "#D55E00", "round_robin": "#2F4B7C"}
    assert {name: style.policy_colour(name) for name in fixed} == fixed
