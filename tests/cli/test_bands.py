"""``--band``: the same traffic with steps as much shorter and longer as measured servers were off."""

import json
from typing import NamedTuple

import pytest

from simulator import InputError, Scenario
from simulator.cli import main as cli
from simulator.functions import capacity
from simulator.report.tables import Document, Words
from simulator.report.text import number
from simulator.studies.band import slowed, step_error
from simulator.studies.capacity.band import RateBand
from tests.commands import servesim
from tests.refusals import folder, refusal  # noqa: F401

QUICK = [part for each in ("workload.limit=30", "cluster.replicas=1") for part in ("--set", each)]
BUSY = [
    part
    for each in (
        "arrivals=poisson",
        "rate_rps=13.0",
        "requests=150",
        "prompt_tokens=2000",
        "output_tokens=20",
    )
    for part in ("--set", f"workload.{each}")
]
UNMEASURED = [*QUICK, "--set", "hardware.gpu=l40s"]


def test_a_run_has_both_ends(folder, capsys):  # noqa: F811
    found = json.loads(servesim(capsys, "run", "--band", "--json", "--no-plot", "--out", "o", *QUICK))
    short, long = found["band"]["runs"]
    assert found["band"]["validated"] is True
    off = found["band"]["step_error_pct"] / 100
    assert (short["step_factor"], long["step_factor"]) == pytest.approx((1 / (1 + off), 1 / (1 - off)))
    tpot_s = [each["latency"]["tpot_s"]["mean"] for each in (short["summary"], found, long["summary"])]
    assert tpot_s == sorted(tpot_s)
    assert tpot_s[2] / tpot_s[0] == pytest.approx((long["step_factor"] / short["step_factor"]), rel=0.02)


def test_each_scenario_that_is_compared_has_a_band(capsys):
    said = servesim(capsys, "compare", "--vary", "policy.scheduling=vllm_v1,orca", "--band", *UNMEASURED)
    for name in ("vllm_v1", "orca"):
        assert f"{name}: band" in said
    assert said.count("not validated: the band stands for kernels, or is assumed, and may be too narrow") == 2
    assert "near saturation" not in said


def test_near_saturation_the_band_is_said_to_be_wide(capsys):
    said = servesim(capsys, "run", "--band", "--no-plot", "--set", "hardware.gpu=l40s", *BUSY)
    assert "near saturation the band is wide: " in said
    assert "-fold from one end to the other" in said


@pytest.mark.parametrize("more", [["--json"], ["--seeds", "2"]])
def test_a_comparison_has_bands_in_words_alone(more, capsys):
    given = ["compare", "--vary", "policy.scheduling=vllm_v1,orca", "--band", *more, *QUICK]
    assert refusal(capsys, *given) == "--band: with --json or --seeds; expected neither"


def test_steps_beside_tiers_cannot_be_changed():
    scenario = Scenario(engine={"kv_offloading": {"tiers": [{"kind": "host", "capacity_gib": 1.0}]}})
    with pytest.raises(
        InputError, match=r"band: with engine\.kv_offloading\.tiers, beside which steps cannot"
    ):
        slowed(scenario, 1.1)


class Found(NamedTuple):
    rate: float | None
    low: float | None
    high: float | None


@pytest.mark.parametrize(
    ("longer", "shorter", "ends"),
    [
        (Found(8.0, 7.0, 9.0), Found(12.0, 11.0, 14.0), (7.0, 14.0)),
        (Found(8.0, 7.0, 9.0), Found(9.0, 8.0, 10.0), (7.0, 11.0)),  # the answer's own interval is wider
        (Found(8.0, None, 9.0), Found(12.0, 11.0, None), (None, None)),
    ],
)
def test_a_rate_s_band_holds_the_intervals_of_all_searches(longer, shorter, ends, tmp_path):
    asked = {}

    def search(scenario, place):
        (factor,) = {event.factor for event in scenario.cluster.faults.events}
        asked[place] = factor
        return longer if factor > 1 else shorter

    scenario = Scenario(hardware={"gpu": "l40s"})
    error = step_error(scenario, None)
    band = RateBand.of(scenario, error, tmp_path, Found(10.0, 9.0, 11.0), search)
    assert sorted(asked.values()) == sorted(error.factors)
    assert all(place.parent == tmp_path for place in asked)
    assert band.as_json() == {
        "step_error_pct": error.pct, "validated": False, "rate_longer_steps": longer.rate,
        "rate_shorter_steps": shorter.rate, "low": ends[0], "high": ends[1],
    }  # fmt: skip
    said = band.document().render("plain")
    assert (
        f"band: {number(longer.rate)} with steps x 1.05 to {number(shorter.rate)} with steps x 0.952;" in said
    )
    assert "not validated: the band stands for kernels" in said


class Searched(Found):
    """What a search came to, without its simulations."""

    def save(self, place):
        return ["answer.json"]

    def as_dict(self):
        return {"rate": self.rate}

    def document(self):
        return Document([Words([f"answer {self.rate}"])])


def test_capacity_searches_again_at_both_ends(tmp_path, capsys, monkeypatch):
    asked = []

    def find(scenario, base_dir, targets, place, *_, **__):
        (factor,) = {event.factor for event in scenario.cluster.faults.events} or {1.0}
        asked.append((factor, place))
        return Searched(10.0 / factor, 9.0 / factor, 11.0 / factor)

    monkeypatch.setattr(capacity, "find_capacity", find)
    given = ["capacity", *UNMEASURED, "--band", "--out", tmp_path / "o"]
    found = json.loads(servesim(capsys, *given, "--json"))
    short, long = 1 / 1.05, 1 / 0.95
    assert [factor for factor, _ in asked] == pytest.approx([1.0, short, long])
    assert [place.name for _, place in asked] == ["o", f"steps-x{short:.3g}", f"steps-x{long:.3g}"]
    assert found["rate"] == 10.0
    assert found["band"]["rate_longer_steps"] == pytest.approx(9.5)
    assert (found["band"]["low"], found["band"]["high"]) == pytest.approx((8.55, 11.55))
    assert "band: 9.500 with steps x 1.05 to 10.50 with steps x 0.952;" in servesim(capsys, *given)


def test_a_comparison_in_json_has_every_summary(capsys):
    given = ["compare", "--vary", "policy.scheduling=vllm_v1,orca", *QUICK]
    found = json.loads(servesim(capsys, *given, "--json"))
    assert [each["name"] for each in found] == ["vllm_v1", "orca"]
    assert all(each["summaries"][0]["states"]["arrived"] == 30 for each in found)


def test_saved_runs_are_compared_on_a_page(folder, capsys):  # noqa: F811
    assert (
        cli.main(["compare", "--vary", "policy.scheduling=vllm_v1,orca", *QUICK, "--out", "o", "--no-plot"])
        == 0
    )
    servesim(capsys, "compare", "o/vllm_v1", "o/orca", "--report", "page.html")
    page = (folder / "page.html").read_text("utf-8")
    assert '"name":"vllm_v1"' in page.replace(" ", "")
    assert '"name":"orca"' in page.replace(" ", "")
