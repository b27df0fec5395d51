"""The overview figure: drawn for any records, however odd, and without a display or global state."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from simulator.metrics import RequestLog, UserModel
from simulator.metrics._reader import benefit_tokens, stalls
from simulator.replica.request import RequestState
from simulator.report import panels, panels_over_time, plots
from simulator.results.step_totals import add_up, bin_edges

COLUMNS = ("kv_blocks_used", "preemptions")
MIXED = RequestLog.from_lists(
    [0.0, 1.0, 1.0],
    [[0.1, 0.2, 3.0], [], [2.0]],
    state=[RequestState.COMPLETED, RequestState.REJECTED, RequestState.COMPLETED],
    end_s=[3.0, 1.0, 2.0],
)


@pytest.mark.parametrize(
    "log",
    [
        RequestLog.from_lists([], []),
        RequestLog.from_lists([0.0], [[]], end_of_run_s=5.0),
        RequestLog.from_lists([0.0], [[1.0]]),
        RequestLog.from_lists([0.0, 0.0], [[0.0], [0.0]]),
        MIXED,
    ],
    ids=["no requests", "no tokens", "one token", "no time", "mixed"],
)
@pytest.mark.parametrize("user", [UserModel(), UserModel(v_s_per_token=0.0, alpha=1.0, origin="first_token")])
def test_a_png_is_written_for_any_records(log: RequestLog, user: UserModel, tmp_path: Path) -> None:
    path = tmp_path / "overview.png"
    plots.draw(log, None, np.array([0]), user, ("a run", "of the test")).savefig(path)
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20], "big") == 1800


def test_load_is_the_time_weighted_mean_summed_over_replicas() -> None:
    one: dict[str, list[float]] = {
        "start_s": [0.0, 1.0],
        "end_s": [1.0, 2.0],
        "running": [4, 8],
        "waiting": [0, 3],
    }
    two: dict[str, list[float]] = {"start_s": [0.0], "end_s": [4.0], "running": [1], "waiting": [0]}
    replicas = [
        (
            i,
            {name: np.array(column) for name, column in each.items()}
            | dict.fromkeys(COLUMNS, np.zeros(len(each["start_s"]))),
        )
        for i, each in enumerate((one, two))
    ]
    totals = add_up(replicas, np.array([10, 20]), np.array([0.0, 2.0, 4.0]))
    assert totals.load is not None
    assert totals.load.running == pytest.approx([(4 + 8) / 2 + 1, 0 + 1])
    assert totals.load.waiting == pytest.approx([1.5, 0])
    assert (totals.steps, totals.busy_s, totals.running_max, totals.waiting_max) == (3, 6.0, 8, 3)
    assert totals.waiting_s == 3.0


@pytest.mark.parametrize("f", ["linear", "quadratic", "step"])
def test_the_goodput_panel_adds_up_to_the_benefit(f: str) -> None:
    user = UserModel(f=f)  # type: ignore[arg-type]
    log = RequestLog.from_lists(
        [0.0, 1.0, 1.5], [[0.5, 0.6, 4.0], [2.0, 2.1], []], end_s=[4.0, 2.1, 6.0], end_of_run_s=6.0
    )
    edges = bin_edges(log.arrival_s, log.end_s)
    assert edges is not None
    cost = panels_over_time._penalty_over_bins(stalls(log, user), user, edges).sum()
    assert len(log.delivered_s) - cost == pytest.approx(benefit_tokens(log, user).sum())


def test_waiting_costs_in_the_time_in_which_the_user_waits() -> None:
    log = RequestLog.from_lists([0.0], [[]], end_of_run_s=8.0)
    user = UserModel(v_s_per_token=2.0, alpha=3.0)
    cost = panels_over_time._penalty_over_bins(stalls(log, user), user, np.array([0.0, 2.0, 4.0, 8.0]))
    assert cost == pytest.approx([0.0, 6.0, 12.0])


def test_curves_are_thinned_and_keep_their_ends() -> None:
    kept = panels.thinned(1_000_000)
    assert len(kept) <= 1500
    assert (kept[0], kept[-1]) == (0, 999_999)
    assert panels.thinned(3).tolist() == [0, 1, 2]


def test_importing_the_module_does_not_load_matplotlib() -> None:
    code = "import sys, simulator.report.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
