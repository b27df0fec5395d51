"""Measured transfers against the links' profiles: what was fitted to some of them holds for the others."""

import csv
from pathlib import Path

import numpy as np
import pytest

from hardware_profiles import load_link

FILE = Path(__file__).parent.parent / "data" / "transfers" / "kv_transfer_facts.csv"
FACTS = list(csv.DictReader(FILE.read_text(encoding="utf-8").splitlines()))
MIB = 2**20
# Blocks x layers x 2 of 5,000 tokens of an 8B model with 32 layers
DESCRIPTORS = {16: 313 * 64, 64: 79 * 64}


def fact(text, source=""):
    """The one row with this text, from this source."""
    (row,) = [each for each in FACTS if each["what"].startswith(text) and source in each["source"]]
    return row


def posted_ms(row):
    """Milliseconds that a row says its descriptors were posted in."""
    return float(row["what"].split("takes ")[1].split(" ms")[0])


def relative_fit(columns, measured):
    """The least squares of relative errors."""
    scaled = np.stack(columns, axis=1) / measured[:, None]
    return np.linalg.lstsq(scaled, np.ones(len(measured)), rcond=None)[0]


def series(engine, unit):
    rows = [each for each in FACTS if each["what"].startswith("transfer of one") and engine in each["engine"]]
    assert len(rows) == 9
    return (
        np.array([float(each["megabytes"]) * unit for each in rows]),
        np.array([float(each["ms"]) * 1e-3 for each in rows]),
    )


@pytest.mark.parametrize(
    ("engine", "unit", "profile", "held_back_mean", "worst"),
    [("MooncakeConnector", MIB, "roce-mooncake", 0.05, 0.10), ("SGLang", 1e6, "infiniband", 0.04, 0.09)],
)
def test_time_is_a_constant_and_bytes_over_a_rate(engine, unit, profile, held_back_mean, worst):
    """Every second row is fitted to. Both servers have ports of 200 GB/s in all."""
    size, took_s = series(engine, unit)
    fitted = slice(0, None, 2)
    setup_s, per_byte_s = relative_fit([np.ones(5), size[fitted]], took_s[fitted])
    link = load_link(profile)
    assert link.port.achieved_share == pytest.approx(1 / per_byte_s / 200e9, rel=0.005)
    if profile == "roce-mooncake":
        assert link.transfer.setup_s == pytest.approx(setup_s, rel=0.05)
    predicted_s = setup_s + size / (200e9 * link.port.achieved_share)
    error = np.abs(predicted_s / took_s - 1)
    assert error[fitted].mean() < 0.025
    assert error[1::2].mean() < held_back_mean
    assert error.max() < worst


def test_posting_takes_a_constant_and_a_time_a_descriptor():
    one, many = fact("one rank's transfer under load"), fact("same host, NVLink not used")
    launch_ms = float(fact("launching a transfer")["ms"])
    descriptors = np.array([float(one["descriptors"]), float(many["descriptors"]), 0.0])
    took_s = np.array([posted_ms(one), posted_ms(many), launch_ms]) * 1e-3
    setup_s, descriptor_s = relative_fit([np.ones(3), descriptors], took_s)
    cost = load_link("infiniband").transfer
    assert cost.setup_s == pytest.approx(setup_s, rel=0.01)
    assert cost.descriptor_s == pytest.approx(descriptor_s, rel=0.01)
    assert np.abs((setup_s + descriptor_s * descriptors) / took_s - 1).max() < 0.15
    # Held back: another reader thread, and an early version with next to no descriptors, both slower than that
    held = [fact("the same with a reader thread"), fact("one transfer; posting")]
    errors = [
        (cost.setup_s + cost.descriptor_s * float(each["descriptors"])) / (posted_ms(each) * 1e-3) - 1
        for each in held
    ]
    assert errors == pytest.approx([-0.35, -0.48], abs=0.01)


def window_ms(block):
    """The transfer of 5,000 tokens of Llama 3 8B over InfiniBand, ms."""
    link = load_link("infiniband")
    rate = link.port.bandwidth_gb_s * 1e9 * link.port.achieved_share
    cost = link.transfer
    return 1e3 * (cost.setup_s + cost.descriptor_s * DESCRIPTORS[block] + 5000 * 131_072 / rate)


def test_the_windows_of_large_and_small_blocks():
    """Held back, on another fabric and an unnamed model: 105 ms with blocks of 16; 29 to 47 ms with blocks of 64."""
    measured = float(fact("the transfer window inside it, block size 16")["ms"])
    alone, window = (
        float(fact(text)["ms"])
        for text in ("the KV transfer alone", "the transfer window inside it, block size 64")
    )
    assert window_ms(16) == pytest.approx(measured, rel=0.31)
    assert alone < window_ms(64) < window
    assert window_ms(16) / window_ms(64) == pytest.approx(measured / window, rel=0.05)


def test_the_hop_is_what_is_left_of_the_slow_hand_over_and_fits_the_fast_one():
    """What is measured from the prefill's token to the client's, less its parts; with blocks of 64 held back."""
    slow, fast = (float(fact(f"hand-over{text}")["ms"]) for text in (": prefill's", ", block size 64"))
    step_and_wait = float(fact("first token computed again")["ms"])
    windows = [float(fact(f"the transfer window inside it, block size {n}")["ms"]) for n in (16, 64)]
    before_pull, delivery = step_and_wait / 3, 7.6  # half a step is waited for before the pull, and after it
    others = step_and_wait + before_pull + delivery
    hop = 1e3 * load_link("infiniband").hand_over.routing_s
    assert hop == pytest.approx(slow - windows[0] - others, abs=0.5)
    assert hop + windows[1] + others == pytest.approx(fast, rel=0.05)
