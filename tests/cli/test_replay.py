"""Replaying what a real server did: the very same requests, real beside simulated."""

import json
from pathlib import Path

import numpy as np
import pytest

from simulator import Result, Scenario, run
from simulator.report import exports
from tests import result_files as files
from tests.commands import servesim
from tests.refusals import folder, refusal  # noqa: F401
from tests.result_files import path_of

ROOT = Path(__file__).parent.parent.parent
FIT = ("profile", "fit", "r/measured.json", "--gpu", "l4", "--free", "kernel_factor", "--out", "new.toml")


def test_a_replay_of_our_own_export_meets_it_to_the_last_bit(capsys, folder):  # noqa: F811
    made = run(Scenario(workload={"trace": "azure2023_conv", "limit": 60, "rate_scale": 4.0}))
    exports.export(made, "vllm_bench", Path("bench.json"))
    out = servesim(capsys, "replay", "bench.json", "--out", "r", "--no-plot")
    rows = [line.split() for line in out.splitlines() if line.startswith(("TTFT", "TPOT", "E2E"))]
    assert [row[-7:] for row in rows] == [["+0.0", "%", "0", "%", "0", "%", "60"]] * 3
    real, simulated = Result.load("r/real"), Result.load("r/simulated")
    np.testing.assert_array_equal(real.log.delivered_s, simulated.log.delivered_s)


def test_a_replay_leaves_a_table_a_picture_and_what_profile_fit_reads(capsys, folder):  # noqa: F811
    path_of(".", "vllm_bench", files.vllm_bench([*files.REQUESTS, (1.1, 30, [])]))
    Path("mine.toml").write_text('[hardware]\ngpu = "l4"\n[workload]\narrivals = "burst"\nrequests = 5\n'
                                 "prompt_tokens = 9\noutput_tokens = 9\n")  # fmt: skip
    out = servesim(capsys, "replay", "vllm_bench.json", "--scenario", "mine.toml", "--out", "r")
    assert "4 simulated at the times at which they were sent; 1 that did not complete are left out" in out
    assert "l4, llama-3.1-8b, vllm_v1" in out
    assert sorted(path.name for path in Path("r").iterdir()) == [
        "measured.json", "real", "replay.png", "replay.svg", "requests.csv", "simulated", "traffic.csv",
    ]  # fmt: skip
    header, first, *rest = Path("r/requests.csv").read_text().splitlines()
    assert header.split(",")[:6] == ["request", "arrival_s", "prompt_tokens", "output_tokens", "real_ttft_s",
                                     "simulated_ttft_s"]  # fmt: skip
    assert float(first.split(",")[4]) == pytest.approx(0.06355)
    assert len(rest) == 3
    assert "1 requests failed" in refusal(capsys, *FIT)
    path_of(".", "vllm_bench")
    servesim(capsys, "replay", "vllm_bench.json", "--out", "r", "--overwrite", "--no-plot")
    servesim(capsys, *FIT)


def test_a_replay_without_a_folder_prints_the_same(capsys, folder):  # noqa: F811
    path_of(".", "aiperf")
    assert servesim(capsys, "replay", "aiperf.json") == servesim(
        capsys, "replay", "aiperf.json", "--out", "r"
    )


def test_a_replay_is_of_one_run(capsys, folder):  # noqa: F811
    path_of(".", "sglang_bench", 2 * files.sglang_bench())
    assert "2 runs in this file; expected one" in refusal(capsys, "replay", "sglang_bench.json")


def test_real_and_simulated_are_listed_and_compared(capsys, folder):  # noqa: F811
    path_of(".", "requests_csv")
    servesim(capsys, "replay", "requests_csv.csv", "--even", "--out", "r", "--no-plot")
    listed = servesim(capsys, "list", "runs", "r").splitlines()
    assert "a real server" in listed[2]
    assert "vllm_v1" in listed[3]
    assert "a real server: real" in servesim(capsys, "compare", "r/real", "r/simulated")
    found = json.loads(servesim(capsys, "replay", "requests_csv.csv", "--json"))
    assert found["latencies"]["ttft_s"]["real_mean_s"] == pytest.approx(
        np.mean([t[0] for _, _, t in files.REQUESTS])
    )
    assert (
        json.loads(servesim(capsys, "score", "requests_csv.csv", "--json"))[0]["summary"].keys()
        == found["real"].keys()
    )


def test_the_page_shows_what_the_real_server_gives(capsys):
    recorded = ROOT / "experiments" / "validation" / "perrequest_rtxpro6000_llama-31-8b.csv"
    sets = ("hardware.gpu=rtx-pro-6000", "engine.max_num_seqs=128", "engine.max_num_batched_tokens=2048")
    out = servesim(capsys, "replay", recorded, "--even", *(f"--set={each}" for each in sets))
    page = (ROOT / "docs" / "real_servers.md").read_text(encoding="utf-8")
    cells = {
        line.split("|")[1].strip(): line.split("|")[2:5]
        for line in page.splitlines()
        if line.startswith("| ")
    }
    shown = {line.split("  ")[0]: line.split() for line in out.splitlines() if line}
    for label, name, unit in (
        ("TTFT, mean", "TTFT", 1e-3),
        ("E2E, mean", "E2E", 1e-3),
        ("TPOT, mean", "TPOT", 1),
    ):
        for cell, value in zip(cells[label], shown[name][1:3], strict=False):
            assert float(cell.split()[0]) == pytest.approx(
                unit * float(value.replace(",", "")), abs=0.051 if unit == 1 else 5.1e-3
            )
        assert cells[label][2].strip() == " ".join(shown[name][3:5])
    real, simulated, off = (
        cell.replace(" tokens/s", "").strip() for cell in cells["smooth goodput, at most"]
    )
    assert [real, simulated, *off.split()] == shown["smooth goodput (tokens/s)"][-4:]
    assert all(error < 3 for error in (abs(float(shown[name][3])) for name in ("TTFT", "TPOT", "E2E")))
