"""What measures speed measures the right thing; how long anything takes is for ``make bench``."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import performance, performance_page, sweeping
from benchmarks.child import Cost, measure
from benchmarks.performance_page import PAGE, filled
from benchmarks.reference_clients import sessions_loop
from benchmarks.reference_loop import reference_loop
from benchmarks.reference_pools import disaggregated_loop, least_loaded_loop
from benchmarks.works import WORKS
from simulator.errors import InputError

ROOT = Path(__file__).parent.parent.parent
ROOM = {"max_num_seqs": 8, "max_num_batched_tokens": 64}


def a_second(prefill, decodes, context):
    return 1.0


def priced(prefill, decodes, context):
    return 0.01 + 1e-4 * prefill + 1e-4 * decodes + 1e-7 * context


def random_traffic(requests=200):
    rng = np.random.default_rng(7)
    arrivals = np.cumsum(rng.exponential(0.05, requests)).tolist()
    return arrivals, rng.integers(1, 300, requests).tolist(), rng.integers(1, 60, requests).tolist()


def test_the_loop_takes_the_steps_that_one_counts_by_hand():
    # 64 + 36 prompt tokens in two steps, the second of which gives the first token; then two more tokens
    assert reference_loop([0.5], [100], [3], a_second, **ROOM) == (4.5, 4)


def test_replicas_in_turn_are_loops_side_by_side():
    arrivals, prompts, outputs = random_traffic()
    whole = reference_loop(arrivals, prompts, outputs, priced, replicas=2, **ROOM)
    halves = [reference_loop(arrivals[i::2], prompts[i::2], outputs[i::2], priced, **ROOM) for i in range(2)]
    assert whole == (max(end for end, _ in halves), sum(steps for _, steps in halves))


def test_the_least_loaded_of_one_replica_is_the_loop_of_one():
    traffic = random_traffic()
    assert least_loaded_loop(*traffic, priced, replicas=1, **ROOM) == pytest.approx(
        reference_loop(*traffic, priced, **ROOM)
    )


def test_the_least_loaded_replica_takes_what_comes_next():
    # the long request keeps the first replica busy; the other two go to the second, in its one step of both
    end_s, steps = least_loaded_loop([0.0, 0.0, 0.0], [60, 10, 10], [5, 1, 1], a_second, replicas=2, **ROOM)
    assert (end_s, steps) == (5.0, 5 + 1)


def test_what_is_handed_over_travels_for_its_bytes():
    pools = {"prefill_replicas": 1, "decode_replicas": 2, "hand_over_s_per_token": 0.01}
    # a step, 0.5 s of transfer, two more tokens; the request of one token is done after its prompt
    assert disaggregated_loop([0.0], [50], [3], a_second, **ROOM, **pools) == (3.5, 3)
    assert disaggregated_loop([0.0], [50], [1], a_second, **ROOM, **pools) == (1.0, 1)


def test_every_token_of_the_disaggregated_loop_is_decoded_once():
    arrivals, prompts, outputs = random_traffic()
    decoded = []

    def note(prefill, decodes, context):
        decoded.append((prefill, decodes))
        return priced(prefill, decodes, context)

    disaggregated_loop(
        arrivals,
        prompts,
        outputs,
        note,
        **ROOM,
        prefill_replicas=2,
        decode_replicas=2,
        hand_over_s_per_token=1e-5,
    )
    assert np.sum(decoded, axis=0).tolist() == [sum(prompts), sum(outputs) - len(outputs)]


def test_clients_wait_for_their_answers_and_find_what_came_before():
    # 64 tokens and an answer of two: 2 s; 2 s of thought; 4 new tokens: 1 s; then the other session's: 1 s
    turns = [0, 0, 1], [float("nan"), 2.0, float("nan")], [64, 70, 10], [2, 1, 1], a_second
    assert sessions_loop(*turns, clients=1, send_gap_s=0.0, replicas=1, **ROOM) == (6.0, 4)
    # with a client for it, the other session's prompt is computed beside the first one's last token
    assert sessions_loop(*turns, clients=2, send_gap_s=0.0, replicas=1, **ROOM) == (5.0, 3)


def test_a_loop_wants_lists_of_one_length():
    with pytest.raises(ValueError, match="as many arrivals"):
        reference_loop([0.0], [1, 2], [1], a_second, **ROOM)


@pytest.mark.parametrize("name", WORKS)
def test_every_work_is_a_scenario(name):
    engine = WORKS[name].scenario().engine
    expected = (None, None) if name.startswith("W7") else (256, 2048)  # W7: the engine's own
    assert (engine.max_num_seqs, engine.max_num_batched_tokens) == expected


def test_a_childs_memory_is_its_own():
    here = b"1" * 200_000_000  # of this process, when the children start
    small = measure([sys.executable, "-c", "pass"])
    large = measure([sys.executable, "-c", "x = b'1' * 100_000_000"])
    assert len(here) == 200_000_000
    assert small.peak_mb < 100 < large.peak_mb
    assert 0 < small.cpu_s < 100
    assert small.wall_s > 0


def test_a_child_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no such thing"):
        measure([sys.executable, "-c", "raise SystemExit('no such thing')"])


def test_the_page_says_what_was_measured_and_nothing_else():
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page, json.loads(performance.MEASURED.read_text(encoding="utf-8"))) == page


def test_a_page_without_a_marker_is_refused():
    page = PAGE.read_text(encoding="utf-8").replace("<!-- sweep -->", "")
    with pytest.raises(InputError, match="no <!-- sweep -->"):
        filled(page, {})


def test_a_missed_bar_is_said():
    known = json.loads(performance.MEASURED.read_text(encoding="utf-8"))
    row = known["works"]["rows"][0]
    row.update(bar_s=1.0, wall_s=1.01, ratio=1.0, bar_mb=None)
    assert "W1 wall_s 1.01 > 1" in performance_page.missed(known)
    assert "1.01 (bar 1, **missed**)" in filled(PAGE.read_text(encoding="utf-8"), known)
    row["wall_s"] = 1.0
    assert not any(each.startswith("W1 ") for each in performance_page.missed(known))


def test_an_unknown_part_is_refused(capsys):
    assert performance.main(["speeed"]) == 2
    assert "speeed: unknown; expected some of works" in capsys.readouterr().err


def test_a_sweep_that_loses_or_repeats_misses_its_bar():
    def bars(**changes):
        cost = Cost(2.0, 2.0, 100.0)
        given = {
            "killed_at": 10,
            "lost": 0,
            "repeated": 0,
            "alike": True,
            "failed": 0,
            "orphans": 0,
        } | changes
        found = sweeping.Swept(points=20, one=cost, two=cost, **given)
        return [measured > bar for _, measured, bar, _ in sweeping.checks(found, bar=False)]

    assert not any(bars())
    for wrong in ({"lost": 1}, {"repeated": 1}, {"alike": False}, {"failed": 1}, {"orphans": 2}):
        assert sum(bars(**wrong)) == 1


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_the_processes_of_a_killed_pool_end():
    code = (
        "import os, sys, time\nfrom simulator.studies.processes import pool_of\npool = pool_of(1)\n"
        "print(pool.submit(os.getpid).result(), flush=True)\ntime.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as parent:
        worker = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while _runs(worker) and time.monotonic() < end:
        time.sleep(0.02)
    assert not _runs(worker)


def _runs(process):
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
