"""The picture of several runs: which is best, by how much and whether that is shown, in each policy's own colour."""

from pathlib import Path

import pytest
from matplotlib.colors import to_hex

import servesim
from simulator.cli import main as cli
from simulator.report.style import policy_colour

FEW = {"workload.limit": 40, "workload.rate_scale": 200.0, "engine.max_num_seqs": 4, "cluster.replicas": 1}
NAMES = ["vllm_v1", "static"]


@pytest.fixture(scope="module")
def compared():
    return servesim.compare(vary={"policy.scheduling": NAMES}, settings=FEW)


def texts(figure):
    return [
        text.get_text() for text in [*figure.texts, *(text for each in figure.axes for text in each.texts)]
    ]


def test_bars_are_the_numbers_of_the_table_in_the_colours_of_the_policies(compared):
    bars = compared.figure().axes[0]
    worth = [runs[0]["smooth_goodput"]["smooth_goodput_tokens_per_s"] for runs in compared.summaries.values()]
    assert [bar.get_width() for bar in bars.patches] == pytest.approx(worth)
    assert [to_hex(bar.get_facecolor()).upper() for bar in bars.patches] == [
        policy_colour(name) for name in NAMES
    ]
    assert [label.get_text() for label in bars.get_yticklabels()] == NAMES


def test_curves_are_the_latencies_of_all_requests(compared):
    ttft, _, waits = compared.figure().axes[4:]
    for line, (result, *_) in zip(ttft.lines, compared.results.values(), strict=True):
        assert line.get_ydata()[-1] == pytest.approx(100)
        assert line.get_xdata()[-1] == pytest.approx(result.log.ttft_s.max())
    assert waits.get_title(loc="left") == "Time that readers wait"


def test_the_title_states_what_was_found(compared):
    said = texts(compared.figure())
    worth = [runs[0]["smooth_goodput"]["smooth_goodput_tokens_per_s"] for runs in compared.summaries.values()]
    best, other = (0, 1) if worth[0] > worth[1] else (1, 0)
    off = 100 * (worth[best] - worth[other]) / abs(worth[other])
    assert said[0] == f"{NAMES[best]} has the most smooth goodput: {off:+.3g} % to {NAMES[other]}"
    assert "40 requests" in said[1]


def test_equal_runs_are_said_to_be_equal():
    same = servesim.compare([servesim.Scenario(), servesim.Scenario()], settings=FEW)
    figure = same.figure()
    assert texts(figure)[0] == "No difference in smooth goodput"
    assert len({to_hex(bar.get_facecolor()) for bar in figure.axes[0].patches}) == 2


def test_seeds_have_intervals_and_what_is_not_shown_is_no_finding():
    noisy = {
        "workload.arrivals": "poisson",
        "workload.rate_rps": 2.0,
        "workload.requests": 12,
        "workload.lengths": "sharegpt_1600",
    }
    found = servesim.compare(vary={"cluster.replicas": [3, 4]}, settings=noisy, seeds=3).figure()
    assert "means over 3 seeds" in texts(found)[1]
    assert len(found.axes[0].containers) > 2  # bars, and their intervals


def test_many_runs_have_a_bar_each_and_as_many_curves_as_are_told_apart():
    found = servesim.compare(vary={"engine.max_num_seqs": list(range(1, 13))}, settings=FEW).figure()
    assert len(found.axes[0].patches) == 12
    assert len(found.axes[4].lines) == 8
    assert found.axes[4].get_title(loc="left") == "TTFT, first 8"


def run(*given):
    return cli.main(
        ["compare", "--vary", "policy.scheduling=vllm_v1,orca", "--set", "workload.limit=12", *given]
    )


def test_the_command_draws_all_into_the_folder_or_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("--out", "o") == 0
    assert "picture: o/compare.png" in capsys.readouterr().err.replace("\\", "/")
    assert Path("o/compare.svg").exists()
    assert cli.main(["compare", "o/vllm_v1", "o/orca", "--plot", "saved.png"]) == 0
    assert Path("saved.png").read_bytes() == Path("o/compare.png").read_bytes()
    assert run("--out", "p", "--no-plot") == 0
    assert not list(Path("p").rglob("*.png"))
    Path("folder").mkdir()
    capsys.readouterr()
    assert run("--plot", "folder") == 2
    said = capsys.readouterr().err
    assert "folder" in said
    assert "Traceback" not in said
